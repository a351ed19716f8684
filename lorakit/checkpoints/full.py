"""from_full(before, after): ΔW = W_after − W_before of a full fine-tune, one matrix at a time.

A file says which numbers, not which way round: GPT-2's Conv1D and every embedding store Wᵀ. What kind of layer a
weight belongs to is asked of the model: given, or built without memory from the config.json beside the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.checkpoints.files import tensors_in
from lorakit.checkpoints.inventory import modules, pretrained_state
from lorakit.checkpoints.pairs import Words, each
from lorakit.delta import Delta, extract
from lorakit.geometry import weight_of
from lorakit.layers import few

Source = str | Path | Mapping[str, Tensor] | nn.Module
Oriented = Callable[[str, Tensor], Tensor]  # (layer, as stored) → (out, in)


def from_full(
    before: Source,
    after: Source,
    rank: int | None = None,
    *,
    model: nn.Module | None = None,
    transposed: Iterable[str] | None = None,
    only: str | Iterable[str] = "*",
    without: Iterable[str] = (),
) -> dict[str, Delta]:
    """ΔW (out, in) of every weight matrix that changed, by layer, in at least float32.

    before, after   models, state dicts, safetensors or torch files, or folders of shards
    rank            keep each ΔW as its best approximation of this rank, with `error`; None keeps it whole
    model           says how each weight is stored; else config.json beside `after` or `before` does
    transposed      names of the layers stored as (in, out), where there is neither: () for none
    only            names of the layers to look at
    without         names of layers that one of them is known not to have (a new head), as `alone` gives them
    Names that differ by a word before all of them ("bert.", "module.") are taken for the same, without it.
    One layer is in memory at a time where both lie on disk and a rank is given. Raises ValueError where a layer is
    in one of them only, shapes differ, numbers are not finite, or nothing says which way round weights are stored.
    """
    patterns = [only] if isinstance(only, str) else list(only)
    first, second = (_matching(found, patterns) for found in _alike(*map(_matrices, (before, after))))
    oriented = _orientation(model, transposed, after, before)
    if not first.keys() & second.keys():
        raise ValueError(
            f"the two have no matrix in common: before has {few(sorted(first), 3)}, after {few(sorted(second), 3)}"
        )
    known = set(without)
    lost = [f"{name}: in one of them only" for name in sorted(first.keys() ^ second.keys()) if name not in known]
    pairs = {name: {"before": first[name], "after": second[name]} for name in first if name in second}
    changed = {name: words for name, words in pairs.items() if not _same(**words)}

    def difference(name: str, words: Words) -> Delta:
        return _difference(oriented(name, words["before"]), oriented(name, words["after"]), rank)

    return each("this pair of models (only=… leaves layers out)", changed, difference, lost)


def alone(before: Source, after: Source) -> list[str]:
    """Names of the matrices that only one of the two has: a head that is new, a pooler that is gone."""
    first, second = _alike(*map(_matrices, (before, after)))
    return sorted(first.keys() ^ second.keys())


def _same(before: Tensor, after: Tensor) -> bool:
    return before.shape == after.shape and bool((before == after).all())


def _difference(before: Tensor, after: Tensor, rank: int | None) -> Delta:
    if before.shape != after.shape:
        raise ValueError(f"W is {tuple(before.shape)} before and {tuple(after.shape)} after")
    precise = torch.promote_types(torch.promote_types(before.dtype, after.dtype), torch.float32)
    delta = after.detach().to(precise) - before.detach().to(precise)
    if not delta.isfinite().all():
        raise ValueError("ΔW holds NaN or infinity")
    return delta if rank is None else extract(delta, min(rank, *delta.shape))


def _alike(before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The two, with their names made alike where those of one stand behind a word ("module.", "bert.")."""
    if before.keys() & after.keys():
        return before, after
    for word in dict.fromkeys(f"{name.partition('.')[0]}." for name in (*before, *after)):
        one, two = ({name.removeprefix(word): tensor for name, tensor in side.items()} for side in (before, after))
        if one.keys() & two.keys():
            return one, two
    return before, after


def _matching(tensors: dict[str, Tensor], patterns: list[str]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _matrices(source: Source) -> dict[str, Tensor]:
    if isinstance(source, nn.Module):
        source = pretrained_state(source)
    tensors = source if isinstance(source, Mapping) else tensors_in(source)
    return {key.removesuffix(".weight"): t for key, t in tensors.items() if key.endswith(".weight") and t.ndim > 1}


def _orientation(model: nn.Module | None, transposed: Iterable[str] | None, *sources: Source) -> Oriented:
    if transposed is not None:
        patterns = list(transposed)
        return lambda n, w: w.mT if any(fnmatchcase(n, pattern) for pattern in patterns) else w.flatten(1)
    given = [source for source in sources if isinstance(source, nn.Module)]
    model = model or next(iter(given), None) or next(filter(None, map(_skeleton, sources)), None)
    if model is None:
        told = "pass model=, or transposed=[…], () for none"
        raise ValueError(f"nothing says which weights are stored transposed, as GPT-2's are: {told}")
    return _as_in(model)


def _as_in(model: nn.Module) -> Oriented:
    """As the model's layers store it; a name may lack, or have, the prefix of its task-free model ("transformer.")."""
    layers, prefix = modules(model), getattr(model, "base_model_prefix", "") + "."

    def oriented(name: str, weight: Tensor) -> Tensor:
        layer = next((layers[n] for n in (name, prefix + name, name.removeprefix(prefix)) if n in layers), None)
        if layer is None:
            raise ValueError("the model has no such layer, so which way round it is stored is not known")
        twin = copy(layer)
        twin.__dict__["_parameters"] = {"weight": weight}
        return weight_of(twin)

    return oriented


def _skeleton(source: Source) -> nn.Module | None:
    """The model that config.json beside a source describes, without memory for its weights."""
    if not isinstance(source, str | Path):
        return None
    path = Path(source)
    config = (path if path.is_dir() else path.parent) / "config.json"
    if not config.is_file():
        return None
    import transformers

    named = json.loads(config.read_text(encoding="utf-8")).get("architectures") or ["AutoModel"]
    kind: Any = getattr(transformers, named[0], transformers.AutoModel)
    with torch.device("meta"):
        return kind._from_config(transformers.AutoConfig.from_pretrained(config.parent, trust_remote_code=False))
