"""load(model, folder): a ledger. Every tensor of the file and every module of the model is accounted for, and
nothing in the model changes before all of it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.adapter import Adapter, foreign_parameters
from lorakit.checkpoints.files import adapter_in
from lorakit.checkpoints.inventory import held, modules, pretrained_state, sample
from lorakit.checkpoints.plan import Plan, plan
from lorakit.checkpoints.saving import base_name
from lorakit.checkpoints.wanted import Undrawn, complaints, misfit
from lorakit.layers import adapters, innermost, named_layers, replace
from lorakit.merging import merged_layers


def load(
    model: nn.Module, folder: str | Path, *, assume: Mapping[str, Any] | None = None, without: Iterable[str] = ()
) -> list[str]:
    """Put the adapter in `folder` (lorakit's or PEFT's) onto `model`; returns the names of its layers.

    A model without adapters is adapted as the file says, and what the file does not bring is frozen. A model that
    is adapted the same way has its values replaced, cast to the dtype they have here.
    assume    what the configuration lacks: {"use_rslora": False} for files older than that option
    without   names of modules without pretrained weights (a new head) that the file is known not to bring
    Raises one ValueError that names everything missing, extra, misshapen, not finite, or unknown, and what shows
    another base model, with nothing changed. A differing base_model_name_or_path alone is a warning: folders move.
    """
    if merged_layers(model):
        raise ValueError("this model is merged, and what is merged would stay in it: unmerge(model) first")
    config, tensors, header = adapter_in(folder, assume)
    wanted = plan(config, tensors, header, model)
    with _grads_kept(model), Undrawn():
        standins, problems, moves = _stand_ins(model, wanted)
    problems = wanted.problems + problems + _headless(model, wanted, without)
    into, wrong = _into_modules(model, wanted)
    problems, moves = problems + wrong, moves | into
    theirs, ours = config.get("base_model_name_or_path"), base_name(model)
    renamed = f"made for {theirs!r}, and this model is {ours!r}" if theirs and ours and theirs != ours else ""
    if problems:
        lines = "\n  ".join(problems[:40] + [f"and {len(problems) - 40} more"] * (len(problems) > 40))
        origin = f" ({renamed})" if renamed else ""
        raise ValueError(f"{folder} does not fit this model{origin}; nothing was changed:\n  {lines}")
    if renamed:
        warnings.warn(f"{folder} was {renamed}: every shape fits, but is it the same base model?", stacklevel=2)
    _install(model, wanted, standins, moves)
    return list(adapters(model))


def _stand_ins(model: nn.Module, wanted: Plan) -> tuple[dict[str, Adapter], list[str], dict[Tensor, Tensor]]:
    """The adapters that stand there, or are built to; what is wrong with them; {their tensor: the file's}."""
    standing, layers = adapters(model), dict(named_layers(model))
    standins: dict[str, Adapter] = {}
    problems = [f"{name} is adapted here, and the file has nothing for it" for name in standing.keys() - wanted.layers]
    moves: dict[Tensor, Tensor] = {}
    for name, entry in wanted.layers.items():
        try:
            standins[name] = entry.at(name, layers, standing)
        except (ValueError, TypeError) as error:
            problems.append(f"{name}: {error}")
            continue
        wrong, values = complaints(name, entry, standins[name])
        problems, moves = problems + wrong + _other_base(name, standins[name], wanted), moves | values
    return standins, problems, moves


def _other_base(name: str, adapter: Adapter, wanted: Plan) -> list[str]:
    """Four bits a weight move them by a tenth of their size, fine-tuning by less; those of another model by √2."""
    there, here = wanted.base.get(name), sample(adapter.base)
    if not there or not here:
        return []
    far = len(there) != len(here) or math.dist(there, here) > 0.5 * math.hypot(*there)
    return [f"{name}: the weights under the adapter are not those it was trained on: another base model"] if far else []


def _headless(model: nn.Module, wanted: Plan, without: Iterable[str]) -> list[str]:
    """New modules, without pretrained weights, that the file leaves as they are: random."""
    patterns, known = tuple(getattr(model, "new_modules", ())), tuple(without)
    new = [n for n, m in modules(model).items() if any(fnmatchcase(n, p) for p in patterns) and held(n, m)]
    lacking = [n for n in new if not held(n, modules(model)[n]).keys() <= wanted.beside.keys()]
    advice = "pass without=… if that is known"
    return [f"{n} has no pretrained weights and the file brings none ({advice})" for n in lacking if n not in known]


def _into_modules(model: nn.Module, wanted: Plan) -> tuple[dict[Tensor, Tensor], list[str]]:
    """{tensor of the model: the file's} for what was trained beside the adapters, and what is wrong with it."""
    here = pretrained_state(model)
    wrong = [f"{key}: no such tensor in this model" for key in wanted.beside if key not in here]
    both = [key for key in wanted.beside if key in here]
    wrong += filter(None, (misfit(key, wanted.beside[key], here[key]) for key in both))
    return {here[key]: wanted.beside[key] for key in both}, wrong


def _install(model: nn.Module, wanted: Plan, standins: Mapping[str, Adapter], moves: Mapping[Tensor, Tensor]) -> None:
    fresh = {name: adapter for name, adapter in standins.items() if name not in adapters(model)}
    layers = dict(named_layers(model))
    with torch.no_grad():
        for place, value in moves.items():
            place.copy_(value)
    if fresh:
        here = pretrained_state(model)
        trained = {id(here[key]) for key in wanted.beside} | {id(p) for p in _new_and_trainable(model)}
        for parameter in foreign_parameters(model):
            parameter.requires_grad_(id(parameter) in trained)
        replace(model, {layers[name]: adapter for name, adapter in fresh.items()})


def _new_and_trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    patterns = tuple(getattr(model, "new_modules", ()))
    chosen = [layer for name, layer in named_layers(model) if any(fnmatchcase(name, p) for p in patterns)]
    return (p for layer in chosen for p in innermost(layer).parameters() if p.requires_grad)


@contextmanager
def _grads_kept(model: nn.Module) -> Iterator[None]:
    """Building an adapter freezes its base; afterwards everything requires what it did before."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
