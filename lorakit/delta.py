"""ΔW = left @ right, kept as its factors (Hu et al. 2021, section 4.1: ΔW = (α/r)·B·A).

A Delta is a change of one weight matrix, always (out, in). It is either a dense Tensor or a `LowRank`
pair, and every function here takes both. On a pair, nothing costs more than the factors do:

    left = Q₁·R₁,  rightᵀ = Q₂·R₂,  R₁·R₂ᵀ = u·diag(s)·vᵀ   ⟹   ΔW = (Q₁u)·diag(s)·(Q₂v)ᵀ

two thin QR decompositions and the SVD of an r×r core: O((out + in)·r²), where the dense SVD of one
GPT-3-sized matrix takes minutes. Only `dense` ever forms the product. Factors may carry leading batch
dimensions (layers, seeds): one call then serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """ΔW = left @ right, with left (out, rank) and right (rank, in).

    `error` is ‖ΔW − original‖_F / ‖original‖_F for a pair that approximates something, and 0 otherwise.
    Raises ValueError when the factors do not fit together.
    """

    left: Float[Tensor, "*batch out rank"]
    right: Float[Tensor, "*batch rank in"]
    error: float = 0.0

    def __post_init__(self) -> None:
        if self.left.ndim < 2 or self.right.ndim < 2 or self.left.shape[-1] != self.right.shape[-2]:
            given = f"left {tuple(self.left.shape)} and right {tuple(self.right.shape)}"
            raise ValueError(f"left (out, rank) and right (rank, in) must share their rank; given {given}")

    @property
    def shape(self) -> torch.Size:
        return torch.Size((*self.left.shape[:-1], self.right.shape[-1]))

    @property
    def rank(self) -> int:
        """The width of the factors: an upper bound of the rank of ΔW."""
        return self.left.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.left.dtype

    @property
    def device(self) -> torch.device:
        return self.left.device

    @property
    def T(self) -> LowRank:
        return LowRank(self.right.mT, self.left.mT, self.error)

    def to(self, *args, **kwargs) -> LowRank:
        """The same pair on another device or in another dtype, as `Tensor.to`."""
        return LowRank(self.left.to(*args, **kwargs), self.right.to(*args, **kwargs), self.error)

    def detach(self) -> LowRank:
        return LowRank(self.left.detach(), self.right.detach(), self.error)

    def __mul__(self, factor: float) -> LowRank:
        return LowRank(self.left * factor, self.right, self.error)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"LowRank({' × '.join(map(str, self.shape))}, rank {self.rank}, {self.dtype})"


Delta = Tensor | LowRank


class SVD(NamedTuple):
    """ΔW = U · diag(S) · Vh: U (out, k), S (k) in descending order, Vh (k, in)."""

    U: Float[Tensor, "*batch out k"]
    S: Float[Tensor, "*batch k"]
    Vh: Float[Tensor, "*batch k in"]


def dense(delta: Delta) -> Float[Tensor, "*batch out in"]:
    """The matrix ΔW itself, (out, in): the one place where left @ right is formed."""
    return delta.left @ delta.right if isinstance(delta, LowRank) else delta


def svd(delta: Delta, *, dtype: torch.dtype | None = None) -> SVD:
    """The thin SVD of ΔW, k = min(out, in, rank) triples, in `dtype` (at least float32)."""
    delta = delta.to(dtype) if dtype else _precise(delta)
    if not isinstance(delta, LowRank):
        return SVD(*torch.linalg.svd(delta, full_matrices=False))
    Q_left, R_left = torch.linalg.qr(delta.left)
    Q_right, R_right = torch.linalg.qr(delta.right.mT)
    u, s, vh = torch.linalg.svd(R_left @ R_right.mT, full_matrices=False)
    return SVD(Q_left @ u, s, vh @ Q_right.mT)


def inner(a: Delta, b: Delta) -> Float[Tensor, "*batch"]:
    """⟨a, b⟩ = Σᵢⱼ aᵢⱼ·bᵢⱼ; for two pairs (leftᵃᵀ leftᵇ) · (rightᵃ rightᵇᵀ), summed: O((out + in)·r²)."""
    _same_shape(a, b)
    a, b = _precise(a, b.dtype), _precise(b, a.dtype)
    if isinstance(a, LowRank) and isinstance(b, LowRank):
        return ((a.left.mT @ b.left) * (a.right @ b.right.mT)).sum((-2, -1))
    if isinstance(b, LowRank):
        return ((dense(a) @ b.right.mT) * b.left).sum((-2, -1))
    if isinstance(a, LowRank):
        return inner(b, a)
    return (a * b).sum((-2, -1))


def norm(delta: Delta) -> Float[Tensor, "*batch"]:
    """The Frobenius norm ‖ΔW‖_F, from triangular factors and so without cancellation."""
    delta = _precise(delta)
    if not isinstance(delta, LowRank):
        return torch.linalg.matrix_norm(delta)
    R_right = torch.linalg.qr(delta.right.mT, mode="r").R
    return torch.linalg.matrix_norm(delta.left @ R_right.mT)


def truncate(delta: Delta, rank: int | None = None, *, energy: float | None = None) -> LowRank:
    """The best approximation of ΔW (Eckart–Young): its top `rank` triples, or as few as hold `energy`.

    `energy` is a share of ‖ΔW‖_F² in (0, 1]. The singular values go into `left`. The result's `error` is
    measured against the ΔW given. Give exactly one of the two; one matrix at a time.
    """
    if (rank is None) == (energy is None):
        raise ValueError(f"give rank or energy, one of the two; given rank={rank}, energy={energy}")
    U, S, Vh = svd(delta)
    if S.ndim != 1:
        raise ValueError(f"truncate takes one matrix (out, in) at a time; given {tuple(delta.shape)}")
    power = S.double() ** 2
    if energy is not None:
        rank = _rank_at(power, energy)
    if rank is None or not 0 <= rank <= len(S):
        raise ValueError(f"rank must be in 0..{len(S)} for this ΔW; given {rank}")
    lost = float((power[rank:].sum() / power.sum()).sqrt()) if power.any() else 0.0
    return LowRank(U[:, :rank] * S[:rank], Vh[:rank], lost)


def extract(difference: Delta, rank: int) -> LowRank:
    """A LoRA out of a full fine-tune: the best rank-`rank` pair for W_after − W_before, with its `error`."""
    return truncate(difference, rank)


def combine(deltas: Sequence[Delta], weights: Sequence[float] | None = None, *, rank: int | None = None) -> Delta:
    """Σᵢ wᵢ·ΔWᵢ, exact: factors are concatenated, never averaged apart (B̄·Ā is not the mean of B·A).

    With `rank` the sum is recompressed to it and the result's `error` says what that cost.
    """
    deltas, weights = list(deltas), list(weights) if weights is not None else [1.0] * len(deltas)
    if not deltas or len(deltas) != len(weights):
        raise ValueError(f"one weight a delta, and at least one; given {len(deltas)} and {len(weights)}")
    for other in deltas[1:]:
        _same_shape(deltas[0], other)
    pairs = [delta for delta in deltas if isinstance(delta, LowRank)]
    if len(pairs) == len(deltas):
        left = torch.cat([w * d.left for w, d in zip(weights, pairs, strict=True)], dim=-1)
        total: Delta = LowRank(left, torch.cat([d.right for d in pairs], dim=-2))
    else:
        total = torch.stack([w * dense(d) for w, d in zip(weights, deltas, strict=True)]).sum(0)
    return total if rank is None else truncate(total, rank)


def _precise(delta: Delta, other: torch.dtype = torch.float32) -> Delta:
    """In the wider of its own dtype and `other`, and at least float32: half precision has no QR and no SVD."""
    return delta.to(torch.promote_types(torch.promote_types(delta.dtype, other), torch.float32))


def _rank_at(power: Tensor, energy: float) -> int:
    if not 0 < energy <= 1:
        raise ValueError(f"energy is a share of ‖ΔW‖² in (0, 1]; given {energy}")
    if not power.any():
        return 0
    share = power.cumsum(0) / power.sum()
    return int((share < energy - 1e-12).sum()) + 1


def _same_shape(a: Delta, b: Delta) -> None:
    if a.shape != b.shape:
        raise ValueError(f"both must change a weight of one shape; given {tuple(a.shape)} and {tuple(b.shape)}")
