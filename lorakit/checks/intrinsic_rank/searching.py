"""d90, the least d that brings 90 % of what there is to gain, in few training runs.

d90(score, ladder, full)    score(d) ≥ score(0) + 0.9·(full − score(0)), by halving the ladder
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lorakit.checks.checking import Case, Mistake, call, settle
from lorakit.checks.comparing import same
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail


def check_d90(function: Callable, *, seed: int = 0) -> None:
    """`d90(score, ladder, full)` → the least d at 90 % of the gain, ∞ if none, in few runs; raises `CheckFailed`."""
    draw = Draw(seed)
    lengths = (draw.integer(30, 40), draw.integer(12, 20), draw.integer(5, 8), 1, draw.integer(40, 60))
    searches = [_search(draw, length, reached=n != 2) for n, length in enumerate(lengths)]
    while len({wrong.wrong(*searches[0][0].args) for wrong in D90} | {searches[0][0].expected}) <= len(D90):
        searches[0] = _search(draw, lengths[0], reached=True)  # until no two wrong formulas agree
    searches.append(_tied(draw, draw.integer(9, 14)))
    for case, asked in searches:
        _check_runs(function, case, asked)
    settle(
        "d90",
        function,
        [case for case, _ in searches],
        (TIED, *WITHOUT, *D90),
        otherwise="the answer is one of the ladder, or ∞: the least whose score reaches the target",
    )


def _search(draw: Draw, length: int, reached: bool) -> tuple[Case, list[int]]:
    """A rising score of d, and the list of all d that it is asked for."""
    ladder = sorted(draw.distinct(length, 3, 4000))
    place = draw.integer(length // 3, 2 * length // 3) if reached else length
    null, full, asked = 0.3 + 0.2 * float(draw.normal(1).abs().clamp(max=1)), 0.9, []
    scores = {d: null + (full - null) * _gain(n, place, length) for n, d in enumerate(ladder)}

    def score(d: int) -> float:
        asked.append(d)
        return scores.get(d, null)

    says = f"{length} dimensions from {ladder[0]} to {ladder[-1]}, untrained {null:.2f}, full {full}"
    return Case(says, (score, ladder, full), ladder[place] if reached else math.inf), asked


def _tied(draw: Draw, length: int) -> tuple[Case, list[int]]:
    """A score that is the target to the last bit at one d: from 0 to 1, where 0.9 is 0.9 however it is worked out."""
    ladder, place, asked = sorted(draw.distinct(length, 3, 4000)), length // 2, []
    scores = {d: 0.9 if n == place else _gain(n, place, length) for n, d in enumerate(ladder)}

    def score(d: int) -> float:
        asked.append(d)
        return scores.get(d, 0.0)

    says = f"{length} dimensions, untrained 0, full 1, and d = {ladder[place]} scores 0.9"
    return Case(says, (score, ladder, 1.0), ladder[place]), asked


def _gain(n: int, place: int, length: int) -> float:
    """The share of the gain at a place of the ladder: under 0.9 before `place`, and rising all the way."""
    return 0.905 + 0.09 * (n - place) / length if n >= place else 0.2 + 0.69 * ((n + 1) / (place + 1)) ** 0.25


def _check_runs(function: Callable, case: Case, asked: list[int]) -> None:
    """For which d it asked for a score, and of an answer that is right, how often."""
    ladder = case.args[1]
    asked.clear()
    right = same(case.expected, call("d90", function, case), case.room)
    most, runs, between = 1 + math.ceil(math.log2(len(ladder) + 1)), len(asked), set(asked) - {0, *ladder}
    if between:
        fail("d90", case.says, diagnosis=f"score({min(between)}) was asked for: d is 0, or stands in the ladder")
    if right and runs > most:
        why = "each is a training run: halve what is left of the ladder each time, and ask for no score twice"
        fail("d90", case.says, f"at most {most} calls of score", f"{runs} calls", why)


def _least(score: Callable, ladder: Sequence[int], target: float) -> int:
    return next((n for n, d in enumerate(ladder) if score(d) >= target), len(ladder))


def _target(score: Callable, full: float, share: float = 0.9) -> float:
    return score(0) + share * (full - score(0))


def _at(ladder: Sequence[int], place: int, none: float = math.inf) -> float:
    return ladder[place] if 0 <= place < len(ladder) else none


def _none(score: Callable, ladder: Sequence[int], full: float, none: float | None) -> float | None:
    """What stands for "none of them", where none reaches the target."""
    if _least(score, ladder, _target(score, full)) < len(ladder):
        raise ValueError("one of them does")
    return none


NONE = "no d of the ladder reaches the target here: that is ∞, math.inf"
D90 = (
    Mistake(NONE, lambda score, ladder, full: ladder[-1]),
    Mistake(
        "the target is 0.9·full here: what the untrained model scores is no merit of z; take 90 % of the gain",
        lambda score, ladder, full: _at(ladder, _least(score, ladder, 0.9 * full)),
    ),
    Mistake(
        "this is the place in the ladder, not the d that stands there",
        lambda score, ladder, full: _least(score, ladder, _target(score, full)),
    ),
    Mistake(
        "this is the largest d that fails; d90 is the least that reaches the target",
        lambda score, ladder, full: _at(ladder, _least(score, ladder, _target(score, full)) - 1, 0),
    ),
    Mistake(
        "one rung too high: the d before it reaches the target as well",
        lambda score, ladder, full: _at(ladder, _least(score, ladder, _target(score, full)) + 1),
    ),
    Mistake(
        "the target is the full score itself: d90 asks for 90 % of the gain",
        lambda score, ladder, full: _at(ladder, _least(score, ladder, full)),
    ),
    Mistake(
        "the target is 90 % of the way down from nothing, 0.9·(full − untrained): the untrained score has to be added",
        lambda score, ladder, full: _at(ladder, _least(score, ladder, 0.9 * (full - score(0)))),
    ),
)
TIED = Mistake(  # equal to what is right where no score is the target itself
    "a score that is the target reaches it: ≥, not >",
    lambda score, ladder, full: _at(ladder, _least(score, ladder, math.nextafter(_target(score, full), math.inf))),
)
WITHOUT = tuple(
    Mistake(NONE, lambda score, ladder, full, none=none: _none(score, ladder, full, none)) for none in (-1, 0, None)
)
