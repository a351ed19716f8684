"""What a model costs, before it is paid and after: parameters, bytes, milliseconds.

    count(model), by_pattern(model)      parameters, and which of them train
    checkpoint_bytes(model)              what a file of those that train holds
    measured_memory(model, batch)        a training step's weights, gradients, optimiser and activations, measured
    predicted_memory(model, batch)       the same from shapes alone, also of a model without weights
    latency(model, inputs)               one forward pass, mean ± sd of 100, as in table 1
    latencies({name: model}, inputs)     several models by turns, so that a busy minute hits all of them
    step_latencies({name: model}, batch) the same for a training step
    latency_rows(found, batch=, length=) what they found at one point; latency_table(rows): table 1 of several

and for the models of the paper, by name (these load transformers):

    from lorakit.accounting.paper import audit       tables 2 to 4, recounted by formula and on the model
    from lorakit.accounting.budget import budget     memory and checkpoint for any rank, batch and precision
"""

from lorakit.accounting.counting import Count, by_pattern, checkpoint_bytes, count
from lorakit.accounting.memory import Memory, measured_memory, predicted_memory
from lorakit.accounting.tabling import latency_rows, latency_table
from lorakit.accounting.timing import Latency, latencies, latency, step_latencies

__all__ = ["Count", "Latency", "Memory", "by_pattern", "checkpoint_bytes", "count", "latencies", "latency"]
__all__ += ["latency_rows", "latency_table", "measured_memory", "predicted_memory", "step_latencies"]
