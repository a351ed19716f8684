"""Where a control can be moved to: every position of a slider or menu, or a choice of them, in its own writing."""

from __future__ import annotations

from typing import Any

import ipywidgets as W
import numpy as np

WIDE_RANGE = 16  # a slider of counts that ends that many times its start is thinned by factors, not by steps


def kind(control: W.Widget) -> str:
    """ "menu" to choose from, "slider" to move along, or "fixed": a text, whose values nobody can list."""
    if isinstance(control, W.SelectionSlider) or (hasattr(control, "min") and np.isscalar(control.value)):
        return "slider"
    return "menu" if hasattr(control, "options") or isinstance(control.value, bool) else "fixed"


def positions(control: W.Widget, now: Any = None) -> list:
    """The values a control can take, `now` (by default what it has) among them to the bit; of a text only its own."""
    now = control.value if now is None else now
    if hasattr(control, "options"):
        return list(control._options_values)
    if isinstance(control.value, bool):
        return [False, True]
    if kind(control) == "fixed":
        return [control.value]
    steps = np.arange(round((control.max - control.min) / (control.step or 1)) + 1)
    values = control.min + steps * (control.step or 1)
    values = getattr(control, "base", None) ** values if isinstance(control, W.FloatLogSlider) else values
    found = [type(control.value)(value) for value in values]
    found[int(np.argmin(np.abs(np.subtract(found, now))))] = now  # to the bit, and off the grid
    return found


def thinned(values: list, count: int, now: Any) -> list:
    """At most `count` of the values: first, last and `now` among them; by factors where whole numbers span far."""
    if len(values) <= count:
        return values
    first, last = values[0], values[-1]
    wide = isinstance(first, int) and first > 0 and last >= WIDE_RANGE * first
    wanted = np.geomspace(first, last, count) if wide else np.linspace(0, len(values) - 1, count)
    nearest = (
        [int(np.argmin(np.abs(np.subtract(values, one)))) for one in wanted] if wide else wanted.round().astype(int)
    )
    chosen = sorted({int(i) for i in nearest})
    if now in values and values.index(now) not in chosen:
        place = values.index(now)
        middle = chosen[1:-1] or chosen[:1]
        chosen[chosen.index(min(middle, key=lambda i: abs(i - place)))] = place
    return [values[i] for i in sorted(chosen)]


def shown(control: W.Widget, value: Any) -> str:
    """A position as the control itself writes it."""
    if hasattr(control, "options"):
        return str(control._options_labels[list(control._options_values).index(value)])
    if isinstance(value, bool):
        return "yes" if value else "no"
    form = getattr(control, "readout_format", "")
    return format(value, form if form != "d" else "") if form and not isinstance(value, str) else str(value)
