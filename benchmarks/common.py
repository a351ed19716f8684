"""Fair measures on a machine that does other things too.

Time: contestants take turns, one call a round and each round in another order, so that a busy minute hits all of
them; a contestant's figure is its median, and its ratio to PEFT the median of the ratios within rounds. Where the
machine is never quiet, `--cpu` counts the processor's seconds on one thread instead of the wall's.
Memory: the most bytes that tensors hold at once, from the allocator's own record (torch's profiler), which repeats to
the byte. Resident memory would add whatever the allocator has not given back.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch starts

import torch
from torch import nn

RIVAL = "PEFT"
Work = Callable[[], object]
Clock = Callable[[], float]


def options(description: str, rounds: int) -> tuple[int, Clock]:
    """The rounds and the clock that the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--cpu", action="store_true", help="processor seconds on one thread, for a busy machine")
    given = parser.parse_args()
    if given.cpu:
        torch.set_num_threads(1)
    kind = "processor" if given.cpu else "wall"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {kind} seconds, {given.rounds} rounds")
    return given.rounds, time.process_time if given.cpu else time.perf_counter


def interleaved(works: Mapping[str, Work], rounds: int, clock: Clock) -> dict[str, list[float]]:
    """Seconds of each call, `rounds` of each, after one that is not counted."""
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(works[name], clock))
    return seconds


def timed(work: Work, clock: Clock) -> float:
    start = clock()
    work()
    return clock() - start


def ratio(seconds: Sequence[float], rival: Sequence[float]) -> float:
    """The median over rounds of how long this took beside the rival's time in the same round."""
    return median(ours / theirs for ours, theirs in zip(seconds, rival, strict=True))


def peak_bytes(work: Work) -> int:
    """The most that tensors held at once while `work` ran, beyond what they held before."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def held_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """What these tensors occupy, a shared storage counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def twin(model: nn.Module, own: Iterable[nn.Module] = ()) -> nn.Module:
    """A copy that shares the weights of `model`, but for those of the modules in `own`."""
    apart = {id(p) for module in own for p in module.parameters()}
    return copy.deepcopy(model, {id(p): p for p in model.parameters() if id(p) not in apart})


def heading(title: str) -> None:
    print(f"\n{title}\n{'─' * len(title)}", flush=True)


def verdict(value: float, bar: float | None) -> str:
    """A ratio, to the hundredth that it is good for, beside its bar: "0.88 ≤ 0.94 ✓"."""
    value = round(value, 2)
    return f"{value:5.2f}" if bar is None else f"{value:5.2f} ≤ {bar:.2f} {'✓' if value <= bar else '✗'}"
