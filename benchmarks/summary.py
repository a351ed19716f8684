"""What the shipped runs say, in Markdown: means over seeds with their intervals, and φ with its null.

    python -m benchmarks.summary

prints the tables of data/results/README.md. Two intervals stand beside a mean accuracy, both of 95 %: over test rows
(Wilson's), what other sentences would do, which all rows of a table share, as their test rows are the same; and over
seeds (Student's t), what other seeds would do, from three seeds on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby
from typing import Any

import numpy as np
import torch
from scipy import stats

from lorakit import adapt, adapters
from lorakit.analysis import Similarity, amplification, similarities, similarity, spectrum
from lorakit.checkpoints import read
from lorakit.data.results import adapter, table
from lorakit.delta import LowRank
from lorakit.evaluation import Evaluation
from lorakit.geometry import weight_of
from lorakit.methods import FusedLoRA
from lorakit.models import load_classifier

Rows = list[dict[str, Any]]


def over_seeds(values: list[float]) -> str:
    """The 95 % interval of a mean over seeds by Student's t; of one or two seeds it would say nothing."""
    if len(values) < 3:
        return "too few seeds"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return _between(np.mean(values) - half, np.mean(values) + half)


def means(rows: Rows, *by: str) -> Iterator[str]:
    """One line for each combination of the settings `by`, in the order of the rows."""
    groups: dict[tuple, Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in by), []).append(row)
    yield _line(*by, "trained", "validation", "test, each seed", "mean", "over test rows", "over seeds")
    yield _line(*["---"] * (len(by) + 6))
    for key, runs in groups.items():
        tests = [run["test"] for run in runs]
        validation, mean = np.mean([run["validation"] for run in runs]), np.mean(tests)
        rows_say = Evaluation(loss=np.nan, accuracy=mean, count=runs[0]["test_rows"]).interval
        each = " ".join(f"{value:.3f}" for value in tests)
        told = f"{validation:.3f}", each, f"{mean:.3f}", _between(*rows_say), over_seeds(tests)
        yield _line(*key, f"{runs[0]['trained']:,}", *told)


def overlaps(rows: Rows, side: str) -> Iterator[str]:
    """φ of ΔW for every two adapters, sorted by what they share; over the twelve matrices and all such pairs."""
    found = [(row, read(adapter(**_seeds(row)))) for row in rows]
    pairs: dict[tuple[str, str, str], list] = {}
    for (one, a), (other, b) in combinations(found, 2):
        ranks = " and ".join(map(str, sorted((one["rank"], other["rank"]))))
        init, order = ("same" if one[seed] == other[seed] else "other" for seed in ("init", "order"))
        pairs.setdefault((ranks, init, order), []).extend(similarity(a[name], b[name], side=side) for name in a)
    first, last = ("φ(1,1) median", "range", "null"), ("φ(8,8) median", "range", "null")
    yield _line("ranks", "init", "order", "pairs × 12", *first, *last)
    yield _line(*["---"] * 10)
    for kind in sorted(pairs, key=lambda kind: (kind[0], kind[1] != "same", kind[2] != "same")):
        yield _line(*kind, len(pairs[kind]), *_at(pairs[kind], 1), *_at(pairs[kind], 8))


def spectra(rows: Rows) -> Iterator[str]:
    """Stable rank of ΔW and, against the pretrained weight it changes, enrichment: table 7 beside its null of 1."""
    model = load_classifier("minilm")[0]
    yield _line("rank", "runs × 12", "stable rank", "range", "enrichment", "range", "null", "factor", "its null")
    yield _line(*["---"] * 9)
    for rank, group in groupby(sorted(rows, key=_rank), _rank):
        deltas = [item for row in group for item in read(adapter(**_seeds(row))).items()]
        stable = [spectrum(delta).stable_rank for _, delta in deltas]
        table7 = [amplification(delta, weight_of(model.get_submodule(name)), min(rank, 4)) for name, delta in deltas]
        factors = np.median([(one.factor, one.null_factor) for one in table7], axis=0)
        told = *_spread(stable), *_spread([one.enrichment for one in table7])
        yield _line(rank, len(deltas), *told, 1, *(f"{factor:.1f}" for factor in factors))


def starts(rows: Rows) -> Iterator[str]:
    """How much of ΔW's right directions lies in the rows that A was drawn with, which runs of one `init` share."""
    yield _line("rank", "runs × 12", "φ(r,r) of ΔW and the drawn A", "range", "null")
    yield _line(*["---"] * 5)
    for rank, group in groupby(sorted(rows, key=_rank), _rank):
        compared = [one for row in group for one in _with_start(row)]
        phi = _spread([one.phi[-1, -1] for one in compared])
        yield _line(rank, len(compared), *phi, f"{compared[0].null[-1, -1]:.3f}")


def _with_start(row: dict[str, Any]) -> list[Similarity]:
    model = load_classifier("minilm", seed=row["init"])[0]
    adapt(model, FusedLoRA, ["*query", "*value"], rank=row["rank"], seed=row["init"])
    drawn = {name: LowRank(torch.eye(*one.B.shape), one.A.detach()) for name, one in adapters(model).items()}
    return list(similarities(read(adapter(**_seeds(row))), drawn).values())


def _rank(row: dict[str, Any]) -> int:
    return row["rank"]


def _at(compared: list, count: int) -> Iterator[str]:
    yield from _spread([one.phi[count - 1, count - 1] for one in compared])
    yield f"{compared[0].null[count - 1, count - 1]:.3f}"


def _spread(values: list[float]) -> tuple[str, str]:
    return f"{np.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def _seeds(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("rank", "init", "order")}


def _between(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}"


def _line(*cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    sections = {
        "Rank": means(table("rank"), "task", "rank"),
        "Targets at one budget": means(table("targets"), "where", "rank"),
        "Methods, each at its own learning rate": means(table("methods"), "method", "where", "lr"),
        "Every dense layer at the lower rate": means(table("lower"), "method", "where", "lr"),
        "Full fine-tuning": means(table("full"), "lr"),
        "Rank on another task": means(table("tweets"), "task", "rank"),
        "A random subspace of d dimensions, the head beside it": means(table("subspace"), "dimension"),
        "Rank and seed: φ of ΔW, right side (inputs)": overlaps(table("seeds"), "right"),
        "Rank and seed: φ of ΔW, left side (outputs)": overlaps(table("seeds"), "left"),
        "How much of ΔW was there in the draw": starts(table("rank")),
        "Stable rank, and enrichment on the top min(r, 4) directions": spectra(table("rank")),
    }
    for title, lines in sections.items():
        print(f"\n### {title}\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
