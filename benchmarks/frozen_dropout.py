"""Does dropout in the frozen layers earn its fifth of a step? Three seeds with it and without, on movies.

    python -m benchmarks.frozen_dropout

About seven minutes on two cores; what it printed is in benchmarks/README.md and decides the default of `train`.
"""

from __future__ import annotations

import numpy as np

from lorakit import LoRA, adapt, train
from lorakit.data import load_task
from lorakit.models import load_classifier
from lorakit.training import evaluate


def run(seed: int, frozen_dropout: bool) -> tuple[float, float, float]:
    """Validation accuracy, test accuracy and seconds of training of LoRA r = 8 on query and value."""
    model, tokenizer = load_classifier("minilm", labels=2, seed=seed)
    movies = load_task("movies")
    adapt(model, LoRA, ["*.query", "*.value"], rank=8, alpha=16, seed=seed)
    batches = movies.batches("train", tokenizer, seed=seed)
    history = train(model, batches, steps=200, lr=3e-3, frozen_dropout=frozen_dropout, seed=seed)
    sides = (evaluate(model, movies.batches(side, tokenizer, 64)).accuracy for side in ("validation", "test"))
    return *sides, history.seconds.sum()


def main() -> None:
    for frozen_dropout in (False, True):
        rows = np.array([run(seed, frozen_dropout) for seed in range(3)])
        validation, test, seconds = rows.mean(0)
        each = " ".join(f"{value:.3f}" for value in rows[:, 1])
        told = "on " if frozen_dropout else "off"
        print(f"frozen dropout {told}: validation {validation:.3f}, test {test:.3f} ({each}), {seconds:.0f} s a run")


if __name__ == "__main__":
    main()
