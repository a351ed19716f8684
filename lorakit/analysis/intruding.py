"""Intruder dimensions: top directions of W + ΔW that are none of W's (Shuttleworth et al. 2024).

    cosⱼ = maxᵢ |⟨yⱼ, xᵢ⟩|,   xᵢ the singular vectors of W, yⱼ the j-th of W + ΔW;   yⱼ intrudes if cosⱼ < ε

The paper looks at left singular vectors among the top ten; here both sides are. The null keeps ΔW's singular
values, so its norm and rank, and makes its directions random: a large enough ΔW brings intruders wherever it points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lorakit.analysis.chance import haar
from lorakit.analysis.directions import Directions, array, directions
from lorakit.analysis.weights import decomposed
from lorakit.delta import SVD, Delta, svd


@dataclass(frozen=True, eq=False, repr=False)
class Intruders:
    """How well each top singular vector of W + ΔW is one of W's, beside a random ΔW of the same singular values.

    threshold    ε, below which a vector intrudes
    left         (top,) maxᵢ |cos| of the j-th left vector of W + ΔW to W's left vectors
    right        (top,) the same of the right vectors
    null_left    (draws, top) the same for W + a random ΔW
    null_right   (draws, top)
    """

    threshold: float
    left: np.ndarray
    right: np.ndarray
    null_left: np.ndarray
    null_right: np.ndarray

    sources: ClassVar[str] = 'Shuttleworth et al. 2024, "LoRA vs full fine-tuning", definition of intruder dimensions'

    @property
    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the intruders stand among the top, counted from 0: on the left, on the right."""
        return np.flatnonzero(self.left < self.threshold), np.flatnonzero(self.right < self.threshold)

    def counts(self, thresholds: np.ndarray | float) -> np.ndarray:
        """How many intrude at each ε: (…, 2), left and right."""
        return _below((self.left, self.right), thresholds)

    def null_counts(self, thresholds: np.ndarray | float) -> np.ndarray:
        """The same for random ΔW, on the mean over the draws: (…, 2)."""
        return _below((self.null_left, self.null_right), thresholds) / len(self.null_left)

    def __repr__(self) -> str:
        (left, right), (by_chance, also) = self.counts(self.threshold), self.null_counts(self.threshold)
        found = f"{left} left (chance {by_chance:.1f}), {right} right (chance {also:.1f})"
        return f"Intruders({found} of the top {len(self.left)}, |cos| < {self.threshold})"


def intruders(
    delta: Delta | Directions,
    weight: Tensor,
    *,
    threshold: float = 0.5,
    top: int = 10,
    draws: int = 3,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Intruders:
    """The intruders that ΔW brings into W, both (out, in): `Intruders`.

    W is given as (out, in), whatever the layer stores: on GPT-2's Conv1D the stored matrix is the transpose. W's
    own SVD is kept in the folder `cache`, as in `decomposed`; W + ΔW takes another, and so does each of the null's
    `draws`. Raises ValueError where the shapes differ or an option is out of range.
    """
    if tuple(delta.shape) != tuple(weight.shape):
        raise ValueError(f"ΔW {tuple(delta.shape)} does not change W {tuple(weight.shape)}")
    if not 1 <= top <= min(weight.shape) or not 0 < threshold <= 1 or draws < 1:
        allowed = f"top in 1..{min(weight.shape)}, threshold in (0, 1] and draws from 1"
        raise ValueError(f"{allowed}; given {top}, {threshold} and {draws}")
    own, generator = decomposed(weight, cache), torch.Generator().manual_seed(seed)
    found = directions(delta)
    left, right = _cosines(own, weight, found, top)
    random = [_cosines(own, weight, _scrambled(found, generator), top) for _ in range(draws)]
    return Intruders(threshold, left, right, *(np.stack(side) for side in zip(*random)))


def _cosines(own: SVD, weight: Tensor, change: Directions, top: int) -> tuple[np.ndarray, np.ndarray]:
    part = change.part(0).to("cpu", own.S.dtype)
    tuned = svd(torch.addmm(weight.detach().cpu().to(own.S.dtype), part.left, part.right))
    left, right = own.U.mT @ tuned.U[:, :top], own.Vh @ tuned.Vh[:top].mT
    return array(left.abs().amax(0)), array(right.abs().amax(0))


def _scrambled(change: Directions, generator: torch.Generator) -> Directions:
    """The same singular values in uniformly random directions."""
    U, V = (haar(d, change.rank, generator, change.S.dtype) for d in (len(change.U), change.Vh.shape[1]))
    return Directions(U.to(change.S.device), change.S, V.mT.to(change.S.device), change.width)


def _below(cosines: tuple[np.ndarray, np.ndarray], thresholds: np.ndarray | float) -> np.ndarray:
    at = np.asarray(thresholds)[..., None]
    return np.stack([(side.ravel() < at).sum(-1) for side in cosines], axis=-1)
