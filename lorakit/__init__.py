"""lorakit: learn, teach and inspect LoRA (low-rank adaptation, Hu et al. 2021).

    load → adapt → train → deltas → analyse → plot → widget

Importing this loads torch and nothing heavier; plots, widgets and transformers are imported by the rooms
that need them.
"""

from lorakit.layers import Adapter, LoRA, adapt, adapters, deltas, disabled, trainable_state
from lorakit.merging import merge, unmerge
from lorakit.training import train

__all__ = [
    "Adapter",
    "LoRA",
    "adapt",
    "adapters",
    "deltas",
    "disabled",
    "merge",
    "train",
    "trainable_state",
    "unmerge",
]
__version__ = "0.1.0"
