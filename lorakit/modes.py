"""Train and eval modes: looked at without being lost, and off where nothing trains.

Dropout in frozen layers regularises nothing that can change, costs a fifth of a step and adds noise to the
gradient of what does train; `settle` therefore leaves it on only where every weight is being trained. It costs
no accuracy (three seeds with and without: benchmarks/frozen_dropout.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[nn.Module]:
    """Whatever happens within, every module has its own mode back afterwards."""
    before = {module: module.training for module in model.modules()}
    try:
        yield model
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Within it, `model` is in eval mode."""
    with modes_kept(model):
        yield model.eval()


def settle(model: nn.Module) -> None:
    """Train mode for what trains, eval mode for what is frozen.

    A module trains when it holds a trainable parameter itself, or when all parameters below it are trainable.
    One without parameters (a dropout, an activation) goes with the module it stands in.
    """
    model.train()
    for module in model.modules():
        own, below = list(module.parameters(recurse=False)), list(module.parameters())
        if below:
            module.training = any(p.requires_grad for p in own) or all(p.requires_grad for p in below)
        for child in module.children():
            if not any(True for _ in child.parameters()):
                child.train(module.training)
    for module in model.modules():  # transformers recomputes a block in train mode only; what is in it stays settled
        module.training |= bool(getattr(module, "gradient_checkpointing", False))
