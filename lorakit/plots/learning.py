"""What happens when a model learns: what trains, how the loss falls, what the model then says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lorakit.plots.style import BLUE, CLEAR, FAINT, GREY, LEGEND_TOP, ORANGE, drawn, reference_lines

CELLS = (20, 50)  # the picture of a parameter count: a thousand cells


class Losses(Protocol):
    """A training run as far as its curve needs it: the loss of every step, from the first."""

    loss: ArrayLike


def training_curve(
    history: Losses,
    *,
    validation: Mapping[int, float] | None = None,
    references: Mapping[str, float] | None = None,
    total: int | None = None,
    smoothing: float = 0.9,
    about: str = "",
) -> go.Figure:
    """The loss of every step, and its `running_mean`.

    validation  {step: accuracy}, drawn below the loss on the same steps
    references  {name: accuracy}, drawn as lines across the accuracy
    total       the number of steps to come, so that a curve still growing keeps its axis
    """
    loss = np.asarray(history.loss, dtype=float)
    number, mean = np.arange(1, len(loss) + 1), running_mean(loss, smoothing)
    alt = f"Training loss, smoothed, from {mean[0]:.2f} to {mean[-1]:.2f}" if len(mean) else "No loss yet"
    faint, bold = {"color": GREY, "width": 1}, {"color": BLUE, "width": 3}
    curves: list[dict[str, Any]] = [
        {"type": "scatter", "x": number, "y": loss, "name": "each batch", "line": faint, "opacity": 0.6},
        {"type": "scatter", "x": number, "y": mean, "name": "smoothed", "line": bold},
    ]
    steps: dict[str, Any] = {"title": {"text": "step"}, "range": [0, total + 1] if total else None}
    layout: dict[str, Any] = {"yaxis": {"title": {"text": "loss"}, "rangemode": "tozero"}, "margin": {"t": LEGEND_TOP}}
    if validation or references:
        curves.append(_measured(validation or {}))
        layout |= _accuracy_below(layout["yaxis"], references)
        steps["anchor"] = "y2"
    return drawn(curves, "Training", about, f"{alt}, {len(mean)} steps", xaxis=steps, **layout)


def running_mean(values: ArrayLike, smoothing: float) -> np.ndarray:
    """m_t = Σ βᵗ⁻ⁱ·xᵢ / Σ βᵗ⁻ⁱ: an exponential mean that starts at the first value, not at zero."""
    total = weight = 0.0
    means = []
    for value in np.asarray(values, dtype=float):
        total, weight = smoothing * total + value, smoothing * weight + 1
        means.append(total / weight)
    return np.array(means)


def _measured(validation: Mapping[int, float]) -> dict:
    points = {"x": list(validation), "y": list(validation.values()), "yaxis": "y2", "mode": "lines+markers"}
    marker = {"color": ORANGE, "size": 10, "symbol": "diamond"}
    return {"type": "scatter", **points, "name": "validation", "marker": marker, "line": {"color": ORANGE}}


def _accuracy_below(loss: dict, references: Mapping[str, float] | None) -> dict:
    accuracy = {"title": {"text": "accuracy"}, "tickformat": ".0%", "domain": [0, 0.46]}
    panels = {"yaxis": {**loss, "domain": [0.54, 1]}, "yaxis2": accuracy, "height": 480}
    return {**panels, **reference_lines(references, "y2")}


def prediction(
    labels: Sequence[str],
    probabilities: ArrayLike,
    *,
    base: ArrayLike | None = None,
    title: str = "What the model says",
    about: str = "",
) -> go.Figure:
    """The probability of every label, (classes,); those of the `base` model are outlined around them.

    Raises ValueError where labels and probabilities do not pair.
    """
    values = np.asarray(probabilities, dtype=float)
    if len(labels) != len(values):
        raise ValueError(f"one probability a label; given {len(labels)} labels and {len(values)} probabilities")
    words = ", ".join(f"{label} {value:.1%}" for label, value in zip(labels, values, strict=True))
    bar = {"type": "bar", "orientation": "h", "y": list(labels)}
    bars = [{**bar, "x": values, "name": "adapted", "marker": {"color": BLUE}}]
    if base is not None:
        hollow = {"color": CLEAR, "line": {"color": ORANGE, "width": 2.5}}
        bars.append({**bar, "x": np.asarray(base, dtype=float), "name": "base", "marker": hollow})
    probability = {"range": [0, 1], "tickformat": ".0%", "showgrid": True, "title": {"text": "probability"}}
    classes = {"showgrid": False, "autorange": "reversed"}  # the first class on top
    place = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "showarrow": False}
    numbers = [{**place, "y": label, "text": f"<b>{value:.1%}</b>"} for label, value in zip(labels, values)]
    layout = {
        "annotations": numbers,
        "barmode": "overlay",
        "bargap": 0.35,
        "height": 250,
        "margin": {"t": LEGEND_TOP, "r": 72},
    }
    alt = f"The model says {words}"
    return drawn(bars, title, about, alt, xaxis=probability, yaxis=classes, **layout)


def parameters(trained: int, frozen: int, *, about: str = "each cell is a thousandth of the model") -> go.Figure:
    """What trains, to scale: a thousand cells are the whole model, and the filled ones train."""
    share = trained / (trained + frozen)
    height, width = CELLS
    filled = np.clip(share * height * width - np.arange(height * width), 0, 1)
    words = f"{trained:,} of {trained + frozen:,} parameters train ({share:.2%})"
    # A cell that trains in part is tinted by that part; no cell that trains at all looks frozen.
    scale = [[0, FAINT], [1e-9, "rgba(221, 125, 26, 0.4)"], [1, ORANGE]]
    cells = {"type": "heatmap", "z": filled.reshape(width, height).T, "zmin": 0, "zmax": 1, "xgap": 2, "ygap": 2}
    cells |= {"colorscale": scale, "showscale": False, "hoverinfo": "skip"}
    x = {"visible": False, "constrain": "domain", "constraintoward": "left"}
    y = {"visible": False, "constrain": "domain", "autorange": "reversed", "scaleanchor": "x"}
    margin = {"l": 0, "r": 0, "b": 8}
    return drawn([cells], words, about, words, xaxis=x, yaxis=y, height=290, margin=margin)
