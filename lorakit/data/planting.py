"""y = (W₀ + ΔW*)·x + noise, with ΔW* = U·diag(s)·Vᵀ of known rank: a fine-tuning task whose answer is known.

`model` holds W₀, "pretrained"; the rows come from W₀ + ΔW*. So every probe of a trained ΔW, its rank, its
subspace, its spectrum, has a right answer to be held against.
"""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lorakit.delta import Delta, LowRank, dense, svd


class Fit(NamedTuple):
    """Mean squared error, and the prediction (B, outputs)."""

    loss: Tensor | None
    logits: Tensor


class Planting(nn.Sequential):
    """forward(x, labels) → (mean squared error, prediction); its one layer is called `linear`."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Fit:
        predicted = super().forward(x)  # (B, inputs) -> (B, outputs)
        return Fit(None if labels is None else F.mse_loss(predicted, labels), predicted)


@dataclass(frozen=True, eq=False)
class Planted:
    """`train` and `test` are (x, y) of shapes (rows, inputs) and (rows, outputs); `delta` is ΔW*, (outputs, inputs)."""

    model: Planting = field(repr=False)
    train: tuple[Tensor, Tensor] = field(repr=False)
    test: tuple[Tensor, Tensor] = field(repr=False)
    delta: LowRank
    singular_values: tuple[float, ...]
    noise: float

    @property
    def rank(self) -> int:
        """The rank of ΔW*."""
        return self.delta.rank

    @torch.no_grad()
    def learned(self) -> float:
        """The share of ΔW*'s effect on the test rows that `model` has by now: 0 for W₀, 1 for W₀ + ΔW*.

        1 − (loss − noise²)/mean((x·ΔW*ᵀ)²): below 0 where it is further off than it started.
        """
        x, y = self.test
        effect = (x @ self.delta.right.T @ self.delta.left.T).square().mean()
        return float(1 - (F.mse_loss(self.model(x).logits, y) - self.noise**2) / effect)

    def changed(self, delta: Delta) -> "Planted":
        """The same W₀, inputs and noise with another ΔW*, (outputs, inputs), of any rank; with a copy of `model`."""
        if delta.shape != self.delta.shape:
            raise ValueError(f"ΔW* is {tuple(self.delta.shape)} here; given {tuple(delta.shape)}")
        U, S, Vh = svd(delta)
        kept = int((1e-6 * S[0] < S).sum())
        new = LowRank(U[:, :kept] * S[:kept], Vh[:kept])
        moved = dense(new) - dense(self.delta)
        train, test = ((x, y + x @ moved.T) for x, y in (self.train, self.test))
        return Planted(copy.deepcopy(self.model), train, test, new, tuple(S[:kept].tolist()), self.noise)

    def batches(self, split: str = "train", batch_size: int = 64) -> list[dict[str, Tensor]]:
        """Dicts of x and labels of "train" or "test", in the order of the rows, which are independent draws."""
        if split not in ("train", "test"):
            raise ValueError(f"no split is called {split!r}; there are train, test")
        x, y = self.train if split == "train" else self.test
        return [dict(x=a, labels=b) for a, b in zip(x.split(batch_size), y.split(batch_size))]


def planted(
    rank: int = 4,
    *,
    inputs: int = 64,
    outputs: int = 64,
    rows: int = 2048,
    test_rows: int = 512,
    singular_values: Sequence[float] | None = None,
    noise: float = 0.0,
    delta: LowRank | None = None,
    seed: int = 0,
) -> Planted:
    """A layer W₀ (outputs, inputs), rows that follow W₀ + ΔW*, and ΔW* itself.

    x is standard normal, so the loss without ΔW* is noise² + Σ sᵢ²/outputs. `singular_values` are s; by default
    1, 1/2, 1/4 … `noise` is the standard deviation of what no ΔW explains. Everything is drawn from `seed`.
    `delta` plants a ΔW* of your own, as those of `lorakit.data.pictures`: rank, shape and s are then its own.
    Raises ValueError where the rank does not fit or does not match the singular values.
    """
    if delta is not None:
        outputs, inputs = delta.shape
        rank, singular_values = delta.rank, svd(delta).S.tolist()
    if not 1 <= rank <= min(inputs, outputs):
        raise ValueError(f"rank must be 1 to {min(inputs, outputs)} for a {outputs}×{inputs} layer; given {rank}")
    values = torch.tensor([2.0**-i for i in range(rank)] if singular_values is None else list(singular_values))
    if len(values) != rank:
        raise ValueError(f"a ΔW of rank {rank} has {rank} singular values; given {len(values)}")
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    if delta is None:
        delta = LowRank(_orthonormal(outputs, rank, generator) * values, _orthonormal(inputs, rank, generator).T)
    train, test = (_rows(weight, delta, count, noise, generator) for count in (rows, test_rows))
    return Planted(_holding(weight), train, test, delta, tuple(values.tolist()), noise)


def _orthonormal(size, rank, generator):
    return torch.linalg.qr(torch.randn(size, rank, generator=generator)).Q  # (size, rank)


def _rows(weight, delta, count, noise, generator):
    x = torch.randn(count, weight.shape[1], generator=generator)
    y = x @ weight.T + x @ delta.right.T @ delta.left.T  # (count, outputs)
    return x, y + noise * torch.randn(y.shape, generator=generator)


def _holding(weight):
    linear = nn.Linear(*reversed(weight.shape), bias=False, device="meta")  # no draw from the global random state
    linear.weight = nn.Parameter(weight)
    return Planting(OrderedDict(linear=linear))
