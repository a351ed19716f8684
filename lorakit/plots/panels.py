"""Several panels in one figure: where each stands, and which axes belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log10
from typing import Any

from lorakit.plots.style import INK

HEADLINES_TOP = 100  # top margin, in pixels, that leaves a line for the panels' names below the subtitle
BOTH_TOP = 128  # and one for the legend above that
RIMS = ("#14233c", 5), ("#ffffff", 2)  # colour and width: dark around light, so that one of them shows on any cell


class Panels:
    """A grid of `count` panels, row by row, numbered from 0; `gap` is the room between columns and rows, in shares."""

    def __init__(self, count: int, columns: int = 1, gap: tuple[float, float] = (0.1, 0.2)) -> None:
        self.columns, self.rows, self.gap = columns, -(-count // columns), gap
        self.count = count

    def axes(self, number: int) -> dict[str, str]:
        """What a trace says to stand in that panel."""
        return {"xaxis": f"x{_suffix(number)}", "yaxis": f"y{_suffix(number)}"}

    def at(self, number: int, title: str, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
        """The two axes of a panel in the layout; titles of axes are kept on the outer panels only."""
        row, column = divmod(number, self.columns)
        suffix = _suffix(number)
        below = number + self.columns >= self.count
        ends = _share(column, self.columns, self.gap[0]), _share(self.rows - 1 - row, self.rows, self.gap[1])
        x = {**(x if below else _untitled(x)), "domain": ends[0], "anchor": f"y{suffix}"}
        y = {**(_untitled(y) if column else y), "domain": ends[1], "anchor": f"x{suffix}"}
        return {f"xaxis{suffix}": x, f"yaxis{suffix}": y, "annotations": [_headline(title, ends)]}

    def layout(self, *panels: dict[str, Any]) -> dict[str, Any]:
        """All of them as one layout."""
        headlines = [headline for panel in panels for headline in panel["annotations"]]
        return {key: value for panel in panels for key, value in panel.items()} | {"annotations": headlines}


def frame(column: float, row: float, axes: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """A frame around one cell of a map, by its place on both axes: on an axis of words, its number from 0.

    It is made of shapes of the layout, not of traces: where only the frame moves, a page draws only the frame.
    """
    corners = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    where = {f"{name[0]}ref": axis for name, axis in (axes or {"xaxis": "x", "yaxis": "y"}).items()}
    return [{"type": "rect", **corners, **where, "line": {"color": rim, "width": width}} for rim, width in RIMS]


def legend_above(height: int) -> dict[str, Any]:
    """The legend of a figure that high, in pixels, between its subtitle and the names of its panels."""
    return {"legend": {"yref": "container", "yanchor": "top", "y": 1 - 62 / height}, "margin": {"t": BOTH_TOP}}


def logarithmic(values: Iterable[float], **axis: Any) -> dict[str, Any]:
    """A logarithmic axis that holds those of the values that are above 0, with a little room at both ends."""
    seen = [log10(value) for value in values if value > 0] or [0.0]
    room = 0.06 * (max(seen) - min(seen)) or 0.5
    return {"type": "log", "range": [min(seen) - room, max(seen) + room], **axis}


def _share(place: int, of: int, gap: float) -> list[float]:
    size = (1 - gap * (of - 1)) / of
    start = place * (size + gap)
    return [start, min(start + size, 1.0)]


def _headline(title: str, ends: tuple[list[float], list[float]]) -> dict[str, Any]:
    where = {"xref": "paper", "yref": "paper", "x": ends[0][0], "y": ends[1][1]}
    look = {"xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 13, "color": INK}}
    return {**where, **look, "text": title}


def _untitled(axis: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in axis.items() if key != "title"}


def _suffix(number: int) -> str:
    return str(number + 1) if number else ""
