"""Which directions do two ΔW share? φ(i, j) under the reader's finger, for any layer, matrix and pair of runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.analysis import Similarity, similarity
from lorakit.delta import Delta
from lorakit.plots import phi_map
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView
from lorakit.widgets.weights import WeightMenus

Pair = tuple[Mapping[str, Delta], Mapping[str, Delta]]


class PhiExplorer(Explorer):
    """Menus for the pair of runs, the layer and the matrix; sliders for i and j that mark a cell of the map.

    pairs    {"seed 0 and 1": (deltas, deltas)}: i counts the directions of the first, j those of the second
    options  of `similarity`: of, side, top
    The subtitle says φ at the mark, its null and z. Raises ValueError where a pair has no layer in common.
    """

    def __init__(self, pairs: Mapping[str, Pair], *, about: str = "", **options) -> None:
        shared = [name for name in self._shared(pairs)]
        if not shared:
            raise ValueError(f"no layer that all of {list(pairs)} have in common; give pairs of ΔW of the same layers")
        self._pairs, self._about, self._options = dict(pairs), about, options
        self.pair = W.Dropdown(options=list(pairs), description="pair", style=WHOLE)
        self.pair.layout = W.Layout(width="auto", max_width="100%")
        self.menus = WeightMenus(shared)
        self.i, self.j = (W.IntSlider(1, 1, 1, description=letter, style=WHOLE) for letter in "ij")
        self._measured = lru_cache(maxsize=None)(self._measure)
        self._reach()
        self.view = PlotlyView(self.figure())
        super().__init__([self.pair, self.menus.matrix, self.menus.layer, self.i, self.j], [self.view])

    @staticmethod
    def _shared(pairs: Mapping[str, Pair]) -> list[str]:
        """Layers that every run has, in the first one's order."""
        runs = [run for pair in pairs.values() for run in pair]
        return [name for name in runs[0] if all(name in run for run in runs)] if runs else []

    @property
    def similarity(self) -> Similarity:
        """What the menus now ask for; measured once."""
        return self._measured(self.pair.value, self.menus.name)

    def _measure(self, pair: str, name: str) -> Similarity:
        a, b = self._pairs[pair]
        return similarity(a[name], b[name], **self._options)

    def figure(self) -> go.Figure:
        """The map with the cell of the sliders marked."""
        found, i, j = self.similarity, self.i.value, self.j.value
        place = " · ".join(filter(None, [self._about, self.pair.value, self.menus.name]))
        if not found.phi.size:
            return phi_map(found, title="A zero ΔW has no direction to compare", about=place)
        phi, null, z = (table[i - 1, j - 1] for table in (found.phi, found.null, found.z))
        said = f"φ({i}, {j}) = {phi:.3f}, by chance {null:.3f}, z = {z:.1f}"
        return phi_map(found, mark=(i, j), title=said, about=place)

    def redraw(self) -> None:
        self._reach()
        super().redraw()

    def _reach(self) -> None:
        """The sliders end where the table does."""
        for slider, most in zip((self.i, self.j), self.similarity.phi.shape):
            slider.max = max(most, 1)
