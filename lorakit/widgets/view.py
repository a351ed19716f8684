"""A plotly figure in a notebook, redrawn in one step whenever it changes.

    view = PlotlyView(figure, alt="Loss falls from 0.7 to 0.3 in 200 steps")
    view.update(another_figure)

What crosses the wire is the figure as JSON with its arrays as raw float32 or int32 beside it. plotly.js itself
is asked for by the page, once, and kept in no notebook. Where it cannot come (no kernel behind a saved
notebook, GitHub, nbconvert, a kernel busy training) a plain SVG of the same figure is shown instead: it needs
no script, no network and no Chrome, which plotly's own MIME type or a PNG by kaleido would.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from itertools import count
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

import anywidget
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs

from lorakit.plots import alt_text
from lorakit.widgets.still import still
from lorakit.widgets.wire import pack

AGAIN = 4.0  # seconds: a busy kernel finds the same question many times; a page that asks later did not get the answer


class PlotlyView(anywidget.AnyWidget):
    """Draws any plotly figure; `figure` is the one it shows, `alt` what a screen reader says of it.

    Light and dark follow the page: what the layout itself leaves open (not its template) is transparent, with
    the text colour of the page. Zoom survives an update. `alt` defaults to what the figure says of itself.
    """

    _esm = Path(__file__).with_name("view.js")
    wire = traitlets.Dict().tag(sync=True)
    still = traitlets.Unicode().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)

    _ipython_display_ = None  # ipywidgets 7 has one that would leave the still picture out
    _revisions: ClassVar = count()
    _served: ClassVar[dict[str, float]] = {}

    def __init__(self, figure: go.Figure, *, alt: str | None = None, **kwargs) -> None:
        spec, alt = figure.to_plotly_json(), alt or alt_text(figure)
        super().__init__(wire=self._packed(spec), alt=alt, still=still(spec, alt), **kwargs)
        self.figure, self._drawn = figure, False
        self.on_msg(self._hear)

    def update(self, figure: go.Figure, *, alt: str | None = None) -> None:
        """Show another figure, or the same one changed: one message, one redraw; none where all is as it was."""
        spec, alt = figure.to_plotly_json(), alt or alt_text(figure)
        wire, self.figure = self._packed(spec), figure
        if alt == self.alt and all(wire[part] == self.wire[part] for part in ("data", "layout")):
            return
        with self.hold_sync():
            self.wire, self.alt = wire, alt
        if not self._drawn:
            self.still = still(spec, alt)

    def _packed(self, spec: dict) -> dict[str, Any]:
        # The revision makes every update a change: the page compares buffers by reference, or not at all.
        wire = {"revision": next(self._revisions), "data": pack(spec["data"]), "layout": pack(spec["layout"])}
        wire["layout"].pop("meta", None)  # holds the alt text; plotly would draw everything anew where it changes
        return wire

    def _hear(self, _view: PlotlyView, content: dict, _buffers: list) -> None:
        """A page asks for plotly.js; or it has drawn the figure itself and rests, so that the still can follow."""
        if content.get("rests"):
            self._drawn, self.still = True, still(self.figure.to_plotly_json(), self.alt)
        page = content.get("page")
        if page and monotonic() - self._served.get(page, -inf) > AGAIN:
            self._served[page] = monotonic()
            self.send({"library": page}, buffers=[library()])

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, "text/plain": self.alt, "image/svg+xml": self.still}, metadata


@lru_cache(maxsize=1)
def library() -> bytes:
    """plotly.js, compressed: so it stays under the rate at which a Jupyter server lets a kernel speak by default."""
    return gzip.compress(get_plotlyjs().encode(), 5)
