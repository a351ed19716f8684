"""A difference for few seeds, in pairs.

paired(ours, theirs)         mean of the differences, and its 95 % interval by Student's t
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import t as student

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import listing
from lorakit.checks.drawing import Draw


def check_paired(function: Callable, *, seed: int = 0) -> None:
    """`paired(ours, theirs)` → (mean difference, low, high), 95 % by Student's t; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for n, scale in ((5, 0.005), (3, 0.005), (8, 0.04)):  # the last with differences of either sign, in any order
        theirs = 0.8 + 0.03 * draw.normal(n).double().numpy()
        ours = theirs + 0.012 + scale * draw.normal(n).double().numpy()
        cases.append(Case(f"{n} seeds", (ours.tolist(), theirs.tolist()), _paired(ours, theirs), tolerance=1e-4))
    settle(
        "paired",
        listing(function),
        cases,
        PAIRED,
        otherwise="the differences seed by seed; their mean; and t·s/√n to each side, s with n − 1",
    )


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


def _range(ours, theirs) -> list[float]:
    difference = np.subtract(ours, theirs)
    return [difference.mean(), difference.min(), difference.max()]


def _variance(ours, theirs) -> list[float]:
    difference = np.subtract(ours, theirs)
    half = student.ppf(0.975, len(difference) - 1) * difference.var(ddof=1) / math.sqrt(len(difference))
    return [difference.mean(), difference.mean() - half, difference.mean() + half]


def _once_more(n: int) -> float:
    return student.ppf(0.975, n - 1) * math.sqrt(n / (n - 1))


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
    Mistake("the seeds were sorted: pairs are of one seed", lambda a, b: _paired(np.sort(a), np.sort(b))),
    Mistake(
        "the signs are lost: a seed where ours is worse counts against it",
        lambda a, b: _paired(np.abs(np.subtract(a, b)), 0),
    ),
    Mistake(
        "this is ± one standard error: about two of three such intervals hold the mean",
        lambda a, b: _paired(a, b, quantile=lambda n: 1.0),
    ),
    Mistake(
        "2 is for many seeds: with so few, Student's t with n − 1 degrees is wider",
        lambda a, b: _paired(a, b, quantile=lambda n: 2.0),
    ),
    Mistake(
        "two slips: 1.96 for Student's t, and a spread divided by n",
        lambda a, b: _paired(a, b, quantile=lambda n: 1.96, ddof=0),
    ),
    Mistake("t at 0.995 is for 99 %: 0.975", lambda a, b: _paired(a, b, quantile=lambda n: student.ppf(0.995, n - 1))),
    Mistake("this is the range of the differences: the interval is of their mean", _range),
    Mistake("the mean comes first, then low and high", lambda a, b: [_paired(a, b)[k] for k in (1, 0, 2)]),
    Mistake("the median stands for the mean", lambda a, b: [float(np.median(np.subtract(a, b))), *_paired(a, b)[1:]]),
    Mistake("these are percent: give differences as they are", lambda a, b: [100 * end for end in _paired(a, b)]),
    Mistake(
        "√(n − 1) is in ddof=1 already: the mean's error divides by √n", lambda a, b: _paired(a, b, quantile=_once_more)
    ),
    Mistake(
        "this is relative, over theirs: the difference itself is asked for", lambda a, b: _paired(np.divide(a, b), 1.0)
    ),
    Mistake("the variance stands for the spread: its square root", _variance),
    Mistake("the mean is missing before the two ends", lambda a, b: _paired(a, b)[1:]),
)
