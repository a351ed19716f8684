"""How many dimensions does the task need, whichever they are? (Li et al. 2018; Aghajanyan et al. 2020)

    θ = θ₀ + P·z                        DID: z ∈ ℝᵈ trains, P (D, d) is random and fixed
    θᵢ = θ₀ᵢ + λᵢ·(P·z)ᵢ                SAID: one λ a weight tensor trains as well; they count, z ∈ ℝᵈ⁻ᵐ

The intrinsic dimension is the least d that reaches a target; d90 has 90 % of what full training reaches. Its null is
the score at d = 0: a pretrained model whose frozen features already reach the target has d90 = 0, and that says
something about the target. Rank r of LoRA on a weight (out, in) stands at d = r·(out + in) on the same axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.analysis.projection import Projection


class Subspace(nn.Module):
    """A model that can only move in a random d-dimensional subspace: call and train it like the model itself.

    What of `model` requires a gradient moves along P·z. It is frozen itself: its values are θ₀ and stay as they are.

    dimension   d, all that trains (with said=True the λ are counted in)
    seed        of P
    said        structure-aware: a scale λ for each weight tensor
    beside      patterns of parameters that train directly, outside the subspace and not counted in d
    Raises ValueError where nothing is left to move, a pattern matches nothing, or d does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        dimension: int,
        *,
        seed: int = 0,
        said: bool = False,
        beside: Iterable[str] = (),
    ) -> None:
        super().__init__()
        inside = _inside(model, list(beside))
        tensors = len(inside) if said else 0
        if dimension <= tensors:
            least = f"{tensors + 1} (one λ for each of {tensors} tensors)" if said else "1"
            raise ValueError(f"the subspace needs a dimension of at least {least}; given {dimension}")
        size, free = sum(p.numel() for p in inside.values()), dimension - tensors
        self.projection = Projection(size, free, seed=seed)
        self.model, self.names, self.dimension = model, list(inside), dimension
        like = next(iter(inside.values()))
        self.z = nn.Parameter(torch.zeros(free, device=like.device))
        self.scales = nn.Parameter(torch.ones(tensors, device=like.device)) if said else None
        for parameter in inside.values():
            parameter.requires_grad_(False)

    def values(self) -> dict[str, Tensor]:
        """θ by name, in a graph that leads to z: θ₀ + P·z, the tensors one after another."""
        start = {name: self.model.get_parameter(name) for name in self.names}
        moves = self.projection(self.z).split([p.numel() for p in start.values()])
        if self.scales is not None:
            moves = [scale * move for scale, move in zip(self.scales, moves, strict=True)]
        moved = zip(start.items(), moves, strict=True)
        return {name: p + move.view_as(p).to(p.dtype) for (name, p), move in moved}

    def forward(self, *args, **kwargs):
        return torch.func.functional_call(self.model, self.values(), args, kwargs)


def _inside(model: nn.Module, beside: list[str]) -> dict[str, nn.Parameter]:
    trains = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for pattern in beside:
        if not any(fnmatchcase(name, pattern) for name in trains):
            raise ValueError(f"beside={pattern!r} matches nothing that trains; there are {list(trains)[:8]}")
    inside = {n: p for n, p in trains.items() if not any(fnmatchcase(n, pattern) for pattern in beside)}
    if not inside:
        raise ValueError("nothing is left to move in a subspace: no parameter requires a gradient")
    return inside


LADDER = tuple(int(d) for d in np.unique(np.geomspace(8, 131072, 29).round()))  # two steps an octave


@dataclass(frozen=True, eq=False, repr=False)
class IntrinsicDimension:
    """The least dimension that reaches a target, by seed.

    target      the score to reach
    seeds       (seeds,)
    passed      (seeds,) the least d tried that reached it; ∞ where none did
    failed      (seeds,) the largest d below `passed` that was tried and did not; 0 is no training at all
    null        (seeds,) the score at d = 0
    tried       (n, 3) every run: d, seed, score
    """

    target: float
    seeds: np.ndarray
    passed: np.ndarray
    failed: np.ndarray
    null: np.ndarray
    tried: np.ndarray

    sources: ClassVar[str] = "Li et al. 2018, section 2; Aghajanyan et al. 2020, section 3 (d90, DID, SAID)"

    @property
    def dimension(self) -> float:
        """The geometric mean of `passed` over the seeds; 0 or ∞ where any seed is."""
        return float(np.exp(np.log(self.passed).mean())) if (self.passed > 0).all() else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """From the largest d below which every seed fails to the least that every seed passes."""
        return float(self.failed.min()), float(self.passed.max())

    def __repr__(self) -> str:
        if self.dimension == 0:
            return f"IntrinsicDimension(0: the target {self.target:.3g} is met without training, {self.null.max():.3g})"
        low, high = self.interval
        found = f"{self.dimension:.3g} in ({low:.3g}, {high:.3g}] over {len(self.seeds)} seeds"
        return f"IntrinsicDimension({found}, target {self.target:.3g}, score at 0 {self.null.mean():.3g})"


def intrinsic_dimension(
    score: Callable[[int, int], float],
    target: float,
    *,
    dimensions: Sequence[int] = LADDER,
    seeds: Sequence[int] = (0, 1, 2),
) -> IntrinsicDimension:
    """The least d of `dimensions` with score(d, seed) ≥ target, by bisection for every seed: `IntrinsicDimension`.

    score    trains in a d-dimensional subspace (a `Subspace`) and evaluates; d = 0 asks for the untrained model
    target   0.9 × the full score is d90; chance + 0.9 × (full − chance) asks for 90 % of what is to be learned
    Bisection takes the score to grow with d, up to noise: the seeds show how much there is. About log₂ of the
    ladder's length runs a seed. Raises ValueError for an empty or descending ladder or no seed.
    """
    ladder, seeds = list(dimensions), list(seeds)
    if not seeds or not ladder or ladder[0] < 1 or any(a >= b for a, b in pairwise(ladder)):
        raise ValueError(f"dimensions must ascend from at least 1, for at least one seed; given {ladder}, {seeds}")
    tried: list[tuple[int, int, float]] = []

    def reaches(seed: int, d: int) -> bool:
        tried.append((d, seed, score(d, seed)))
        return tried[-1][2] >= target

    brackets = [_bisected(partial(reaches, seed), ladder) for seed in seeds]
    return IntrinsicDimension(
        target=target,
        seeds=np.array(seeds),
        passed=np.array([passed for _, passed in brackets], dtype=float),
        failed=np.array([failed for failed, _ in brackets], dtype=float),
        null=np.array([score for d, _, score in tried if d == 0]),
        tried=np.array(tried),
    )


def _bisected(reaches: Callable[[int], bool], ladder: list[int]) -> tuple[float, float]:
    """(largest that fails, least that passes) of 0, ladder…, ∞."""
    if reaches(0):
        return 0, 0
    low, high = -1, len(ladder)  # positions in the ladder; 0 lies below it and ∞ above
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(ladder[middle]) else (middle, high)
    return ladder[low] if low >= 0 else 0, ladder[high] if high < len(ladder) else np.inf
