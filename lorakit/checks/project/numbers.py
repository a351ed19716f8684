"""From a number to what may be said: an interval for few rows, a p-value for few draws, a difference for few seeds.

interval(correct, total)     Wilson (1927): (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96
p_value(value, chance)       (1 + how many draws reach the value) / (1 + draws)
paired(ours, theirs)         mean of the differences, and its 95 % interval by Student's t
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import listing
from lorakit.checks.drawing import Draw


def check_interval(function: Callable, *, seed: int = 0) -> None:
    """`interval(correct, total)` → (low, high), 95 % by Wilson; raises `CheckFailed`."""
    draw = Draw(seed)
    counts = [(draw.integer(15, 21), draw.integer(24, 30)), (draw.integer(400, 700), 1000)]
    counts += [(draw.integer(8, 12),) * 2, (0, draw.integer(8, 12))]
    cases = [Case(f"{k} of {n} right", (k, n), _wilson(k, n), tolerance=2e-4) for k, n in counts]
    settle("interval", listing(function), cases, INTERVAL, otherwise="try 84 of 100: hint 1 says what comes out")


def check_beyond(function: Callable, *, seed: int = 0) -> None:
    """`p_value(value, chance)` → the share of chance that reaches the value, itself counted; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for size, reach, ties in ((19, 3, 0), (39, 5, 2), (99, 0, 0), (24, 0, 3), (30, 30, 0)):
        chance = draw.normal(size).double().sort().values.tolist()
        value = chance[-reach - 1] if reach < size else chance[0]
        value += 0.5 * (chance[-reach] - value) if 0 < reach < size else 1.0 if not reach else -1.0
        for tie in range(ties):
            chance[tie] = value
        order = draw.distinct(size, 0, size - 1)
        says = f"{size} draws, {reach + ties} of them reach the value" + (f" ({ties} are equal to it)" if ties else "")
        cases.append(Case(says, (value, [chance[n] for n in order]), (1 + reach + ties) / (1 + size)))
    settle("beyond", function, cases, BEYOND)


