"""The loss as it falls: a curve that grows while `train` runs."""

from __future__ import annotations

import time
from typing import Protocol

from lorakit.plots import training_curve
from lorakit.widgets.view import PlotlyView

PAUSE = 0.1  # s between two redraws, at least
SHARE = 0.05  # of the time that redrawing may take


class Step(Protocol):
    """What `train` reports of a step, as far as a curve needs it."""

    step: int
    loss: float


class LiveCurve:
    """Pass it to `train(…, on_step=curve)`, having displayed `curve.view`; `steps` is how many will come.

    It redraws at most ten times a second, less often where drawing is slow, and always at the last step.
    """

    def __init__(self, steps: int, *, about: str = "") -> None:
        self.loss: list[float] = []
        self._steps, self._about, self._due = steps, about, 0.0
        self.view = PlotlyView(self.figure())

    def figure(self):
        """The curve so far, on an axis that holds all of it."""
        return training_curve(self, total=self._steps, about=self._about)

    def __call__(self, step: Step) -> None:
        """Take in one step; draw if it is time to."""
        self.loss.append(step.loss)
        began = time.monotonic()
        if began >= self._due or step.step >= self._steps:
            self.view.update(self.figure())
            self._due = began + max(PAUSE, (time.monotonic() - began) / SHARE)
