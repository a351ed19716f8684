"""An interval for few rows, Wilson's (1927).

interval(correct, total)     (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), z = 1.96
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.stats import binomtest

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


def _half(k: int, n: int, half: float) -> list[float]:
    """Wilson's with another half of its width, before the division."""
    return [(k / n + 1.96**2 / (2 * n) + side * half) / (1 + 1.96**2 / n) for side in (-1, 1)]


def _exact(k: int, n: int) -> list[float]:
    low, high = binomtest(k, n).proportion_ci(0.95, method="exact")
    return [low, high]


def _agresti(k: int, n: int) -> list[float]:
    return _around(k + 2, n + 4, 1.96 * _error(k + 2, n + 4))


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
    Mistake("z = 2 is a rule of thumb: 1.96", lambda k, n: _wilson(k, n, 2.0)),
    Mistake("this is Clopper and Pearson's, the exact one: wider than Wilson's", _exact),
    Mistake("this is Agresti and Coull's: near Wilson's, and not it", _agresti),
    Mistake("1/√n is the margin at p = ½, rounded: take Wilson's", lambda k, n: _around(k, n, 1 / math.sqrt(n))),
    Mistake("rounded to two digits: give the ends as they are", lambda k, n: [round(end, 2) for end in _wilson(k, n)]),
    Mistake("this is of the wrong answers, n − correct", lambda k, n: _wilson(n - k, n)),
    Mistake("these are counts: give shares of n", lambda k, n: [n * end for end in _wilson(k, n)]),
    Mistake("z²/4n² is missing under the root", lambda k, n: _half(k, n, 1.96 * _error(k, n))),
    Mistake(
        "z is missing before the root", lambda k, n: _half(k, n, math.sqrt(_error(k, n) ** 2 + (1.96 / n) ** 2 / 4))
    ),
    Mistake(
        "under the root it is z²/4n²: n is squared too",
        lambda k, n: _half(k, n, 1.96 * math.sqrt(_error(k, n) ** 2 + 1.96**2 / (4 * n))),
    ),
    Mistake("this is how wide it is: give both ends", lambda k, n: _wilson(k, n)[1] - _wilson(k, n)[0]),
)
