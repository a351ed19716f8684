"""Where in the model did ΔW change what? One measure over all layers, and the spectrum of the layer one points at."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.analysis import spectrum
from lorakit.delta import Delta
from lorakit.plots import layer_map, spectra
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView
from lorakit.widgets.weights import WeightMenus

MEASURES = {  # what the menu says: the field of a spectrum
    "effective rank": "effective_rank",
    "stable rank": "stable_rank",
    "participation ratio": "participation_ratio",
    "norm ‖ΔW‖": "norm",
}
FORMS = dict.fromkeys(MEASURES.values(), ".1f") | {"norm": ".2g"}


class LayerExplorer(Explorer):
    """A menu of measures over the map of all layers, each beside its null; menus of layer and matrix for the spectrum.

    deltas   {name: ΔW}; each is decomposed once, when the explorer is made
    Raises ValueError for no layer.
    """

    def __init__(self, deltas: Mapping[str, Delta], *, about: str = "") -> None:
        if not deltas:
            raise ValueError("no ΔW to show: give {name: ΔW} with at least one")
        self.spectra = {name: spectrum(delta) for name, delta in deltas.items()}
        self._about = about
        self.measure = W.Dropdown(options=list(MEASURES.items()), description="measure", style=WHOLE)
        self.menus = WeightMenus(deltas)
        views = [PlotlyView(figure) for figure in self.figures()]
        super().__init__([self.measure, self.menus.matrix, self.menus.layer], views)
        for view in views:
            view.layout = W.Layout(width="100%")  # a map of layers is as wide as the page

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The map of the chosen measure with the chosen weight framed, and that weight's spectrum."""
        name, field = self.menus.name, self.measure.value
        values = {one: getattr(found, field) for one, found in self.spectra.items()}
        null = {one: getattr(found, f"null_{field}").mean for one, found in self.spectra.items() if field != "norm"}
        return (
            layer_map(values, null=null, mark=name, title=self.measure.label, about=self._about, form=FORMS[field]),
            spectra({"ΔW": self.spectra[name]}, about=" · ".join(filter(None, [self._about, name]))),
        )
