"""What the verbs cost on GPT-2 medium: adapt, load, switch, merge, unmerge, turn off.

    python -m benchmarks.verbs [--rounds 7] [--cpu]

Each call gets a model of its own, made outside the clock, that shares its frozen weights with all others (but where
a call writes into weights, it has them to itself).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from benchmarks.common import Clock, heading, options, ratio, timed, twin, verdict
from lorakit import LoRA, adapt, disabled, merge, unmerge
from lorakit.architectures import architecture
from lorakit.checkpoints import load, save

EVERYWHERE = ["*.c_attn", "*.c_proj", "*.c_fc"]
Pair = tuple[Callable[[], object], Callable[[object], object]]  # what is made outside the clock, what is timed


def ours(model: nn.Module, where: list[str] = EVERYWHERE) -> nn.Module:
    adapt(model, LoRA, where, rank=8, alpha=16)
    return model


def theirs(model: nn.Module, where: list[str] = EVERYWHERE) -> PeftModel:
    targets = [pattern.removeprefix("*.") for pattern in where]
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, fan_in_fan_out=True))


def trained(model: nn.Module, seed: int) -> nn.Module:
    """No B is zero, so that there is something to merge."""
    torch.manual_seed(seed)
    for parameter in (p for p in model.parameters() if p.requires_grad):
        nn.init.normal_(parameter, std=0.02)
    return model


def verbs(base: nn.Module, folders: list[Path]) -> dict[str, tuple[Pair, Pair]]:
    """verb → (lorakit's, PEFT's)."""
    first, second = folders

    def fresh() -> nn.Module:
        return twin(base)

    def alone() -> nn.Module:
        return twin(base, [base])

    def merged(adapted: nn.Module, put: Callable) -> nn.Module:
        put(adapted)
        return adapted

    def put(model: PeftModel) -> None:  # all or none, as ours
        model.merge_adapter(safe_merge=True)

    def switch(model: PeftModel) -> None:
        model.load_adapter(second, "second")
        model.set_adapter("second")

    def off(model: nn.Module) -> None:
        with disabled(model):
            pass

    def off_peft(model: PeftModel) -> None:
        with model.disable_adapter():
            pass

    return {
        "adapt c_attn": ((fresh, lambda m: ours(m, ["*.c_attn"])), (fresh, lambda m: theirs(m, ["*.c_attn"]))),
        "adapt all linears": ((fresh, ours), (fresh, theirs)),
        "load a folder": ((fresh, lambda m: load(m, first)), (fresh, lambda m: PeftModel.from_pretrained(m, first))),
        "load another onto it": (
            (lambda: ours(fresh()), lambda m: load(m, second)),
            (lambda: PeftModel.from_pretrained(fresh(), first), switch),
        ),
        "merge": ((lambda: trained(ours(alone()), 0), merge), (lambda: trained(theirs(alone()), 0), put)),
        "unmerge": (
            (lambda: merged(trained(ours(alone()), 0), merge), unmerge),
            (lambda: merged(trained(theirs(alone()), 0), put), lambda m: m.unmerge_adapter()),
        ),
        "off and on": ((lambda: ours(fresh()), off), (lambda: theirs(fresh()), off_peft)),
    }


def main(rounds: int, clock: Clock) -> None:
    base = architecture("gpt2-medium", device="cpu").requires_grad_(False)
    with tempfile.TemporaryDirectory() as home:
        folders = [save(trained(ours(twin(base)), seed), Path(home) / str(seed)) for seed in (1, 2)]
        heading("GPT-2 medium, rank 8 on all 96 linears unless named")
        print(f"{'':24}{'lorakit s':>10}{'PEFT s':>10}   ratio")
        for verb, pairs in verbs(base, folders).items():
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds + 1):
                for seconds, (make, work) in zip(times, pairs, strict=True):
                    model = make()
                    taken = timed(lambda work=work, model=model: work(model), clock)
                    seconds.extend([taken] if number else [])  # the first round warms up
            row = f"{verb:24}{median(times[0]):10.4f}{median(times[1]):10.4f}"
            print(f"{row}   {verdict(ratio(*times), 1.0)}", flush=True)


if __name__ == "__main__":
    main(*options(__doc__, 7))
