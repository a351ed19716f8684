"""read_peft(folder): the ΔW of a PEFT adapter, without the model it belongs to.

    ΔW = s·B·A,  s = alpha/r or alpha/√r, each layer with its own r and alpha

DoRA's ΔW is no product: it rescales the rows of W₀ + s·B·A, so it needs W₀.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lorakit.checkpoints import dialect
from lorakit.checkpoints.files import adapter_in
from lorakit.checkpoints.inventory import modules
from lorakit.checkpoints.pairs import Words, each, pair, renormalised
from lorakit.checkpoints.spelling import parse
from lorakit.delta import Delta
from lorakit.geometry import weight_of
from lorakit.layers import few

EMBEDDINGS = (".embed_tokens.weight", ".lm_head.weight")  # written whole where a vocabulary has grown
Base = nn.Module | Mapping[str, Tensor] | None


def read_peft(folder: str | Path, *, base: Base = None, assume: Mapping[str, Any] | None = None) -> dict[str, Delta]:
    """ΔW (out, in) of each adapted layer, by its path in the base model.

    LoRA gives a LowRank whose `left` carries the scale; its factors stay on disk until they are looked at.
    base      for DoRA: the base model, or {layer: W₀ (out, in)}; the result is then dense
    assume    what the configuration lacks, as in `load`
    Modules saved whole are no ΔW and are left out. Raises ValueError for what PEFT would guess or drop in silence:
    no lora_alpha or use_rslora, a factor alone, a rank that is not the file's, NaN, keys that mean nothing.
    """
    config, tensors, _ = adapter_in(folder, assume)
    problems = dialect.objections(config)
    if problems:
        raise ValueError(f"{folder} cannot be read:\n  " + "\n  ".join(problems))
    layers, rest = parse(tensors)
    if not layers:
        raise ValueError(f"{folder} adapts no layer; its names are {few(rest)}")
    unknown = [f"{key}: nothing is known by this name" for key in rest if not _accounted(config, key)]
    return each(folder, layers, lambda name, words: _delta(config, name, words, base), unknown)


def _delta(config: Mapping[str, Any], name: str, words: Words, base: Base) -> Delta:
    rank, alpha = dialect.rank_and_alpha(config, name)
    change = pair(words, dialect.scale(rank, alpha, config["use_rslora"]))
    if change.rank != rank:
        raise ValueError(f"its rank is {change.rank}, and the configuration says {rank}: the scale would be wrong")
    if not config.get("use_dora"):
        return change
    if "magnitude" not in words:
        raise ValueError("use_dora is on, and there is no magnitude")
    return renormalised(_weight(name, base), change, words["magnitude"].to(change.dtype))


def _weight(name: str, base: Base) -> Tensor:
    if base is None or isinstance(base, str):
        raise ValueError("DoRA's ΔW needs W₀: pass base=, the model or {layer: W₀ (out, in)}")
    layers = modules(base) if isinstance(base, nn.Module) else {}
    weights = {} if isinstance(base, nn.Module) else base
    if name not in layers and name not in weights:
        raise ValueError("base has no such layer")
    return weight_of(layers[name]) if name in layers else weights[name]


def _accounted(config: Mapping[str, Any], key: str) -> bool:
    """Whether it belongs to a module saved whole, or is a frozen weight or bias that PEFT wrote along."""
    parents = ["".join(key[:i]) for i, letter in enumerate(key) if letter == "."]
    along = f".{key}".endswith((".base_layer.weight", *EMBEDDINGS)) or (
        key.endswith(".bias") and bool(dialect.biased(config))
    )
    return along or bool(dialect.saved(config, parents))