def check_paired(function: Callable, *, seed: int = 0) -> None:
    """`paired(ours, theirs)` → (mean difference, low, high), 95 % by Student's t; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for n in (5, 3, 8):
        by_seed, gain, noise = (scale * draw.normal(n).double().numpy() for scale in (0.03, 0.0, 0.005))
        theirs = 0.8 + by_seed + gain
        ours = theirs + 0.012 + noise
        cases.append(Case(f"{n} seeds", (ours.tolist(), theirs.tolist()), _paired(ours, theirs), tolerance=1e-4))
    settle("paired", listing(function), cases, PAIRED)


# ── Wilson's interval ───────────────────────────────────────────────────────────────────────────────────


def _wilson(k: int, n: int, z: float = 1.96) -> list[float]:
    p = k / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]


def _around(k: int, n: int, half: float) -> list[float]:
    return [k / n - half, k / n + half]


def _error(k: int, n: int) -> float:
    return math.sqrt(k / n * (1 - k / n) / n)


def _undivided(k: int, n: int) -> list[float]:
    return [end * (1 + 1.96**2 / n) for end in _wilson(k, n)]


def _unshifted(k: int, n: int) -> list[float]:
    low, high = _wilson(k, n)
    return [end - (low + high) / 2 + k / n / (1 + 1.96**2 / n) for end in (low, high)]


INTERVAL = (
    Mistake("the middle is p alone: z²/2n is added to it", _unshifted),
    Mistake(
        "p ± 1.96·√(p(1−p)/n) is Wald's: it is empty at 0 and at 100 %, and leaves [0, 1]; take Wilson's",
        lambda k, n: _around(k, n, 1.96 * _error(k, n)),
    ),
    Mistake("one standard error holds 68 %: z = 1.96 for 95 %", lambda k, n: _wilson(k, n, 1.0)),
    Mistake("z = 1.645 is for 90 %, or one side: 1.96", lambda k, n: _wilson(k, n, 1.645)),
    Mistake("z = 2.576 is for 99 %: 1.96", lambda k, n: _wilson(k, n, 2.576)),
    Mistake("the division by 1 + z²/n is missing", _undivided),
    Mistake("these are percent: give shares", lambda k, n: [100 * end for end in _wilson(k, n)]),
    Mistake("low comes first, then high", lambda k, n: _wilson(k, n)[::-1]),
    Mistake(
        "√(p(1−p)) is the spread of a single row: it is divided by n inside the root",
        lambda k, n: _around(k, n, 1.96 * _error(k, n) * math.sqrt(n)),
    ),
    Mistake("this is how wide it is: give both ends", lambda k, n: _wilson(k, n)[1] - _wilson(k, n)[0]),
)

# ── Beyond chance ───────────────────────────────────────────────────────────────────────────────────────


def _reached(value: float, chance: Sequence[float]) -> int:
    return sum(draw >= value for draw in chance)


BEYOND = (
    Mistake(
        "p = 0 is more than so few draws can say: the value itself is one possible draw, 1 above and 1 below the line",
        lambda value, chance: _reached(value, chance) / len(chance),
    ),
    Mistake(
        "only the draws are counted below the line: 1 + draws",
        lambda value, chance: (1 + _reached(value, chance)) / len(chance),
    ),
    Mistake(
        "only the draws are counted above the line: 1 + those that reach the value",
        lambda value, chance: _reached(value, chance) / (1 + len(chance)),
    ),
    Mistake(
        "draws equal to the value reach it: ≥, not >",
        lambda value, chance: (1 + sum(draw > value for draw in chance)) / (1 + len(chance)),
    ),
    Mistake(
        "this counts the draws below the value",
        lambda value, chance: (1 + sum(draw <= value for draw in chance)) / (1 + len(chance)),
    ),
    Mistake(
        "this is 1 − p, the share that chance stays below",
        lambda value, chance: 1 - (1 + _reached(value, chance)) / (1 + len(chance)),
    ),
    Mistake(
        "doubled for two sides: the claim is that the value is larger, one side",
        lambda value, chance: 2 * (1 + _reached(value, chance)) / (1 + len(chance)),
    ),
    Mistake(
        "this is a z-score: count draws, chance need not be normal",
        lambda value, chance: (value - np.mean(chance)) / np.std(chance, ddof=1),
    ),
    Mistake("this is how many draws reach the value: divide", lambda value, chance: 1 + _reached(value, chance)),
)

# ── Over seeds, in pairs ────────────────────────────────────────────────────────────────────────────────


def _paired(ours, theirs, *, ddof=1, root=True, quantile=None, less=1) -> list[float]:
    difference = np.asarray(ours) - np.asarray(theirs)
    n = len(difference)
    t = student.ppf(0.975, n - less) if quantile is None else quantile(n)
    half = t * difference.std(ddof=ddof) / (math.sqrt(n) if root else 1)
    return [difference.mean(), difference.mean() - half, difference.mean() + half]


def _unpaired(ours, theirs, less=lambda n: 2 * n - 2) -> list[float]:
    n, mean = len(ours), np.mean(ours) - np.mean(theirs)
    half = student.ppf(0.975, less(n)) * math.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / n)
    return [mean, mean - half, mean + half]


def _shifted(ours, theirs) -> list[float]:
    mean, low, high = _paired(ours, theirs)
    return [mean, low - mean, high - mean]


PAIRED = (
    Mistake(
        "the two were treated as strangers: what a seed does to both cancels only in the differences, seed by seed",
        _unpaired,
    ),
    Mistake(
        "the two were treated as strangers: what a seed does to both cancels only in the differences, seed by seed",
        lambda a, b: _unpaired(a, b, less=lambda n: n - 1),
    ),
    Mistake(
        "1.96 is for many seeds: with so few, Student's t with n − 1 degrees is wider",
        lambda a, b: _paired(a, b, quantile=lambda n: 1.96),
    ),
    Mistake("t has n − 1 degrees of freedom, not n", lambda a, b: _paired(a, b, less=0)),
    Mistake("the spread is divided by n: by n − 1, ddof=1", lambda a, b: _paired(a, b, ddof=0)),
    Mistake(
        "this is the interval of one more seed, not of the mean: divide by √n", lambda a, b: _paired(a, b, root=False)
    ),
    Mistake("ours − theirs, not the other way round", lambda a, b: _paired(b, a)),
    Mistake(
        "t at 0.95 leaves 5 % on each side: 0.975",
        lambda a, b: _paired(a, b, quantile=lambda n: student.ppf(0.95, n - 1)),
    ),
    Mistake("low and high are ends, not distances from the mean", _shifted),
    Mistake("the mean is missing before the two ends", lambda a, b: _paired(a, b)[1:]),
)
