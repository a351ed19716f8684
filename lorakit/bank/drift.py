"""W ← round(W − BA), W ← round(W + B′A′), again and again: what is left of W₀?

An entry that a task lifts past a power of two loses its last digits there, and they do not come back when the task
goes. With one task that happens once. With several in turn it is once for most entries, and for a few in every round,
always in the same direction, until the entry or one of its sums has passed a power of two. In a wider dtype it is as
far, in more rounds. What stands beside it needs no adding up: round(W₀ + BA), from W₀ itself, every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lorakit.delta import Delta, dense


@dataclass(frozen=True, eq=False)
class Drift:
    """How far W is from W₀ after numbers of switches, subtracted and added in place.

    dtype      what W is kept in
    switches   (n) numbers of switches, each to another task and W read after taking that task out again
    error      (n) ‖W − W₀‖_F / ‖ΔW‖_F, with the mean norm of the tasks' ΔW: 1 is an error as large as a task
    moved      (n) share of the entries that are not what they were, in [0, 1]
    exact      the error of W₀ kept beside: 0
    """

    dtype: str
    switches: np.ndarray
    error: np.ndarray
    moved: np.ndarray
    exact: float = 0.0

    def __repr__(self) -> str:
        last = (
            f"after {self.switches[-1]:,} switches an error of {self.error[-1]:.1%} of ΔW, {self.moved[-1]:.0%} moved"
        )
        return f"Drift({self.dtype}: {last})"


@torch.no_grad()
def drift(
    weight: Tensor,
    tasks: Sequence[Delta],
    switches: int = 1000,
    *,
    dtype: torch.dtype = torch.bfloat16,
    points: int = 24,
) -> Drift:
    """Switch `weight` (out, in) between the tasks' ΔW in turn, by subtracting and adding in `dtype`.

    points   at how many numbers of switches, spread by their logarithm, W is looked at
    Each sum is formed in float32 and cast, as a careful implementation does. Raises ValueError for no task, no
    switch, or a shape that is not the weight's.
    """
    if not tasks or switches < 1 or any(delta.shape != weight.shape for delta in tasks):
        shapes = [tuple(delta.shape) for delta in tasks]
        raise ValueError(f"give switches ≥ 1 and tasks' ΔW of {tuple(weight.shape)}; given {switches=} and {shapes}")
    changes = [dense(delta).float() for delta in tasks]
    frozen, size = weight.detach().to(dtype), float(np.mean([float(change.norm()) for change in changes]))
    looked = sorted({round(float(n)) for n in np.geomspace(1, switches, points)})
    now, rows = frozen.clone(), []
    for number in range(1, switches + 1):
        change = changes[number % len(changes)]
        now = (now.float() + change).to(dtype)
        now = (now.float() - change).to(dtype)
        if number in looked:
            rows.append((float((now.float() - frozen.float()).norm()) / size, float((now != frozen).float().mean())))
    error, moved = np.array(rows).T
    return Drift(str(dtype).removeprefix("torch."), np.array(looked), error, moved)
