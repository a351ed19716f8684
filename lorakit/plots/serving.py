"""What serving costs and does: what a merge loses, latency as in table 1, the drift of switching, a batch's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from lorakit.plots.panels import legend_above
from lorakit.plots.style import BLUE, GREY, LEGEND_TOP, ORANGE, drawn, translucent

MARKS = {
    0: ("circle", BLUE),
    1: ("square", ORANGE),
    2: ("diamond", GREY),
    3: ("cross-open", GREY),
}  # by shape and colour
Row = Mapping[str, Any]  # one model at one batch and length: model, batch, length, ms, sd, ratio


class Drifted(Protocol):
    """How far switching led away, as far as its curve needs it."""

    switches: ArrayLike
    error: ArrayLike
    exact: float


def latency_bars(rows: Sequence[Row], *, title: str = "One forward pass", about: str = "") -> go.Figure:
    """ms of each model, mean ± sd, and how much more that is than the first one's, the merged model.

    The addition is from `ratio`, which pairs rounds, and not from the two means.
    """
    names = [row["model"] for row in rows]
    words = ", ".join(f"{row['model']} {row['ms']:.1f} ms{_more(row['ratio'], ' ({})')}" for row in rows)
    bar: dict[str, Any] = {"type": "bar", "orientation": "h", "y": names, "x": [row["ms"] for row in rows]}
    bar |= {"text": [f"{row['ms']:.1f} ± {row['sd']:.1f}" for row in rows], "textposition": "auto", "textangle": 0}
    bar |= {"insidetextanchor": "start", "marker": {"color": [BLUE, *[ORANGE] * (len(rows) - 1)]}}
    bar |= {"hovertemplate": "%{y}: %{x:.1f} ms<extra></extra>"}
    place = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "showarrow": False}
    added = [{**place, "y": row["model"], "text": _more(row["ratio"], "<b>{}</b>")} for row in rows[1:]]
    x = {"title": {"text": "ms"}, "rangemode": "tozero", "showgrid": True, "nticks": 4, "tickangle": 0}
    y = {"showgrid": False, "autorange": "reversed"}
    layout = {"annotations": added, "height": 140 + 36 * len(rows), "margin": {"r": 64}}
    return drawn([bar], title, about, f"{title}: {words}", xaxis=x, yaxis=y, **layout)


def latency_curves(rows: Sequence[Row], *, at: tuple[int, int] | None = None, about: str = "") -> go.Figure:
    """What each model adds to the merged one's time, by the number of tokens in the batch; (batch, length) `at` marked.

    Where several batches have as many tokens, one point stands for each, and the line goes through their mean.
    """
    base, *others = dict.fromkeys(row["model"] for row in rows)
    points: list[dict] = []
    lines: list[dict] = []
    for number, name in enumerate(others):
        symbol, colour = MARKS[number % len(MARKS)]
        found = sorted((r["batch"] * r["length"], r["ratio"] - 1, r["batch"]) for r in rows if r["model"] == name)
        tokens, more, _ = zip(*found)
        sizes = [16 if at is not None and at[0] * at[1] == n and at[0] == b else 8 for n, _, b in found]
        marks = {"type": "scatter", "mode": "markers", "x": tokens, "y": more, "name": name}
        points.append({**marks, "marker": {"symbol": symbol, "color": colour, "size": sizes}})
        means = {n: np.mean([y for m, y, _ in found if m == n]) for n in tokens}
        line = {"type": "scatter", "mode": "lines", "x": list(means), "y": list(means.values()), "showlegend": False}
        lines.append({**line, "hoverinfo": "skip", "line": {"color": translucent(colour, 0.6)}})
    ends = ", ".join(f"{name} {line['y'][0]:+.1%} to {line['y'][-1]:+.1%}" for name, line in zip(others, lines))
    ticks = sorted({row["batch"] * row["length"] for row in rows})
    x = {"title": {"text": "tokens in the batch (rows × length)"}, "type": "log", "tickvals": ticks}
    y = {"title": {"text": f"beside the {base}"}, "tickformat": "+.0%"}
    alt = f"Time beside the {base}, from few tokens to many: {ends}"
    height = 360
    return drawn(
        [*points, *lines], "What is added", about, alt, xaxis=x, yaxis=y, height=height, **legend_above(height)
    )


def survival(found: Mapping[str, Mapping[float, float]], *, about: str = "") -> go.Figure:
    """{dtype: {size of ΔW beside the trained one: share of its entries that moved a weight}}, a line a dtype."""
    curves = []
    for number, (name, shares) in enumerate(found.items()):
        symbol, colour = MARKS[number % len(MARKS)]
        curve = {"type": "scatter", "mode": "lines+markers", "x": list(shares), "y": list(shares.values())}
        hover = {"hovertemplate": f"{name}, %{{x:.2g}} × ΔW: %{{y:.1%}}<extra></extra>"}
        curves.append({**curve, "name": name, "marker": {"symbol": symbol, "color": colour}, **hover})
        curves[-1]["line"] = {"color": colour}
    sizes = sorted({size for shares in found.values() for size in shares})
    ticks = {"tickvals": sizes, "ticktext": [_fraction(size) for size in sizes]}
    x = {"title": {"text": "size of ΔW beside the trained one"}, "type": "log", "autorange": "reversed", **ticks}
    y = {"title": {"text": "survived"}, "tickformat": ".0%", "range": [0, 1.04]}
    ends = ", ".join(f"{name} {list(shares.values())[-1]:.0%}" for name, shares in found.items())
    alt = f"Share of ΔW's entries that survive a merge, at {_fraction(sizes[0])} of its size: {ends}"
    return drawn(curves, "What survives a merge", about, alt, xaxis=x, yaxis=y, margin={"t": LEGEND_TOP})


def drifts(found: Mapping[str, Drifted], *, about: str = "") -> go.Figure:
    """‖W − W₀‖/‖ΔW‖ against the number of switches, a line a name; a line at 1 would be an error of a whole task.

    What W₀ kept beside leaves, 0, has no place on a logarithmic axis: it is written.
    """
    curves = []
    for number, (name, one) in enumerate(found.items()):
        symbol, colour = MARKS[number % len(MARKS)]
        curve = {"type": "scatter", "mode": "lines+markers", "x": one.switches, "y": one.error, "name": name}
        curves.append({**curve, "marker": {"symbol": symbol, "color": colour}, "line": {"color": colour}})
    x = {"title": {"text": "switches"}, "type": "log", "dtick": 1}
    y = {"title": {"text": "‖W − W<sub>0</sub>‖ / ‖ΔW‖"}, "type": "log", "exponentformat": "power", "dtick": 2}
    exact = max(one.exact for one in found.values())
    beside = {"text": f"with W<sub>0</sub> kept beside: {exact:g}, after any number", "showarrow": False}
    beside |= {"xref": "paper", "x": 1, "xanchor": "right", "yref": "paper", "y": 0.02, "yanchor": "bottom"}
    last = ", ".join(f"{name} {np.asarray(one.error)[-1]:.1e}" for name, one in found.items())
    alt = f"Error of W after the last switch, in units of a task's ΔW: {last}; with W₀ kept beside {exact:g}"
    title = "Subtracting and adding, again and again"
    return drawn(curves, title, about, alt, xaxis=x, yaxis=y, annotations=[beside], margin={"t": LEGEND_TOP})


def answers(
    said: Mapping[str, Mapping[str, float]], *, chosen: str | None = None, title: str = "All tasks", about: str = ""
) -> go.Figure:
    """{task: {label: probability}} of one sentence, one below the other, the `chosen` task in another colour."""
    rows = [(f"{task}: {label}", value, task) for task, labels in said.items() for label, value in labels.items()]
    names, values, owners = zip(*rows)
    colours = [ORANGE if owner == chosen else BLUE for owner in owners]
    bar = {"type": "bar", "orientation": "h", "y": names, "x": values, "marker": {"color": colours}}
    bar["hovertemplate"] = "%{y} %{x:.1%}<extra></extra>"
    best = {task: max(labels.items(), key=lambda item: item[1]) for task, labels in said.items()}
    alt = "; ".join(f"{task} says {label} {value:.0%}" for task, (label, value) in best.items())
    x = {"range": [0, 1], "tickformat": ".0%", "showgrid": True, "title": {"text": "probability"}}
    y = {"showgrid": False, "autorange": "reversed"}
    return drawn([bar], title, about, alt, xaxis=x, yaxis=y, height=130 + 26 * len(rows))


def _fraction(size: float) -> str:
    """0.25 → "1/4", where that is exact."""
    return f"1/{round(1 / size)}" if 0 < size < 1 and round(1 / size) * size == 1 else f"{size:g}"


def _more(ratio: float, form: str) -> str:
    return "" if ratio == 1 else form.format(f"{ratio - 1:+.1%}")
