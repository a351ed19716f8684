"""How PEFT's adapter_config.json says which layers are adapted, and with which scale.

    ΔW = s·B·A,  s = alpha/rank, or alpha/√rank with use_rslora

rank and alpha are `r` and `lora_alpha`, unless the first key of rank_pattern (alpha_pattern) that matches the
layer's name says otherwise: the first in the file, whose keys PEFT sorts when it saves. Where a file leaves the
scale open, PEFT takes a default in silence; here that is refused. So is everything that changes what is computed
in a way lorakit does not have. Written from PEFT 0.21's behaviour; every rule here has that library for its oracle.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from lorakit.geometry import is_conv1d
from lorakit.layers import innermost, named_layers

OWN = "LORAKIT"  # the peft_type of what PEFT has no words for
NEEDED = dict.fromkeys(("r", "lora_alpha"), "ask whoever trained it, then pass") | {
    "use_rslora": "a file older than that option means False, so pass"
}
HARMLESS_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")  # they leave W₀ as it is
NOT_HAD = {
    "lora_bias": "a bias beside B is not a change of the weight",
    "layer_replication": "the base model would have to be built from repeated layers",
    "target_parameters": "parameters without a layer of their own cannot be stood in for",
    "trainable_token_indices": "single rows of an embedding are trained",
    "alora_invocation_tokens": "the adapter is on for a part of the sequence only",
    "use_qalora": "inputs are pooled before A",
    "use_bdlora": "the factors are block-diagonal",
    "kasa_config": "the base weights are cut",
    "arrow_config": "adapters are routed by token",
    "velora_config": "activations are compressed",
    "monteclora_config": "the factors are drawn from a distribution",
    "megatron_config": "the base layers are Megatron's",
}


def objections(config: Mapping[str, Any]) -> list[str]:
    """Why ΔW cannot be known, or not be had here, from this configuration; empty when all is well."""
    if config.get("peft_type") == OWN:
        return ["this is lorakit's own: load(model, folder), then deltas(model)"]
    if config.get("peft_type") != "LORA":
        return [f"peft_type is {config.get('peft_type')!r}; only LORA is read"]
    unscaled = [
        f"{key} is not there, and a guess could mis-scale ΔW: {what} assume={{{key!r}: …}}"
        for key, what in NEEDED.items()
        if config.get(key) is None
    ]
    foreign = [f"{key}={config[key]!r} is not supported: {why}" for key, why in NOT_HAD.items() if config.get(key)]
    if config.get("init_lora_weights", True) not in HARMLESS_INITS:
        changed = f"init_lora_weights={config['init_lora_weights']!r} changed the base weights before training"
        foreign.append(f"{changed}: have PEFT save it with path_initial_model_for_weight_conversion=")
    return unscaled + foreign + _misspelt(config)


def biased(config: Mapping[str, Any]) -> list[str]:
    """Why trained biases keep the file from a load; ΔW can be read all the same."""
    bias, why = config.get("bias"), "it holds biases of the base model, which stays frozen here"
    return [] if bias in (None, "none") else [f"bias={bias!r} is not supported: {why}"]


def _misspelt(config: Mapping[str, Any]) -> list[str]:
    numbers = {key: config[key] for key in ("r", "lora_alpha", "lora_dropout") if config.get(key) is not None}
    numbers |= {f"{key}[{name!r}]": value for key in PATTERNS for name, value in (config.get(key) or {}).items()}
    ranks = {name: value for name, value in numbers.items() if name == "r" or name.startswith("rank_pattern")}
    wrong = {name: value for name, value in numbers.items() if isinstance(value, bool | str | list | dict)}
    wrong |= {name: value for name, value in ranks.items() if not isinstance(value, int) or value < 1}
    return [f"{name}={value!r} is no number that can stand there" for name, value in wrong.items()]


PATTERNS = ("rank_pattern", "alpha_pattern")


def rank_and_alpha(config: Mapping[str, Any], name: str) -> tuple[int, float]:
    """r and α of the layer `name`: the first pattern that matches, else the file's own."""
    ranks, alphas = ({} if config.get(key) is None else config[key] for key in PATTERNS)
    return _first(ranks, name, config["r"]), _first(alphas, name, config["lora_alpha"])


def _first(patterns: Mapping[str, Any], name: str, default: Any) -> Any:
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), default)


def scale(rank: int, alpha: float, rslora: bool) -> float:
    """s of the equation above."""
    return alpha / (math.sqrt(rank) if rslora else rank)


def alpha_for(scale: float, rank: int, rslora: bool) -> float:
    """The α that gives this scale at this rank."""
    return scale * (math.sqrt(rank) if rslora else rank)


def targeted(config: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of `names` that the file says are adapted ("all-linear" has to be spelt out before: `spelt_out`)."""
    return [name for name in names if _is_target(config, name)]


def _is_target(config: Mapping[str, Any], name: str) -> bool:
    targets, whole = config["target_modules"], config.get("modules_to_save") or ()
    within_whole = any(re.match(rf"(^|.*\.){module}($|\..*)", name) for module in whole)
    if within_whole or _listed(config.get("exclude_modules") or (), name):
        return False
    exact = isinstance(targets, str) or name in targets
    return _listed(targets, name) and (exact or _in_layers(config, name))


def _listed(targets: str | Sequence[str], name: str) -> bool:
    """A string is a regular expression for the whole name; a list holds names or their last parts."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _in_layers(config: Mapping[str, Any], name: str) -> bool:
    """layers_to_transform: the first number in the name, after one of layers_pattern where that is given."""
    wanted = config.get("layers_to_transform")
    if wanted is None or wanted == []:
        return True
    before = config.get("layers_pattern") or []
    before = [rf"(?:^|.*?\.){p}" for p in ([before] if isinstance(before, str) else before)] or [r".*?\.[^.]*"]
    found = next(filter(None, (re.match(rf"{start}\.(?P<index>\d+)\.", name) for start in before)), None)
    return found is not None and int(found["index"]) in (wanted if isinstance(wanted, list) else [wanted])


def spelt_out(config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The same configuration with "all-linear" as names: every dense layer but the output head."""
    targets = config.get("target_modules")
    if not isinstance(targets, str) or targets.lower() != "all-linear":
        return dict(config)
    head = _head(config, model)
    layers = {name: innermost(layer) for name, layer in named_layers(model)}
    dense = [name for name, layer in layers.items() if isinstance(layer, nn.Linear) or is_conv1d(layer)]
    return {**config, "target_modules": [name for name in dense if layers[name] is not head]}


def _head(config: Mapping[str, Any], model: nn.Module) -> nn.Module | None:
    ask: Any = getattr(model, "get_output_embeddings", None)
    output = ask() if ask else None
    if output is not None or config.get("task_type") != "SEQ_CLS":
        return output
    return next((head for name in ("score", "classifier") if (head := getattr(model, name, None)) is not None), None)


def saved(config: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of `names` whose module is in the file as a whole: PEFT matches by the end of the name, dot or not."""
    return [name for name in names if any(name.endswith(entry) for entry in config.get("modules_to_save") or ())]
