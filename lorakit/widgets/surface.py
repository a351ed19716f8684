"""Rank, α and the learning rate: which of the three does what?  Every run of a planted task, trained as one slides.

    ΔW = s·B·A,   s = α/r, or α/√r, or α

α trains the whole surface anew, some sixty runs in a tenth of a second; rank and learning rate choose the run whose
curve is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.data import Planted
from lorakit.plots import loss_surface as surface_map
from lorakit.plots import surface_run
from lorakit.surface import RANKS, RATES, LossSurface, loss_surface
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView

ALPHAS = tuple(2.0**n for n in range(-1, 8))
SCALES: dict[str, Callable[[float, int], float]] = {  # what the menu says: (α, r) → the α that gives this s as α/r
    "α/r": lambda alpha, rank: alpha,
    "α/√r": lambda alpha, rank: alpha * sqrt(rank),
    "α": lambda alpha, rank: alpha * rank,
}


class SurfaceExplorer(Explorer):
    """Sliders for α, the rank and the learning rate, and a menu for what divides α; the surface, and one run of it.

    task          a planted task; it is left as it is
    ranks, rates  of the surface
    options       of `loss_surface`: steps, update, seed, init
    """

    def __init__(
        self,
        task: Planted,
        ranks: Sequence[int] = RANKS,
        rates: Sequence[float] = RATES,
        *,
        alpha: float = 8.0,
        about: str = "",
        **options,
    ) -> None:
        self._task, self._about, self._options = task, about, {"ranks": ranks, "rates": rates, **options}
        alphas = sorted({*ALPHAS, alpha})
        self.alpha = _slider("α", {f"{one:g}": one for one in alphas}, alpha)
        self.rank = _slider("rank r", {str(one): one for one in ranks}, ranks[len(ranks) // 2])
        self.rate = _slider("learning rate", {f"{one:.2g}": one for one in rates}, rates[len(rates) // 2])
        self.scale = W.Dropdown(options=list(SCALES), description="s =", style=WHOLE)
        self.scale.layout = W.Layout(width="110px", margin="2px 24px 2px 2px")
        self._trained: tuple[float, str] | None = None
        views = [PlotlyView(figure) for figure in self.figures()]
        super().__init__([self.alpha, self.scale, self.rank, self.rate], views)

    @property
    def surface(self) -> LossSurface:
        """The runs at the present α and s, trained if the last ones were others."""
        now = self.alpha.value, self.scale.value
        if now != self._trained:
            alpha, rule = now[0], SCALES[now[1]]
            self._surface = loss_surface(self._task, alpha=lambda rank: rule(alpha, rank), **self._options)
            self._trained = now
        return self._surface

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The surface with the chosen run framed, and the loss of that run."""
        surface, (rank, rate) = self.surface, (self.rank.value, self.rate.value)
        s = float(surface.scales[surface.ranks == rank][0])
        steps = f"α = {self.alpha.value:g}, s = {self.scale.value}, {len(surface.loss) - 1} steps"
        title = f"What is left to learn: at r = {rank} best with lr {surface.best[surface.ranks == rank][0]:.2g}"
        left = surface_map(
            surface, mark=(rank, rate), title=title, about=" · ".join(filter(None, [self._about, steps]))
        )
        return left, surface_run(surface, rank, rate, about=f"{steps} · here s = {s:.3g}")


def _slider(name: str, options: dict[str, float], value: float) -> W.SelectionSlider:
    slider = W.SelectionSlider(options=list(options.items()), value=value, description=name, style=WHOLE)
    slider.layout = W.Layout(width="300px", max_width="100%")
    return slider
