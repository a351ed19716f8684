"""What a ΔW looks like: its entries, its spectrum, and how much of it the model needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lorakit.plots.style import BLUE, CLEAR, DIVERGING, FAINT, GREY, ORANGE, drawn, reference_lines


def heatmap(
    matrix: ArrayLike,
    *,
    title: str = "ΔW",
    xlabel: str = "input",
    ylabel: str = "output",
    limit: float | None = None,
    about: str = "",
) -> go.Figure:
    """A matrix (out, in), first row on top: blue below zero, orange above, clear at zero.

    The colours reach to ±`limit`, by default the largest entry. Give a limit where matrices are compared,
    so that a colour keeps its meaning.
    """
    z = np.asarray(matrix)
    limit = limit or float(np.abs(z).max(initial=0)) or 1.0
    alt = f"{title}: {' × '.join(map(str, z.shape))} entries from {z.min():.3g} to {z.max():.3g}"
    colours = {"colorscale": DIVERGING, "zmin": -limit, "zmax": limit}
    bar = {"thickness": 12, "outlinewidth": 0, "len": 1.0}
    x = {"title": {"text": xlabel}, "constrain": "domain", "constraintoward": "left", "showgrid": False}
    y = {"title": {"text": ylabel}, "constrain": "domain", "constraintoward": "top", "showgrid": False}
    y |= {"autorange": "reversed", "scaleanchor": "x"}
    cells = {"type": "heatmap", "z": z, **colours, "colorbar": bar}
    return drawn([cells], title, about, alt, xaxis=x, yaxis=y, height=420)


def spectrum(
    singular_values: ArrayLike, *, kept: int | None = None, title: str = "Spectrum of ΔW", about: str = ""
) -> go.Figure:
    """Singular values σᵢ of ΔW, (rank,), largest first; the first `kept` are filled, the others hollow."""
    values = np.asarray(singular_values, dtype=float)
    kept = len(values) if kept is None else kept
    energy = (values[:kept] ** 2).sum() / max((values**2).sum(), np.finfo(float).tiny)
    alt = f"{title}: {kept} of {len(values)} singular values kept, {energy:.1%} of the energy"
    filled = np.arange(len(values)) < kept
    edges = {"color": np.where(filled, BLUE, GREY).tolist(), "width": 1.5}
    bars = {"type": "bar", "x": np.arange(1, len(values) + 1), "y": values}
    bars["marker"] = {"color": np.where(filled, BLUE, CLEAR).tolist(), "line": edges}
    bars["hovertemplate"] = "σ<sub>%{x}</sub> = %{y:.3g}<extra></extra>"
    x = {"title": {"text": "i"}, "dtick": max(1, len(values) // 8)}
    return drawn([bars], title, about, alt, xaxis=x, yaxis={"title": {"text": "σ<sub>i</sub>"}})


def truncation(
    ranks: ArrayLike,
    accuracy: ArrayLike,
    *,
    at: int | None = None,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    references: Mapping[str, float] | None = None,
    title: str = "Accuracy with ΔW cut to rank k",
    about: str = "",
) -> go.Figure:
    """Accuracy with ΔW cut to each rank, (ranks,); `interval` is its lower and upper ends, `at` is marked."""
    ranks, accuracy = np.asarray(ranks), np.asarray(accuracy, dtype=float)
    marked = ranks == at
    alt = f"Accuracy {accuracy[0]:.1%} at rank {ranks[0]}, {accuracy[-1]:.1%} at rank {ranks[-1]}"
    alt += "".join(f"; marked, {value:.1%} at rank {at}" for value in accuracy[marked])
    diamond = {"color": ORANGE, "size": 16, "symbol": "diamond"}
    line = {"type": "scatter", "x": ranks, "y": accuracy, "name": "accuracy", "mode": "lines+markers"}
    now = {**line, "x": ranks[marked], "y": accuracy[marked], "name": "now", "mode": "markers"}
    traces = [{**line, "line": {"color": BLUE}}, {**now, "marker": diamond}]
    if interval is not None:
        traces.insert(0, _band(ranks, *map(np.asarray, interval)))
    x = {"title": {"text": "rank k"}, "dtick": max(1, int(np.ptp(ranks)) // 8)}
    y = {"title": {"text": "accuracy"}, "tickformat": ".0%"}
    lines = reference_lines(references)
    return drawn(traces, title, about, alt, xaxis=x, yaxis=y, showlegend=False, **lines)


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict:
    around = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
    area = {"mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": FAINT}
    return {"type": "scatter", **around, **area, "hoverinfo": "skip"}
