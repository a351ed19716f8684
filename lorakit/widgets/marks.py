"""The marks of a still picture: lines, bars and cells, each as a piece of SVG on two axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly.colors import get_colorscale

from lorakit.plots.style import FAINT, GREY
from lorakit.widgets.axes import Axis
from lorakit.widgets.png import data_uri, painted
from lorakit.widgets.wire import array

GREYS = ((0, "#ffffff"), (1, "#000000"))


def extent(trace: dict, side: str) -> np.ndarray:
    """The range of one axis that a trace needs, or its words: room around data, feet and sides of bars."""
    values = coordinates(trace, side)
    if values.dtype.kind not in "iuf" or not len(values):
        return values.astype(str)
    low, high = np.nanmin(values), np.nanmax(values)
    if trace.get("type") == "heatmap":
        half = (high - low) / max(2 * (len(values) - 1), 1) or 0.5
        return np.array([low - half, high + half])
    if trace.get("type") == "bar":
        along = (side == "x") == (trace.get("orientation") == "h")
        return np.array([min(low, 0), 1.05 * high]) if along else np.array([low - 0.5, high + 0.5])
    room = 0.05 * (high - low or 1) if side == "y" or "markers" in trace.get("mode", "lines") else 0
    return np.array([low - room, high + room])


def coordinates(trace: dict, side: str) -> np.ndarray:
    """Where a trace's points, bars or cells stand on one axis: as given, or counted from 0."""
    if side in trace:
        return array(trace[side])
    count = array(trace["z"]).shape["yx".index(side)] if "z" in trace else len(trace.get("xy"[side == "x"], ()))
    return np.arange(count)


def _scatter(trace: dict, x: Axis, y: Axis) -> str:
    points = np.column_stack([x(coordinates(trace, "x")), y(coordinates(trace, "y"))])
    seen = np.isfinite(points).all(axis=1)
    path, mode = " ".join(f"{a:.1f},{b:.1f}" for a, b in points[seen]), trace.get("mode", "lines")
    if trace.get("fill") == "toself":
        return f'<polygon points="{path}" fill="{trace.get("fillcolor", FAINT)}"/>'
    line = {"color": trace["colour"], "width": 2} | trace.get("line", {})
    stroke = f'stroke="{line["color"]}" stroke-width="{line["width"]}" opacity="{trace.get("opacity", 1)}"'
    lines = f'<polyline points="{path}" fill="none" {stroke}/>' if "lines" in mode else ""
    return lines + (_dots(trace, points, seen, line["color"]) if "markers" in mode else "")


def _dots(trace: dict, points: np.ndarray, seen: np.ndarray, colour: str) -> str:
    marker = {"color": colour, "size": 6} | trace.get("marker", {})
    sizes, colours = np.broadcast_to(array(marker["size"]), len(points)), _each(marker["color"], len(points))
    dots = zip(points, sizes, colours, seen)
    return "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{s / 2}" fill="{c}"/>' for (a, b), s, c, ok in dots if ok)


def _bar(trace: dict, x: Axis, y: Axis) -> str:
    lying = trace.get("orientation") == "h"
    across, upward = (y, x) if lying else (x, y)
    centres, values = across.numbers(coordinates(trace, "xy"[lying])), coordinates(trace, "yx"[lying]).astype(float)
    sides = across.pixels(centres - 0.375), across.pixels(centres + 0.375)
    feet = np.full(len(values), upward.pixels(upward.low if upward.logarithmic else 0)), upward(values)
    (left, right), (low, high) = (feet, sides) if lying else (sides, feet)
    marker = {"color": trace["colour"], "line": {}} | trace.get("marker", {})
    styles = zip(_each(marker["color"], len(values)), _each(marker["line"].get("color", "none"), len(values)))
    corners = zip(left, right, low, high)
    return "".join(_rectangle(*corner, *style) for corner, style in zip(corners, styles))


def _each(colour: Any, count: int) -> list[str]:
    """A colour a mark: plotly has one for all, a list, or numbers on a scale, which a still leaves grey."""
    listed = [colour] * count if isinstance(colour, str) else array(colour).tolist()
    return [one if isinstance(one, str) else GREY for one in listed]


def _rectangle(x0: float, x1: float, y0: float, y1: float, fill: str, stroke: str) -> str:
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def _heatmap(trace: dict, x: Axis, y: Axis) -> str:
    z = array(trace["z"]).astype(float)
    scale = trace.get("colorscale", GREYS)
    scale = get_colorscale(scale) if isinstance(scale, str) else scale
    low, high = trace.get("zmin", np.nanmin(z)), trace.get("zmax", np.nanmax(z))
    (x0, x1), (y0, y1) = (_ends(trace, side, axis) for side, axis in (("x", x), ("y", y)))
    pixels = painted(z, low, high, scale)
    upright = pixels if y0 < y1 else pixels[::-1]
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    how = 'preserveAspectRatio="none" style="image-rendering: pixelated"'
    return f'<image {place} {how} href="{data_uri(upright)}"/>'


def _ends(trace: dict, side: str, axis: Axis) -> np.ndarray:
    """The pixels of the outer edges of the first and last cell."""
    needs = extent(trace, side)
    return axis.pixels([-0.5, len(needs) - 0.5]) if needs.dtype.kind == "U" else axis(needs)


MARKS = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}
