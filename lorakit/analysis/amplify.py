"""Does ΔW amplify what W already does? (Hu et al. 2021, section 7.3, table 7; appendix H, figure 8)

    projected = ‖UᵀWV‖_F,   factor = ‖ΔW‖_F/projected,   U, V the top-r singular directions of ΔW

For directions that know nothing of W, E‖UᵀWV‖_F² = ‖W‖_F²·r²/(out·in): at ‖W_q‖_F = 61.95 and d = 12288 that is 0.020²
(r = 4) and 0.323² (r = 64), the table's Random column. The factor is large by chance alone, the more so the less ΔW
has to do with W: 342 at r = 4 for a ΔW of the paper's norm that is independent of W. The evidence is the enrichment,
how far `projected` exceeds its null (15.9 at r = 4, 5.9 at r = 64 in the paper).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from lorakit.analysis.chance import gaussian_spectra, projection
from lorakit.analysis.directions import Directions, array, directions
from lorakit.analysis.weights import decomposed
from lorakit.delta import SVD, Delta


@dataclass(frozen=True, eq=False, repr=False)
class Amplification:
    """One row of table 7, with the null of each number.

    rank            r, the directions of ΔW looked at
    norm            ‖ΔW‖_F, all of its directions
    weight_norm     ‖W‖_F
    projected       ‖UᵀWV‖_F on ΔW's top-r directions
    null_projected  the same on random directions: ‖W‖_F·r/√(out·in), root mean square, exact
    z               (projected² − null²)/its standard deviation, exact
    on_weight       ‖UᵀWV‖_F on W's own top-r directions: (Σ_{i≤r} σᵢ(W)²)^½, the most there can be
    null_on_weight  the same for a Gaussian matrix of W's shape and norm
    share_left      (k,) ‖U_Wⱼᵀ U‖_F²/r: how much of ΔW's left directions lies in W's top j, j = 1..k
    share_right     (k,) the same on the side of the inputs
    null_share_left, null_share_right   (k,) j/out and j/in
    """

    rank: int
    norm: float
    weight_norm: float
    projected: float
    null_projected: float
    z: float
    on_weight: float
    null_on_weight: float
    share_left: np.ndarray
    share_right: np.ndarray
    null_share_left: np.ndarray
    null_share_right: np.ndarray

    sources: ClassVar[str] = (
        "Hu et al. 2021, section 7.3, table 7, figure 8; null: second moments of a Haar projection "
        "(Collins & Śniady 2006)"
    )

    @property
    def factor(self) -> float:
        """The paper's amplification factor ‖ΔW‖_F/‖UᵀWV‖_F; large where ΔW ignores W."""
        return self.norm / self.projected if self.projected else np.inf

    @property
    def null_factor(self) -> float:
        """The factor of a ΔW of this norm whose directions are independent of W."""
        return self.norm / self.null_projected if self.null_projected else np.inf

    @property
    def enrichment(self) -> float:
        """projected/null_projected: 1 is chance."""
        return self.projected / self.null_projected if self.null_projected else np.nan

    def __repr__(self) -> str:
        chance = f"factor {self.factor:.3g} (chance {self.null_factor:.3g}), enrichment {self.enrichment:.3g}"
        return f"Amplification(rank {self.rank}, projected {self.projected:.3g}, {chance}, z {self.z:.3g})"


def amplification(
    delta: Delta | Directions, weight: Tensor, rank: int | None = None, *, cache: str | Path | None = None
) -> Amplification:
    """Table 7's row for ΔW and W, both (out, in), on the top `rank` directions of ΔW (all by default).

    `cache` is the folder that keeps W's singular values, as in `decomposed`. Raises ValueError where the shapes
    differ, or ΔW has fewer directions than asked for: past its numerical rank they are arbitrary.
    """
    if tuple(delta.shape) != tuple(weight.shape):
        raise ValueError(f"ΔW {tuple(delta.shape)} does not change W {tuple(weight.shape)}")
    found = directions(delta)
    rank = found.rank if rank is None else rank
    if not 1 <= rank <= found.rank:
        raise ValueError(f"rank must be in 1..{found.rank}, the numerical rank of this ΔW; given {rank}")
    own = decomposed(weight, cache)
    U, V = (part.cpu().to(own.S.dtype) for part in (found.U[:, :rank], found.Vh[:rank].mT))
    projected = (U.mT @ weight.detach().cpu().to(own.S.dtype) @ V).norm()
    return Amplification(
        rank=rank,
        norm=float(found.S.double().norm()),
        projected=float(projected),
        **_of_weight(own, rank, found.shape, float(projected)),
        **_shares(own, U, V),
    )


def _of_weight(own: SVD, rank: int, shape: tuple[int, int], projected: float) -> dict[str, Any]:
    power = array(own.S) ** 2
    norm = float(np.sqrt(power.sum()))
    chance = projection(norm, rank, shape, float((power**2).sum()))
    gaussian = gaussian_spectra(*shape, draws=4, seed=0)[:, :rank]
    return {
        "weight_norm": norm,
        "null_projected": float(np.sqrt(chance.mean)),
        "z": float((projected**2 - chance.mean) / chance.spread) if chance.spread else 0.0,
        "on_weight": float(np.sqrt(power[:rank].sum())),
        "null_on_weight": norm * float(np.linalg.norm(gaussian, axis=-1).mean()),
    }


def _shares(own: SVD, U: Tensor, V: Tensor) -> dict[str, Any]:
    counts, rank = np.arange(1, len(own.S) + 1), U.shape[1]
    return {
        "share_left": (array(own.U.mT @ U) ** 2).sum(1).cumsum() / rank,
        "share_right": (array(own.Vh @ V) ** 2).sum(1).cumsum() / rank,
        "null_share_left": counts / len(U),
        "null_share_right": counts / len(V),
    }
