"""From a model to the numbers that `lorakit.analysis` asks for: it takes callables, and these are they.

truncation           quality(model, evaluate)                    {layer: ΔW} → a number
gradient_probe       gradients(model, batches, "*.query", …)     {weight: ∂L/∂W} for each batch
intrinsic_dimension  in_subspace(make, batches, score, …)        (d, seed) → a score
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from lorakit.analysis import Subspace
from lorakit.delta import LowRank
from lorakit.geometry import is_linear_map, weight_of
from lorakit.layers import few, innermost, named_layers, substituted
from lorakit.modes import evaluating
from lorakit.training import train

Batch = dict[str, Tensor]


def quality(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> Callable[[dict[str, LowRank]], float]:
    """What `truncation` calls: the model with these ΔW in place of its own, evaluated, and left as it was."""

    def measure(changes: dict[str, LowRank]) -> float:
        with substituted(model, changes):
            return evaluate(model)

    return measure


def gradients(
    model: nn.Module, batches: Iterable[Batch], where: str | Iterable[str], *, shuffled: int | None = None
) -> Iterator[dict[str, Tensor]]:
    """∂L/∂W (out, in) of every linear layer that `where` matches, a dict for each batch; dropout is off.

    shuffled   a seed: labels are permuted within each batch, which leaves the inputs and takes the task away
    The model's own gradients and what trains in it are left as they are. Raises ValueError where nothing matches.
    """
    layers = _matching(model, [where] if isinstance(where, str) else list(where))
    weights = [layer.get_parameter("weight") for layer in layers.values()]
    generator = torch.Generator().manual_seed(shuffled or 0)
    for batch in batches:
        labels = batch["labels"]
        order = torch.arange(len(labels)) if shuffled is None else torch.randperm(len(labels), generator=generator)
        found = _gradients(model, weights, {**batch, "labels": labels[order]})
        yield {name: _oriented(layer, G) for (name, layer), G in zip(layers.items(), found, strict=True)}


def averaged(gradients: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean over batches: one draw of chance, where the batches' labels are shuffled."""
    batches = list(gradients)
    return {name: torch.stack([batch[name] for batch in batches]).mean(0) for name in batches[0]}


def in_subspace(
    make: Callable[[], nn.Module],
    batches: Iterable[Batch],
    score: Callable[[nn.Module], float],
    *,
    steps: int,
    lr: float,
    **options,
) -> Callable[[int, int], float]:
    """What `intrinsic_dimension` calls: a fresh model from `make`, trained in d random dimensions, and its score.

    options   those of `Subspace`: said, beside. At d = 0 nothing trains.
    """

    def trained(d: int, seed: int) -> float:
        model = make()
        if d:
            model = Subspace(model, d, seed=seed, **options)
            train(model, batches, steps=steps, lr=lr, weight_decay=0.0, seed=seed, progress=False)
        return score(model)

    return trained


def _matching(model: nn.Module, where: list[str]) -> dict[str, nn.Module]:
    layers = {name: innermost(layer) for name, layer in named_layers(model)}
    linear = {name: layer for name, layer in layers.items() if is_linear_map(layer)}
    found = {name: layer for name, layer in linear.items() if any(fnmatchcase(name, p) for p in where)}
    if not found:
        raise ValueError(f"no linear layer matches {where}; there are {few(linear)}")
    return found


def _gradients(model: nn.Module, weights: list[nn.Parameter], batch: Batch) -> tuple[Tensor, ...]:
    wanted = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with evaluating(model):
            return torch.autograd.grad(model(**batch).loss, weights)
    finally:
        for weight, before in zip(weights, wanted, strict=True):
            weight.requires_grad_(before)


def _oriented(layer: nn.Module, gradient: Tensor) -> Tensor:
    """(out, in), as `weight_of` reads the weight itself."""
    twin = copy(layer)
    twin.__dict__["_parameters"] = {"weight": gradient}
    return weight_of(twin)
