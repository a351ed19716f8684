"""loralib's files: A and B by layer, and not a word about α, ranks or targets.

    <path>.lora_A (r, in)      <path>.lora_B (out, r)            Linear; Embedding with A (r, vocabulary), B (d, r)
    <path>.lora_A (n·r, in)    <path>.lora_B (n·out/parts, r)    MergedLinear, with n of its parts adapted

(Microsoft's loralib 0.1, layers.py. Its convolutions store a product of another shape and are not read.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from lorakit.checkpoints.files import tensors_in
from lorakit.checkpoints.pairs import Words, blocks, each, grouped, pair
from lorakit.delta import Delta

ENDINGS = {"lora_A": "A", "lora_B": "B"}
Parts = Sequence[bool] | Mapping[str, Sequence[bool]] | None


def read_loralib(path: str | Path, *, alpha: float | None = None, parts: Parts = None) -> dict[str, Delta]:
    """ΔW (out, in) of each adapted layer, by its path in the model; other tensors in the file are no ΔW.

    alpha   α, which the file does not hold and so has to be given: s = α/r
    parts   enable_lora of MergedLinear layers: (True, False, True) for all that have several parts adapted, or
            {pattern: parts} where layers differ or one part of several is adapted
    Raises ValueError without α, where a layer has parts and nobody said which, or its factors do not fit them.
    """
    layers, _ = grouped(tensors_in(path), ENDINGS)
    if not layers:
        raise ValueError(f"{path} has no lora_A or lora_B: it is no loralib file")
    if alpha is None:
        raise ValueError(f"{path} does not hold α, as no loralib file does: pass alpha=")
    return each(path, layers, lambda name, words: _delta(words, alpha, _enabled(name, words, parts)))


def _enabled(name: str, words: Words, parts: Parts) -> Sequence[bool]:
    if isinstance(parts, Mapping):
        return next((enabled for pattern, enabled in parts.items() if fnmatchcase(name, pattern)), (True,))
    several = "A" in words and "B" in words and len(words["A"]) != words["B"].shape[-1]
    if several and parts is None:
        n = len(words["A"]) / words["B"].shape[-1]
        raise ValueError(f"{n:g} of its parts are adapted; say which: parts=(True, False, True) is q and v of q, k, v")
    return parts if several and parts else (True,)


def _delta(words: Words, alpha: float, enabled: Sequence[bool]) -> Delta:
    scale = alpha / words["B"].shape[-1] if "B" in words else alpha
    if len(enabled) == 1 or not words.keys() >= {"A", "B"}:
        return pair(words, scale)
    height = len(words["B"]) // sum(enabled)
    rows = [torch.arange(i * height, (i + 1) * height) for i, on in enumerate(enabled) if on]
    return blocks(words, scale, rows, height * len(enabled))
