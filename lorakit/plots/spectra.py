"""Singular values and what they hold, each beside a random ΔW of the same shape, rank and norm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.analysis import Spectrum
from lorakit.plots.panels import Panels, legend_above
from lorakit.plots.style import COLOURS, drawn, translucent

HEIGHT = 400
BEYOND = 2  # standard deviations to each side that the band of chance is wide


def spectra(
    found: Spectrum | Mapping[str, Spectrum], *, title: str = "Spectrum of ΔW", about: str = "", log: bool = False
) -> go.Figure:
    """σᵢ/‖ΔW‖_F and the energy that the first i hold, for one ΔW or for several by name.

    The band is what chance gives, mean ± 2 standard deviations. `log` spaces i by its logarithm, for spectra of very
    different lengths. A zero ΔW has no line.
    """
    named = dict(found) if isinstance(found, Mapping) else {"ΔW": found}
    alive = {name: one for name, one in named.items() if one.rank}
    panels = Panels(2, columns=2, gap=(0.12, 0))
    traces = [
        trace
        for n, (name, one) in enumerate(alive.items())
        for panel, (values, null, scale) in enumerate(_curves(one))
        for trace in _measured_and_chance(name, n, values, null, scale, panels.axes(panel))
    ]
    x = {"title": {"text": "i"}, "type": "log" if log else "linear"}
    layout = panels.layout(
        panels.at(0, "σ<sub>i</sub> / ‖ΔW‖", x, {"rangemode": "tozero"}),
        panels.at(1, "energy of the first i", x, {"range": [0, 1.03], "tickformat": ".0%"}),
    )
    return drawn(traces, title, about, _words(named), **layout, **legend_above(HEIGHT), height=HEIGHT)


def _curves(one: Spectrum):
    return (one.singular_values, one.null_singular_values, one.norm), (one.energy, one.null_energy, 1.0)


def _measured_and_chance(name: str, n: int, values: np.ndarray, null, scale: float, axes: dict) -> list[dict]:
    colour, i = COLOURS[n % len(COLOURS)], np.arange(1, len(values) + 1)
    first = axes["xaxis"] == "x"
    low, high = ((null.mean + sign * BEYOND * null.spread) / scale for sign in (-1, 1))
    around = {"x": np.concatenate([i, i[::-1]]), "y": np.concatenate([high, low[::-1]])}
    group = {"type": "scatter", **axes, "legendgroup": name}
    band = {**group, **around, "mode": "lines", "line": {"width": 0}, "fill": "toself", "hoverinfo": "skip"}
    band |= {"fillcolor": translucent(colour), "name": "by chance", "legendgroup": "chance"}
    band["showlegend"] = first and not n
    middle = {**group, "x": i, "y": null.mean / scale, "mode": "lines", "line": {"color": colour, "dash": "dot"}}
    middle |= {
        "name": "by chance",
        "legendgroup": "chance",
        "showlegend": False,
        "hovertemplate": "by chance %{y:.3f}<extra></extra>",
    }
    line = {**group, "x": i, "y": values / scale, "name": name, "showlegend": first, "line": {"color": colour}}
    line |= {"mode": "lines+markers" if len(i) <= 16 else "lines", "hovertemplate": "%{x}: %{y:.3f}"}
    return [band, middle, line]


def _words(named: Mapping[str, Spectrum]) -> str:
    return "Spectra. " + "; ".join(
        f"{name}: rank {one.rank}, stable rank {one.stable_rank:.2f} ({one.null_stable_rank.mean:.2f} by chance), "
        f"effective rank {one.effective_rank:.2f} ({one.null_effective_rank.mean:.2f} by chance)"
        if one.rank
        else f"{name}: ΔW is zero"
        for name, one in named.items()
    )
