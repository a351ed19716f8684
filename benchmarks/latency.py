"""Table 1 of Hu et al. 2021 on this machine: ms of a forward pass of GPT-2 medium, merged, unmerged, with adapters.

    python -m benchmarks.latency [--rounds 4] [--results FOLDER]     half an hour of one core

The architecture with random weights, one thread, processor time; models take turns. Sizes are the table's: LoRA r = 4
on query and value, 11M parameters for either adapter. The merged model takes part twice: what its second copy "adds"
is noise, the null of all other additions. Each row of latency.csv is one model at one batch and length, with the
median over rounds of its ratio to the merged model. Small batches get more rounds: they vary more, and cost less.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.common import twin
from lorakit import LoRA, adapt
from lorakit.accounting import count, latencies, latency_rows
from lorakit.architectures import architecture
from lorakit.methods import Houlsby, Lin
from lorakit.sweeps import write_csv

MERGED, AGAIN, VOCABULARY = "merged LoRA", "merged, again", 50257
METHODS = {
    "unmerged LoRA": (LoRA, "*.c_attn", {"rank": 4, "parts": (True, False, True)}),
    "Adapter-L": (Lin, "*.mlp.c_proj", {"size": 224}),
    "Adapter-H": (Houlsby, ["*.attn.c_proj", "*.mlp.c_proj"], {"size": 112}),
}
POINTS = [(batch, length) for length in (16, 64, 128) for batch in (1, 4, 16)]
ROUNDS = {128: 4, 512: 2}  # how many times as many for batches up to so many tokens


def models() -> dict[str, nn.Module]:
    """The contestants; all share the frozen weights."""
    base = architecture("gpt2-medium", device="cpu").requires_grad_(False)
    made = {MERGED: base}
    for name, (method, where, options) in METHODS.items():
        made[name] = twin(base)
        adapt(made[name], method, where, **options)
    return made | {AGAIN: twin(base)}


def rounds_of(tokens: int, rounds: int) -> int:
    return rounds * next((times for most, times in ROUNDS.items() if tokens <= most), 1)


def measure(rounds: int, points: Sequence[tuple[int, int]] = POINTS) -> list[dict]:
    contestants, rows = models(), []
    for batch, length in sorted(points, key=lambda point: point[0] * point[1]):
        ids = torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(0))
        inputs, trials = {"input_ids": ids, "use_cache": False}, rounds_of(batch * length, rounds)
        found = latencies(contestants, inputs, trials=trials, warmup=1, processor=True)
        for row in latency_rows(found, batch=batch, length=length):
            frozen = row["model"] in (MERGED, AGAIN)
            rows.append({**row, "parameters": 0 if frozen else count(contestants[row["model"]]).trained})
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--results", type=Path, help="a folder for latency.csv; without it the rows are only printed")
    given = parser.parse_args()
    rows = measure(given.rounds)
    if given.results:
        write_csv(rows, given.results / "latency.csv")
