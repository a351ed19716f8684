"""How much of a noisy ΔW is worth keeping?  ΔW = ΔW* + noise, cut to its top k, beside the ΔW* one can see.

The rank of ΔW* is the number of its rectangles; noise makes the rank full, and hides the weakest of them once it is
stronger than they are. Cutting where the noise begins gives back most of ΔW*.
"""

from __future__ import annotations

from math import sqrt

import ipywidgets as W
import plotly.graph_objects as go
import torch

from lorakit.data.pictures import noisy, rectangles
from lorakit.delta import dense, norm, truncate
from lorakit.plots import cut
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView

LIMIT = 2.0  # where the colours end: two rectangles of one sign, one over the other


class PictureExplorer(Explorer):
    """Sliders for the rank of ΔW*, the noise, and the k directions kept; ΔW, what is kept of it, and its spectrum.

    rank, most   the rank to start with, and the largest
    size         ΔW* is (size, size)
    """

    def __init__(self, rank: int = 3, *, most: int = 12, size: int = 48, noise: float = 0.3, seed: int = 0) -> None:
        self._size, self._seed = size, seed
        self.rank = W.IntSlider(rank, 1, most, description="rank of ΔW*", style=WHOLE)
        self.noise = W.FloatSlider(noise, min=0, max=1.5, step=0.05, description="noise", style=WHOLE)
        self.kept = W.IntSlider(rank, 0, min(2 * most, size), description="kept, k", style=WHOLE)
        self.view = PlotlyView(self.figure())
        super().__init__([self.rank, self.noise, self.kept], [self.view])

    @property
    def level(self) -> float:
        """About the largest singular value of the noise alone, noise·(√out + √in)."""
        return self.noise.value * 2 * sqrt(self._size)

    @property
    def error(self) -> float:
        """‖top k of ΔW − ΔW*‖_F / ‖ΔW*‖_F, as the figure says it."""
        return _distance(self._cut(), self._truth())

    def _truth(self) -> torch.Tensor:
        return dense(rectangles(self.rank.value, size=self._size, seed=self._seed))

    def _seen(self) -> torch.Tensor:
        return noisy(rectangles(self.rank.value, size=self._size, seed=self._seed), self.noise.value, seed=self._seed)

    def _cut(self) -> torch.Tensor:
        return dense(truncate(self._seen(), self.kept.value))

    def figure(self) -> go.Figure:
        """ΔW*, ΔW and its top k, how far each of these is from ΔW*, and the spectrum."""
        k, truth, seen, top = self.kept.value, self._truth(), self._seen(), self._cut()
        title = f"The top {k} miss ΔW* by {_distance(top, truth):.0%}, ΔW as it stands by {_distance(seen, truth):.0%}"
        named = {"ΔW*": truth, "ΔW, noisy": seen, f"its top {k}": top}
        shown = {name: matrix.numpy() for name, matrix in named.items()}
        values = torch.linalg.svdvals(seen)[: self.kept.max].numpy()
        return cut(shown, values, k, level=self.level, limit=LIMIT, title=title, about=self._about())

    def _about(self) -> str:
        what = f"ΔW* of rank {self.rank.value}, {self._size} × {self._size}, noise {self.noise.value:.2g}"
        return f"{what}, seed {self._seed}; dotted: noise alone"


def _distance(one: torch.Tensor, truth: torch.Tensor) -> float:
    return (norm(one - truth) / norm(truth)).item()
