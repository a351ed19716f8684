"""What rank and learning rate do to a training run: the surface, one run of it, and where it can be trained at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import plotly.graph_objects as go

from lorakit.plots.panels import frame, logarithmic
from lorakit.plots.style import BLUE, COLOURS, LEGEND_TOP, SEQUENTIAL, drawn, reference_lines, translucent

FEW = 2  # bands that may be filled: more of them make mud
LEAST = 1e-3  # of what a rank can learn: less than that looks like nothing


class Surface(Protocol):
    """As much of `lorakit.surface.LossSurface` as a figure needs."""

    @property
    def ranks(self) -> np.ndarray: ...

    @property
    def rates(self) -> np.ndarray: ...

    @property
    def loss(self) -> np.ndarray: ...

    @property
    def untrained(self) -> float: ...

    @property
    def floor(self) -> np.ndarray: ...

    @property
    def missing(self) -> np.ndarray: ...

    @property
    def best(self) -> np.ndarray: ...

    def middle(self, missing: float = 0.2) -> np.ndarray: ...

    def window(self, missing: float = 0.2) -> np.ndarray: ...


def loss_surface(
    surface: Surface,
    *,
    mark: tuple[float, float] | None = None,
    title: str = "What is left to learn",
    about: str = "",
) -> go.Figure:
    """The share of what each rank can learn that a run has not, by learning rate; `mark` is (rank, rate).

    A cell without colour is a run that ended no better than it began, or diverged.
    """
    missing = surface.missing
    z = np.where(missing < 1, np.log10(np.clip(missing, LEAST, 1)), np.nan)
    words = np.where(missing < 1, [[f"{cell:.1%} left" for cell in row] for row in missing], "no better than untrained")
    rates, ranks = [f"{rate:.2g}" for rate in surface.rates], [str(rank) for rank in surface.ranks]
    bar = {
        "thickness": 12,
        "outlinewidth": 0,
        "tickvals": [-3, -2, -1, 0],
        "ticktext": ["≤ 0.1 %", "1 %", "10 %", "all"],
    }
    cells = {"type": "heatmap", "x": rates, "y": ranks, "z": z, "xgap": 2, "ygap": 2, "hoverongaps": True}
    cells |= {"colorscale": SEQUENTIAL, "zmin": np.log10(LEAST), "zmax": 0, "colorbar": bar}
    cells |= {"customdata": words.tolist(), "hovertemplate": "rank %{y}, lr %{x}: %{customdata}<extra></extra>"}
    x = {
        "type": "category",
        "title": {"text": "learning rate"},
        "showgrid": False,
        "tickvals": rates[::2],
    }
    y = {"type": "category", "title": {"text": "rank r"}, "showgrid": False}
    alt = f"{title}: {_said(surface)}{_marked(surface, mark)}"
    frames = []
    if mark:
        row, column = _cell(surface, mark)
        frames = frame(column, row)
    return drawn([cells], title, about, alt, xaxis=x, yaxis=y, height=380, showlegend=False, shapes=frames)


def surface_run(surface: Surface, rank: float, rate: float, *, title: str = "", about: str = "") -> go.Figure:
    """The loss of one run, step by step, with that of no ΔW and the least that its rank can have."""
    i, j = _cell(surface, (rank, rate))
    loss, left = surface.loss[:, i, j], surface.missing[i, j]
    shown = np.where(np.isfinite(loss), loss, np.nan)
    title = title or f"r = {rank:g}, lr = {rate:.2g}: " + (f"{left:.1%} left" if left < 1 else "nothing learned")
    ends = {"untrained": surface.untrained, f"least at rank {rank:g}": max(float(surface.floor[i]), 0.0)}
    lines = reference_lines(ends)
    for note, name in zip(lines["annotations"], ends):
        note["text"] = name  # a loss is no percentage
    lines["annotations"][-1]["yanchor"] = "top"  # the curve comes down on the line from above
    curve = {"x": np.arange(len(loss)), "y": shown, "mode": "lines", "line": {"color": BLUE, "width": 3}}
    y = {"title": {"text": "loss"}, "range": [-0.1 * surface.untrained, 1.4 * surface.untrained]}
    axes = {"xaxis": {"title": {"text": "step"}}, "yaxis": y}
    alt = f"Loss {surface.untrained:.3g} before training, {loss[-1]:.3g} after {len(loss) - 1} steps. {title}"
    return drawn([{"type": "scatter", **curve}], title, about, alt, **axes, **lines, height=380, showlegend=False)


def rate_windows(
    surfaces: Mapping[str, Surface],
    *,
    missing: float = 0.2,
    title: str = "Learning rates that work, by rank",
    about: str = "",
) -> go.Figure:
    """For each surface, the learning rates that leave at most that share: a band over the ranks, its middle a line.

    A level line means that a learning rate found at one rank will do at another.
    """
    traces: list[dict[str, Any]] = []
    seen = [rate for one in surfaces.values() for rate in one.window(missing).ravel() if np.isfinite(rate)]
    for n, (name, one) in enumerate(surfaces.items()):
        colour, (low, high) = COLOURS[n % len(COLOURS)], one.window(missing).T
        group = {"type": "scatter", "legendgroup": name, "x": one.ranks}
        edge = {"mode": "lines", "line": {"color": colour, "width": 1, "dash": "dot"}, "showlegend": False}
        fill = {"fill": "tonexty", "fillcolor": translucent(colour, 0.1)} if len(surfaces) <= FEW else {}
        middle = {"mode": "lines+markers", "line": {"color": colour, "width": 3}, "marker": {"size": 8, "symbol": n}}
        traces += [{**group, "y": low, **edge}, {**group, "y": high, **edge, **fill}]
        traces.append({**group, "y": one.middle(missing), "name": name, **middle})
    ranks = next(iter(surfaces.values())).ranks
    x = logarithmic(ranks, title={"text": "rank r"}, tickvals=ranks.tolist(), ticktext=[str(rank) for rank in ranks])
    y = logarithmic(seen, title={"text": "learning rate"}, dtick=1 if seen and max(seen) > 100 * min(seen) else "D2")
    told = "; ".join(
        f"{name}: {', '.join(f'{rate:.2g}' for rate in one.middle(missing))}" for name, one in surfaces.items()
    )
    alt = f"{title}, at ranks {', '.join(map(str, ranks))}, the middle of each: {told}"
    return drawn(traces, title, about, alt, xaxis=x, yaxis=y, height=400, margin={"t": LEGEND_TOP})


def _cell(surface: Surface, mark: tuple[float, float]) -> tuple[int, int]:
    rank, rate = mark
    found = np.flatnonzero(surface.ranks == rank), np.flatnonzero(np.isclose(surface.rates, rate, rtol=1e-6))
    if not all(len(places) for places in found):
        has = f"ranks {surface.ranks.tolist()} and rates {surface.rates.tolist()}"
        raise ValueError(f"no run of rank {rank} at learning rate {rate}; there are {has}")
    return int(found[0][0]), int(found[1][0])


def _said(surface: Surface) -> str:
    least = surface.missing.min(1)
    return ", ".join(
        f"{left:.1%} at rank {r} with lr {b:.2g}" for r, left, b in zip(surface.ranks, least, surface.best)
    )


def _marked(surface: Surface, mark: tuple[float, float] | None) -> str:
    if mark is None:
        return ""
    left = surface.missing[_cell(surface, mark)]
    return f"; marked, rank {mark[0]:g} with lr {mark[1]:.2g}: " + (f"{left:.1%}" if left < 1 else "nothing learned")
