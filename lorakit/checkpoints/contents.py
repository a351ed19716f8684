"""contents(path): where each tensor of a file belongs, also of a file that cannot be read.

A and B of a layer make its ΔW. All else is kept apart, and said: a head saved whole and the biases of a model change
what it does as well, and no measure of ΔW sees them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorakit.checkpoints import advice, dialect, litgpt, spelling, torchtune
from lorakit.checkpoints.files import CONFIG, adapter_in, here, tensors_in
from lorakit.checkpoints.peft import EMBEDDINGS, read_peft
from lorakit.checkpoints.reading import read, recognised

PLAIN = {"lora_A": "A", "lora_B": "B"} | torchtune.ENDINGS
FACTORS = {"A": "A (r, in)", "B": "B (out, r)", "magnitude": "DoRA's m (out,)"}
WHOLE, COPY, BIAS, MATRIX, VECTOR = "saved whole", "a frozen copy", "bias", "matrix of a model", "bias or norm"
OTHER, NOWHERE = "left over", "a format not known here"
MODEL, ALONE = "a whole model", "ΔW is its difference to the model before: read(path, before=…)"
ROLES = (*FACTORS.values(), WHOLE, COPY, BIAS, MATRIX, VECTOR, OTHER)
PLACES = 3  # of each role that are named
SHOWN = (
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "modules_to_save",
)


@dataclass(frozen=True, eq=False)
class Entry:
    """One tensor of a file: its name, what it is, the layer it belongs to."""

    name: str
    role: str
    layer: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True, eq=False, repr=False)
class Contents:
    """`kind`, what the path was taken for; `entries`, every tensor once; `says`, what stands beside them in words;
    `refusal`, why ΔW cannot be had from it as it is ("" where it can). `print` it for the table."""

    kind: str
    entries: tuple[Entry, ...]
    says: Mapping[str, Any]
    refusal: str

    def of(self, role: str) -> list[Entry]:
        """The tensors of one role."""
        return [entry for entry in self.entries if entry.role == role]

    def __repr__(self) -> str:
        roles = ", ".join(f"{count} {role}" for role, count in Counter(e.role for e in self.entries).items())
        return f"Contents({self.kind}; {roles})"

    def __str__(self) -> str:
        lines = [self.kind, " · ".join(f"{key} {value}" for key, value in self.says.items())]
        lines.append(f"{'tensors':>7}  {'numbers':>11}  {'what':<18} of")
        lines += [_line(role, self.of(role)) for role in ROLES if self.of(role) or role == OTHER]
        lines.append(f"✗ {self.refusal}" if self.refusal else "✓ ΔW can be read")
        return "\n".join(filter(None, lines))


def _line(role: str, entries: list[Entry]) -> str:
    found: dict[str, list[str]] = {}
    for parent, _, last in (pattern.rpartition(".") for pattern in dict.fromkeys(_pattern(e.layer) for e in entries)):
        found.setdefault(f"{parent}." if parent else "", []).append(last)
    where = [start + (lasts[0] if len(lasts) == 1 else f"{{{', '.join(lasts)}}}") for start, lasts in found.items()]
    more = f" and {len(where) - PLACES} more" if len(where) > PLACES else ""
    places = ", ".join(where[:PLACES]) + more
    return f"{len(entries):>7}  {sum(entry.numbers for entry in entries):>11,}  {role:<18} {places}".rstrip()


def contents(path: str | Path, **options: Any) -> Contents:
    """What is in the file or folder at `path`, tensor by tensor: `Contents`.

    options   those of `read`; what keeps it from reading is in `.refusal`. `only` is left to whoever reads
    Raises FileNotFoundError or ValueError where no tensor can be had: nothing there, cut short, or a pickle.
    """
    path = here(path)
    try:
        path, reader, kind = recognised(path)
    except ValueError:
        reader, kind = None, NOWHERE
    says, tensors = _opened(path, reader)
    if reader is None and advice.unknown(list(tensors), CONFIG) == advice.MODEL:
        kind, entries = MODEL, tuple(_model(tensors))
    else:
        entries = tuple(_plain(tensors) if reader not in (None, read_peft) else _peft(says, tensors))
    shown = {key: says[key] for key in SHOWN if says.get(key) not in (None, False, {}, [], "none", "LORA")}
    alone = kind == MODEL and "before" not in options
    return Contents(kind, entries, shown, ALONE if alone else _refusal(path, options))


def _opened(path: Path, reader: object) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    if reader is read_peft:
        return adapter_in(path)[:2]
    return {}, tensors_in(path / litgpt.WEIGHTS if (path / litgpt.WEIGHTS).is_file() else path)


def _refusal(path: Path, options: Mapping[str, Any]) -> str:
    try:
        read(path, **{key: value for key, value in options.items() if key != "only"})
    except (ValueError, TypeError, OSError) as error:
        return str(error).replace(str(path), path.name)
    return ""


def _peft(says: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Iterable[Entry]:
    layers, _ = spelling.parse(tensors)
    for key in tensors:
        name = key.removeprefix(spelling.PREFIX)
        word = next((word for ending, word in spelling.WORDS.items() if name.endswith(f".{ending}")), "")
        layer = next((name.removesuffix(f".{e}") for e in spelling.WORDS if name.endswith(f".{e}")), "")
        if word in layers.get(layer, {}):
            yield _entry(key, FACTORS[word], layer, tensors[key])
        else:
            yield _entry(key, _beside(says, name), name.rpartition(".")[0], tensors[key])


def _beside(says: Mapping[str, Any], name: str) -> str:
    parents = ["".join(name[:i]) for i, letter in enumerate(name) if letter == "."]
    if dialect.saved(says, parents) or f".{name}".endswith(EMBEDDINGS):
        return WHOLE
    return COPY if name.endswith(".base_layer.weight") else BIAS if name.endswith(".bias") else OTHER


def _plain(tensors: Mapping[str, Tensor]) -> Iterable[Entry]:
    for key, tensor in tensors.items():
        ending = next((e for e in PLAIN if key.endswith(f".{e}")), "")
        layer = key.removesuffix(f".{ending}") if ending else key.rpartition(".")[0]
        yield _entry(key, FACTORS[PLAIN[ending]] if ending else OTHER, layer, tensor)


def _model(tensors: Mapping[str, Tensor]) -> Iterable[Entry]:
    for key, tensor in tensors.items():
        matrix = key.endswith(".weight") and tensor.ndim > 1
        yield _entry(key, MATRIX if matrix else VECTOR, key.rpartition(".")[0], tensor)


def _entry(name: str, role: str, layer: str, tensor: Tensor) -> Entry:
    return Entry(name, role, layer, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def _pattern(layer: str) -> str:
    """The layer's name with numbers as *."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", layer)
