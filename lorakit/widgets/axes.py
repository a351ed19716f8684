"""One axis of a still picture: data → pixels, and the round numbers between its ends.

pixel = start + (value − low) / (high − low) · (stop − start)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

import numpy as np
from numpy.typing import ArrayLike


class Axis:
    """Maps data to pixels between `start` and `stop`. Words count as 0, 1, 2, … in order of appearance.

    `spec` is plotly's axis: its `range`, `autorange`, `rangemode`, `domain`, `tickformat` and `title` count.
    """

    def __init__(self, spec: dict, extents: Sequence[np.ndarray], start: float, stop: float) -> None:
        self.spec, self.logarithmic = spec, spec.get("type") == "log"
        self.words = list(dict.fromkeys(str(v) for e in extents if e.dtype.kind in "UO" for v in e))
        first, last = spec.get("domain", (0, 1))
        self.start, self.stop = start + (stop - start) * first, start + (stop - start) * last
        self.low, self.high = self._ends(extents)

    def _ends(self, extents: Sequence[np.ndarray]) -> tuple[float, float]:
        if self.spec.get("range") is not None:
            return tuple(self.spec["range"])
        low, high = (-0.5, len(self.words) - 0.5) if self.words else _span([self.numbers(e) for e in extents])
        low = min(low, 0) if self.spec.get("rangemode") == "tozero" else low
        return (high, low) if self.spec.get("autorange") == "reversed" else (low, high)

    def numbers(self, values: ArrayLike) -> np.ndarray:
        """The values as numbers on this axis: words by their order."""
        values = np.asarray(values)
        if self.words and values.dtype.kind not in "iuf":
            values = np.array([self.words.index(str(value)) for value in values])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(values.astype(float)) if self.logarithmic else values.astype(float)

    def __call__(self, values: ArrayLike) -> np.ndarray:
        """The pixels at which these values lie."""
        return self.pixels(self.numbers(values))

    def pixels(self, numbers: ArrayLike) -> np.ndarray:
        """The pixels of numbers that already count on this axis."""
        share = (np.asarray(numbers) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixel and label of each tick."""
        if not self.spec.get("visible", True):
            return []
        if self.words:
            return [(float(self.pixels(i)), word) for i, word in enumerate(self.words)]
        return [(float(self.pixels(value)), self._label(value)) for value in round_numbers(self.low, self.high)]

    def _label(self, value: float) -> str:
        value = 10.0**value if self.logarithmic else value
        if self.spec.get("showticklabels") is False:
            return ""
        return f"{value:.0%}" if self.spec.get("tickformat", "").endswith("%") else f"{value:g}"


def _span(extents: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([extent.astype(float) for extent in extents])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def round_numbers(low: float, high: float, most: int = 6) -> np.ndarray:
    """At most `most` multiples of 1, 2 or 5 times a power of ten within the range."""
    low, high = min(low, high), max(low, high)
    power = 10.0 ** floor(log10((high - low) / most))
    step = next(power * m for m in (1, 2, 5, 10, 20) if (high - low) / (power * m) <= most)
    return np.round(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step, 12) + 0.0  # not -0


def square(x: Axis, y: Axis) -> None:
    """Shorten one of two axes so that a unit has the same length on both; top left stays."""
    wide, high = (abs(axis.stop - axis.start) / abs(axis.high - axis.low) for axis in (x, y))
    unit = min(wide, high)
    x.stop = x.start + unit * abs(x.high - x.low)
    y.start = y.stop + unit * abs(y.high - y.low)
