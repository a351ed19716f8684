"""When does an adapter's latency hurt?  Table 1 with its columns under the reader's finger, over measured points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.plots import latency_bars, latency_curves
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView


class LatencyExplorer(Explorer):
    """Sliders for batch and length; the models' ms at that point, and what each adds at every point.

    rows   measured ones, each with model, batch, length, ms, sd and ratio (to the first model, the merged one)
    Raises ValueError where a model was not measured at every batch and length.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, about: str = "") -> None:
        self._rows, self._about = list(rows), about
        batches, lengths = (sorted({row[key] for row in rows}) for key in ("batch", "length"))
        models = list(dict.fromkeys(row["model"] for row in rows))
        found = {(row["model"], row["batch"], row["length"]) for row in rows}
        missing = [(m, b, n) for m in models for b in batches for n in lengths if (m, b, n) not in found]
        if missing or not rows:
            raise ValueError(f"every model at every batch and length, please; missing {missing[:3] or 'all of them'}")
        self.batch = W.SelectionSlider(options=batches, description="batch (rows)", style=WHOLE)
        self.length = W.SelectionSlider(options=lengths, description="length (tokens)", style=WHOLE)
        super().__init__([self.batch, self.length], [PlotlyView(figure) for figure in self.figures()])

    def figures(self) -> tuple[go.Figure, go.Figure]:
        """The models at the chosen point, and all points with the chosen one larger."""
        at = self.batch.value, self.length.value
        here = [row for row in self._rows if (row["batch"], row["length"]) == at]
        title = f"One forward pass, {at[0]} × {at[1]} tokens"
        bars = latency_bars(here, title=title, about=self._about)
        return bars, latency_curves(self._rows, at=at, about=self._about)
