"""Somebody's adapter, every measure: one over all layers, and all of them for the layer one points at.

Each number stands beside its null. What was not measured (no W, no other adapter) is not on the menu.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go

from lorakit import plots
from lorakit.analysis import Amplification, Intruders, Similarity, Spectrum
from lorakit.plots.style import drawn
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView
from lorakit.widgets.weights import WeightMenus

HAS_SOME = np.ones(1)  # results without a table are never empty


class Row(Protocol):
    """What was measured on one layer, as `lorakit.inspecting.measured` gives it; None where it was not."""

    name: str
    spectrum: Spectrum
    amplification: Amplification | None
    intruders: Intruders | None
    similarity: Similarity | None


class Measure(NamedTuple):
    """A number of a result and of its null (None: it has none), and how it is written."""

    of: str
    value: Callable[[Any], float]
    null: Callable[[Any], float] | None
    form: str


def _count(found: Intruders) -> float:
    return float(sum(found.counts(found.threshold)))


def _by_chance(found: Intruders) -> float:
    return float(sum(found.null_counts(found.threshold)))


MEASURES = {
    "effective rank": Measure("spectrum", lambda s: s.effective_rank, lambda s: s.null_effective_rank.mean, ".1f"),
    "stable rank": Measure("spectrum", lambda s: s.stable_rank, lambda s: s.null_stable_rank.mean, ".1f"),
    "norm ‖ΔW‖": Measure("spectrum", lambda s: s.norm, None, ".2g"),
    "norm ‖ΔW‖ / ‖W‖": Measure("amplification", lambda a: a.norm / a.weight_norm, None, ".1%"),
    "enrichment": Measure("amplification", lambda a: a.enrichment, lambda a: 1.0, ".2f"),
    "amplification factor": Measure("amplification", lambda a: a.factor, lambda a: a.null_factor, ".1f"),
    "intruders, of 2 × 10": Measure("intruders", _count, _by_chance, ".0f"),
    "φ of the first directions": Measure("similarity", lambda s: s.phi[0, 0], lambda s: s.null[0, 0], ".2f"),
    "φ of all directions": Measure("similarity", lambda s: s.phi[-1, -1], lambda s: s.null[-1, -1], ".2f"),
}


class AdapterExplorer(Explorer):
    """A menu of measures over the map of all layers; menus of layer and matrix for its spectrum and φ or intruders.

    rows    of `lorakit.inspecting.measured`; layers whose ΔW is zero have no direction and are left out
    Raises ValueError where no layer is left.
    """

    def __init__(self, rows: Sequence[Row], *, about: str = "") -> None:
        self.rows = {row.name: row for row in rows if row.spectrum.rank}
        if not self.rows:
            raise ValueError(f"no ΔW to show: {len(rows)} rows, and none with a ΔW that is not zero")
        self._about = about
        offered = [(name, measure) for name, measure in MEASURES.items() if self._measured(measure)]
        self.measure = W.Dropdown(options=offered, description="measure", style=WHOLE)
        self.menus = WeightMenus(self.rows)
        self._of_layer = lru_cache(maxsize=64)(self._drawn)
        views = [PlotlyView(figure) for figure in self.figures()]
        super().__init__([self.measure, self.menus.matrix, self.menus.layer], views)
        for view in views:
            view.layout = W.Layout(width="100%")  # a map of layers is as wide as the page, and cells hold numbers

    def _measured(self, measure: Measure) -> dict[str, Any]:
        """{layer: the result that the measure is a number of}, where there is one."""
        found = {name: getattr(row, measure.of) for name, row in self.rows.items()}
        return {name: one for name, one in found.items() if one is not None and getattr(one, "phi", HAS_SOME).size}

    def figures(self) -> list[go.Figure]:
        """The map with the chosen weight framed; its spectrum; φ with the other adapter, else its intruders."""
        return [self._map(), *self._of_layer(self.menus.name)]

    def _map(self) -> go.Figure:
        measure = self.measure.value
        found = self._measured(measure)
        values = {name: measure.value(one) for name, one in found.items()}
        null = {name: measure.null(one) for name, one in found.items()} if measure.null else None
        mark = self.menus.name if self.menus.name in values else None
        look = {
            "title": self.measure.label[0].upper() + self.measure.label[1:],
            "about": self._about,
            "form": measure.form,
        }
        return plots.layer_map(values, null=null, mark=mark, **look)

    def _drawn(self, name: str) -> list[go.Figure]:
        row, brief = self.rows[name], dict(zip(self.rows, plots.labels(self.rows)))[name]
        about = " · ".join(filter(None, [self._about, brief]))
        figures = [plots.spectra({"ΔW": row.spectrum}, about=about)]
        if any(one.similarity for one in self.rows.values()):
            absent = drawn([], "Not in the other adapter", about, f"{name} is not in the other adapter")
            return [*figures, plots.phi_map(row.similarity, about=about) if row.similarity else absent]
        return [*figures, plots.intruders(row.intruders, about=about)] if row.intruders else figures
