"""What a file asks of a model, read from either format, with what in it cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lorakit import methods
from lorakit.checkpoints import dialect, section
from lorakit.checkpoints.inventory import modules, pretrained_state
from lorakit.checkpoints.spelling import parse
from lorakit.checkpoints.wanted import Wanted, WantedLoRA
from lorakit.lora import LoRA


@dataclass
class Plan:
    """Stand-ins for layers, values for what was trained beside them (by name in the pretrained model), samples of
    the frozen weights they were trained on, and what cannot be."""

    layers: Mapping[str, Wanted] = field(default_factory=dict)
    beside: Mapping[str, Tensor] = field(default_factory=dict)
    base: Mapping[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def plan(config: dict, tensors: Mapping[str, Tensor], header: Mapping[str, str], model: nn.Module) -> Plan:
    """The plan of a folder's configuration and tensors for `model`, which is only looked at."""
    try:
        if config.get("peft_type") == dialect.OWN:
            return _own_plan(config["lorakit"], tensors)
        return _peft_plan(config, tensors, json.loads(header.get("lorakit", "{}")), model)
    except (TypeError, KeyError, AttributeError, re.error, json.JSONDecodeError) as error:
        return Plan(problems=[f"its configuration cannot be understood: {error!r}"])
    except ValueError as error:
        return Plan(problems=[str(error)])


def _own_plan(own: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Plan:
    described, rest = section.read(own["adapters"]), dict(tensors)
    sorted_in: dict[str, dict[str, Tensor]] = {}
    for key in tensors:
        owner = max((name for name in described if key.startswith(f"{name}.")), key=len, default=None)
        if owner and key not in own["trained"]:
            sorted_in.setdefault(owner, {})[key.removeprefix(f"{owner}.")] = rest.pop(key)
    layers = {name: Wanted(*how, sorted_in.get(name, {})) for name, how in described.items()}
    problems = [f"{key}: nothing in the configuration says what this is" for key in rest.keys() - set(own["trained"])]
    problems += [f"{key}: the file has none" for key in own["trained"] if key not in rest]
    return Plan(layers, {key: rest[key] for key in own["trained"] if key in rest}, own["base"], problems)


def _peft_plan(config: dict, tensors: Mapping[str, Tensor], own: Mapping[str, Any], model: nn.Module) -> Plan:
    problems = dialect.objections(config) or dialect.biased(config)
    if problems:
        return Plan(problems=problems)
    config = dialect.spelt_out(config, model)
    layers, rest = parse(tensors)
    described = section.read(own.get("adapters", ()))
    wanted = {name: _lora(config, name, values, described.get(name)) for name, values in layers.items()}
    beside, problems = _beside(config, rest, model)
    return Plan(wanted, beside, own.get("base", {}), _unaddressed(config, layers, model) + problems)


def _lora(config: Mapping[str, Any], name: str, tensors: Mapping[str, Tensor], own: section.Described | None) -> Wanted:
    """Of rank r/n and the same scale where it is one LoRA on n parts."""
    plain = methods.DoRA if config.get("use_dora") else LoRA
    method, more = own or (plain, {"dropout": config.get("lora_dropout") or 0.0})
    rank, alpha = dialect.rank_and_alpha(config, name)
    rslora, each = config["use_rslora"], rank // len(more.get("parts", [()]))
    if each != rank:
        alpha = dialect.alpha_for(dialect.scale(rank, alpha, rslora), each, rslora)
    dtype = tensors["A"].dtype if "A" in tensors and tensors["A"].is_floating_point() else None
    return WantedLoRA(method, {"rank": each, "alpha": alpha, "rslora": rslora, "dtype": dtype, **more}, tensors)


def _unaddressed(config: Mapping[str, Any], layers: Mapping[str, Any], model: nn.Module) -> list[str]:
    """Where the layers that the file has and those that its configuration names are not the same."""
    if config.get("target_modules") is None:
        return []
    names = modules(model)
    targets = set(dialect.targeted(config, names))
    missing = [f"{n}: target_modules names it, and the file has no A and B for it" for n in targets - layers.keys()]
    extra = [n for n in layers if n in names and n not in targets]
    return sorted(missing) + [f"{n}: the file has A and B for it, and target_modules does not name it" for n in extra]


def _beside(config: dict, rest: dict[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of modules_to_save, and complaints: what else there is must be a copy of what is frozen here."""
    here = pretrained_state(model)
    saved = tuple(f"{name}." for name in dialect.saved(config, modules(model)))
    needed = [key for key in here if saved and key.startswith(saved)]
    problems = [f"{key}: modules_to_save names its module, and the file has none" for key in needed if key not in rest]
    for key in rest.keys() - set(needed):
        frozen = here.get(key.replace(".base_layer.", "."))
        if frozen is None:
            problems.append(f"{key}: no place for it in this model")
        elif frozen.shape != rest[key].shape or not frozen.equal(rest[key].to(frozen)):
            problems.append(f"{key}: the file has another value for what is frozen here")
    return {key: rest[key] for key in needed if key in rest}, problems
