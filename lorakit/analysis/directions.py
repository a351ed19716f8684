"""ΔW = U·diag(S)·Vᵀ, kept as far as its directions mean something.

    σᵢ > 4ε·‖left‖_F·‖right‖_F   for factors,      σᵢ > ε·max(out, in)·σ₁   for a dense matrix

Below that a singular value is the rounding of the arithmetic (ε is that of the dtype it runs in), and its
directions are arbitrary: comparing them would compare noise. The bound for factors is on the factors and not on
σ₁, so that two adapters which cancel are seen to be zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lorakit.delta import Delta, LowRank, svd


@dataclass(frozen=True, eq=False)
class Directions:
    """The numerical rank of ΔW and that many singular triples: U (out, rank), S (rank), Vh (rank, in).

    `width` is how many triples there were before the cut at the numerical rank.
    """

    U: Float[Tensor, "out rank"]
    S: Float[Tensor, " rank"]
    Vh: Float[Tensor, "rank in"]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.U), self.Vh.shape[1]

    @property
    def rank(self) -> int:
        return len(self.S)

    def part(self, start: int, stop: int | None = None) -> LowRank:
        """Σ σᵢ·uᵢ·vᵢᵀ over the triples start..stop, (out, in): the head of ΔW, or its tail."""
        return LowRank(self.U[:, start:stop] * self.S[start:stop], self.Vh[start:stop])


def directions(delta: Delta | Directions, dtype: torch.dtype | None = None) -> Directions:
    """The singular triples of ΔW (out, in) above rounding, computed in `dtype` (at least float32).

    A zero ΔW has none. Every measure takes what this returns in place of ΔW: where several look at one large ΔW,
    it is decomposed once. Raises ValueError for a batch, and where ΔW is not finite.
    """
    if isinstance(delta, Directions):
        return delta
    if len(delta.shape) != 2:
        raise ValueError(f"one matrix (out, in) at a time; given {tuple(delta.shape)}")
    parts = (delta.left, delta.right) if isinstance(delta, LowRank) else (delta,)
    if not all(part.isfinite().all() for part in parts):
        raise ValueError(f"ΔW {tuple(delta.shape)} has entries that are not finite: training has diverged")
    U, S, Vh = svd(delta.detach(), dtype=dtype)
    rank = int(S.gt(_rounding(parts, S)).sum())
    return Directions(U[:, :rank], S[:rank], Vh[:rank], len(S))


def _rounding(parts: tuple[Tensor, ...], S: Tensor) -> Tensor | float:
    if len(parts) == 2:
        left, right = (torch.linalg.matrix_norm(part.detach().to(S.dtype)) for part in parts)
        return 4 * torch.finfo(S.dtype).eps * left * right
    return torch.finfo(S.dtype).eps * max(parts[0].shape) * S[0] if len(S) else 0.0


def array(values: Tensor) -> np.ndarray:
    """A result's numbers: float64, NumPy, no graph."""
    return values.detach().cpu().double().numpy()
