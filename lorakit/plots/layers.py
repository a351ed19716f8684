"""One number a weight matrix, where it stands in the model: layer by layer, kind by kind."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.plots.panels import HEADLINES_TOP, Panels
from lorakit.plots.style import SEQUENTIAL, drawn

ROW, BETWEEN, BELOW, LONE_TOP = 36, 58, 52, 76  # pixels: a kind, between the two maps, under and over all
WORTH_PRINTING = 24  # columns at most that leave room for a number in each cell


def placed(name: str) -> tuple[str, str]:
    """(layer, kind) of a weight: "bert.encoder.layer.3.attention.self.query" → ("3", "attention.self.query").

    The first number in a name is the layer's; a name without one stands in a layer of its own, "–".
    """
    found = re.search(r"(?:^|\.)(\d+)\.(.+)$", name)
    return (found[1], found[2]) if found else ("–", name)


def short(name: str) -> str:
    """A weight in few letters: "bert.encoder.layer.3.attention.self.query" → "3 query"; the layer comes first."""
    layer, kind = placed(name.removesuffix(".weight"))
    few = re.sub(r"^(self_attn|attention|attn|mlp|self)\.", "", kind.replace("attention.self.", ""))
    return f"{layer} {few}" if layer != "–" else name


def layer_map(
    values: Mapping[str, float],
    *,
    null: Mapping[str, float] | None = None,
    mark: str | None = None,
    title: str = "By layer and matrix",
    about: str = "",
    form: str = ".2f",
) -> go.Figure:
    """A number of every weight, {name: value}, as a map of layers and kinds of matrices.

    null  the same by chance, beside it and in the same colours
    mark  the name of the weight to frame
    form  how numbers are written, as in plotly ("%" and "s" too)
    """
    tables = {"measured": values} | ({"by chance": null} if null else {})
    layers, kinds = _sides(values)
    inside = len(tables) * ROW * len(kinds) + (len(tables) - 1) * BETWEEN
    panels = Panels(len(tables), gap=(0, BETWEEN / inside))
    cells = {name: _table(table, layers, kinds) for name, table in tables.items()}
    traces = [_cells(z, layers, kinds, form, panels.axes(n)) for n, z in enumerate(cells.values())]
    traces += [_frame(mark, layers, kinds, panels.axes(n)) for n in range(len(cells))] if mark else []
    y = {"type": "category", "showgrid": False, "autorange": "reversed"}
    x = {"type": "category", "title": {"text": "layer"}, "showgrid": False}
    layout = panels.layout(*(panels.at(n, name if len(cells) > 1 else "", x, y) for n, name in enumerate(cells)))
    bar = {"thickness": 12, "outlinewidth": 0, "tickformat": form}
    layout["coloraxis"] = {"colorscale": SEQUENTIAL, "colorbar": bar, "showscale": not _printed(layers)}
    top = HEADLINES_TOP if null else LONE_TOP
    layout |= {"margin": {"t": top, "b": BELOW}, "height": inside + top + BELOW}
    return drawn(traces, title, about, _words(values, null, title), **layout)


def _sides(values: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """The layers there are, in order of their numbers, and the kinds in order of appearance."""
    where = [placed(name) for name in values]
    layers = sorted({layer for layer, _ in where}, key=lambda n: (n == "–", int(n) if n != "–" else 0))
    return layers, list(dict.fromkeys(kind for _, kind in where))


def _printed(layers: list[str]) -> bool:
    """Whether cells hold their numbers; else a bar of colours says what they are."""
    return len(layers) <= WORTH_PRINTING


def _table(values: Mapping[str, float], layers: list[str], kinds: list[str]) -> np.ndarray:
    z = np.full((len(kinds), len(layers)), np.nan)
    for name, value in values.items():
        layer, kind = placed(name)
        z[kinds.index(kind), layers.index(layer)] = value
    return z


def _cells(z: np.ndarray, layers: list[str], kinds: list[str], form: str, axes: dict[str, str]) -> dict:
    text = {"texttemplate": f"%{{z:{form}}}", "textfont": {"size": 12}} if _printed(layers) else {}
    hover = {"hovertemplate": f"layer %{{x}}, %{{y}}: %{{z:{form}}}<extra></extra>", "hoverongaps": False}
    scale = {"coloraxis": "coloraxis", "colorscale": SEQUENTIAL, "xgap": 2, "ygap": 2}
    return {"type": "heatmap", "z": z, "x": layers, "y": kinds, **axes, **scale, **text, **hover}


def _frame(name: str, layers: list[str], kinds: list[str], axes: dict[str, str]) -> dict:
    layer, kind = placed(name)
    marker = {"symbol": "square-open", "size": 24, "color": "#ffffff", "line": {"width": 3}}
    point = {"x": [layer], "y": [kind], "mode": "markers", "marker": marker, "hoverinfo": "skip", "showlegend": False}
    return {"type": "scatter", **point, **axes}


def _words(values: Mapping[str, float], null: Mapping[str, float] | None, title: str) -> str:
    most, least = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
    chance = f"; by chance {min(null.values()):.3g} to {max(null.values()):.3g}" if null else ""
    return f"{title}: from {values[least]:.3g} ({least}) to {values[most]:.3g} ({most}){chance}"
