"""What a step in a random subspace costs beside a plain training step: MiniLM, D = 22.7M, d = 1000.

    python -m benchmarks.intrinsic

Both train by AdamW on the same batch of 32 × 64 tokens; their steps take turns, so that both meet the same machine.
Memory is the peak of a process of its own for each, above what it held before the first step.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from lorakit.analysis import Subspace
from lorakit.models import load_classifier

DIMENSION, ROWS, TOKENS, STEPS = 1000, 32, 64, 5


def stepper(subspace: bool, said: bool = False) -> Callable[[], None]:
    """One training step of the whole model, or of its subspace."""
    model, _ = load_classifier("minilm", labels=2)
    trained = Subspace(model, DIMENSION, said=said) if subspace else model
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=1e-4)
    g = torch.Generator().manual_seed(0)
    ids, labels = torch.randint(1000, 30000, (ROWS, TOKENS), generator=g), torch.randint(2, (ROWS,), generator=g)

    def step() -> None:
        trained(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak(subspace: bool) -> float:
    """Bytes that three steps added to what the process held before; read from Linux, which keeps the peak."""
    step, before = stepper(subspace), _status("VmRSS")
    for _ in range(3):
        step()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith(field))


def timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    steps = {"plain": stepper(False), "subspace": stepper(True), "subspace, SAID": stepper(True, said=True)}
    turns = [{name: timed(step) for name, step in steps.items()} for _ in range(STEPS + 1)][1:]  # the first warms up
    print(f"a step of MiniLM, {ROWS} × {TOKENS} tokens, d = {DIMENSION}, median of {STEPS}")
    for name in steps:
        seconds = statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["plain"] for turn in turns)
        print(f"  {name:<16}{seconds:6.2f} s  {ratio:.2f}×")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        full, inside = pool.map(peak, (False, True), chunksize=1)
    D = sum(p.numel() for p in load_classifier("minilm", labels=2)[0].parameters())
    print(f"  peak above the model, D = {D:,}: {full / 4 / D:.1f}·D floats plain, {inside / 4 / D:.1f}·D inside")
    print(f"  (a dense P would hold {4 * D * DIMENSION / 1e9:.0f} GB)")


if __name__ == "__main__":
    main()
