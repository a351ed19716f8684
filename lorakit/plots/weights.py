"""ΔW beside the W it changes: does it amplify what W does, does it bring directions W never had?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.analysis import Amplification, Intruders
from lorakit.plots.layers import labels
from lorakit.plots.panels import Panels, legend_above, logarithmic
from lorakit.plots.style import BLUE, GREY, LEGEND_TOP, ORANGE, drawn

ROW = 24  # pixels that a weight takes


def amplification(
    found: Amplification | Mapping[str, Amplification], *, title: str = "Amplification", about: str = ""
) -> go.Figure:
    """Table 7, one row a weight: ‖UᵀWV‖_F on ΔW's, on random and on W's own directions; and the enrichment.

    Left: the three projections, on a logarithmic axis. Right: ΔW's over the random one, with a line at chance, 1.
    The paper's factor ‖ΔW‖_F/‖UᵀWV‖_F and its null are in the hover text: large is what chance makes it.
    """
    named = dict(found) if isinstance(found, Mapping) else {"ΔW": found}
    names, results = labels(named), list(named.values())
    panels = Panels(2, columns=2, gap=(0.1, 0))
    left, right = panels.axes(0), panels.axes(1)
    columns = (
        ("random directions (chance)", [one.null_projected for one in results], GREY, "line-ns-open"),
        ("ΔW's directions", [one.projected for one in results], BLUE, "circle"),
        ("W's own directions (the most)", [one.on_weight for one in results], ORANGE, "diamond-open"),
    )
    dots = [_dots(names, name, values, colour, symbol, left) for name, values, colour, symbol in columns]
    traces = [*dots, _enrichment(names, results, right)]
    y = {"type": "category", "autorange": "reversed", "showgrid": True}
    shown = [value for _, values, _, _ in columns for value in values]
    layout = panels.layout(
        panels.at(0, "‖UᵀWV‖, logarithmic", logarithmic(shown, showgrid=True, dtick="D2"), y),
        panels.at(1, "enrichment: ΔW's over random", {"rangemode": "tozero"}, {**y, "showticklabels": False}),
    )
    layout["shapes"] = [_upright(1, "x2", "y2 domain")]
    height = ROW * len(names) + 220
    return drawn(traces, title, about, _amplified(named), **layout, **legend_above(height), height=height)


def _dots(names: list[str], name: str, values: list[float], colour: str, symbol: str, axes: dict) -> dict:
    marker = {"color": colour, "size": 10, "symbol": symbol, "line": {"width": 2, "color": colour}}
    hover = {"hovertemplate": "%{y}: %{x:.3g}"}
    return {
        "type": "scatter",
        "x": values,
        "y": names,
        "name": name,
        "mode": "markers",
        "marker": marker,
        **axes,
        **hover,
    }


def _enrichment(names: list[str], results: list[Amplification], axes: dict) -> dict:
    told = [[one.z, one.factor, one.null_factor] for one in results]
    said = "%{y}: %{x:.2f} times chance, z %{customdata[0]:.1f}<br>the paper's factor %{customdata[1]:.3g}"
    said += ", by chance %{customdata[2]:.3g}<extra></extra>"
    bars = {"x": [one.enrichment for one in results], "y": names, "marker": {"color": BLUE}, "showlegend": False}
    number = {"texttemplate": "%{x:.2f}", "textposition": "outside", "cliponaxis": False}
    return {"type": "bar", "orientation": "h", **bars, **number, **axes, "customdata": told, "hovertemplate": said}


def _upright(x: float, xref: str, yref: str) -> dict:
    line = {"color": GREY, "dash": "dot", "width": 2}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": xref, "yref": yref, "line": line}


def _amplified(named: Mapping[str, Amplification]) -> str:
    gains = [one.enrichment for one in named.values()]
    factors, chance = ([getattr(one, f) for one in named.values()] for f in ("factor", "null_factor"))
    enriched = f"Enrichment {min(gains):.2f} to {max(gains):.2f} times chance"
    return (
        f"{enriched}; amplification factor {min(factors):.3g} to {max(factors):.3g}, {np.median(chance):.3g} by chance"
    )


def intruders(found: Intruders, *, title: str = "Intruder dimensions", about: str = "") -> go.Figure:
    """How many of the top vectors of W + ΔW are none of W's, |cos| < ε, for every ε, on both sides.

    Dashed: a random ΔW of the same singular values. The upright line is the threshold the result was asked for.
    """
    at = np.linspace(0, 1, 101)
    counts, chance = found.counts(at), found.null_counts(at)
    sides = (("left", BLUE), ("right", ORANGE))
    traces = [
        {
            **{"type": "scatter", "x": at, "y": values[:, side], "mode": "lines", "name": f"{name}{suffix}"},
            **{"line": {"color": colour, "dash": dash, "width": 2.5, "shape": "hv"}},
        }
        for values, suffix, dash in ((counts, "", "solid"), (chance, ", random ΔW", "dot"))
        for side, (name, colour) in enumerate(sides)
    ]
    x = {"title": {"text": "threshold ε"}, "range": [0, 1]}
    y = {"title": {"text": f"intruders of the top {len(found.left)}"}, "range": [-0.3, len(found.left) + 0.3]}
    left, right = found.counts(found.threshold)
    alt = f"Intruders at ε = {found.threshold}: {left} left, {right} right of {len(found.left)}"
    alt += "; by chance {:.1f} and {:.1f}".format(*found.null_counts(found.threshold))
    line = [_upright(found.threshold, "x", "paper")]
    return drawn(traces, title, about, alt, xaxis=x, yaxis=y, shapes=line, margin={"t": LEGEND_TOP})
