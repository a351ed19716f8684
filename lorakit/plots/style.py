"""How every figure looks: made for a light page and a dark one, for colour-blind eyes and a grey printer.

Paper and background are transparent and the text is a grey that reads on both; series differ by shape as
well as by colour; text is HTML and Unicode, for LaTeX inside plotly renders as nothing. All of it sits in one
template, so whoever shows a figure may still overrule it: what the layout itself says wins over a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

COLOURS = BLUE, ORANGE, GREY = "#3b82c4", "#dd7d1a", "#8c8c8c"  # on grey paper blue is the darkest
INK, FAINT, CLEAR = "#767676", "rgba(128, 128, 128, 0.25)", "rgba(128, 128, 128, 0)"
DIVERGING = (  # clear at zero: a white middle would glare on a dark page
    (0, "#16508f"),
    (0.25, BLUE),
    (0.5, "rgba(59, 130, 196, 0)"),
    (0.5, "rgba(221, 125, 26, 0)"),
    (0.75, ORANGE),
    (1, "#b45309"),
)
SEQUENTIAL = (  # from little to much: cells are opaque, so that they read alike on light and dark pages
    (0, "#14233c"),
    (0.25, "#2a5689"),
    (0.5, "#7d8ea3"),
    (0.75, "#d9a55f"),
    (1, "#ffe0a3"),
)
LEGEND_TOP = 96  # top margin, in pixels, that leaves a line for the legend below the subtitle

_AXIS = {
    "gridcolor": FAINT,
    "linecolor": FAINT,
    "zerolinecolor": FAINT,
    "tickcolor": CLEAR,
    "ticks": "outside",
    "ticklen": 4,
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}
_TITLE = {
    "x": 0,
    "xref": "paper",
    "xanchor": "left",
    "y": 1,
    "yref": "container",
    "yanchor": "top",
    "pad": {"t": 12},
    "font": {"size": 16},
    "subtitle": {"font": {"size": 12}},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        "title": _TITLE,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "colorway": COLOURS,
        "height": 320,
        "margin": {"l": 56, "r": 24, "t": 72, "b": 48},
        "xaxis": {**_AXIS, "showgrid": False, "zeroline": False},
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "modebar": {"bgcolor": CLEAR, "color": GREY, "activecolor": BLUE},
        "hoverlabel": {"align": "left"},
        "bargap": 0.25,
    }
)


def translucent(colour: str, alpha: float = 0.18) -> str:
    """A colour "#rrggbb" that lets the page through: for areas."""
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgba({red}, {green}, {blue}, {alpha})"


def drawn(data: Sequence[dict], title: str, about: str, alt: str, **layout: Any) -> go.Figure:
    """A figure in the house style: traces and axes as plotly's plain JSON, a subtitle and an alt text.

    One call builds it. Every `add_…` and `update_…` on a Figure costs a millisecond, and an explorer builds a
    figure at every move of its slider.
    """
    titles = {"text": title, "subtitle": {"text": about}}
    return go.Figure(data, {"template": TEMPLATE, "title": titles, "meta": {"alt": alt}, **layout})


def alt_text(figure: go.Figure) -> str:
    """What a screen reader says of a figure: its own sentence, or its title and what it is made of."""
    meta = figure.layout.meta
    if isinstance(meta, Mapping) and "alt" in meta:
        return meta["alt"]
    kinds = sorted({trace.type for trace in figure.data})
    return f"{figure.layout.title.text or 'Figure'}: {', '.join(kinds) or 'empty'} plot"


def reference_lines(values: Mapping[str, float] | None, yref: str = "y") -> dict[str, list[dict]]:
    """Dotted lines across a panel, each with its name and value: the layout's shapes and annotations."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": yref}
    name = {"xref": "paper", "x": 1, "xanchor": "right", "yref": yref, "yanchor": "bottom", "showarrow": False}
    style = {"color": GREY, "dash": "dot", "width": 1.5}
    items = (values or {}).items()
    return {
        "shapes": [{**line, "y0": value, "y1": value, "line": style} for _, value in items],
        "annotations": [{**name, "y": value, "text": f"{text} {value:.1%}"} for text, value in items],
    }
