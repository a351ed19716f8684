"""Is LoRA behind full fine-tuning? The same runs on more rows: those of the test and those that training left out.

    python -m benchmarks.gap

200 steps of 32 stop before the end of the first pass, so that some 1,650 training rows were never met; with the 1,029
test rows that makes about 2,690 a seed. LoRA's adapters are the shipped ones, full fine-tuning is trained again by the
same recipe (ten minutes of one core in all). The table is gap.csv, beside the other results. Differences are paired,
row by row; ± is twice their standard error over rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.experiments import BOTH, EVERYWHERE, LOWER_LR, RESULTS, SEEDS
from lorakit import train
from lorakit.checkpoints import load
from lorakit.data import load_task
from lorakit.data.batches import Batches
from lorakit.data.results import adapter, table
from lorakit.models import load_classifier
from lorakit.modes import evaluating
from lorakit.sweeps import write_csv

STEPS = 200
CONTESTANTS = {
    BOTH: {"where": BOTH},
    EVERYWHERE: {"where": EVERYWHERE},
    "the same, lower rate": {"where": EVERYWHERE, "lr": LOWER_LR},
}


def right(model: nn.Module, batches: list[dict[str, Tensor]]) -> np.ndarray:
    """(rows,) which of the labels `model` predicts."""
    with evaluating(model), torch.no_grad():
        return np.concatenate([(model(**batch).logits.argmax(-1) == batch["labels"]).numpy() for batch in batches])


def unmet(batches: Batches, steps: int) -> list[dict[str, Tensor]]:
    """The batches of the first epoch that `steps` steps do not reach."""
    return [batches.collate([batches.rows[row] for row in rows]) for rows in batches.plan(0)[steps:]]


def compared(seed: int) -> dict[str, np.ndarray]:
    """{contestant: which rows it has right}, each trained with this seed of initialisation and of data order."""
    movies, rate = load_task("movies"), next(row["lr"] for row in table("full") if row["best"])
    tuned, tokenizer = load_classifier("minilm", labels=2, seed=seed)
    batches = movies.batches("train", tokenizer, 32, seed=seed)
    rows = [*movies.batches("test", tokenizer, 64), *unmet(batches, STEPS)]
    train(tuned, batches, steps=STEPS, lr=rate, seed=seed, progress=False)
    found = {"full": right(tuned, rows)}
    for name, settings in CONTESTANTS.items():
        model, _ = load_classifier("minilm", labels=2)
        load(model, adapter(**settings, rank=8, seed=seed))
        found[name] = right(model, rows)
    return found


def rows_of(seed: int) -> list[dict[str, Any]]:
    """A line a contestant: its accuracy, and how far behind full fine-tuning it is, row by row."""
    found = compared(seed)
    lines = []
    for name, one in found.items():
        behind = found["full"].astype(float) - one
        line = {"seed": seed, "contestant": name, "rows": len(one), "accuracy": one.mean(), "behind": behind.mean()}
        lines.append(line | {"two_errors": 2 * behind.std() / len(one) ** 0.5})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gap", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the table gap.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [line for seed in SEEDS for line in rows_of(seed)]
    write_csv([{key: rounded(value) for key, value in line.items()} for line in lines], options.results / "gap.csv")
    for line in lines:
        apart = f"behind full {line['behind']:+.4f} ± {line['two_errors']:.4f}"
        print(f"seed {line['seed']}  {line['contestant']:24} {line['accuracy']:.4f} of {line['rows']:,} rows, {apart}")


def rounded(value: Any) -> Any:
    return round(float(value), 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
