"""How much of ΔW is needed?  Every ΔW cut by its own SVD to its k largest singular values, k = r … 0.

    ΔW_k = Σ_{i≤k} σᵢ·uᵢ·vᵢᵀ

the best of all matrices of rank k (Eckart and Young 1936). The accuracy at every k is measured once, when the
explorer is made; after that the slider answers from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as W
import numpy as np
import plotly.graph_objects as go
from torch import nn
from tqdm.auto import tqdm

from lorakit.delta import LowRank, svd, truncate
from lorakit.layers import deltas, substituted
from lorakit.plots import spectrum, truncation
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView


class RankExplorer(Explorer):
    """A slider for the rank k and a menu of matrices; the spectrum of one ΔW, and the accuracy with all cut to k.

    model     a model with low-rank adapters; it is left as it is
    evaluate  model → accuracy on held-out data: a number, or a result with `.accuracy` and its `.interval`
    ranks     the ranks to measure, by default every one from 0 to r
    Raises ValueError where the model has no low-rank ΔW.
    """

    def __init__(
        self,
        model: nn.Module,
        evaluate: Callable[[nn.Module], Any],
        *,
        ranks: Sequence[int] | None = None,
        about: str = "",
    ) -> None:
        changes = {name: delta for name, delta in deltas(model).items() if isinstance(delta, LowRank)}
        if not changes:
            raise ValueError("no low-rank ΔW in this model: adapt(model, LoRA, …) and train it first")
        self.ranks = list(ranks or range(max(delta.rank for delta in changes.values()) + 1))
        self.spectra = {name: svd(delta).S.cpu().numpy() for name, delta in changes.items()}
        self.results = [_measured(model, changes, rank, evaluate) for rank in tqdm(self.ranks, desc="rank k")]
        self._about = about
        self.rank = W.SelectionSlider(options=self.ranks, value=self.ranks[-1], description="rank k", style=WHOLE)
        self.matrix = W.Dropdown(options=list(changes), description="spectrum of", style=WHOLE)
        self.matrix.layout = W.Layout(width="auto", max_width="100%")
        super().__init__([self.rank, self.matrix], [PlotlyView(figure) for figure in self.figures()])

    @property
    def accuracy(self) -> np.ndarray:
        """Held-out accuracy at each of `ranks`."""
        return np.array([getattr(result, "accuracy", result) for result in self.results], dtype=float)

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The spectrum of the chosen ΔW, those kept filled; the accuracy at every rank, the chosen one marked."""
        name, k = self.matrix.value, self.rank.value
        ends = [result.interval for result in self.results if hasattr(result, "interval")]
        interval = tuple(np.array(ends).T) if ends else None
        left = spectrum(self.spectra[name], kept=k, title=f"Spectrum of ΔW, {k} kept", about=name)
        right = truncation(self.ranks, self.accuracy, at=k, interval=interval, about=self._about)
        return left, right


def _measured(model: nn.Module, changes: dict[str, LowRank], rank: int, evaluate: Callable) -> Any:
    # Where nothing is cut the model computes with its own ΔW, to the bit.
    cut = {name: truncate(d, rank) for name, d in changes.items() if rank < min(d.rank, *d.shape)}
    with substituted(model, cut):
        return evaluate(model)
