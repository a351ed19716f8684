"""One number a weight matrix, where it stands in the model: layer by layer, kind by kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.plots.panels import HEADLINES_TOP, Panels, frame
from lorakit.plots.style import SEQUENTIAL, drawn

ROW, BETWEEN, BELOW, LONE_TOP = 36, 58, 52, 76  # pixels: a kind, between the two maps, under and over all
NOWHERE = "–"  # the layer of a weight that stands in none
WORTH_PRINTING = 24  # columns at most that leave room for a number in each cell


def placed(name: str) -> tuple[str, str]:
    """(layer, kind) of a weight: "bert.encoder.layer.3.attention.self.query" → ("3", "attention.self.query").

    The first number in a name is the layer's; a name without one stands in a layer of its own, "–".
    """
    found = re.search(r"(?:^|\.)(\d+)\.(.+)$", name)
    return (found[1], found[2]) if found else (NOWHERE, name)


def places(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """`placed` for all of them; where layers are numbered in several stacks, the kind says which: "encoder.*.q"."""
    names = list(names)
    stacks = {name: name[: -len(".".join(placed(name)))] for name in names if placed(name)[0] != NOWHERE}
    several = len(set(stacks.values())) > 1
    return {
        name: _in_stack(placed(name), stacks[name]) if several and name in stacks else placed(name) for name in names
    }


def _in_stack(place: tuple[str, str], stack: str) -> tuple[str, str]:
    layer, kind = place
    return layer, f"{stack}*.{kind}"


def labels(names: Iterable[str]) -> list[str]:
    """Weights in few letters: "bert.encoder.layer.3.attention.self.query" → "3 query"; in full where two agree."""
    names = list(names)
    brief = [_brief(name.removesuffix(".weight")) for name in names]
    return brief if len(set(brief)) == len(names) else names


def _brief(name: str) -> str:
    layer, kind = placed(name)
    return name if layer == NOWHERE else f"{layer} {re.sub(r'^(attention.self|self_attn)[.]', '', kind)}"


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
    y = {"type": "category", "showgrid": False, "autorange": "reversed"}
    x = {"type": "category", "title": {"text": "layer"}, "showgrid": False}
    layout = panels.layout(*(panels.at(n, name if len(cells) > 1 else "", x, y) for n, name in enumerate(cells)))
    bar = {"thickness": 12, "outlinewidth": 0, "tickformat": form}
    if mark:
        layer, kind = places(values)[mark]
        at = layers.index(layer), kinds.index(kind)
        layout["shapes"] = [rim for n in range(len(cells)) for rim in frame(*at, panels.axes(n))]
    layout["coloraxis"] = {"colorscale": SEQUENTIAL, "colorbar": bar, "showscale": not _printed(layers)}
    top = HEADLINES_TOP if null else LONE_TOP
    layout |= {"margin": {"t": top, "b": BELOW}, "height": inside + top + BELOW}
    return drawn(traces, title, about, _words(values, null, title), **layout)


def _sides(values: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """The layers there are, in order of their numbers, and the kinds in order of appearance."""
    where = places(values).values()
    layers = sorted({layer for layer, _ in where}, key=lambda n: (n == NOWHERE, int(n) if n != NOWHERE else 0))
    return layers, list(dict.fromkeys(kind for _, kind in where))


def _printed(layers: list[str]) -> bool:
    """Whether cells hold their numbers; else a bar of colours says what they are."""
    return len(layers) <= WORTH_PRINTING


def _table(values: Mapping[str, float], layers: list[str], kinds: list[str]) -> np.ndarray:
    z = np.full((len(kinds), len(layers)), np.nan)
    for name, (layer, kind) in places(values).items():
        z[kinds.index(kind), layers.index(layer)] = values[name]
    return z


def _cells(z: np.ndarray, layers: list[str], kinds: list[str], form: str, axes: dict[str, str]) -> dict:
    text = {"texttemplate": f"%{{z:{form}}}", "textfont": {"size": 12}} if _printed(layers) else {}
    hover = {"hovertemplate": f"layer %{{x}}, %{{y}}: %{{z:{form}}}<extra></extra>", "hoverongaps": False}
    scale = {"coloraxis": "coloraxis", "colorscale": SEQUENTIAL, "xgap": 2, "ygap": 2}
    return {"type": "heatmap", "z": z, "x": layers, "y": kinds, **axes, **scale, **text, **hover}


def _words(values: Mapping[str, float], null: Mapping[str, float] | None, title: str) -> str:
    most, least = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
    chance = f"; by chance {min(null.values()):.3g} to {max(null.values()):.3g}" if null else ""
    return f"{title}: from {values[least]:.3g} ({least}) to {values[most]:.3g} ({most}){chance}"
