"""Somebody's adapter, looked into from a terminal: what ΔW did, as a table and as a page.

path ── checkpoints ──> {layer: ΔW} ── analysis ──> rows ──> table, figures ──> one page

python -m lorakit inspect PATH [--base MODEL] [--against PATH] [--html report.html]
"""

from lorakit.inspecting.measuring import Row, measured
from lorakit.inspecting.page import figures, page
from lorakit.inspecting.sources import deltas_of, weights_of
from lorakit.inspecting.table import as_text, columns

__all__ = ["Row", "as_text", "columns", "deltas_of", "figures", "measured", "page", "weights_of"]
