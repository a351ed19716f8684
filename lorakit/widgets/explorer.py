"""Controls over the pictures they move: the frame that every explorer shares.

An explorer is three statements around a pure plot: build the controls, draw the figure, draw it again when a
control moves. It lays them out for narrow and wide pages, keeps every description whole, and leaves a still
picture behind where no kernel answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as W
import plotly.graph_objects as go

from lorakit.widgets.still import stacked
from lorakit.widgets.view import PlotlyView

WIDGET = "application/vnd.jupyter.widget-view+json"
WHOLE = {"description_width": "initial"}  # a description is never cut
WRAP = {"display": "flex", "flex_flow": "row wrap", "width": "100%"}
WIDE = {"flex": "1 1 340px", "min_width": "0", "max_width": "100%"}


class Explorer(W.VBox):
    """`controls` above `views`, wrapped where the page is narrow.

    Subclasses define `figures`, one a view, or `figure` where there is one view. They are asked whenever the value
    of a control changes.
    """

    _ipython_display_ = None  # ipywidgets 7 has one that would leave the still picture out

    def __init__(self, controls: Sequence[W.ValueWidget], views: Sequence[PlotlyView]) -> None:
        for view in views:
            view.layout = W.Layout(**WIDE)
        self.controls, self.views = tuple(controls), tuple(views)
        rows = [W.Box(self.controls, layout=W.Layout(**WRAP)), W.Box(self.views, layout=W.Layout(**WRAP))]
        super().__init__(rows, layout=W.Layout(width="100%"))
        for control in self.controls:
            control.observe(lambda _change: self.redraw(), "value")

    def redraw(self) -> None:
        """Show what the controls now say."""
        for view, figure in zip(self.views, self.figures(), strict=True):
            if view.figure is not figure:
                view.update(figure)

    def figures(self) -> Iterable[go.Figure]:
        """What the views show where the controls now stand, in their order."""
        return [self.figure()]

    def figure(self) -> go.Figure:
        """What the only view shows."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to draw")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        alt = "; ".join(view.alt for view in self.views)
        model = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        # A hosted notebook is told with every output where to get what draws a view: as its views tell it.
        metadata = {key: told for view in self.views for key, told in view._repr_mimebundle_()[1].items()}
        return {
            "text/plain": alt,
            "image/svg+xml": stacked([v.still for v in self.views], alt),
            WIDGET: model,
        }, metadata
