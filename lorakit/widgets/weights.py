"""Two menus that name one weight among many: its layer, and which of the layer's matrices."""

from __future__ import annotations

from collections.abc import Iterable

import ipywidgets as W

from lorakit.plots import places
from lorakit.widgets.explorer import WHOLE


class WeightMenus:
    """`layer` and `matrix`, menus; `name` is the weight they stand at, always one of those given."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {place: name for name, place in places(names).items()}
        kinds = list(dict.fromkeys(kind for _, kind in self._names))
        self.matrix = W.Dropdown(options=kinds, description="matrix", style=WHOLE)
        self.layer = W.Dropdown(options=self._layers(kinds[0]), description="layer", style=WHOLE)
        for menu in (self.layer, self.matrix):
            menu.layout = W.Layout(width="auto", max_width="100%")
        self.matrix.observe(self._offer_layers, "value")

    @property
    def name(self) -> str:
        return self._names[self.layer.value, self.matrix.value]

    def _layers(self, kind: str) -> list[str]:
        return [layer for layer, other in self._names if other == kind]

    def _offer_layers(self, _change: object) -> None:
        """Not every layer has every matrix; the one shown stays where it can."""
        layers, now = self._layers(self.matrix.value), self.layer.value
        if list(self.layer.options) != layers:
            self.layer.options = layers
            self.layer.value = now if now in layers else layers[0]
