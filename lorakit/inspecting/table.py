"""Rows as a table: a number, and in brackets what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from lorakit.analysis import Amplification, Intruders, Similarity, Spectrum
from lorakit.inspecting.measuring import Row

NOTHING = "–"


class Column(NamedTuple):
    """A head and what it means; `of` picks a row's result, None where there is none, and `say` writes it."""

    head: str
    meaning: str
    of: Callable[[Row], Any]
    say: Callable[[Any], str]


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that at least one of these rows can fill."""
    return [column for column in COLUMNS if any(column.of(row) is not None for row in rows)]


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table's text, its heads first; – where a row has nothing."""
    chosen = columns(rows)
    return [[column.head for column in chosen], *([_cell(column, row) for column in chosen] for row in rows)]


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal, and below it what the columns are."""
    lines = cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines)]
    table = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    legend = [f"{column.head:<12}{column.meaning}" for column in columns(rows)[2:]]
    return "\n".join([*table, "", "in brackets: by chance", *legend])


def _cell(column: Column, row: Row) -> str:
    found = column.of(row)
    return NOTHING if found is None else column.say(found)


def _stable(found: Spectrum) -> str:
    return f"{found.stable_rank:.2f} ({found.null_stable_rank.mean:.2f})" if found.rank else NOTHING


def _effective(found: Spectrum) -> str:
    return f"{found.effective_rank:.2f} ({found.null_effective_rank.mean:.2f})" if found.rank else NOTHING


def _factor(found: Amplification) -> str:
    return f"{found.factor:.3g} ({found.null_factor:.3g})"


def _intruders(found: Intruders) -> str:
    (left, right), (by_chance, also) = found.counts(found.threshold), found.null_counts(found.threshold)
    return f"{left}+{right} ({by_chance:.0f}+{also:.0f})"


def _first(found: Similarity) -> str:
    return f"{found.phi[0, 0]:.3f} ({found.null[0, 0]:.3f})" if found.phi.size else NOTHING


def _all(found: Similarity) -> str:
    return f"{found.phi[-1, -1]:.3f} ({found.null[-1, -1]:.3f})" if found.phi.size else NOTHING


_own, _amplified, _intruding, _shared = map(attrgetter, ("spectrum", "amplification", "intruders", "similarity"))
COLUMNS = (
    Column("layer", "the name of the weight", attrgetter("name"), str),
    Column("out × in", "the shape of ΔW", _own, lambda found: " × ".join(map(str, found.shape))),
    Column("rank", "singular values above rounding", _own, lambda found: str(found.rank)),
    Column("‖ΔW‖", "Frobenius norm", _own, lambda found: f"{found.norm:.3g}"),
    Column("stable", "stable rank ‖ΔW‖²/σ₁²", _own, _stable),
    Column("effective", "effective rank, exp of the entropy of σ", _own, _effective),
    Column("90 %", "directions that hold 90 % of ‖ΔW‖²", _own, lambda found: str(found.rank_at(0.9))),
    Column("‖ΔW‖/‖W‖", "how large the change is", _amplified, lambda found: f"{found.norm / found.weight_norm:.2%}"),
    Column("enrichment", "W on ΔW's directions, times chance", _amplified, lambda found: f"{found.enrichment:.2f} (1)"),
    Column("factor", "the paper's amplification factor", _amplified, _factor),
    Column("intruders", "of the top 10 left and right vectors", _intruding, _intruders),
    Column("φ(1, 1)", "overlap of the first directions", _shared, _first),
    Column("φ(all)", "overlap of all directions of both, 64 at most", _shared, _all),
)
