"""The marks of a still picture: lines, bars and cells, each as a piece of SVG on two axes."""

from __future__ import annotations

import numpy as np

from lorakit.plots.style import FAINT
from lorakit.widgets.axes import Axis
from lorakit.widgets.png import data_uri, painted
from lorakit.widgets.wire import array

GREYS = ((0, "#ffffff"), (1, "#000000"))


def extent(trace: dict, side: str) -> np.ndarray:
    """The range of one axis that a trace needs, or its words: room around data, feet and sides of bars."""
    if trace.get("type") == "heatmap":
        return np.array([-0.5, array(trace["z"]).shape["yx".index(side)] - 0.5])
    values = array(trace.get(side, []))
    if values.dtype.kind not in "iuf" or not len(values):
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    if trace.get("type") == "bar":
        along = (side == "x") == (trace.get("orientation") == "h")
        return np.array([min(low, 0), 1.05 * high]) if along else np.array([low - 0.5, high + 0.5])
    room = 0.05 * (high - low or 1) if side == "y" or "markers" in trace.get("mode", "lines") else 0
    return np.array([low - room, high + room])


def _scatter(trace: dict, x: Axis, y: Axis) -> str:
    points = np.column_stack([x(array(trace["x"])), y(array(trace["y"]))])
    points = points[np.isfinite(points).all(axis=1)]
    path, mode = " ".join(f"{a:.1f},{b:.1f}" for a, b in points), trace.get("mode", "lines")
    if trace.get("fill") == "toself":
        return f'<polygon points="{path}" fill="{trace.get("fillcolor", FAINT)}"/>'
    line = {"color": trace["colour"], "width": 2} | trace.get("line", {})
    marker = {"color": line["color"], "size": 6} | trace.get("marker", {})
    stroke = f'stroke="{line["color"]}" stroke-width="{line["width"]}" opacity="{trace.get("opacity", 1)}"'
    lines = f'<polyline points="{path}" fill="none" {stroke}/>' if "lines" in mode else ""
    dot = f'r="{marker["size"] / 2}" fill="{marker["color"]}"'
    dots = [f'<circle cx="{a:.1f}" cy="{b:.1f}" {dot}/>' for a, b in points if "markers" in mode]
    return lines + "".join(dots)


def _bar(trace: dict, x: Axis, y: Axis) -> str:
    lying = trace.get("orientation") == "h"
    across, along = (y, "x") if lying else (x, "y")
    centres, values = across.numbers(array(trace["xy"[lying]])), array(trace[along])
    sides, feet = (centres - 0.375, centres + 0.375), (np.zeros(len(values)), values)
    (left, right), (low, high) = (feet, sides) if lying else (sides, feet)
    corners = zip(x(left), x(right), y(low), y(high))
    styles = zip(_each(trace, "color", len(values)), _each(trace, "line", len(values)))
    return "".join(_rectangle(*corner, *style) for corner, style in zip(corners, styles))


def _each(trace: dict, what: str, count: int) -> list[str]:
    """The colour of each bar, or of the line around it: plotly has one for all, or a list."""
    marker = {"color": trace["colour"]} | trace.get("marker", {})
    colour = marker["color"] if what == "color" else marker.get("line", {}).get("color", "none")
    return [colour] * count if isinstance(colour, str) else list(colour)


def _rectangle(x0: float, x1: float, y0: float, y1: float, fill: str, stroke: str) -> str:
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def _heatmap(trace: dict, x: Axis, y: Axis) -> str:
    z = array(trace["z"]).astype(float)
    low, high = trace.get("zmin", np.nanmin(z)), trace.get("zmax", np.nanmax(z))
    pixels = painted(z, low, high, trace.get("colorscale", GREYS))
    x0, x1, y0, y1 = x(-0.5), x(z.shape[1] - 0.5), y(-0.5), y(z.shape[0] - 0.5)
    upright = pixels if y0 < y1 else pixels[::-1]
    (left, right), (top, bottom) = sorted((x0, x1)), sorted((y0, y1))
    place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
    how = 'preserveAspectRatio="none" style="image-rendering: pixelated"'
    return f'<image {place} {how} href="{data_uri(upright)}"/>'


MARKS = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}
