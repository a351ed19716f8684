"""What counts the directions of ΔW: stable ‖ΔW‖_F²/σ₁², effective exp H(σ/Σσ), the k that hold a share of ‖ΔW‖_F².

What is right is known without the student's formula: every ΔW here is planted, U·diag(σ)·Vᵀ with σ drawn first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw, Sizes
from lorakit.checks.intrinsic_rank.chance import effective, stable


def check_stable(function: Callable, *, seed: int = 0) -> None:
    """`stable_rank(delta)` → ‖ΔW‖_F²/σ₁², and 0 where ΔW = 0; raises `CheckFailed`."""
    settle("stable", function, _matrices(Draw(seed), stable), STABLE)


def check_effective(function: Callable, *, seed: int = 0) -> None:
    """`effective_rank(delta)` → exp(−Σ p·ln p), p = σ/Σσ, and 0 where ΔW = 0; raises `CheckFailed`."""
    settle("effective", function, _matrices(Draw(seed), effective), EFFECTIVE)


def check_energy(function: Callable, *, seed: int = 0) -> None:
    """`rank_at(delta, share)` → the fewest directions that hold `share` of ‖ΔW‖_F²; raises `CheckFailed`."""
    draw = Draw(seed)
    cases = [_cut(draw, out, inputs, dtype) for out, inputs, _, dtype in draw.sizes(6, low=25, high=40)]
    settle("energy", function, [*cases, *map(_tied, (torch.float32, torch.float64))], (TIED, *ENERGY))


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


# ── Mistakes ────────────────────────────────────────────────────────────────────────────────────────────


def _of_sigma(formula: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
    return lambda delta: formula(torch.linalg.svdvals(delta))


def _one_of_none(delta: Tensor) -> float:
    if delta.any():
        raise ValueError("of zeros only")
    return 1.0


def _padded(ε: float) -> Callable[[Tensor], object]:
    return _of_sigma(lambda s: _entropy((s + ε) / (s + ε).sum()).exp())


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.log()).sum()


def _by_the_last(sigma: Tensor) -> Tensor:
    return (sigma**2).sum() / sigma[-1] ** 2


def _whole(sigma: Tensor) -> Tensor:
    return ((sigma**2).sum() / sigma[0] ** 2).round()


PARTICIPATION = Mistake(
    "(Σσ²)²/Σσ⁴ is the participation ratio: another count, between the stable and the effective rank",
    _of_sigma(lambda s: (s**2).sum() ** 2 / (s**4).sum()),
)
COUNT = Mistake(
    "this counts the σ that are not 0, which any noise makes the full rank",
    lambda delta: torch.linalg.matrix_rank(delta),
)
NAN = "ΔW = 0 has no direction, and 0/0 is NaN: return 0 there"
STABLE = (
    Mistake(NAN, lambda delta: float("nan")),
    Mistake("Σσ/σ₁ weighs directions by σ; the stable rank weighs them by σ²", _of_sigma(lambda s: s.sum() / s[0])),
    Mistake("σ₁ is the largest singular value, the first; this divides by the last", _of_sigma(_by_the_last)),
    Mistake("rounded to a whole number: a stable rank may be 2.7", _of_sigma(_whole)),
    Mistake("‖ΔW‖_F/σ₁ is the square root of what is asked for", _of_sigma(lambda s: s.norm() / s[0])),
    Mistake("‖ΔW‖_F² over σ₁, not σ₁²: 2·ΔW would count twice as much", _of_sigma(lambda s: (s**2).sum() / s[0])),
    Mistake(
        "σ₁²/‖ΔW‖_F² is upside down: a count of directions is at least 1", _of_sigma(lambda s: s[0] ** 2 / (s**2).sum())
    ),
    Mistake("the largest entry of ΔW is not its largest singular value", lambda d: (d**2).sum() / d.abs().max() ** 2),
    COUNT,
    PARTICIPATION,
)
EFFECTIVE = (
    Mistake("ΔW = 0 has no direction, and the exponential of an empty sum is 1: return 0 there", _one_of_none),
    *(
        Mistake("something small is added to σ, and it counts as directions: leave out the zeros instead", _padded(ε))
        for ε in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
    ),
    Mistake(
        "0·ln 0 is NaN to a computer, and 0 in the entropy: leave out the σ that are 0", lambda delta: float("nan")
    ),
    Mistake(
        "p is σ²/Σσ² here; Roy and Vetterli take p = σ/Σσ", _of_sigma(lambda s: _entropy(s**2 / (s**2).sum()).exp())
    ),
    Mistake("this is the entropy H itself: the count is exp H", _of_sigma(lambda s: _entropy(s / s.sum()))),
    Mistake(
        "H in bits goes with 2^H, H in nats with exp H", _of_sigma(lambda s: (_entropy(s / s.sum()) / np.log(2)).exp())
    ),
    Mistake("2^H needs H in bits: log₂, not ln", _of_sigma(lambda s: 2 ** _entropy(s / s.sum()))),
    Mistake(
        "exp(+Σ p·ln p): the entropy has a minus before its sum", _of_sigma(lambda s: (-_entropy(s / s.sum())).exp())
    ),
    COUNT,
    PARTICIPATION,
    Mistake("this is the stable rank, ‖ΔW‖_F²/σ₁²", _of_sigma(lambda s: (s**2).sum() / s[0] ** 2)),
)


def _first_at(share: float, held: Tensor) -> int:
    return int((held < share).sum()) + 1


def _held(delta: Tensor, power: float) -> Tensor:
    sigma = torch.linalg.svdvals(delta.double())
    return (sigma**power).cumsum(0) / (sigma**power).sum()


ENERGY = (
    Mistake("this sums σ; the share is one of ‖ΔW‖_F² = Σσ²", lambda d, share: _first_at(share, _held(d, 1))),
    Mistake(
        "this is the position counted from 0: one less than the number of directions",
        lambda d, share: _first_at(share, _held(d, 2)) - 1,
    ),
    Mistake(
        "this is how many directions are left out",
        lambda d, share: int((torch.linalg.svdvals(d.double()) > 1e-6).sum()) - _first_at(share, _held(d, 2)),
    ),
    Mistake("a share of the directions is not a share of ‖ΔW‖²", lambda d, share: -int(-share * 24 // 1)),
    Mistake(
        "√Σσ² is compared with the share: that is a share of ‖ΔW‖, not of ‖ΔW‖²",
        lambda d, share: _first_at(share, _held(d, 2).sqrt()),
    ),
    Mistake(
        "the smallest σ were taken first",
        lambda d, share: _first_at(share, (s := torch.linalg.svdvals(d.double()).flip(0) ** 2).cumsum(0) / s.sum()),
    ),
)
TIED = Mistake(  # equal to what is right on any other share
    "k directions that hold exactly the share hold it: at least means ≥, and below it <",
    lambda d, share: int((_held(d, 2) <= share).sum()) + 1,
)
