"""A still picture of a plotly figure, as plain SVG: what is shown where no plotly.js can run.

    figure as JSON → panels (one a pair of axes) → marks in pixels → one <svg>

It draws what this package's plots are made of, lines, markers, areas, bars, heatmaps and reference lines, on
the axes and in the colours of the figure, and leaves other kinds of trace out. It is a picture of the same
numbers, not a second plotly: hover, zoom and fine typography stay with the real one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape, unescape

import numpy as np

from lorakit.plots.style import COLOURS, FAINT, INK
from lorakit.widgets.axes import Axis, square
from lorakit.widgets.marks import MARKS, extent
from lorakit.widgets.wire import array

WIDTH, HEIGHT = 640, 360
MARGIN = {"l": 56, "r": 24, "t": 72, "b": 48}
CORNERS = {"x0", "x1", "y0", "y1"}
WORD = 6.5  # pixels of a character, to leave room for labels

Panels = dict[tuple[str, str], list[dict]]  # the names of two axes, and the traces on them


def still(spec: dict, alt: str) -> str:
    """The figure `spec`, as `Figure.to_plotly_json` gives it, as one <svg> of the accessible name `alt`."""
    layout = spec["layout"]
    template = layout.get("template", {}).get("layout", {})
    height = layout.get("height") or template.get("height", HEIGHT)
    margin = MARGIN | template.get("margin", {}) | layout.get("margin", {})
    colours = layout.get("colorway") or template.get("colorway", COLOURS)
    panels: Panels = {}
    for i, trace in enumerate(spec["data"]):
        if trace.get("type", "scatter") in MARKS:
            axes = trace.get("xaxis", "x"), trace.get("yaxis", "y")
            panels.setdefault(axes, []).append({"colour": colours[i % len(colours)], **trace})
    left = margin["l"] + WORD * max((len(word) for trace in spec["data"] for word in _names(trace)), default=0)
    box = left, margin["t"], WIDTH - margin["r"], height - margin["b"]
    drawn = (_panel(layout, axes, panels, box) for axes in panels)
    heads = _titles(layout, margin["l"]) + _legend(spec, margin["l"], margin["t"] - 12) + _headlines(layout, box)
    return _svg(height, heads + "".join(drawn), alt)


def stacked(stills: Sequence[str], alt: str) -> str:
    """Several stills, one below the other, as one."""
    heights = [int(re.findall(r' height="(\d+)"', picture)[0]) for picture in stills]
    tops = [sum(heights[:i]) for i in range(len(stills))]
    placed = (f'<g transform="translate(0 {top})">{still}</g>' for top, still in zip(tops, stills))
    return _svg(sum(heights), "".join(placed), alt)


def _names(trace: dict) -> list[str]:
    """The words on a trace's vertical axis, which need room."""
    values = array(trace.get("y", []))
    return values.tolist() if values.dtype.kind == "U" else []


def _svg(height: int, body: str, alt: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(alt)}" fill="{INK}" font-size="13" '
        f'font-family="system-ui, sans-serif">{body}</svg>'
    )


def _panel(layout: dict, axes: tuple[str, str], panels: Panels, box: tuple[float, ...]) -> str:
    """One pair of axes and what is drawn on it; panels on one x axis share its extent."""
    left, top, right, bottom = box
    traces = panels[axes]
    shapes = [s for s in layout.get("shapes", ()) if s.get("yref", "y") == axes[1] and "y0" in s]
    boxes = (s for s in shapes if s.get("type") == "rect" and s.get("xref", "x") == axes[0])
    frames = [box for box in boxes if box.keys() >= CORNERS]
    references = [s for s in shapes if s.get("type") == "line"]
    xspec, yspec = (_spec(layout, name) for name in axes)
    shared = [t for (x, _), ts in panels.items() if x == axes[0] for t in ts]
    x = Axis(xspec, [extent(trace, "x") for trace in shared], left, right)
    levels = np.array([shape["y0"] for shape in references], dtype=float)
    y = Axis(yspec, [extent(trace, "y") for trace in traces] + [levels], bottom, top)
    if "scaleanchor" in yspec:
        square(x, y)
    marks = [MARKS[trace.get("type", "scatter")](trace, x, y) for trace in traces]
    names = [
        _name(a, x, y)
        for a in layout.get("annotations", ())
        if a.get("yref", "y") == axes[1] and a.get("y") is not None
    ]
    lines = [_reference(shape, x, y) for shape in references] + [_frame(shape, x, y) for shape in frames]
    return _ruled(x, y, bottom_most=xspec.get("anchor", "y") == axes[1]) + "".join(marks + lines + names)


