"""What counts the directions of ΔW: stable ‖ΔW‖_F²/σ₁², effective exp H(σ/Σσ), the k that hold a share of ‖ΔW‖_F².

What is right is known without the student's formula: every ΔW here is planted, U·diag(σ)·Vᵀ with σ drawn first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lorakit.checks.checking import Case, settle
from lorakit.checks.drawing import Draw, Sizes
from lorakit.checks.intrinsic_rank.chance import effective, stable
from lorakit.checks.intrinsic_rank.miscounting import EFFECTIVE, ENERGY, RUNNING, SHARES, STABLE, SUM, TIED


def check_stable(function: Callable, *, seed: int = 0) -> None:
    """`stable_rank(delta)` → ‖ΔW‖_F²/σ₁², and 0 where ΔW = 0; raises `CheckFailed`."""
    settle(
        "stable",
        function,
        _matrices(Draw(seed), stable),
        STABLE,
        otherwise=SUM,
    )


def check_effective(function: Callable, *, seed: int = 0) -> None:
    """`effective_rank(delta)` → exp(−Σ p·ln p), p = σ/Σσ, and 0 where ΔW = 0; raises `CheckFailed`."""
    settle("effective", function, _matrices(Draw(seed), effective), EFFECTIVE, otherwise=SHARES)


def check_energy(function: Callable, *, seed: int = 0) -> None:
    """`rank_at(delta, share)` → the fewest directions that hold `share` of ‖ΔW‖_F²; raises `CheckFailed`."""
    draw = Draw(seed)
    cases = [_cut(draw, out, inputs, dtype) for out, inputs, _, dtype in draw.sizes(6, low=25, high=40)]
    settle(
        "energy", function, [*cases, *map(_tied, (torch.float32, torch.float64))], (TIED, *ENERGY), otherwise=RUNNING
    )


# ── ΔW with known singular values ─────────────────────────────────────────────────────────────


def _planted(draw: Draw, out: int, inputs: int, sigma: np.ndarray, dtype: torch.dtype) -> Tensor:
    left, right = (draw.orthonormal(d, len(sigma), torch.float64) for d in (out, inputs))
    return ((left * torch.from_numpy(sigma)) @ right.mT).to(dtype)


def _falling(draw: Draw, count: int) -> np.ndarray:
    """Singular values, largest first, no two alike."""
    steps = draw.normal(count, dtype=torch.float64).abs().numpy() + 0.1
    return np.exp(-0.4 * np.concatenate([[0.0], steps[1:].cumsum()])) * (1 + float(draw.normal(1).abs()))


def _matrices(draw: Draw, measure: Callable[[np.ndarray], float]) -> list[Case]:
    """Planted ΔW, then one with columns of zeros, whose σ are exactly 0, and ΔW = 0."""
    cases = []
    for size in draw.sizes(5, low=8):
        sigma = _falling(draw, size.rank if size.rank == 1 else min(size.out, size.inputs) - 1)
        cases.append(Case(_named(size, len(sigma)), (_planted(draw, *size[:2], sigma, size.dtype),), measure(sigma)))
    few = np.zeros((6, 9))
    few[range(3), range(3)] = _falling(draw, 3)
    cases.append(Case("a 6×9 ΔW with three directions, zeros elsewhere", (torch.from_numpy(few),), measure(few.max(0))))
    small = np.array([1.0, 0.5, *[0.004] * 12])
    cases.append(
        Case("σ = 1, 0.5 and twelve of 0.004", (_planted(draw, 15, 19, small, torch.float64),), measure(small))
    )
    return [*cases, Case("ΔW = 0", (torch.zeros(5, 7, dtype=torch.float64),), 0.0)]


def _named(size: Sizes, rank: int) -> str:
    return f"ΔW {size.out}×{size.inputs} of rank {rank}, {str(size.dtype).removeprefix('torch.')}"


def _cut(draw: Draw, out: int, inputs: int, dtype: torch.dtype) -> Case:
    """A share half-way between what k − 1 and what k directions hold, on which no two wrong formulas agree."""
    while True:
        sigma = np.sqrt(_falling(draw, 24))
        power = (sigma**2).cumsum() / (sigma**2).sum()
        k = draw.integer(4, 12)
        share = float((power[k - 1] + power[k]) / 2)
        delta = _planted(draw, out, inputs, sigma, dtype)
        if len({int(mistake.wrong(delta, share)) for mistake in ENERGY} | {k + 1}) == len(ENERGY) + 1:
            return Case(f"ΔW {out}×{inputs}, share {share:.3f} of ‖ΔW‖²", (delta, share), k + 1)


def _tied(dtype: torch.dtype) -> Case:
    """A share that the first direction holds to the last bit: σ = 2, 1, 1, 1, 1 have squares 4, 1, 1, 1, 1."""
    delta = torch.zeros(7, 5, dtype=dtype)
    delta[range(5), range(5)] = torch.tensor([2.0, 1, 1, 1, 1], dtype=dtype)
    return Case("σ = 2, 1, 1, 1, 1: the first holds 4/8, and the share is 0.5", (delta, 0.5), 1)
