"""φ(i, j): which directions two ΔW share (Hu et al. 2021, figures 3 and 4), with the null in the same colours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.analysis import Similarity
from lorakit.plots.panels import HEADLINES_TOP, Panels, frame
from lorakit.plots.style import SEQUENTIAL, drawn

FEW = 100  # cells of a table that still has room for its numbers
MANY = 32  # directions: of more than these, gaps between cells would be most of a narrow picture
FLAT = 2.5  # times as wide as high: such tables stand below each other
HOVER = "φ(%{y}, %{x}) = %{z:.3f}<br>by chance %{customdata[0]:.3f}, z %{customdata[1]:.1f}<extra></extra>"
BETWEEN, BELOW = 58, 52  # pixels: from one row of panels to the next, and under the last


def phi_map(
    similarity: Similarity, *, mark: tuple[int, int] | None = None, title: str = "φ(i, j)", about: str = ""
) -> go.Figure:
    """φ of one pair and, in the same colours, max(i, j)/d, its mean by chance; `mark` is (i, j), from 1."""
    return phi_maps({"measured": similarity}, mark=mark, title=title, about=about)


def phi_maps(
    tables: Mapping[str, Similarity],
    *,
    mark: tuple[int, int] | None = None,
    title: str = "φ(i, j) of several pairs",
    about: str = "",
) -> go.Figure:
    """φ of each pair, one panel a name, and a last panel with what chance gives the first of them.

    Colours run from 0 to 1 in every panel. A pair with a zero ΔW has nothing to show and an empty panel.
    """
    first = next(iter(tables.values()))
    shown = [(name, one.phi, one) for name, one in tables.items()]
    shown.append((f"by chance, max(i, j)/{first.dimension}", first.null, first))
    i, j = first.phi.shape
    columns = 1 if j > FLAT * i else min(len(shown), 2 if len(shown) == 4 else 3)
    rows, each = -(-len(shown) // columns), 120 if columns == 1 else 260
    inside = rows * each + (rows - 1) * BETWEEN
    panels = Panels(len(shown), columns, gap=(0.08, BETWEEN / inside))
    traces = [_cells(z, one, panels.axes(n), columns <= 2) for n, (_, z, one) in enumerate(shown) if z.size]
    axes = [panels.at(n, name, *_counts(z)) for n, (name, z, _) in enumerate(shown)]
    scale = {"cmin": 0, "cmax": 1, "colorscale": SEQUENTIAL, "colorbar": {"thickness": 12, "outlinewidth": 0}}
    frames = [rim for n in range(len(shown)) for rim in frame(mark[1], mark[0], panels.axes(n))] if mark else []
    layout = panels.layout(*axes) | {"coloraxis": scale, "showlegend": False, "shapes": frames}
    margin, height = {"t": HEADLINES_TOP, "b": BELOW}, inside + HEADLINES_TOP + BELOW
    return drawn(traces, title, about, _words(tables, mark), **layout, margin=margin, height=height)


def _cells(z: np.ndarray, one: Similarity, axes: dict[str, str], wide: bool) -> dict:
    ends = {"colorscale": SEQUENTIAL, "zmin": 0, "zmax": 1}  # for whoever knows no coloraxis
    numbers = {"texttemplate": "%{z:.2f}"} if z.size <= FEW and wide else {}  # as large as their cells let them be
    i, j = (np.arange(1, count + 1) for count in z.shape)
    gap = int(max(z.shape) <= MANY)
    room = {"x": j, "y": i, "xgap": gap, "ygap": gap}
    hover = {"customdata": np.stack([one.null, one.z], axis=-1).round(4), "hovertemplate": HOVER}
    return {"type": "heatmap", "z": z, **axes, **ends, "coloraxis": "coloraxis", **numbers, **room, **hover}


def _counts(z: np.ndarray) -> tuple[dict, dict]:
    def axis(count: int, letter: str, many: int) -> dict:
        step = max(1, count // many)
        return {"title": {"text": letter}, "tick0": step, "dtick": step, "showgrid": False, "zeroline": False}

    reverse = {"autorange": "reversed"}
    return axis(z.shape[1], "j", 8), axis(z.shape[0], "i", 8 if z.shape[0] < 16 else 4) | reverse


def _words(tables: Mapping[str, Similarity], mark: tuple[int, int] | None) -> str:
    said = [_said(name, one, mark) for name, one in tables.items()]
    return "Directions shared by two ΔW. " + "; ".join(said)


def _said(name: str, one: Similarity, mark: tuple[int, int] | None) -> str:
    if not one.phi.size:
        return f"{name}: a zero ΔW has no direction"
    i, j = mark or one.phi.shape
    at = [(1, 1), (i, j)] if (i, j) != (1, 1) else [(1, 1)]
    return f"{name}: " + ", ".join(
        f"φ({a}, {b}) = {one.phi[a - 1, b - 1]:.2f}, {one.null[a - 1, b - 1]:.3f} by chance" for a, b in at
    )
