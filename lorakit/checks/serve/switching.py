"""Merged, switched, cast: W + BA is exact on paper, and a weight in bfloat16 keeps three digits of it.

switch     W − BA + B′A′
drift      ‖W_k − W₀‖/‖W₀‖ after k rounds, in each of which every adapter goes in and out
survived   the share of the entries meant to change that a cast let change
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.comparing import listing
from lorakit.checks.drawing import Draw


def check_switch(function: Callable, *, seed: int = 0) -> None:
    """`switch(W, old, new)` → W − BA + B′A′ with old = (B, A), new = (B′, A′); raises `CheckFailed`."""
    draw = Draw(seed)
    cases: list[Case] = []
    for out, inputs, rank, dtype in draw.sizes(4):
        W, other = draw.normal(out, inputs, dtype=dtype), rank if len(cases) < 2 else rank + 1
        old, new = (
            (draw.normal(out, r, dtype=dtype), draw.normal(r, inputs, dtype=dtype)) for r in (rank, other)
        )  # scales are folded into B
        cases.append(Case(f"W {out}×{inputs}, ranks {rank} and {other}", (W, old, new), W - _of(old) + _of(new)))
    settle(
        "switch",
        function,
        cases,
        SWITCH,
        otherwise="three terms: W, less what the old pair makes, and what the new pair makes",
    )


def check_drift(function: Callable, *, seed: int = 0) -> None:
    """`drift(W, deltas, rounds)` → (rounds,) ‖W_k − W₀‖/‖W₀‖ in the dtype of W; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for count, dtype in ((3, torch.bfloat16), (2, torch.float16), (4, torch.bfloat16)):
        out, inputs = draw.distinct(2, 20, 40)
        W = draw.normal(out, inputs).mul(0.2).to(dtype)
        deltas = [(0.05 * draw.normal(out, 3) @ draw.normal(3, inputs)).to(dtype) for _ in range(count)]
        given = (W, deltas, draw.integer(5, 9))
        says = f"W {out}×{inputs} in {_short(dtype)}, {count} adapters, {given[2]} rounds"
        cases.append(Case(says, given, _drift(*given)))
    settle("drift", listing(function), cases, DRIFT, otherwise=ROUNDS)


ROUNDS = (
    "in a round each adapter goes in and out, one after another; then ‖W_k − W₀‖/‖W₀‖, with W₀ from before the first"
)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _of(pair: tuple[Tensor, Tensor]) -> Tensor:
    return pair[0] @ pair[1]


SWITCH = (
    Mistake("the old adapter is still in: take it off as well", lambda W, old, new: W + _of(new)),
    Mistake("the old adapter is off, and the new one is not on", lambda W, old, new: W - _of(old)),
    Mistake("both are added: W has the old one in it already", lambda W, old, new: W + _of(old) + _of(new)),
    Mistake("old and new changed places", lambda W, old, new: W + _of(old) - _of(new)),
    Mistake(
        "(B′ − B)(A′ − A) has cross terms: B′A′ − BA is a difference of two products",
        lambda W, old, new: W + (new[0] - old[0]) @ (new[1] - old[1]),
    ),
    Mistake("W came back as it was", lambda W, old, new: W),
    Mistake("this is the new adapter alone: W is missing", lambda W, old, new: _of(new)),
    Mistake("both are taken off: the new one is added", lambda W, old, new: W - _of(old) - _of(new)),
    Mistake("the old one is half taken off: all of it", lambda W, old, new: W - _of(old) / 2 + _of(new)),
    Mistake("B of one pair met A of the other", lambda W, old, new: W - old[0] @ new[1] + _of(new)),
    Mistake("B of one pair met A of the other", lambda W, old, new: W - _of(old) + new[0] @ old[1]),
    Mistake("half precision rounds W: keep the dtype", lambda W, old, new: (W - _of(old) + _of(new)).half()),
    Mistake("half precision rounds W: keep the dtype", lambda W, old, new: (W - _of(old) + _of(new)).bfloat16()),
    Mistake("this is the change alone: W is missing", lambda W, old, new: _of(new) - _of(old)),
)


