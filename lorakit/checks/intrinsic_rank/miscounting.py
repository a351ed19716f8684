"""How directions are miscounted: the wrong formulas that students give for a stable, an effective rank and a share.

Each stands beside what to say to somebody who returned what it returns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lorakit.checks.checking import Mistake


def _of_sigma(formula: Callable[[Tensor], object]) -> Callable[[Tensor], object]:
    return lambda delta: formula(torch.linalg.svdvals(delta))


def _one_of_none(delta: Tensor) -> float:
    if delta.any():
        raise ValueError("of zeros only")
    return 1.0


def _count(sigma: Tensor) -> Tensor:
    return _entropy(sigma[sigma > 0] / sigma.sum()).exp()


def _without_small(least: float) -> Callable[[Tensor], object]:
    return _of_sigma(lambda s: _count(s[s > least * s[0]]))


def _padded(ε: float) -> Callable[[Tensor], object]:
    return _of_sigma(lambda s: _entropy((s + ε) / (s + ε).sum()).exp())


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.log()).sum()


def _by_the_last(sigma: Tensor) -> Tensor:
    return (sigma**2).sum() / sigma[-1] ** 2


def _whole(sigma: Tensor) -> Tensor:
    return ((sigma**2).sum() / sigma[0] ** 2).round()


SUM = "Σσ² over σ₁²: all of the squares, over the largest of them"
SHARES = "p = σ/Σσ sums to 1; the entropy is −Σ p·ln p, and its exponential the count"
RUNNING = "running sums of σ², each over their total: how many are below the share, and one more"
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
    Mistake("divided by the second σ: σ₁ is s[0]", _of_sigma(lambda s: (s**2).sum() / s[1] ** 2)),
    Mistake("this is Σσ² alone: divide by σ₁²", lambda d: (d**2).sum()),
    Mistake("a norm of rows or columns is not σ₁", lambda d: (d**2).sum() / torch.linalg.matrix_norm(d, 1) ** 2),
    Mistake(
        "a norm of rows or columns is not σ₁", lambda d: (d**2).sum() / torch.linalg.matrix_norm(d, torch.inf) ** 2
    ),
    Mistake("the mean of σ² is taken for their sum", _of_sigma(lambda s: (s**2).mean() / s[0] ** 2)),
    Mistake("σ₁ itself is left out of the sum", _of_sigma(lambda s: (s[1:] ** 2).sum() / s[0] ** 2)),
    Mistake("(Σσ)²/Σσ² is another count, of Σσ against Σσ²", _of_sigma(lambda s: s.sum() ** 2 / (s**2).sum())),
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
    *(
        Mistake("small σ are left out: only those that are 0 are", _without_small(least))
        for least in (0.1, 0.05, 0.01, 0.005)
    ),
    Mistake("σ is not divided by Σσ: the shares p sum to 1", _of_sigma(lambda s: _entropy(s[s > 0]).exp())),
    Mistake("σ is divided by σ₁: the shares p sum to 1, σ/Σσ", _of_sigma(lambda s: _entropy(s[s > 0] / s[0]).exp())),
    Mistake(
        "σ is divided by ‖ΔW‖: the shares p sum to 1, σ/Σσ", _of_sigma(lambda s: _entropy(s[s > 0] / s.norm()).exp())
    ),
    Mistake("a softmax is no share: p = σ/Σσ", _of_sigma(lambda s: _entropy(s.softmax(0)).exp())),
    Mistake("rounded: an effective rank may be 2.7", _of_sigma(lambda s: _count(s).round())),
    Mistake("10^H needs H to the base 10: log₁₀, not ln", _of_sigma(lambda s: 10 ** _entropy(s[s > 0] / s.sum()))),
    Mistake("(Σσ)²/Σσ² is 1/Σp²: the effective rank is exp H", _of_sigma(lambda s: s.sum() ** 2 / (s**2).sum())),
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
    Mistake(
        "this counts the σ that are a large part of the largest: sum up σ² from the first on",
        lambda d, share: int((torch.linalg.svdvals(d) > share * torch.linalg.svdvals(d)[0]).sum()),
    ),
    Mistake("the share is an argument, and 0.9 was taken", lambda d, share: _first_at(0.9, _held(d, 2))),
    Mistake("one direction too many", lambda d, share: _first_at(share, _held(d, 2)) + 1),
    Mistake(
        "1 − share: what the directions hold, not what they leave", lambda d, share: _first_at(1 - share, _held(d, 2))
    ),
    Mistake(
        "this is how many running sums reach the share: the first of them is asked for",
        lambda d, share: int((_held(d, 2) >= share).sum()) + max(0, min(d.shape) - len(_held(d, 2))),
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
