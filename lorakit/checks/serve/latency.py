"""Latency as in table 1: warmed up, in turns, in milliseconds, with its spread.

    latency(variants, rounds, warmup, clock) → {name: (mean, spread)}

The machine here is made up: it gets slower as it goes on, its first calls are slow, and it keeps a log. What is right
is read off the log: which calls were made in which order, and how long each of the timed ones took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lorakit.checks.checking import Case, call
from lorakit.checks.comparing import same, usual
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail, passed


class Machine:
    """`variants` can be called and `clock` read, in seconds; `log` has (name, seconds) of every call."""

    def __init__(self, costs: Mapping[str, float]) -> None:
        self.now, self.asked = 1000.0, 0
        self.log: list[tuple[str, float]] = []
        self.variants = {name: self._variant(name, cost) for name, cost in costs.items()}

    def clock(self) -> float:
        """The time, and that it was asked for."""
        self.asked += 1
        return self.now

    def _variant(self, name: str, cost: float) -> Callable[[], None]:
        def run() -> None:
            calls = [seconds for called, seconds in self.log if called == name]
            cold = 5.0 if len(calls) < 2 else 1.0
            self.log.append((name, cost * cold * (1 + 0.001 * len(self.log) ** 2)))
            self.now += self.log[-1][1]

        return run


def check_latency(function: Callable, *, seed: int = 0) -> None:
    """`latency(variants, rounds, warmup, clock)` → {name: (mean ms, spread ms)}; raises `CheckFailed`."""
    draw = Draw(seed)
    for names in (("frozen", "LoRA", "Houlsby"), ("frozen", "merged"), ("a", "b", "c", "d")):
        costs = {name: 0.004 + 0.001 * draw.integer(0, 9) for name in names}
        rounds, warmup = draw.integer(6, 9), draw.integer(2, 4)
        machine, says = Machine(costs), f"{len(names)} variants, {rounds} rounds, {warmup} warm-up calls"
        case = Case(says, (machine.variants, rounds, warmup, machine.clock), None, shared=True)
        returned = call("latency", function, case)
        _check(machine, says, rounds, warmup, returned)
    passed("latency", "3 machines, each getting slower")


def _check(machine: Machine, says: str, rounds: int, warmup: int, returned: Any) -> None:
    diagnosis = _misrun(machine, rounds, warmup)
    if diagnosis:
        fail("latency", says, diagnosis=diagnosis)
    names, first = list(machine.variants), len(machine.variants) * warmup
    timed, everything = (_by_name(names, log) for log in (machine.log[first:], machine.log))
    expected = {name: _pair(took, 1) for name, took in timed.items()}
    if not any(same({name: _pair(took, ddof) for name, took in timed.items()}, returned, 1e-6) for ddof in (0, 1)):
        pairs = isinstance(returned, Mapping) and returned.keys() == expected.keys()
        why = _misread(timed, everything, returned) or (None if pairs else usual(expected, returned, 1e-6))
        fail("latency", says, expected, returned, why or "each name has a pair (mean, spread), in milliseconds")


def _by_name(names: list[str], log: list[tuple[str, float]]) -> dict[str, np.ndarray]:
    """Milliseconds."""
    return {name: 1e3 * np.array([seconds for called, seconds in log if called == name]) for name in names}


def _pair(took: np.ndarray, ddof: int) -> list[float]:
    return [took.mean(), took.std(ddof=ddof)]


def _misrun(machine: Machine, rounds: int, warmup: int) -> str | None:
    """What is wrong with the calls that were made."""
    names, called = list(machine.variants), [name for name, _ in machine.log]
    counts = {called.count(name) for name in names}
    if counts == {0}:
        return "no variant was called: variants[name]() has parentheses"
    if not machine.asked:
        return "the clock was never read: call clock() before and after, not another clock"
    if machine.asked < 2 * rounds * len(names) and counts == {rounds + warmup}:
        return "the clock was not read before and after every call: a time that holds two calls is no call's"
    if counts == {rounds}:
        return "there was no warm-up: the first calls are slow everywhere, and are not to be timed"
    if counts != {rounds + warmup}:
        return (
            f"each variant is to be called {warmup} times to warm up and {rounds} times on the clock, not {max(counts)}"
        )
    blocks = [called[i : i + len(names)] for i in range(len(names) * warmup, len(called), len(names))]
    if any(sorted(block) != sorted(names) for block in blocks):
        return (
            "each variant ran in one go: a machine that gets slower punishes the last; in every round each has its turn"
        )
    return None


def _misread(timed: Mapping[str, np.ndarray], everything: Mapping[str, np.ndarray], returned: Any) -> str | None:
    """What was made of the right calls."""
    slips: dict[str, Callable[[np.ndarray, float], list[float]]] = {
        "these are seconds: 1 s is 1000 ms": lambda t, spread: [t.mean() / 1e3, spread / 1e3],
        "this is the standard error of the mean; the spread is that of single calls": lambda t, spread: [
            t.mean(),
            spread / len(t) ** 0.5,
        ],
        "this is the median; table 1 has the mean": lambda t, spread: [float(np.median(t)), spread],
        "this is a median; table 1 has the mean": lambda t, spread: [float(np.sort(t)[(len(t) - 1) // 2]), spread],
        "these are microseconds: 1 s is 1000 ms": lambda t, spread: [t.mean() * 1e3, spread * 1e3],
        "this is the fastest call: table 1 has the mean": lambda t, spread: [t.min(), spread],
        "the first round on the clock is left out: the warm-up was before it": lambda t, spread: _pair(t[1:], 0),
        "this is the range, the slowest less the fastest: the standard deviation is asked for": lambda t, _: [
            t.mean(),
            np.ptp(t),
        ],
        "this is the variance: its square root is in milliseconds": lambda t, spread: [t.mean(), spread**2],
        "the spread is in percent of the mean: give milliseconds": lambda t, spread: [
            t.mean(),
            100 * spread / t.mean(),
        ],
        "the times are negative: after − before": lambda t, spread: [-t.mean(), spread],
        "this is the time of all rounds together: divide by their number": lambda t, spread: [t.sum(), spread],
        "the mean comes first, then the spread": lambda t, spread: [spread, t.mean()],
    }
    for ddof in (0, 1):
        if same({name: _pair(took, ddof) for name, took in everything.items()}, returned, 1e-6):
            return "the warm-up is in the mean: time the rounds after it only"
        for says, slip in slips.items():
            if same({name: slip(took, took.std(ddof=ddof)) for name, took in timed.items()}, returned, 1e-6):
                return says
    return None
