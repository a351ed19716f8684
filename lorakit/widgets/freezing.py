"""Every state of an explorer, computed beforehand: what a page needs to go on answering where no kernel does.

    controls, moved one by one ── the explorer redraws ──> Frozen(controls, tree, parts)

The tree has one level a control, outermost first, and at each leaf the figures of that state. What a control
offers is asked anew at every node, for a menu may depend on the one before it. Figures share most of what they
are made of, so that every part is kept once and named by its number.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import ipywidgets as W
import numpy as np

from lorakit.widgets.positions import kind, positions, shown, thinned
from lorakit.widgets.view import PlotlyView
from lorakit.widgets.wire import coarse

MOST = 1000  # states, unless told otherwise
HEAVIEST = 750_000  # bytes that the arrays of all states may take, unless told otherwise
SHARED_FROM = 60  # characters; a shorter part costs less where it stands


class Explorable(Protocol):
    """What can be frozen: an Explorer, or anything that has controls and, among its children, pictures."""

    controls: Sequence[W.ValueWidget]
    children: Sequence[W.Widget]


@dataclass(frozen=True, eq=False)
class Frozen:
    """An explorer's states.

    controls  for each {"kind": slider, menu or fixed, "label"}
    tree      for each control {"labels", "at", "next"}, and as a leaf [part of the wire, part of the alt text, …]
    parts     what figures are made of; {"$": n} in a part stands for part n
    panels    for each picture or text {"kind": view or words, "style"}
    thinned   what was left out, in words
    """

    controls: list[dict]
    tree: Any
    parts: list
    panels: list[dict]
    states: int
    thinned: list[str]

    @property
    def weight(self) -> int:
        """Bytes of all arrays."""
        return sum(len(part["bytes"]) * 3 // 4 for part in self.parts if isinstance(part, dict) and "bytes" in part)

    def __repr__(self) -> str:
        names = ", ".join(control["label"] for control in self.controls) or "nothing"
        return f"Frozen({self.states} states of {names}, {len(self.parts)} parts)"


def frozen(explorer: Explorable, *, most: int | None = None, values: Mapping[str, Sequence] | None = None) -> Frozen:
    """Move every control through its positions and keep each figure; the explorer is left where it was.

    most    states at most: sliders, never menus, are thinned to fit, and `thinned` says so. By default 1000, and
            fewer where their pictures would make the page heavy
    values  {description of a control: the values to freeze}, for a text a reader could type, or fewer of a menu
    Nothing is sent to a page meanwhile. Raises ValueError where `values` names no control.
    """
    told = dict(values or {})
    found = _Camera(explorer, most or MOST, told).take()
    while not most and found.weight > HEAVIEST and found.states > 1:
        fewer = int(found.states * HEAVIEST / found.weight)
        lighter = _Camera(explorer, max(fewer, 1), told).take()
        if lighter.states == found.states:
            break
        found = lighter
    return found


class _Camera:
    """Walks the tree of an explorer's states."""

    def __init__(self, explorer: Explorable, most: int, values: dict[str, Sequence]) -> None:
        self.explorer, self.values = explorer, values
        self.controls = [control for control in explorer.controls if hasattr(control, "value")]
        names = [control.description for control in self.controls]
        for name in values:
            if name not in names:
                raise ValueError(f"no control is called {name!r}; there are {', '.join(names)}")
        self.panels = list(panels(explorer, self.controls))
        self.parts: list = []
        self.numbers: dict[str, int] = {}
        self.states = 0
        self.reach = self._reach(most)

    def take(self) -> Frozen:
        before = [control.value for control in self.controls]
        with unheard([*self.controls, *self.panels]):
            try:
                tree = self._node(0, before)
            finally:
                for control, value in zip(self.controls, before):
                    control.value = value
        heads = [{"kind": self._kind(control), "label": control.description} for control in self.controls]
        return Frozen(heads, tree, self.parts, [_look(panel) for panel in self.panels], self.states, self._thinned())

    def _node(self, depth: int, here: list | None) -> Any:
        """The part of the tree from one control on; `here` are the values the explorer stood at, on its own path."""
        if depth == len(self.controls):
            self.states += 1
            return [number for panel in self.panels for number in self._shot(panel)]
        control = self.controls[depth]
        now = here[depth] if here else control.value
        options = self._positions(control, now)
        if kind(control) == "slider":
            options = thinned(options, self.reach[depth], now)
        labels, following, at = [], [], 0
        for i, value in enumerate(options):
            stays = here is not None and value == here[depth]
            at = i if stays else at
            control.value = value
            labels.append(shown(control, value))
            following.append(self._node(depth + 1, here if stays else None))
        return {"labels": labels, "at": at, "next": following}

    def _kind(self, control: W.ValueWidget) -> str:
        listed = kind(control) == "fixed" and len(self._positions(control)) > 1
        return "menu" if listed else kind(control)

    def _positions(self, control: W.ValueWidget, now: Any = None) -> list:
        return list(self.values.get(control.description) or positions(control, now))

    def _shot(self, panel: W.Widget) -> Iterator[int]:
        if not isinstance(panel, PlotlyView):
            yield self._number(panel.value)
            return
        whole = {part: self._kept(panel.wire[part])[0] for part in ("data", "layout")}
        yield self._number(whole)
        yield self._number(panel.alt)

    def _kept(self, node: Any) -> tuple[Any, int]:
        """`node` with its larger parts replaced by their numbers and raw bytes by base64, and about how long it is."""
        if isinstance(node, dict) and "bytes" in node:
            node = coarse(node)
        if isinstance(node, bytes):
            return b64encode(node).decode(), 2 * len(node)
        if not isinstance(node, dict | list):
            return node, len(node) if isinstance(node, str) else 4
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        kept = {key: self._kept(item) for key, item in pairs}
        found = {key: item for key, (item, _) in kept.items()}
        whole = found if isinstance(node, dict) else list(found.values())
        size = sum(6 + length for _, length in kept.values())
        return ({"$": self._number(whole)}, 8) if size >= SHARED_FROM else (whole, size)

    def _number(self, part: Any) -> int:
        key = json.dumps(part)
        if key not in self.numbers:
            self.numbers[key] = len(self.parts)
            self.parts.append(part)
        return self.numbers[key]

    def _reach(self, most: int) -> list[int]:
        """How many positions of each control, so that their product stays within `most`."""
        counts = [len(self._positions(control)) for control in self.controls]
        sliders = [
            i for i, one in enumerate(self.controls) if kind(one) == "slider" and one.description not in self.values
        ]
        while np.prod(counts, dtype=float) > most and any(counts[i] > 2 for i in sliders):
            largest = max(sliders, key=lambda i: counts[i])
            counts[largest] -= 1
        return counts

    def _thinned(self) -> list[str]:
        pairs = ((one, n, len(self._positions(one))) for one, n in zip(self.controls, self.reach))
        left_out = [f"{one.description}: {n} of {count} positions" for one, n, count in pairs if n < count]
        steps = max((part["step"] for part in self.parts if isinstance(part, dict) and "step" in part), default=0)
        return left_out + ([f"large pictures: numbers to {steps:g}"] if steps else [])


