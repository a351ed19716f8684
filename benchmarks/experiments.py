"""The experiments of Hu et al. 2021, sections 5 to 7, on MiniLM and movie snippets: what data/results ships.

    python -m benchmarks.experiments rank seeds targets methods lower full tweets subspace bank

does what is missing and writes the tables; from nothing that is about four hours of one core. α is 16 at every
rank, and the learning rate of the first four tables' LoRA is 3e-3, chosen at r = 8 on query and value.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.recipe import run
from lorakit.methods import BitFit, FusedLoRA, Houlsby, Lin, Prefix
from lorakit.sweeps import done, grid, sweep, write_csv

Rows = list[dict[str, Any]]
Go = Callable[[Rows], Rows]

LOWER_LR = 1e-3
SUBSPACE_LR = 1e-2  # the better of 1e-2 and 1e-1 by its training loss over 40 steps at d = 1000

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
SEEDS = range(3)
BOTH, EVERYWHERE = "query value", "query key value dense"
OUT = "attention.output.dense"
BUDGETS = {8: ["query", "key", "value", OUT], 4: ["query key", BOTH], 2: [f"query key value {OUT}"], 1: [EVERYWHERE]}


def lora(**settings: Any) -> Rows:
    """Runs of LoRA on movies, by the recipe that does not change from table to table."""
    return grid(**{"task": "movies", "method": FusedLoRA, "alpha": 16, "lr": 3e-3, **settings})


def seeded(settings: Rows) -> Rows:
    """All of them with the first seed, of initialisation and data order at once, then with the next: cut short, a
    sweep has compared like with like."""
    return [{**one, "init": seed, "order": seed} for seed in SEEDS for one in settings]


def rank(go: Go, task: str = "movies") -> Rows:
    """Table 6: r from 1 to 64 on query and value."""
    return go(seeded(lora(where=BOTH, rank=[1, 2, 4, 8, 64], task=task)))


def tweets(go: Go) -> Rows:
    """The same on another task."""
    return rank(go, "tweets")


def seeds(go: Go) -> Rows:
    """Figures 3 and 4 need two seeds; which of the two seeds matters, needs four."""
    return go(lora(where=BOTH, rank=[8, 64], init=[0, 1], order=[0, 1]))


def targets(go: Go) -> Rows:
    """Table 5: one budget of 36,864 parameters, spent in seven ways, and one near it (41,472) on every dense layer."""
    return go(seeded([one for r, where in BUDGETS.items() for one in lora(where=where, rank=r)]))


def methods(go: Go) -> Rows:
    """Tables 2 to 4: 74,000 to 81,000 parameters each (BitFit has 25,728), and LoRA on every dense layer."""
    return [
        *tuned(go, lora(where=BOTH, rank=8), [1e-3, 3e-3, 5e-3]),
        *tuned(go, lora(where=EVERYWHERE, rank=8), [1e-3, 3e-3]),
        *tuned(go, grid(task="movies", method=BitFit, where="bert.*"), [1e-3, 3e-3, 1e-2]),
        *tuned(go, grid(task="movies", method=Houlsby, where="output.dense", size=8), [1e-3, 3e-3, 1e-2]),
        *tuned(go, grid(task="movies", method=Lin, where="layer.?.output.dense", size=16), [1e-3, 3e-3, 1e-2]),
        *tuned(go, grid(task="movies", method=Prefix, where="attention.self", length=16), [3e-3, 1e-2, 3e-2]),
    ]


def full(go: Go) -> Rows:
    """Every parameter trains."""
    return tuned(go, grid(task="movies", method=None, where=""), [5e-5, 1e-4])


def lower(go: Go) -> Rows:
    """LoRA on every dense layer at the lower learning rate of its search, which validation at one seed passed over."""
    return go(seeded(lora(where=EVERYWHERE, rank=8, lr=LOWER_LR)))


def subspace(go: Go) -> Rows:
    """Intrinsic dimension (Li et al. 2018; Aghajanyan et al. 2020): all but the head in d random dimensions."""
    moved = grid(task="movies", method=None, where="", lr=SUBSPACE_LR, dimension=[100, 1000, 10_000, 100_000])
    return go(seeded(moved))


def bank(go: Go) -> Rows:
    """Two more tasks to serve beside the movies, each of another rank: their adapters are kept."""
    ranks = {"tweets": 4, "source": 2}
    return go(
        [one for task, r in ranks.items() for one in lora(where=BOTH, rank=r, task=task, init=0, order=0, keep=True)]
    )


def tuned(go: Go, settings: Rows, rates: list[float]) -> Rows:
    """Every learning rate at the first seed; the other seeds at the one with the best validation accuracy."""
    (one,) = settings
    tried = go([{**one, "init": SEEDS[0], "order": SEEDS[0], "lr": lr} for lr in rates])
    best = max(tried, key=lambda row: row["validation"])
    others = [{**one, "init": seed, "order": seed, "lr": best["lr"]} for seed in SEEDS[1:]]
    return [{**row, "best": row["lr"] == best["lr"]} for row in tried + go(others)]


EXPERIMENTS = (rank, seeds, targets, methods, lower, full, tweets, subspace, bank)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[experiment.__name__ for experiment in EXPERIMENTS])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs and the tables")
    parser.add_argument("--jobs", type=int, default=1, help="processes; each uses one thread")
    parser.add_argument("--done", action="store_true", help="run nothing: the tables of what is there")
    options = parser.parse_args()
    runs = options.results / "runs"
    go = partial(done, folder=runs) if options.done else partial(sweep, run, folder=runs, jobs=options.jobs)
    for experiment in EXPERIMENTS:
        if experiment.__name__ in options.names:
            write_csv(experiment(go), options.results / f"{experiment.__name__}.csv")


if __name__ == "__main__":
    main()
