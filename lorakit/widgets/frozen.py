"""A page in place of a kernel: a frozen explorer, a view or a figure as HTML that works from a file, with no network.

    freeze(explorer, "rank.html")      one page for a slide or a course: sliders, pictures, nothing else needed
    fragment(anything)                 the same as a piece of a larger page, whose end holds `script()` once

Both draw with the view of the notebooks (view.js), so colours follow the page and arrow keys move the sliders.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from lorakit.export import beside
from lorakit.widgets.explorer import Explorer
from lorakit.widgets.freezing import Frozen, frozen
from lorakit.widgets.still import stacked
from lorakit.widgets.view import PlotlyView, library

STYLE = """
.lorakit-frozen { margin: 0.5rem 0; }
.lorakit-controls, .lorakit-panels { display: flex; flex-flow: row wrap; gap: 0.25rem 1.5rem; }
.lorakit-controls label { display: inline-flex; align-items: center; gap: 0.5rem; max-width: 100%; }
.lorakit-controls input[type="range"] { width: 16rem; max-width: 50vw; accent-color: #3b82c4; }
.lorakit-controls select { font: inherit; min-width: 0; max-width: 100%; }
.lorakit-panels > div { min-width: 0; }
.lorakit-frozen svg { max-width: 100%; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px system-ui, sans-serif; }}
body {{ margin: 1rem auto; padding: 0 1rem; max-width: 70rem; }}
footer {{ font-size: 0.85rem; opacity: 0.75; }}
{style}</style>
</head>
<body>
<main aria-label="{title}">
{content}
</main>
<footer>{about}</footer>
{library}
<script>{script}</script>
</body>
</html>
"""


def freeze(
    explorer: Explorer,
    path: str | Path,
    *,
    most: int | None = None,
    values: Mapping[str, Sequence] | None = None,
    title: str = "",
    plotlyjs: str = "inside",
) -> Path:
    """Write a page that answers as `explorer` does, at every position of its controls, without a kernel.

    most      states to compute, at most (by default 1000, fewer of heavy pictures): sliders are thinned to fit, menus
              never; the page says what is missing
    values    {description of a control: the values to freeze}: sentences to choose from, or fewer of a menu
    plotlyjs  "inside" the page (1.9 MB, one file), or one copy "beside" all pages of the folder, as `export` has it
    The explorer stays as it is. Raises ValueError for an unknown control or `plotlyjs`, before anything is computed.
    """
    if plotlyjs not in ("inside", "beside"):
        raise ValueError(f"no plotlyjs is called {plotlyjs!r}; there are inside, beside")
    path = Path(path)
    found = frozen(explorer, most=most, values=values)
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = f'<script id="lorakit-plotly" type="text/plain">{b64encode(library()).decode()}</script>'
    outside = f'<script src="{beside(path.parent).name}"></script>' if plotlyjs == "beside" else ""
    page = PAGE.format(
        title=escape(title or type(explorer).__name__),
        style=STYLE,
        content=_fragment(found, _still(explorer)),
        about=escape(_about(found)),
        library=outside or inside,
        script=script(),
    )
    path.write_text(page, encoding="utf-8")
    return path


def fragment(shown: Explorer | PlotlyView | go.Figure, **options: Any) -> str:
    """One explorer (with the options of `frozen`), view or figure as a piece of HTML for a page with `script()`."""
    if isinstance(shown, Explorer):
        return _fragment(frozen(shown, **options), _still(shown))
    view = shown if isinstance(shown, PlotlyView) else PlotlyView(shown)
    return _fragment(frozen(_Alone(view)), _still(view))


class _Alone:
    """A view without controls, as an explorer has views."""

    def __init__(self, view: PlotlyView) -> None:
        self.controls: Sequence = ()
        self.children: Sequence = (view,)


@lru_cache(maxsize=1)
def script() -> str:
    """What thaws every fragment on a page; plotly.js is to be there before it, or inside the page."""
    here = Path(__file__)
    view, thaw = (here.with_name(name).read_text(encoding="utf-8") for name in ("view.js", "frozen.js"))
    return f"(() => {{\n{view.replace('export default { initialize, render };', '')}{thaw}}})();\n"


def _fragment(found: Frozen, still: str) -> str:
    story = {key: value for key, value in asdict(found).items() if key not in ("states", "thinned")}
    packed = gzip.compress(json.dumps(story, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0)
    payload = f'<script type="text/plain">{b64encode(packed).decode()}</script>'
    return f'<div class="lorakit-frozen">{still}{payload}</div>'


def _still(shown: Explorer | PlotlyView) -> str:
    """The picture that stands there until the script has run, or for good where none runs."""
    if isinstance(shown, PlotlyView):
        return shown.still
    return stacked([view.still for view in shown.views], "; ".join(view.alt for view in shown.views))


def _about(found: Frozen) -> str:
    missing = f" Of each slider a choice: {'; '.join(found.thinned)}." if found.thinned else ""
    return f"Computed beforehand at {found.states} positions of the controls; no kernel, no network.{missing}"
