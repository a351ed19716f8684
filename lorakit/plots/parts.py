"""Where a model keeps its parameters, by the names that `adapt` understands."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from lorakit.plots.style import BLUE, LEGEND_TOP, ORANGE, drawn


def parts(groups: Mapping[str, tuple[int, int]], *, about: str = "") -> go.Figure:
    """Parameters by name pattern, {pattern: (total, trained)}: what is frozen, and in another colour what trains."""
    names = list(groups)
    trained = [trains for _, trains in groups.values()]
    frozen = [total - trains for total, trains in groups.values()]
    largest = max(groups, key=lambda name: groups[name][0], default="")
    alt = f"{sum(trained) + sum(frozen):,} parameters in {len(names)} kinds of layers, most of them in {largest}"
    bar = {"type": "bar", "orientation": "h", "y": names, "hovertemplate": "%{y}: %{x:,}"}
    bars = [
        {**bar, "x": frozen, "name": "frozen", "marker": {"color": BLUE}},
        {**bar, "x": trained, "name": "trains", "marker": {"color": ORANGE}},
    ]
    x, y = {"title": {"text": "parameters"}, "showgrid": True}, {"autorange": "reversed", "showgrid": False}
    layout = {"barmode": "stack", "height": LEGEND_TOP + 56 + 26 * len(names), "margin": {"t": LEGEND_TOP}}
    return drawn(bars, "Where the weights are", about, alt, xaxis=x, yaxis=y, **layout)
