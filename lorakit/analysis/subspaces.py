"""Do two ΔW use the same directions? (Hu et al. 2021, section 7.2 and appendix G; figures 3 and 4)

    φ(i, j) = ‖U₁ᵢᵀ U₂ⱼ‖_F² / min(i, j)  ∈ [0, 1]

for the top i directions of one and the top j of the other. Every entry is a partial sum of one table of squared
overlaps, so all of them cost two cumulative sums. Independent subspaces do not give 0 but max(i, j)/d: 0.005 for
(8, 64) at d = 12288, and 0.5 at d = 128, where a figure "passes" on noise. Appendix G prints φ as (1 − d²)/p; with
its d² = p − Σσ² that must read 1 − d²/p, which is the φ above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lorakit.analysis.chance import overlap
from lorakit.analysis.directions import Directions, array, directions
from lorakit.delta import Delta, LowRank


@dataclass(frozen=True, eq=False, repr=False)
class Similarity:
    """φ of two ΔW for every pair of counts, beside what chance gives.

    phi          (i, j) ‖U₁ᵢᵀU₂ⱼ‖_F²/min(i, j); row i−1 is the top i directions of a
    null         (i, j) max(i, j)/d, the exact mean of φ for independent subspaces
    null_spread  (i, j) the exact standard deviation of φ then
    angles       (min(i, j),) principal angles of the two whole spans, radians, largest first
    dimension    d, the dimension both live in
    cut          (i, j) how many directions a and b had to offer, before rounding and `top` cut the table
    """

    phi: np.ndarray
    null: np.ndarray
    null_spread: np.ndarray
    angles: np.ndarray
    dimension: int
    cut: tuple[int, int]

    sources: ClassVar[str] = (
        "Hu et al. 2021, section 7.2, footnote 7, appendix G; angles: Björck & Golub 1973, Knyazev & Argentati 2002; "
        "null: second moments of a Haar projection (Collins & Śniady 2006)"
    )

    @property
    def z(self) -> np.ndarray:
        """(i, j) how many standard deviations φ lies above chance; 0 where chance leaves no room."""
        room = self.null_spread > 1e-12
        return np.where(room, self.phi - self.null, 0) / np.where(room, self.null_spread, 1)

    @property
    def shared(self) -> np.ndarray:
        """(i, j) directions in common beyond chance: min(i, j)·(φ − null)/(1 − null), 0 where null is 1."""
        count = np.minimum(*_counts(*self.phi.shape))
        return count * (self.phi - self.null) / np.where(self.null < 1, 1 - self.null, np.inf)

    def __repr__(self) -> str:
        i, j = self.phi.shape
        if not i * j:
            return f"Similarity({i} × {j} of {self.cut}: a zero ΔW has no direction to compare)"
        corner = f"φ({i}, {j}) = {self.phi[-1, -1]:.3f} (chance {self.null[-1, -1]:.3f})"
        first = f"φ(1, 1) = {self.phi[0, 0]:.3f} (chance {self.null[0, 0]:.3f})"
        return f"Similarity({i} × {j} of {self.cut} in ℝ^{self.dimension}, {first}, {corner})"


def similarity(
    a: Delta | Directions,
    b: Delta | Directions,
    of: str = "delta",
    side: str | None = None,
    top: int | None = None,
    dtype: torch.dtype | None = None,
) -> Similarity:
    """φ(i, j) of two changes of one weight, all i and j at once: `Similarity`.

    of    "delta": the directions of ΔW itself, which no change of gauge B→BG, A→G⁻¹A moves. "A" or "B": those of
          the one factor, as the paper's figures have it; another gauge gives other numbers for the same ΔW.
    side  "right" (inputs) or "left" (outputs); A has only "right", B only "left". By default "right" but for B.
    top   at most so many directions of each
    Directions below the numerical rank are arbitrary: the table stops before them, and `cut` says where it could
    have gone to. Raises ValueError where the two do not live in one space, TypeError for a factor of a dense ΔW.
    """
    (U, i), (V, j) = (_basis(delta, of, side, top, dtype) for delta in (a, b))
    if len(U) != len(V):
        raise ValueError(f"directions of one space can be compared; a's are in ℝ^{len(U)}, b's in ℝ^{len(V)}")
    common = torch.promote_types(U.dtype, V.dtype)
    return _compared(U.to(common), V.to(common), (i, j))


def similarities(a: Mapping[str, Delta], b: Mapping[str, Delta], **options) -> dict[str, Similarity]:
    """`similarity` of every layer that both have, by name; layers are read one at a time, so they may stream.

    On a CPU one layer at a time is also the fastest: LAPACK works through a batch in a loop of its own, and
    stacking copies the factors. Raises ValueError where the two share no layer.
    """
    names = [name for name in a if name in b]
    if not names:
        raise ValueError(f"no layer in common: a has {list(a)[:4]}, b has {list(b)[:4]}")
    return {name: similarity(a[name], b[name], **options) for name in names}


def _basis(delta: Delta | Directions, of: str, side: str | None, top: int | None, dtype) -> tuple[Tensor, int]:
    """Orthonormal directions (d, k), most important first, and how many there were before the cut."""
    if of not in ("delta", "A", "B") or side not in (None, "left", "right"):
        raise ValueError(f'of is "delta", "A" or "B" and side "left" or "right"; given {of!r} and {side!r}')
    if of != "delta":
        delta, side = _factor(delta, of, side)
    found = directions(delta, dtype)
    U = found.U if side == "left" else found.Vh.mT
    return U[:, :top], found.width


def _factor(delta: Delta | Directions, of: str, side: str | None) -> tuple[Tensor, str]:
    if not isinstance(delta, LowRank):
        raise TypeError(f'only factors have an {of}; this ΔW {tuple(delta.shape)} has none: compare of="delta"')
    factor, own = (delta.right, "right") if of == "A" else (delta.left, "left")
    if side not in (None, own):
        given = f"the {side} directions of {of} lie in the rank's own coordinates, which mean nothing in another run"
        raise ValueError(f'{given}; use side="{own}", or of="delta" for the {side} directions of ΔW')
    return factor, own


def _compared(U: Tensor, V: Tensor, cut: tuple[int, int]) -> Similarity:
    overlaps = U.mT @ V  # (i, j)
    total = array(overlaps).__pow__(2).cumsum(0).cumsum(1)
    counts = _counts(*total.shape)
    fewer = np.minimum(*counts)
    chance = overlap(*counts, len(U))
    return Similarity(
        phi=(total / fewer).clip(0, 1),  # rounding of the overlaps may step over 1
        null=chance.mean / fewer,
        null_spread=chance.spread / fewer,
        angles=_angles(U, V, overlaps),
        dimension=len(U),
        cut=cut,
    )


def _counts(i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(1, i + 1), np.arange(1, j + 1), indexing="ij")


def _angles(U: Tensor, V: Tensor, overlaps: Tensor) -> np.ndarray:
    """From cosines above 45°, from sines below: a cosine near 1 has lost the digits of a small angle."""
    if U.shape[1] < V.shape[1]:
        return _angles(V, U, overlaps.mT)
    if not V.shape[1]:
        return np.empty(0)
    cosines = array(torch.linalg.svdvals(overlaps)).clip(0, 1)[::-1]
    sines = array(torch.linalg.svdvals(V - U @ overlaps)).clip(0, 1)
    return np.where(cosines < np.sqrt(0.5), np.arccos(cosines), np.arcsin(sines))
