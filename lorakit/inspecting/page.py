"""The report as one file: tables, and figures that work offline, on a light page and on a dark one.

plotly.js stands in it once; nothing is fetched when it is opened. Figures are clear and their text is a grey that
reads on both, so the page's own colours, which follow the reader's system, are all that changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from lorakit import plots
from lorakit.inspecting.measuring import Row
from lorakit.inspecting.table import cells, columns

STYLE = """
:root { color-scheme: light dark; }
body { max-width: 1240px; margin: 2rem auto; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; }
body { background: light-dark(#ffffff, #16181c); color: light-dark(#222222, #dcdcdc); }
h1, p { overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.5rem; }
p { max-width: 100ch; color: light-dark(#555555, #a9a9a9); }
figure { margin: 2rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .2rem .4rem; text-align: right; border-bottom: 1px solid rgba(128, 128, 128, .25); }
th:first-child, td:first-child { text-align: left; }
th { cursor: help; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style><script>{library}</script></head>
<body><h1>{title}</h1><p>{about}</p>
<p>A number in brackets is what chance gives: random directions, or a random ΔW of the same shape, rank and norm.</p>
<div class="wide">{table}</div>
{figures}
</body></html>
"""


def page(rows: Sequence[Row], title: str, about: str) -> str:
    """The rows as HTML: table first, then a figure for every question they can answer."""
    drawn = "\n".join(_figure(figure) for figure in figures(rows, title))
    words = {"title": escape(title), "about": escape(about), "table": _table(rows), "figures": drawn}
    return PAGE.format(style=STYLE, library=get_plotlyjs(), **words)


def figures(rows: Sequence[Row], about: str) -> Iterator[go.Figure]:
    """Maps over the layers, spectra of the layers that changed most and least, and what W and another ΔW add."""
    alive = [row for row in rows if row.spectrum.rank]
    if not alive:
        return
    yield plots.layer_map({row.name: row.spectrum.norm for row in alive}, title="‖ΔW‖", about=about, form=".2g")
    yield from _counts(alive, about)
    ends = sorted(alive, key=lambda row: -row.spectrum.norm)
    chosen = dict(zip(plots.labels([ends[0].name, ends[-1].name]), (ends[0].spectrum, ends[-1].spectrum)))
    yield plots.spectra(chosen, title="Spectra of the largest and the smallest ΔW", about=about)
    yield from _beside_weights(alive, about)
    yield from _beside_other(alive, about)


def _counts(rows: list[Row], about: str) -> Iterator[go.Figure]:
    for title, measure in (("Effective rank", "effective_rank"), ("Stable rank", "stable_rank")):
        values = {row.name: getattr(row.spectrum, measure) for row in rows}
        null = {row.name: getattr(row.spectrum, f"null_{measure}").mean for row in rows}
        yield plots.layer_map(values, null=null, title=title, about=about, form=".1f")


def _beside_weights(rows: list[Row], about: str) -> Iterator[go.Figure]:
    amplified = {row.name: row.amplification for row in rows if row.amplification}
    intruding = {row.name: row.intruders for row in rows if row.intruders}
    if not amplified or not intruding:
        return
    ratio = {name: found.norm / found.weight_norm for name, found in amplified.items()}
    yield plots.layer_map(ratio, title="‖ΔW‖ / ‖W‖", about=about, form=".1%")
    yield plots.amplification(amplified, about=f"{about} · up to 8 directions of each")
    most = max(intruding, key=lambda name: intruding[name].counts(intruding[name].threshold).sum())
    yield plots.intruders(intruding[most], about=f"{about} · {most}")


def _beside_other(rows: list[Row], about: str) -> Iterator[go.Figure]:
    shared = {row.name: row.similarity for row in rows if row.similarity and row.similarity.phi.size}
    if not shared:
        return
    first = {name: found.phi[0, 0] for name, found in shared.items()}
    null = {name: found.null[0, 0] for name, found in shared.items()}
    yield plots.layer_map(first, null=null, title="φ(1, 1)", about=about)
    most = max(shared, key=lambda name: shared[name].shared[-1, -1])
    yield plots.phi_map(shared[most], about=f"{about} · {most}, the layer that shares most")


def _figure(figure: go.Figure) -> str:
    drawing = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    return f'<figure role="img" aria-label="{escape(plots.alt_text(figure))}">{drawing}</figure>'


def _table(rows: Sequence[Row]) -> str:
    head, *body = cells(rows)
    meanings = (column.meaning for column in columns(rows))
    heads = "".join(f'<th title="{escape(m)}">{escape(h)}</th>' for h, m in zip(head, meanings))
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in body)
    return f"<table><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
