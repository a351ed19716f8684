"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """One step: its number from 1, mean loss, learning rate, gradient norm before clipping, and seconds."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """A training run, one entry a step; `ended` is "finished", "interrupted" or "stopped" (by on_step)."""

    loss: np.ndarray
    lr: np.ndarray
    grad_norm: np.ndarray
    seconds: np.ndarray
    ended: str = "finished"

    @classmethod
    def of(cls, steps: list[Step], ended: str) -> History:
        _, loss, lr, grad_norm, seconds = np.array(steps, dtype=float).reshape(-1, len(Step._fields)).T
        return cls(loss, lr, grad_norm, seconds, ended)

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        last = f", loss {self.loss[0]:.3f} → {self.loss[-10:].mean():.3f}" if len(self) else ""
        return f"History({len(self)} steps {self.ended} in {self.seconds.sum():.1f} s{last})"


class Diverged(FloatingPointError):
    """The loss is no longer a number. `history` holds the steps before; the weights are as before this step."""

    history: History
