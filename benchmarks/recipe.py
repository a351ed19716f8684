"""One run of the shipped experiments: MiniLM, one method, 200 steps of 32, and how good it got.

AdamW (weight decay 0.01), 10 % warm-up then cosine, clip 1.0, length-bucketed batches, at most 64 tokens, no
dropout in what is frozen, one thread. Two seeds, because they are two causes: `init` draws the head and the
adapter's start, `order` the order of the training rows.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lorakit import adapt, train
from lorakit.accounting import count
from lorakit.adapter import Adapter
from lorakit.analysis import Subspace
from lorakit.checkpoints import save
from lorakit.data import load_task
from lorakit.layers import deltas, trainable_parameters
from lorakit.models import load_classifier
from lorakit.training import evaluate

THIN = 5  # steps averaged into one point of the stored loss curve
KEPT = "movies"  # the task whose ΔW are kept: the lessons look at these


def run(
    *,
    task: str,
    method: type[Adapter] | None,
    where: str,
    lr: float,
    init: int,
    order: int,
    folder: Path,
    steps: int = 200,
    dimension: int = 0,
    keep: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train and measure; a change of weights by factors is left in `folder`, in PEFT's format, in float16.

    method     None trains every parameter
    where      the ends of the names of the layers to adapt, with spaces between
    keep       leave the adapter of this task, too
    dimension  of a random subspace, drawn by `init`, in which all but the head is trained; 0 is none
    options    the method's own
    """
    torch.set_num_threads(1)
    corpus = load_task(task)
    model, tokenizer = load_classifier("minilm", labels=len(corpus.labels), seed=init)
    head = model.classifier
    if method:
        adapt(model, method, [f"*{end}" for end in where.split()], seed=init, **options)
    if dimension:
        model = Subspace(model, dimension, seed=init, beside=["classifier.*"])
    trained, started = count(model).trained, time.process_time()
    batches = corpus.batches("train", tokenizer, 32, seed=order)
    history = train(model, batches, steps=steps, lr=lr, seed=order, progress=False)
    if history.ended != "finished":
        raise KeyboardInterrupt(f"cut short after {len(history)} steps")
    cpu_seconds = time.process_time() - started
    kept = bool((keep or task == KEPT) and method and deltas(model))
    if kept:  # what is measured is what is read again
        _round(model)
    measured = _measured(model, corpus, tokenizer)
    if kept:
        _save(model, folder)
    return {
        **measured,
        "trained": trained,
        "head": count(head).total,
        "seconds": round(float(history.seconds.sum()), 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "loss": [round(float(piece), 4) for piece in history.loss.reshape(-1, THIN).mean(1)],
    }


def _measured(model: nn.Module, corpus, tokenizer) -> dict[str, float]:
    found = {}
    for side in ("validation", "test"):
        result = evaluate(model, corpus.batches(side, tokenizer, 64))
        found |= {side: result.accuracy, f"{side}_loss": round(result.loss, 4), f"{side}_rows": result.count}
    return found


@torch.no_grad()
def _round(model: nn.Module) -> None:
    """To the nearest float16, before anything is measured: what is measured is then what is kept, to the bit."""
    for _, parameter in trainable_parameters(model):
        parameter.copy_(parameter.half())


def _save(model: nn.Module, folder: Path) -> None:
    for _, parameter in trainable_parameters(model):
        parameter.data = parameter.data.half()
    model.config._name_or_path = ""  # where this machine keeps MiniLM; the file knows its base by the weights
    save(model, folder)
