"""Where does the memory go when the batch grows?  Steps measured here, beside what their shapes predict."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.accounting import Memory
from lorakit.plots import memory_ledger
from lorakit.widgets.explorer import WHOLE, Explorer
from lorakit.widgets.view import PlotlyView

Ledgers = Mapping[str, Memory]


class MemoryExplorer(Explorer):
    """A slider over measured batch sizes, and the ledger of every method at that size.

    measured   {rows of a batch: {method: Memory}}
    predicted  the same, for some or all of them
    Raises ValueError where nothing was measured.
    """

    def __init__(
        self, measured: Mapping[int, Ledgers], predicted: Mapping[int, Ledgers] | None = None, *, about: str = ""
    ) -> None:
        if not measured:
            raise ValueError("no ledger to show: give {rows: {method: measured_memory(model, batch)}}")
        self._measured, self._predicted, self._about = dict(measured), dict(predicted or {}), about
        sizes = sorted(self._measured)
        self.rows = W.SelectionSlider(options=sizes, value=sizes[-1], description="rows a batch", style=WHOLE)
        self.view = PlotlyView(self.figure())
        super().__init__([self.rows], [self.view])

    def figure(self) -> go.Figure:
        """The ledgers at the batch size of the slider."""
        rows = self.rows.value
        about = " · ".join(filter(None, [self._about, f"{rows} row{'s' * (rows != 1)} a batch"]))
        return memory_ledger(self._measured[rows], predicted=self._predicted.get(rows), about=about)
