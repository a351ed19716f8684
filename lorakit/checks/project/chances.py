"""A p-value for few draws of chance.

p_value(value, chance)       (1 + how many draws reach the value) / (1 + draws)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import norm as normal
from scipy.stats import percentileofscore

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw


def check_beyond(function: Callable, *, seed: int = 0) -> None:
    """`p_value(value, chance)` → the share of chance that reaches the value, itself counted; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for size, reach, ties in ((18, 3, 0), (39, 5, 2), (98, 0, 0), (24, 0, 3), (30, 30, 0)):
        chance = draw.normal(size).double().sort().values.tolist()
        value = chance[-reach - 1] if reach < size else chance[0]
        value += 0.5 * (chance[-reach] - value) if 0 < reach < size else 1.0 if not reach else -1.0
        for tie in range(ties):
            chance[tie] = value
        order = draw.distinct(size, 0, size - 1)
        says = f"{size} draws, {reach + ties} of them reach the value" + (f" ({ties} are equal to it)" if ties else "")
        cases.append(Case(says, (value, [chance[n] for n in order]), (1 + reach + ties) / (1 + size)))
    settle(
        "beyond",
        function,
        cases,
        BEYOND,
        otherwise="count the draws that reach the value, with the value itself among them, and divide by all",
    )


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
    Mistake(
        "rounded: a p-value of 0.04 may have been 0.035",
        lambda value, chance: round((1 + _reached(value, chance)) / (1 + len(chance)), 2),
    ),
    Mistake(
        "this is a percentage: give a share",
        lambda value, chance: 100 * (1 + _reached(value, chance)) / (1 + len(chance)),
    ),
    Mistake(
        "upside down: draws that reach it, over all",
        lambda value, chance: (1 + len(chance)) / (1 + _reached(value, chance)),
    ),
    Mistake(
        "the value is counted twice: once", lambda value, chance: (2 + _reached(value, chance)) / (2 + len(chance))
    ),
    Mistake(
        "sizes without their signs are compared: the claim is that the value is larger",
        lambda value, chance: (1 + sum(abs(draw) >= abs(value) for draw in chance)) / (1 + len(chance)),
    ),
    Mistake(
        "this is p of a normal curve: count draws, chance need not be normal",
        lambda value, chance: normal.sf((value - np.mean(chance)) / np.std(chance, ddof=1)),
    ),
    Mistake(
        "this is the distance from chance: count how many draws reach the value",
        lambda value, chance: value - np.mean(chance),
    ),
    Mistake(
        "this is the share of draws below the value",
        lambda value, chance: sum(draw < value for draw in chance) / len(chance),
    ),
    Mistake(
        "this is the share of draws below the value",
        lambda value, chance: sum(draw <= value for draw in chance) / len(chance),
    ),
    Mistake(
        "this is a percentile: the share that chance reaches the value is asked for",
        lambda value, chance: percentileofscore(chance, value),
    ),
    Mistake("this is how many draws reach the value: divide", lambda value, chance: 1 + _reached(value, chance)),
)
