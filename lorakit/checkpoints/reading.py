"""read(path): somebody's adapter, in whatever format, and what it was taken for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorakit.checkpoints import advice
from lorakit.checkpoints.files import CONFIG, here, tensors_in
from lorakit.checkpoints.files import WEIGHTS as PEFT_WEIGHTS
from lorakit.checkpoints.full import from_full
from lorakit.checkpoints.litgpt import FUSED, WEIGHTS, read_litgpt
from lorakit.checkpoints.loralib import read_loralib
from lorakit.checkpoints.peft import read_peft
from lorakit.checkpoints.torchtune import read_torchtune
from lorakit.delta import Delta
from lorakit.layers import few


class Deltas(dict[str, Delta]):
    """{layer: ΔW (out, in)}, with `kind`: what the file was taken for, and why."""

    def __init__(self, deltas: dict[str, Delta], kind: str) -> None:
        super().__init__(deltas)
        self.kind = kind

    def __repr__(self) -> str:
        return f"Deltas({len(self)} layers, {self.kind})"


def read(path: str | Path, **options: Any) -> Deltas:
    """The ΔW in a PEFT folder, a loralib, torchtune or litgpt file, or, with `before=`, a full fine-tune.

    options   those of the reader it comes to: alpha, parts, base, assume, before, rank …
    Raises ValueError where no format is recognised, with the names that were found.
    """
    path = here(path)
    if "before" in options:
        return Deltas(from_full(options.pop("before"), path, **options), "full fine-tune: the difference to `before`")
    path, reader, kind = recognised(path)
    return Deltas(reader(path, **options), kind)


def recognised(path: Path) -> tuple[Path, Callable[..., dict[str, Delta]], str]:
    """(what to read, the reader, what the path was taken for): by its files, then by the names in it."""
    if path.name == PEFT_WEIGHTS and (path.parent / CONFIG).is_file():
        path = path.parent
    return path, *_reader(path)


def _reader(path: Path) -> tuple[Callable[..., dict[str, Delta]], str]:
    if (path / CONFIG).is_file() and not list(path.glob("adapter*.pt")):
        others = advice.others(path, CONFIG)
        return read_peft, f"PEFT adapter: a folder with {CONFIG}" + (f", not those in {others}" if others else "")
    if (path / WEIGHTS).is_file():
        return read_litgpt, f"litgpt adapter: a folder with {WEIGHTS}"
    keys = list(tensors_in(path))
    if any(key.endswith(("lora_a.weight", "lora_b.weight")) for key in keys):
        return read_torchtune, "torchtune adapter: its names end in lora_a.weight"
    low_rank = [key for key in keys if key.endswith((".lora_A", ".lora_B"))]
    if any(key.rpartition(".")[0].endswith(FUSED) for key in low_rank):
        return read_litgpt, "litgpt adapter: its names end in attn.qkv.lora_A or attn.attn.lora_A"
    if low_rank:
        return read_loralib, "loralib file: its names end in lora_A"
    hint = advice.unknown(keys, CONFIG)
    raise ValueError(f"{path} is no adapter in a format known here ({hint}); its names are {few(keys, 4)}")
