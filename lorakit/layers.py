"""Verbs over any model: adapt it, look at what adapts it, switch that off.

    adapt(model, LoRA, ["*.query", "*.value"], rank=8)

A layer's name is its name in the pretrained model, whatever stands in for it now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from zlib import crc32

import torch
from torch import Tensor, nn

from lorakit.adapter import Adapter, WeightChange, foreign_parameters
from lorakit.delta import Delta, LowRank
from lorakit.geometry import weight_of
from lorakit.lora import LoRA, gaussian, kaiming

__all__ = [
    "Adapter",
    "LoRA",
    "WeightChange",
    "adapt",
    "adapters",
    "deltas",
    "disabled",
    "few",
    "gaussian",
    "kaiming",
]
__all__ += ["named_layers", "replace", "substituted", "trainable_parameters", "trainable_state", "weight_of"]


def named_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module below `model` by its pretrained name, one in several places once, by the first of them.

    An adapter's own parts are not listed.
    """
    seen: set[nn.Module] = set()

    def below(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
        for attribute, child in module.named_children():
            if child not in seen:
                seen.add(child)
                yield prefix + attribute, child
                yield from below(innermost(child), f"{prefix}{attribute}.")

    return below(innermost(model), "")


def adapters(model: nn.Module) -> dict[str, Adapter]:
    """The adapters in `model`, by the name of the layer each stands in for."""
    return {name: module for name, module in named_layers(model) if isinstance(module, Adapter)}


def adapt(
    model: nn.Module,
    method: type[Adapter],
    where: str | Iterable[str],
    *,
    keep: str | Iterable[str] = (),
    seed: int = 0,
    **options,
) -> list[str]:
    """Let `method` stand in for the layers whose names match `where`, and freeze the rest of the model.

    where     a name with * and ?, or several; each must match a layer the method can adapt
    keep      names of what stays trainable beside the adapters. What the model itself lists in `new_modules`
              (a head without pretrained weights) stays trainable as well.
    seed      of whatever the method draws
    options   the method's own keywords. For another rank elsewhere, adapt again: calls add up, and what
              trained before still does.
    Returns the names adapted. Raises ValueError, with nothing changed, where a name matches nothing, a layer
    has an adapter already or trains whole, or an option does not fit a layer.
    """
    chosen = _matching(model, method, _listed(where))
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    heads = foreign_parameters(model) if adapters(model) else _parameters_in(model, getattr(model, "new_modules", ()))
    whole = _parameters_in(model, _listed(keep)) | {parameter for parameter in heads if before[parameter]}
    _refuse_both(chosen, whole)
    try:
        standins = _build(method, chosen, seed, options)
    except BaseException:
        for parameter, trains in before.items():
            parameter.requires_grad_(trains)
        raise
    for parameter in foreign_parameters(model):
        parameter.requires_grad_(parameter in whole)
    replace(model, standins)
    return list(chosen)


def replace(model: nn.Module, standins: Mapping[nn.Module, nn.Module]) -> None:
    """Put each value where its key stands in `model`, at every place that refers to it."""
    for parent in list(model.modules()):
        for attribute, child in parent._modules.items():
            if child is not None and child in standins:
                parent._modules[attribute] = standins[child]


@contextmanager
def disabled(model: nn.Module) -> Iterator[nn.Module]:
    """Within it, `model` computes what the frozen model computes; heads stay as they are."""
    before = {adapter: adapter.enabled for adapter in adapters(model).values()}
    try:
        for adapter in before:
            adapter.enabled = False
        yield model
    finally:
        for adapter, enabled in before.items():
            adapter.enabled = enabled


@contextmanager
def substituted(model: nn.Module, deltas: dict[str, LowRank]) -> Iterator[nn.Module]:
    """Within it, the layers named compute with these ΔW instead of their own; nothing trained is touched.

    `deltas` is {layer: ΔW}, each (out, in) with its scale in it. Raises ValueError where no change of weights stands.
    """
    found = {name: adapter for name, adapter in adapters(model).items() if isinstance(adapter, WeightChange)}
    unknown = [name for name in deltas if name not in found]
    if unknown:
        raise ValueError(f"no change of weights stands at {few(unknown)}; there are {few(found)}")
    before = {name: found[name].instead for name in deltas}
    try:
        for name, delta in deltas.items():
            found[name].instead = delta
        yield model
    finally:
        for name, outer in before.items():
            found[name].instead = outer


def deltas(model: nn.Module) -> dict[str, Delta]:
    """ΔW of every adapted layer, (out, in), detached. Methods that are no change of weights have none."""
    found = adapters(model).items()
    return {name: adapter.delta().detach() for name, adapter in found if isinstance(adapter, WeightChange)}


def trainable_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What requires a gradient, each parameter once, by names in which no adapter's `base` appears."""
    names: dict[nn.Parameter, str] = {}

    def below(module: nn.Module, prefix: str) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            names.setdefault(parameter, prefix + name)
        for name, child in module.named_children():
            below(child, prefix if isinstance(module, Adapter) and name == "base" else f"{prefix}{name}.")

    below(model, "")
    return ((name, parameter) for parameter, name in names.items() if parameter.requires_grad)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what training may change: adapters' own parameters and whatever else is not frozen."""
    return {name: p.detach().clone() for name, p in trainable_parameters(model)}


def _matching(model: nn.Module, method: type[Adapter], where: list[str]) -> dict[str, nn.Module]:
    layers = {name: layer for name, layer in named_layers(model) if method.adapts(innermost(layer))}
    for pattern in where or [""]:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ValueError(f"no module for {method.__name__} matches {pattern!r}; it could adapt {few(layers)}")
    chosen = {n: layer for n, layer in layers.items() if any(fnmatchcase(n, pattern) for pattern in where)}
    taken = [f"{n} ({type(layer).__name__})" for n, layer in chosen.items() if isinstance(layer, Adapter)]
    if taken:
        raise ValueError(f"adapted already: {few(taken)}; merge(model) first, or adapt other layers")
    return chosen


def _refuse_both(chosen: Mapping[str, nn.Module], whole: set[nn.Parameter]) -> None:
    both = [name for name, layer in chosen.items() if any(p in whole for p in layer.parameters(recurse=False))]
    if both:
        raise ValueError(f"trained whole, these need no adapter: {few(both)}; leave them out, or out of keep")


def _build(method: type[Adapter], layers: dict[str, nn.Module], seed: int, options: dict) -> dict:
    # of the names too: q and v adapted by two calls with one seed must not start from the same A
    generator, standins = torch.Generator().manual_seed(crc32(f"{seed} {list(layers)}".encode())), {}
    for name, layer in layers.items():
        try:
            standins[layer] = method(layer, generator=generator, **options)  # type: ignore[call-arg]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return standins


def _parameters_in(model: nn.Module, patterns: Iterable[str]) -> set[nn.Parameter]:
    modules = dict(named_layers(model))
    found = {pattern: [m for name, m in modules.items() if fnmatchcase(name, pattern)] for pattern in patterns}
    for pattern, matches in found.items():
        if not matches:
            raise ValueError(f"keep={pattern!r} matches no module; there are {few(modules)}")
    return {p for matches in found.values() for m in matches for p in m.parameters()}


def innermost(module: nn.Module) -> nn.Module:
    """The pretrained module under whatever stands in for it."""
    while isinstance(module, Adapter):
        module = module.base
    return module


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def few(names: Iterable[str], most: int = 12) -> str:
    """Names for an error message: the first `most`, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{names[:most]}{rest}" if names else "nothing in this model"
