"""What the shipped runs say, in Markdown: means over seeds with their intervals, and φ with its null.

    python -m benchmarks.summary

prints the tables of data/results/README.md. A mean over n seeds stands with its 95 % interval by Student's t over
the seeds: what other seeds would do. It does not hold what other test rows would do, which is wider (Wilson's
interval of 0.84 on 1,029 rows is 0.816 to 0.861) and shared by all rows of a table, whose test rows are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, groupby
from typing import Any

import numpy as np
import torch
from scipy import stats

from lorakit.analysis import amplification, similarity, spectrum
from lorakit.checkpoints import read
from lorakit.data.results import adapter, table
from lorakit.delta import Delta
from lorakit.geometry import weight_of

Rows = list[dict[str, Any]]


def interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds by Student's t; nothing is known of the spread of one value."""
    values = np.array(list(values))
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return values.mean(), values.mean() - half, values.mean() + half


def means(rows: Rows, *by: str) -> Iterator[str]:
    """One line for each combination of the settings `by`, in the order of the rows."""
    yield _line(*by, "trained", "seeds", "validation", "test", "95 % over seeds", "each seed")
    yield _line(*["---"] * (len(by) + 6))
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in by), []).append(row)
    for key, runs in groups.items():
        tests = [run["test"] for run in runs]
        mean, low, high = interval(tests)
        validation = np.mean([run["validation"] for run in runs])
        spread = f"{low:.3f} to {high:.3f}" if len(runs) > 1 else "one seed"
        each = " ".join(f"{value:.3f}" for value in tests)
        yield _line(*key, f"{runs[0]['trained']:,}", len(runs), f"{validation:.3f}", f"{mean:.3f}", spread, each)


def overlaps(rows: Rows) -> Iterator[str]:
    """φ of every pair of adapters that differ in the same settings, over the twelve matrices and all such pairs."""
    found = [(row, read(adapter(**_seeds(row)))) for row in rows]
    pairs: dict[tuple[str, ...], list] = {}
    for (one, a), (other, b) in combinations(found, 2):
        kind = (
            _ranks(one, other),
            *("same" if one[seed] == other[seed] else "different" for seed in ("init", "order")),
        )
        pairs.setdefault(kind, []).extend(similarity(a[name], b[name]) for name in a)
    yield _line(
        "ranks", "init", "order", "pairs × 12", "φ(1,1) median", "range", "null", "φ(8,8) median", "range", "null"
    )
    yield _line(*["---"] * 10)
    for kind, compared in sorted(
        pairs.items(), key=lambda pair: (pair[0][0], pair[0][1] != "same", pair[0][2] != "same")
    ):
        yield _line(*kind, len(compared), *_at(compared, 1), *_at(compared, 8))


def spectra(rows: Rows) -> Iterator[str]:
    """Stable rank of ΔW and, against the pretrained weight it changes, enrichment: table 7 beside its null of 1."""
    from lorakit.models import load_classifier

    model = load_classifier("minilm")[0]
    yield _line(
        "rank",
        "runs × 12",
        "stable rank, median",
        "range",
        "enrichment at r, median",
        "range",
        "null",
        "factor",
        "its null",
    )
    yield _line(*["---"] * 9)
    for rank, group in groupby(sorted(rows, key=lambda row: row["rank"]), lambda row: row["rank"]):
        deltas = [item for row in group for item in read(adapter(**_seeds(row))).items()]
        stable = [spectrum(delta).stable_rank for _, delta in deltas]
        table7 = [_amplified(delta, weight_of(model.get_submodule(name))) for name, delta in deltas]
        enriched = [row.enrichment for row in table7]
        factors = (np.median([row.factor for row in table7]), np.median([row.null_factor for row in table7]))
        told = (f"{value:.1f}" for value in factors)
        yield _line(rank, len(deltas), *_spread(stable), *_spread(enriched), 1, *told)


def _amplified(delta: Delta, weight: torch.Tensor):
    return amplification(delta, weight, min(delta.rank, 4))


def _at(compared: list, count: int) -> Iterator[str]:
    yield from _spread([one.phi[count - 1, count - 1] for one in compared])
    yield f"{compared[0].null[count - 1, count - 1]:.3f}"


def _spread(values: list[float]) -> tuple[str, str]:
    return f"{np.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def _seeds(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("rank", "init", "order")}


def _ranks(one: dict[str, Any], other: dict[str, Any]) -> str:
    return " and ".join(map(str, sorted((one["rank"], other["rank"]))))


def _line(*cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    best = [row for row in table("methods") + table("full") if row["best"]]
    sections = {
        "Rank, query and value": means(table("rank"), "task", "rank"),
        "Rank and seed: φ of ΔW, right side": overlaps(table("seeds")),
        "Stable rank and enrichment": spectra(table("rank")),
        "Targets at one budget": means(table("targets"), "where", "rank"),
        "Methods": means(sorted(best, key=lambda row: str(row["method"])), "method", "where", "lr"),
    }
    for title, lines in sections.items():
        print(f"\n### {title}\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