def _drift(
    W, deltas: Sequence[Tensor], rounds: int, *, afresh=False, between=False, stay=False, together=False
) -> list:
    """The drift after each round, or what one of the mistakes makes of it."""
    start, seen = W, []
    for _ in range(rounds):
        W = start if afresh else W
        for step in [deltas] if together else [[delta] for delta in deltas]:
            for delta in step:
                W = W + delta
            for delta in [] if stay else step:
                W = W - delta
            seen += [_far(W, start)] if between else []
        seen += [] if between else [_far(W, start)]
    return seen


def _far(W: Tensor, start: Tensor) -> float:
    return float((W.double() - start.double()).norm() / start.double().norm())


def _walk(W: Tensor, deltas: Sequence[Tensor], rounds: int) -> list[Tensor]:
    """W before the first round, and after each."""
    walk = [W]
    for _ in range(rounds):
        for delta in deltas:
            W = (W + delta) - delta
        walk.append(W)
    return walk


def _round_by_round(W: Tensor, deltas: Sequence[Tensor], rounds: int) -> list[float]:
    walk = _walk(W, deltas, rounds)
    return [_far(now, before) for before, now in pairwise(walk)]


def _measured_roughly(W: Tensor, deltas: Sequence[Tensor], rounds: int) -> list[float]:
    return [float((now - W).norm() / W.norm()) for now in _walk(W, deltas, rounds)[1:]]


DRIFT = (
    Mistake(
        "every round starts from W₀ again: in service the weights go on from where they are",
        lambda W, deltas, rounds: _drift(W, deltas, rounds, afresh=True),
    ),
    Mistake(
        "the sums are made in float32 here, and hardly drift: W is stored in its own dtype after every step",
        lambda W, deltas, rounds: _drift(W.float(), [delta.float() for delta in deltas], rounds),
    ),
    Mistake(
        "one number for each adapter came back; asked is one after each round, when every adapter has been in and out",
        lambda W, deltas, rounds: _drift(W, deltas, rounds, between=True),
    ),
    Mistake(
        "the adapters are put in and never taken out",
        lambda W, deltas, rounds: _drift(W, deltas, rounds, stay=True),
    ),
    Mistake(
        "all adapters were in at once: each goes out before the next comes in",
        lambda W, deltas, rounds: _drift(W, deltas, rounds, together=True),
    ),
    Mistake(
        "this is ‖W_k − W₀‖: divide by ‖W₀‖",
        lambda W, deltas, rounds: [far * float(W.double().norm()) for far in _drift(W, deltas, rounds)],
    ),
    Mistake("this is how far each round moved: measure from W₀, before the first", _round_by_round),
    Mistake(
        "these are running sums: each entry is the distance after its round",
        lambda W, deltas, rounds: torch.tensor(_drift(W, deltas, rounds)).cumsum(0).tolist(),
    ),
    Mistake("the norms are squared", lambda W, deltas, rounds: [far**2 for far in _drift(W, deltas, rounds)]),
    Mistake(
        "these are percent: give ‖W_k − W₀‖/‖W₀‖",
        lambda W, deltas, rounds: [100 * far for far in _drift(W, deltas, rounds)],
    ),
    Mistake("only the first adapter goes in and out", lambda W, deltas, rounds: _drift(W, deltas[:1], rounds)),
    Mistake(
        "the adapters were summed and went in as one: each by itself",
        lambda W, deltas, rounds: _drift(W, [sum(deltas[1:], deltas[0])], rounds),
    ),
    Mistake(
        "the adapters went in from the last to the first", lambda W, deltas, rounds: _drift(W, deltas[::-1], rounds)
    ),
    Mistake("the last round comes first here", lambda W, deltas, rounds: _drift(W, deltas, rounds)[::-1]),
    Mistake("this is the drift after the last round only", lambda W, deltas, rounds: _drift(W, deltas, rounds)[-1]),
    Mistake("the difference is measured in half precision itself: W.float() before you subtract", _measured_roughly),
)
