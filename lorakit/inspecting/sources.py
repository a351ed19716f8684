"""Where ΔW and W come from: an adapter in any format, a fine-tuned model and its base, a name that is built in."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lorakit.checkpoints import Deltas, from_full, read
from lorakit.checkpoints.files import CONFIG, tensors_in
from lorakit.checkpoints.full import alone
from lorakit.checkpoints.reading import recognised
from lorakit.geometry import weight_of
from lorakit.inspecting.measuring import Weights
from lorakit.layers import few, named_layers


def deltas_of(path: str | Path, base: str | None = None, only: str = "*", **options: Any) -> Deltas:
    """The ΔW of an adapter; where `path` is none and there is a `base`, of the model at `path` that was tuned from it.

    path, base   files, folders, or names that are built in ("minilm", "minilm-sre", "smollm2")
    only         a pattern that the names of the layers must match
    options      of the reader: alpha, parts, heads, groups; for a PEFT folder, what its configuration lacks
    Raises ValueError, TypeError or OSError where it cannot be read.
    """
    try:
        found = read(path, **_for(Path(path), options))
    except (OSError, ValueError):
        if base is None or not (_built_in(path) or _needs_base(Path(path))):
            raise
        found = _with_base(path, base, only, options)
    chosen = {name: delta for name, delta in found.items() if fnmatchcase(name, only)}
    if not chosen:
        raise ValueError(f"no layer of {path} matches {only!r}; there are {few(list(found), 4)}")
    return Deltas(chosen, found.kind)


def _for(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    if (path / CONFIG).is_file() and "alpha" in given:
        return {"assume": {"lora_alpha": given["alpha"], "use_rslora": False}}
    return given


def _needs_base(path: Path) -> bool:
    """Whether it is a PEFT folder, whose DoRA would need W, or a whole model; no other adapter."""
    if not path.exists() or (path / CONFIG).is_file():
        return path.exists()
    try:
        recognised(path)
    except ValueError:
        return True
    return False


def _with_base(path: str | Path, base: str, only: str, options: Mapping[str, Any]) -> Deltas:
    """DoRA, whose ΔW needs W; else the difference of two whole models."""
    if (Path(path) / CONFIG).is_file():
        return read(path, base=_model(base), **_for(Path(path), options))
    before, after = (_model(source) if _is_name(source) else source for source in (base, path))
    explained = any(isinstance(source, nn.Module) or _explained(source) for source in (before, after))
    lost = alone(before, after)
    found = from_full(before, after, transposed=None if explained else (), only=only, without=lost)
    beside = f", without {few(lost, 3)}, which one of them has not" if lost else ""
    return Deltas(found, f"a whole model: its difference to {base}{beside}")


def weights_of(base: str) -> Weights:
    """(layer, shape of ΔW) → W (out, in), from a model that is built in, a folder with config.json, or a bare file.

    Only a model knows how its layers store W. Of a bare file W is taken as it is where its shape is ΔW's, else
    transposed. Raises ValueError for a layer that is not there or does not fit.
    """
    return _from_model(_model(base)) if _is_name(base) or _explained(base) else _from_file(base)


def _from_model(model: nn.Module) -> Weights:
    layers, prefix = dict(named_layers(model)), getattr(model, "base_model_prefix", "") + "."

    def weight(name: str, shape: tuple[int, ...]) -> Tensor:
        for spelt in (name, prefix + name, name.removeprefix(prefix)):
            if spelt in layers:
                return _fitting(name, weight_of(layers[spelt]), shape)
        raise ValueError(f"the base has no layer {name}; it has {few(list(layers), 4)}")

    return weight


def _fitting(name: str, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(weight.shape) != tuple(shape):
        raise ValueError(f"{name} is {tuple(weight.shape)} in the base, and ΔW {tuple(shape)}: another base model")
    return weight


def _from_file(path: str) -> Weights:
    tensors = tensors_in(path)

    def weight(name: str, shape: tuple[int, ...]) -> Tensor:
        found = tensors.get(f"{name}.weight")
        if found is None or tuple(shape) not in (tuple(found.shape), tuple(found.mT.shape)):
            given = "is not in it" if found is None else f"is {tuple(found.shape)} and ΔW {tuple(shape)}"
            raise ValueError(f"{path}: {name}.weight {given}; there are {few(list(tensors), 4)}")
        return found if tuple(found.shape) == tuple(shape) else found.mT

    return weight


def _built_in(name: str | Path) -> bool:
    from lorakit.models import CLASSIFIERS, DECODERS

    return str(name) in {*CLASSIFIERS, *DECODERS}


def _is_name(source: str | Path) -> bool:
    return not Path(source).exists()


def _explained(source: str | Path) -> bool:
    path = Path(source)
    return ((path if path.is_dir() else path.parent) / "config.json").is_file()


def _model(source: str | Path) -> nn.Module:
    """The model of a built-in name, a hub id, or a folder, there of the kind that its configuration says."""
    import transformers

    from lorakit.models import CLASSIFIERS, load_classifier

    if source in CLASSIFIERS:
        return load_classifier(source)[0]
    if _is_name(source):
        return _named(str(source))
    config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
    return kind.from_pretrained(source, trust_remote_code=False, use_safetensors=True)


def _named(name: str) -> nn.Module:
    from lorakit.models import CLASSIFIERS, DECODERS, load_causal_lm

    try:
        return load_causal_lm(name)[0]
    except OSError:
        if name in DECODERS:
            raise
        known = ", ".join({**CLASSIFIERS, **DECODERS})
        raise OSError(
            f"base {name!r} is no file or folder here, is not built in ({known}), and no hub gives it"
        ) from None
