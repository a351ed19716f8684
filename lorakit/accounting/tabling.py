"""Table 1 of Hu et al. 2021: a model a row, a batch a column, ms of the first and what each other adds to it.

latency_rows(latencies(models, inputs), batch=1, length=16)    what was measured at one point, plainly
latency_table(rows)                                            rows of several points, in the table's layout
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorakit.accounting.timing import Latency

Row = Mapping[str, Any]  # one model at one batch and length: model, batch, length, ms, sd, ratio, trials


def latency_rows(found: Mapping[str, Latency], *, batch: int, length: int) -> list[dict[str, Any]]:
    """What `latencies` found at one point, a dict a model: its mean `ms`, `sd`, and `ratio` to the first model's."""
    base = next(iter(found.values()))
    point = {"batch": batch, "length": length}
    times = {
        name: {"ms": round(one.mean, 1), "sd": round(one.sd, 1), "ratio": round(one.ratio(base), 4)}
        for name, one in found.items()
    }
    return [{"model": name, **point, **times[name], "trials": one.trials} for name, one in found.items()]


def latency_table(rows: Sequence[Row]) -> str:
    """The rows of `latency_rows` as table 1 has them, a column a batch × length; a gap where none was measured.

    Raises ValueError for no rows.
    """
    if not rows:
        raise ValueError("a table of no rows: give what latency_rows returned")
    models = list(dict.fromkeys(row["model"] for row in rows))
    points = list(dict.fromkeys((row["batch"], row["length"]) for row in rows))
    cells = {(row["model"], row["batch"], row["length"]): _cell(row, models[0]) for row in rows}
    table = [["ms", *(f"{batch} × {length}" for batch, length in points)]]
    table += [[name, *(cells.get((name, *point), "") for point in points)] for name in models]
    widths = [max(len(line[column]) for line in table) + 2 for column in range(len(table[0]))]
    lines = (line[0].ljust(widths[0]) + "".join(map(str.rjust, line[1:], widths[1:])) for line in table)
    return "\n".join(line.rstrip() for line in lines)


def _cell(row: Row, base: str) -> str:
    said = f"{row['ms']:,.1f} ± {row['sd']:.1f}"
    return said if row["model"] == base else f"{row['ms']:,.1f} ({row['ratio'] - 1:+.1%})"
