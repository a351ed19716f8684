"""What a training step costs: forward, backward and AdamW, beside PEFT, loralib, full fine-tuning and a head.

    python -m benchmarks.train_step [--rounds 12] [--cpu]

Every contestant has the same weights, the same batch and rank 8 on the same layers, all in train mode with the
model's own dropout on, except "as the lessons train": there `lorakit.modes.settle` turns dropout off where nothing
trains. Memory is weights, optimizer state and the most that a step holds beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.common import RIVAL, Clock, heading, held_bytes, interleaved, options, peak_bytes, ratio, verdict
from benchmarks.contestants import Place, contestants, minilm

FUSED, LESSONS = "lorakit FusedLoRA", "… as the lessons train"


class Step:
    """One training step of one model, to be called again and again."""

    def __init__(self, model: nn.Module, batch: dict[str, Tensor]) -> None:
        self.model, self.batch = model, batch
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)

    def __call__(self) -> None:
        self.model(**self.batch).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def bytes(self) -> int:
        moments = [t for state in self.optimizer.state.values() for t in state.values()]
        return held_bytes([*self.model.parameters(), *self.model.buffers(), *moments]) + peak_bytes(self)


def compare(title: str, place: Place, batch: dict[str, Tensor], bars: dict, rounds: int, clock: Clock) -> None:
    heading(title)
    steps: dict[str, Callable] = {name: Step(build(), batch) for name, build in contestants(place).items()}
    seconds = interleaved(steps, rounds, clock)
    memory = {name: step.bytes() for name, step in steps.items()}
    print(f"{'':24}{'s a step':>9}   {'÷ PEFT':<17}{'MB':>8}   ÷ PEFT")
    for name, times in seconds.items():
        time_bar, memory_bar = bars.get(name), 1.0 if name in bars else None
        cells = verdict(ratio(times, seconds[RIVAL]), time_bar), verdict(memory[name] / memory[RIVAL], memory_bar)
        print(f"{name:24}{median(times):9.3f}   {cells[0]:<17}{memory[name] / 1e6:8.0f}   {cells[1]}", flush=True)


def sentences(rows: int, length: int, vocabulary: int) -> Tensor:
    return torch.randint(5, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))


def main(rounds: int, clock: Clock) -> None:
    from lorakit.architectures import architecture

    ids = sentences(32, 64, 30000)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.arange(32) % 2}
    model = minilm()
    some = Place(model, ["*.query", "*.value"], r".*\.(query|value)", "classifier", True)
    compare("MiniLM, 32 × 64 tokens, query and value", some, batch, {FUSED: 1.0, LESSONS: 1.0}, rounds, clock)
    linears = ["*.query", "*.key", "*.value", "*.dense"]
    every = Place(model, linears, r".*\.(query|key|value|dense)", "classifier", True)
    compare("MiniLM, 32 × 64 tokens, all linears", every, batch, {FUSED: 0.94, LESSONS: 0.80}, rounds, clock)
    ids = sentences(1, 128, 50000)
    large = Place(architecture("gpt2-medium", device="cpu"), ["*.c_attn"], r".*\.c_attn", "transformer.ln_f", False)
    batch = {"input_ids": ids, "labels": ids}
    compare("GPT-2 medium, 1 × 128 tokens, c_attn", large, batch, {FUSED: 1.0, LESSONS: 1.0}, rounds, clock)


if __name__ == "__main__":
    main(*options(__doc__, 12))
