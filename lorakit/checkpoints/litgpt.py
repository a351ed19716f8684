"""litgpt's files: <path>.lora_A and <path>.lora_B, with q, k and v in one fused layer of unequal parts.

    A (n·r, in), B (the rows of the n adapted parts, r), for q, k, v of heads·d, groups·d, groups·d rows

In attn.qkv the parts lie one after the other. In attn.attn, its older name, they alternate: for each group its
queries, its key, its value. There a change of all three is added in the order it is stored in (litgpt/lora.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lorakit.checkpoints.files import tensors_in
from lorakit.checkpoints.pairs import Words, blocks, each, grouped, pair
from lorakit.delta import Delta

ENDINGS = {"lora_A": "A", "lora_B": "B"}
FUSED, ALTERNATING = ("attn.qkv", "attn.attn"), "attn.attn"
WEIGHTS = "lit_model.pth.lora"


def read_litgpt(
    path: str | Path,
    *,
    alpha: float | None = None,
    parts: Sequence[bool] | None = None,
    heads: int | None = None,
    groups: int | None = None,
) -> dict[str, Delta]:
    """ΔW (out, in) of each adapted layer, by litgpt's path, with s = α/r. `path` is the file or its folder.

    alpha           lora_alpha
    parts           which of q, k, v are adapted: (lora_query, lora_key, lora_value)
    heads, groups   n_head and n_query_groups of the model
    What is None is taken from hyperparameters.yaml and model_config.yaml beside the file. Raises ValueError where it
    is not there either, or the factors do not fit.
    """
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    layers, _ = grouped(tensors_in(file), ENDINGS)
    if not layers:
        raise ValueError(f"{file} has no lora_A or lora_B: it is no litgpt adapter")
    told, model = _yaml(file.parent / "hyperparameters.yaml"), _yaml(file.parent / "model_config.yaml")
    alpha = _known("alpha", alpha, told.get("lora_alpha"))
    fused = any(name.endswith(FUSED) for name in layers)
    names = ("lora_query", "lora_key", "lora_value")
    enabled = _known("parts", parts, [told[n] for n in names] if told.keys() >= set(names) else None) if fused else ()
    heads = _known("heads", heads, model.get("n_head")) if fused else 0
    groups = _known("groups", groups, model.get("n_query_groups") or model.get("n_head")) if fused else 0
    return each(file, layers, lambda name, words: _delta(name, words, alpha, enabled, heads, groups))


def _delta(name: str, words: Words, alpha: float, enabled: Sequence[bool], heads: int, groups: int) -> Delta:
    if not name.endswith(FUSED) or "A" not in words or "B" not in words:
        return pair(words, alpha / len(words.get("A", ".")))
    adapted = sum(count for count, on in zip((heads, groups, groups), enabled) if on)
    size = len(words["B"]) // adapted  # rows of one head
    alternating = name.endswith(ALTERNATING) and not all(enabled)
    rows = _alternating(heads, groups, size) if alternating else _in_turn(heads, groups, size)
    chosen = [part for part, on in zip(rows, enabled, strict=True) if on]
    return blocks(words, alpha / words["B"].shape[1], chosen, (heads + 2 * groups) * size)


def _in_turn(heads: int, groups: int, size: int) -> Sequence[Tensor]:
    return torch.arange((heads + 2 * groups) * size).split([heads * size, groups * size, groups * size])


def _alternating(heads: int, groups: int, size: int) -> list[Tensor]:
    queries = heads // groups
    rows = torch.arange((heads + 2 * groups) * size).view(groups, queries + 2, size)
    return [rows[:, :queries].flatten(), rows[:, queries].flatten(), rows[:, queries + 1].flatten()]


def _known(name: str, given: Any, beside: Any) -> Any:
    if given is None and beside is None:
        raise ValueError(f"{name} is neither given nor in a .yaml beside the file: pass {name}=")
    return beside if given is None else given


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
