"""How many directions does the task need? The probes that ask the task, and all answers side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lorakit.analysis import GradientProbe, IntrinsicDimension, RankReport, Truncation
from lorakit.plots.layers import labels
from lorakit.plots.panels import logarithmic
from lorakit.plots.style import BLUE, CLEAR, COLOURS, FAINT, GREY, INK, LEGEND_TOP, ORANGE, drawn, reference_lines


def truncation_curve(found: Truncation, *, title: str | None = None, about: str = "", form: str = ".1%") -> go.Figure:
    """Quality with every ΔW cut to its top k (a tail: without them), and with as many random directions.

    The band is the least and the most that the random ones gave, dotted lines are no ΔW and all of it. `form` is how
    a quality is written, as in Python: an accuracy by default.
    """
    title = title or ("What is left without the top k" if found.tail else "What the top k directions do alone")
    line = {"type": "scatter", "x": found.ranks, "y": found.quality, "mode": "lines+markers"}
    line |= {"name": "without the top k" if found.tail else "the top k", "line": {"color": BLUE, "width": 3}}
    ends = f"{found.quality[0]:{form}} at k = {found.ranks[0]}, {found.quality[-1]:{form}} at k = {found.ranks[-1]}"
    alt = f"{title}: {ends}; no ΔW {found.base:{form}}"
    if found.null.size:
        alt += f"; as many random directions {found.null.min():{form}} to {found.null.max():{form}}"
    x = {"title": {"text": "k"}, "dtick": max(1, int(np.ptp(found.ranks)) // 8)}
    y = {"title": {"text": "quality"}, "tickformat": form}
    lines = _levels({"no ΔW": found.base, "all of ΔW": found.full}, form)
    traces = [*_random_directions(found), line]
    return drawn(traces, title, about, alt, xaxis=x, yaxis=y, margin={"t": LEGEND_TOP}, **lines)


def _random_directions(found: Truncation) -> list[dict]:
    """The null: from its least to its most, and its mean; nothing where it was not asked for."""
    if not found.null.size:
        return []
    k, most, least = found.ranks, found.null.max(0), found.null.min(0)
    around = {"x": np.concatenate([k, k[::-1]]), "y": np.concatenate([most, least[::-1]])}
    band = {"type": "scatter", **around, "mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": FAINT}
    middle = {"type": "scatter", "x": k, "y": found.null.mean(0), "mode": "lines+markers"}
    middle |= {"name": "as many random directions", "line": {"color": GREY, "dash": "dot"}}
    return [{**band, "hoverinfo": "skip", "showlegend": False}, middle]


def gradients(probe: GradientProbe, *, title: str = "What the gradient asks for", about: str = "") -> go.Figure:
    """σ₁, σ₂, … of ∂L/∂W of every weight, and the largest that chance gave: what exceeds it counts.

    Weights stand in the order of the gain that rank 1 brings for each parameter, most promising on top.
    """
    names = probe.order()
    rows = [probe.names.index(name) for name in names]
    weights = labels(names)
    values, ceiling = probe.singular_values[rows], probe.ceiling[rows]
    counts = np.repeat(probe.directions[rows], values.shape[1])
    above = (np.tile(np.arange(values.shape[1]), len(rows)) < counts).tolist()
    dots = {"x": values.ravel(), "y": np.repeat(weights, values.shape[1]).tolist(), "mode": "markers"}
    colour = [BLUE if yes else CLEAR for yes in above]
    marker = {"color": colour, "size": 9, "line": {"color": BLUE, "width": 1.5}}
    bar = {"symbol": "line-ns-open", "size": 16, "color": ORANGE, "line": {"width": 3, "color": ORANGE}}
    named = f"the most by chance ({probe.calibrated_by})"
    traces: list[dict] = [
        {"type": "scatter", **dots, "marker": marker, "name": "σ of the gradient; filled: counts"},
        {"type": "scatter", "x": ceiling[:, 0], "y": weights, "mode": "markers", "marker": bar, "name": named},
    ]
    x = {"title": {"text": "σ, loss per unit of the weight"}, "rangemode": "tozero", "showgrid": True}
    alt = f"Directions above chance, most promising weight first: {_told(weights, probe.directions[rows])}"
    y = {"autorange": "reversed", "showgrid": True, "type": "category"}
    height = 22 * len(names) + 180
    return drawn(
        traces, title, about, alt, xaxis=x, yaxis=y, height=height, margin={"t": LEGEND_TOP}, legend={"y": 1.0}
    )


def _told(names: list[str], counts: np.ndarray) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(names[:6], counts))


def intrinsic_dimension(
    found: IntrinsicDimension,
    *,
    beside: Mapping[str, tuple[float, float]] | None = None,
    title: str = "Intrinsic dimension",
    about: str = "",
) -> go.Figure:
    """The score by the dimension d of the random subspace, every run a dot, one colour a seed.

    The shaded interval reaches from the largest d that every seed fails below to the least that every seed passes;
    the dotted lines are the target and, as the null, the score without training. `beside` has other ways to spend
    parameters on the same axis, {name: (parameters, score)}, LoRA of some rank say.
    """
    trained = found.tried[found.tried[:, 0] > 0]
    traces = [
        {**_curve(trained[trained[:, 1] == seed]), "name": f"seed {seed}", "line": {"color": COLOURS[n % 3]}}
        for n, seed in enumerate(found.seeds.tolist())
    ]
    traces += [_other(name, *point) for name, point in (beside or {}).items()]
    lines = _levels({"target": found.target, "untrained": float(found.null.mean())})
    lines["shapes"] += _interval(found)
    others = [parameters for parameters, _ in (beside or {}).values()]
    x = logarithmic([*trained[:, 0], *others], title={"text": "d, parameters that train"})
    alt = f"Intrinsic dimension {found.dimension:.3g}, between {found.interval[0]:.3g} and {found.interval[1]:.3g}"
    alt += f", for a target of {found.target:.3g}; untrained {found.null.mean():.3g}"
    return drawn(
        traces, title, about, alt, xaxis=x, yaxis={"title": {"text": "score"}}, margin={"t": LEGEND_TOP}, **lines
    )


def _curve(runs: np.ndarray) -> dict:
    runs = runs[np.argsort(runs[:, 0])]
    return {"type": "scatter", "x": runs[:, 0], "y": runs[:, 2], "mode": "lines+markers"}


def _other(name: str, parameters: float, score: float) -> dict:
    marker = {"symbol": "diamond", "size": 12, "color": INK}
    point = {"x": [parameters], "y": [score], "mode": "markers+text", "text": [name], "textposition": "bottom center"}
    return {"type": "scatter", **point, "name": name, "marker": marker, "showlegend": False, "cliponaxis": False}


def _interval(found: IntrinsicDimension) -> list[dict]:
    low, high = found.interval
    if not (low > 0 and np.isfinite(high)):
        return []
    return [
        {
            "type": "rect",
            "x0": low,
            "x1": high,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": FAINT,
            "line": {"width": 0},
        }
    ]


def _levels(values: Mapping[str, float], form: str = ".3g") -> dict[str, list[dict]]:
    """Reference lines with their numbers in that form."""
    lines = reference_lines(values)
    for note, (name, value) in zip(lines["annotations"], values.items()):
        note["text"] = f"{name} {value:{form}}"
    return lines


def rank_report(report: RankReport, *, title: str = "The intrinsic rank, by every probe", about: str = "") -> go.Figure:
    """One row a probe: every layer a dot, the median a diamond, chance a bar; on a logarithmic axis.

    A count of 0 has no place on that axis and is left out; what each probe asks is in the hover text.
    """
    answers = report.answers
    x = np.concatenate([answer.value for answer in answers])
    each = np.repeat([answer.probe for answer in answers], [answer.value.size for answer in answers]).tolist()
    names = [answer.probe for answer in answers]
    medians = [float(np.median(answer.value)) for answer in answers]
    chance = [float(np.nanmedian(a.null)) if np.isfinite(a.null).any() else np.nan for a in answers]
    asks = [answer.asks for answer in answers]
    row = {"type": "scatter", "mode": "markers", "y": names, "customdata": asks}
    said = {"hovertemplate": "%{y}: %{x:.3g}<br>%{customdata}"}
    diamond = {"symbol": "diamond", "size": 14, "color": BLUE}
    bar = {"symbol": "line-ns-open", "size": 20, "color": ORANGE, "line": {"width": 3, "color": ORANGE}}
    traces: list[dict] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": _seen(x),
            "y": each,
            "marker": {"color": GREY, "size": 6},
            "name": "a layer",
        },
        {**row, "x": _seen(chance), "marker": bar, "name": "by chance", **said},
        {**row, "x": _seen(medians), "marker": diamond, "name": "median", **said},
    ]
    axis = logarithmic([*x, *chance], title={"text": "directions"}, showgrid=True)
    axis["dtick"] = "D1" if max(medians) < 20 else 1
    told = [
        f"{n} {m:.3g}" + ("" if np.isnan(c) else f" ({c:.3g} by chance)") for n, m, c in zip(names, medians, chance)
    ]
    alt = f"Median over {len(report.layers)} layers: {', '.join(told)}"
    y = {"autorange": "reversed", "showgrid": True, "type": "category"}
    return drawn(traces, title, about, alt, xaxis=axis, yaxis=y, height=40 * len(names) + 180, margin={"t": LEGEND_TOP})


def _seen(values) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.where(values > 0, values, np.nan)
