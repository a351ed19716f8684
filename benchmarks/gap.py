"""Is LoRA behind full fine-tuning? The same runs on more rows: those of the test and those that training left out.

    python -m benchmarks.gap

200 steps of 32 stop before the end of the first pass, so that some 1,650 training rows were never met; with the 1,029
test rows that makes about 2,690 a seed. LoRA's adapters are the shipped ones, full fine-tuning is trained again by the
same recipe (ten minutes of one core in all). Differences are paired, row by row; ± is twice their standard error over
rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.experiments import BOTH, EVERYWHERE, LOWER_LR, SEEDS
from lorakit import train
from lorakit.checkpoints import load
from lorakit.data import load_task
from lorakit.data.batches import Batches
from lorakit.data.results import adapter, table
from lorakit.models import load_classifier
from lorakit.modes import evaluating

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


def main() -> None:
    torch.set_num_threads(1)
    runs = [compared(seed) for seed in SEEDS]
    for name in runs[0]:
        each = " ".join(f"{run[name].mean():.4f}" for run in runs)
        print(f"{name:28} {each}   mean {np.mean([run[name].mean() for run in runs]):.4f}, {len(runs[0][name])} rows")
    for name in CONTESTANTS:
        apart = [run["full"].astype(float) - run[name] for run in runs]
        each = " ".join(f"{one.mean():+.4f} ± {2 * one.std() / len(one) ** 0.5:.4f}" for one in apart)
        print(f"full − {name:21} {each}   mean {np.mean([one.mean() for one in apart]):+.4f}")


if __name__ == "__main__":
    main()
