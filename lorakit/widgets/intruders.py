"""When does ΔW bring in directions that W never had?  W + f·ΔW, with f under the reader's finger.

A large enough change of any kind pushes new directions to the top of the spectrum. So each count stands beside that
of a random ΔW of the same singular values. All is measured when the explorer is made; the slider answers from memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as W
import plotly.graph_objects as go
from torch import Tensor
from tqdm.auto import tqdm

from lorakit import plots
from lorakit.analysis import Intruders, directions, intruders
from lorakit.delta import Delta
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView
from lorakit.widgets.weights import WeightMenus

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)


class IntruderExplorer(Explorer):
    """A slider for f, menus of layer and matrix: where the intruders are, and how sharp the threshold is for one.

    deltas, weights   {name: ΔW} and {name: W}, (out, in) each; two decompositions for every weight and factor
    factors           f, times ΔW
    threshold         ε: a vector of the top ten whose |cos| to every one of W's is below it intrudes
    Raises ValueError for no ΔW, or one without its W.
    """

    def __init__(
        self,
        deltas: Mapping[str, Delta],
        weights: Mapping[str, Tensor],
        *,
        factors: Sequence[float] = FACTORS,
        threshold: float = 0.5,
        about: str = "",
    ) -> None:
        missing = [name for name in deltas if name not in weights]
        if not deltas or missing:
            raise ValueError(f"at least one ΔW, each with its W; given {len(deltas)}, without W: {missing}")
        self.factors, self._about = list(factors), about
        pairs = [(name, factor) for name in deltas for factor in self.factors]
        self.found: dict[tuple[str, float], Intruders] = {
            (name, factor): intruders(directions(factor * deltas[name]), weights[name], threshold=threshold, draws=1)
            for name, factor in tqdm(pairs, desc="f · ΔW", leave=False)
        }
        labels = [(f"{factor:g}", factor) for factor in self.factors]
        start = min(self.factors, key=lambda factor: abs(factor - 1))
        self.factor = W.SelectionSlider(options=labels, value=start, description="f, times ΔW", style=WHOLE)
        self.menus = WeightMenus(deltas)
        super().__init__([self.factor, self.menus.matrix, self.menus.layer], [PlotlyView(f) for f in self.figures()])
        for view in self.views:
            view.layout = W.Layout(width="100%")

    def counts(self, factor: float) -> tuple[dict[str, float], dict[str, float]]:
        """({weight: left intruders}, the same by chance) at f = `factor`."""
        here = {name: one for (name, at), one in self.found.items() if at == factor}
        own = {name: float(one.counts(one.threshold)[0]) for name, one in here.items()}
        return own, {name: float(one.null_counts(one.threshold)[0]) for name, one in here.items()}

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The map of counts at this f beside chance's, the chosen weight framed; and that weight's count by ε."""
        factor, name = self.factor.value, self.menus.name
        own, chance = self.counts(factor)
        about = " · ".join(filter(None, [self._about, f"f = {factor:g}"]))
        title = f"Intruders on the left: {sum(own.values()):.0f}, by chance {sum(chance.values()):.0f}"
        return (
            plots.layer_map(own, null=chance, mark=name, title=title, about=about, form=".0f"),
            plots.intruders(self.found[name, factor], about=f"{about} · {name}"),
        )