def _spec(layout: dict, name: str) -> dict:
    return layout.get(f"{name[0]}axis{name[1:]}", {})


def _reference(shape: dict, x: Axis, y: Axis) -> str:
    height, colour = float(y(shape["y0"])), shape.get("line", {}).get("color", INK)
    across = f'x1="{x.start:.1f}" x2="{x.stop:.1f}" y1="{height:.1f}" y2="{height:.1f}"'
    return f'<line {across} stroke="{colour}" stroke-dasharray="2 3"/>'


def _frame(shape: dict, x: Axis, y: Axis) -> str:
    """A rectangle by its corners, on an axis of words by their numbers."""
    (left, right), (top, bottom) = (
        sorted(axis.pixels([shape[f"{s}0"], shape[f"{s}1"]])) for s, axis in zip("xy", (x, y))
    )
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    line = f'stroke="{shape.get("line", {}).get("color", INK)}" stroke-width="{shape.get("line", {}).get("width", 2)}"'
    return f'<rect x="{left:.1f}" y="{top:.1f}" {size} fill="{shape.get("fillcolor", "none")}" {line}/>'


def _name(annotation: dict, x: Axis, y: Axis) -> str:
    """A text at the right end of a height: beside the panel where it is anchored left, else on the line."""
    (height,) = y([annotation["y"]])
    beside = annotation.get("xanchor") == "left"
    anchor, dx, dy = ("start", 8, 4) if beside else ("end", 0, -5)
    return _text(x.stop + dx, height + dy, _plain(annotation["text"]), anchor)


def _ruled(x: Axis, y: Axis, *, bottom_most: bool) -> str:
    """Grid, tick labels and titles of both axes; of several panels only the lowest carries the shared x axis."""
    out = ""
    for place, label in y.ticks():
        across = f'x1="{x.start}" x2="{x.stop:.1f}" y1="{place:.1f}" y2="{place:.1f}"'
        out += f'<line {across} stroke="{FAINT}"/>' if y.spec.get("showgrid", True) else ""
        out += _text(x.start - 8, place + 4, label, "end")
    for place, label in x.ticks() if bottom_most else ():
        out += _text(place, y.start + 18, label, "middle")
    middle = (y.start + y.stop) / 2
    if bottom_most:
        out += _text((x.start + x.stop) / 2, y.start + 38, _words(x.spec), "middle")
    return out + f'<g transform="translate(14 {middle:.1f}) rotate(-90)">{_text(0, 0, _words(y.spec), "middle")}</g>'


def _titles(layout: dict, left: float) -> str:
    title = layout.get("title", {})
    subtitle = _words({"title": title.get("subtitle", {})})
    return _text(left, 26, _words(layout), size=16) + _text(left, 46, subtitle, size=12)


def _headlines(layout: dict, box: tuple[float, ...]) -> str:
    """The texts placed on the figure as a whole, in shares of the drawing: the names of its panels."""
    left, top, right, bottom = box
    anchors = {"center": "middle", "right": "end"}
    placed = [a for a in layout.get("annotations", ()) if a.get("xref") == a.get("yref") == "paper"]
    return "".join(
        _text(
            left + a.get("x", 0.5) * (right - left),
            bottom - a.get("y", 0.5) * (bottom - top) - 6,
            _plain(a["text"]),
            anchors.get(a.get("xanchor"), "start"),
        )
        for a in placed
    )


def _legend(spec: dict, left: float, y: float) -> str:
    """The names of the traces, each after a square of its colour."""
    named = [trace for trace in spec["data"] if trace.get("name")]
    if spec["layout"].get("showlegend") is False or len(named) < 2:
        return ""
    entries = (f'<tspan fill="{_colour(t)}">■</tspan> {escape(t["name"])}\u2003' for t in named)
    return f'<text x="{left}" y="{y}">{"".join(entries)}</text>'


def _colour(trace: dict) -> str:
    marker = trace.get("marker", {})
    found = marker.get("line", {}).get("color"), marker.get("color"), trace.get("line", {}).get("color")
    return next((colour for colour in found if isinstance(colour, str)), INK)


def _words(spec: dict) -> str:
    return _plain(spec.get("title", {}).get("text") or "")


def _plain(text: str) -> str:
    """A text of plotly's without its tags: SVG has no <sub>."""
    return unescape(re.sub(r"<[^>]*>", "", text))


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>' if text else ""
    )
