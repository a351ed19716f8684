"""Rows as a table: a number, and in brackets what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lorakit.inspecting.measuring import Row

Column = tuple[str, str, Callable[[Row], str]]  # head, what it means, the cell of a row

ALONE: tuple[Column, ...] = (
    ("layer", "the name of the weight", lambda row: row.name),
    ("out × in", "the shape of ΔW", lambda row: " × ".join(map(str, row.spectrum.shape))),
    ("rank", "singular values above rounding", lambda row: str(row.spectrum.rank)),
    ("‖ΔW‖", "Frobenius norm", lambda row: f"{row.spectrum.norm:.3g}"),
    ("stable", "stable rank ‖ΔW‖²/σ₁²", lambda row: _beside(row.spectrum, "stable_rank")),
    ("effective", "effective rank, exp of the entropy of σ", lambda row: _beside(row.spectrum, "effective_rank")),
    ("90 %", "directions that hold 90 % of ‖ΔW‖²", lambda row: str(row.spectrum.rank_at(0.9))),
)
WITH_BASE: tuple[Column, ...] = (
    ("‖ΔW‖/‖W‖", "how large the change is", lambda row: f"{row.spectrum.norm / row.amplification.weight_norm:.2%}"),
    ("enrichment", "W on ΔW's directions, times chance", lambda row: f"{row.amplification.enrichment:.2f} (1)"),
    ("factor", "the paper's amplification factor", lambda row: _factor(row)),
    ("intruders", "of the top 10 left and right vectors", lambda row: _intruders(row)),
)
WITH_OTHER: tuple[Column, ...] = (
    ("φ(1, 1)", "overlap of the first directions", lambda row: _phi(row, 0)),
    ("φ(all)", "overlap of all directions of both, 64 at most", lambda row: _phi(row, -1)),
)


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that these rows can fill."""
    with_base = WITH_BASE if any(row.amplification for row in rows) else ()
    return [*ALONE, *with_base, *(WITH_OTHER if any(row.similarity for row in rows) else ())]


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table's text, its heads first; – where a row has nothing."""
    chosen = columns(rows)
    return [[head for head, _, _ in chosen], *([_cell(column, row) for column in chosen] for row in rows)]


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal, and below it what the columns are."""
    lines = cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    return "\n".join([*table, "", "in brackets: by chance", *_legend(columns(rows))])


def _legend(chosen: Sequence[Column]) -> list[str]:
    return [f"{head:<12}{meaning}" for head, meaning, _ in chosen[2:]]


def _cell(column: Column, row: Row) -> str:
    needed = row.amplification if column in WITH_BASE else row.similarity if column in WITH_OTHER else row
    return column[2](row) if needed else "–"


def _beside(found, measure: str) -> str:
    return f"{getattr(found, measure):.2f} ({getattr(found, f'null_{measure}').mean:.2f})" if found.rank else "–"


def _factor(row: Row) -> str:
    return f"{row.amplification.factor:.3g} ({row.amplification.null_factor:.3g})"


def _intruders(row: Row) -> str:
    found, at = row.intruders, row.intruders.threshold
    (left, right), (by_chance, also) = found.counts(at), found.null_counts(at)
    return f"{left}+{right} ({by_chance:.0f}+{also:.0f})"


def _phi(row: Row, at: int) -> str:
    found = row.similarity
    return f"{found.phi[at, at]:.3f} ({found.null[at, at]:.3f})" if found.phi.size else "–"