def panels(explorer: Any, controls: Sequence[W.Widget]) -> Iterator[W.Widget]:
    """The pictures and texts of an explorer, in the order in which it shows them."""
    for child in getattr(explorer, "children", ()):
        if isinstance(child, PlotlyView | W.HTML | W.HTMLMath | W.Label) and child not in controls:
            yield child
        else:
            yield from panels(child, controls)


@contextmanager
def unheard(widgets: Sequence[W.Widget]) -> Iterator[None]:
    """Within it no page hears what these widgets do, and views draw no stills."""
    comms = [(widget, widget.comm) for widget in widgets]
    views = [(widget, widget._drawn) for widget in widgets if isinstance(widget, PlotlyView)]
    for widget in widgets:
        widget.comm = None
    for view, _ in views:
        view._drawn = True
    try:
        yield
    finally:
        for widget, comm in comms:
            widget.comm = comm
        for view, drawn in views:
            view._drawn = drawn


def _look(panel: W.Widget) -> dict:
    layout = panel.layout
    style = {"flex": layout.flex, "min-width": layout.min_width, "width": layout.width, "max-width": "100%"}
    return {
        "kind": "view" if isinstance(panel, PlotlyView) else "words",
        "style": "; ".join(f"{name}: {value}" for name, value in style.items() if value),
    }
