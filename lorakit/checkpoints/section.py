"""What only lorakit can say of an adapter: its class and its keywords, as JSON.

    {"adapters": [{"class": "lorakit.methods.prefix.Prefix", "options": {"length": 10}, "layers": ["…"]}]}

A class is looked up among the adapters of lorakit and those the caller has imported, a function (an activation)
in torch.nn.functional; a file never makes anything be imported. An init is not written: what it drew is in the
weights. An option that is none of these is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F

import lorakit.methods  # noqa: F401 (its adapters must exist before they can be found)
from lorakit.adapter import Adapter

Described = tuple[type[Adapter], dict[str, Any]]  # a class and the keywords to build it with


def written(described: Mapping[str, Described]) -> list[dict[str, Any]]:
    """Layers that agree in class and options, together."""
    groups: list[dict[str, Any]] = []
    for name, (method, options) in described.items():
        head = {"class": _full_name(method), "options": {key: _plain(value) for key, value in options.items()}}
        same = next((group for group in groups if {**group, "layers": None} == {**head, "layers": None}), None)
        if same is None:
            groups.append({**head, "layers": [name]})
        else:
            same["layers"].append(name)
    return groups


def read(groups: Iterable[Mapping[str, Any]]) -> dict[str, Described]:
    """The inverse of `written`; raises ValueError for a class that is not there or a section that is malformed."""
    known = {_full_name(method): method for method in _below(Adapter)}
    try:
        wanted = [(group["class"], group["options"], list(group["layers"])) for group in groups]
        unknown = sorted({name for name, _, _ in wanted if name not in known})
        if unknown:
            raise ValueError(f"no adapter class {unknown}; import what defines it first. Known are {sorted(known)}")
        return {layer: (known[name], _options(options)) for name, options, layers in wanted for layer in layers}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its lorakit section is malformed: {error!r}") from None


def described(adapter: Adapter) -> Described:
    """Its class and its keywords as they stand now: alpha, say, may have been set since it was built."""
    keywords = _keywords(type(adapter))
    options = {**keywords, **adapter.options}
    now = {key: getattr(adapter, key, None) for key in options}
    options |= {key: value for key, value in now.items() if isinstance(value, bool | int | float | str)}
    return type(adapter), {key: value for key, value in options.items() if not _left_out(key, value, keywords)}


def _keywords(kind: type[Adapter]) -> dict[str, Any]:
    """{keyword: default}, also those it hands on to the class above it as **options."""
    taken = list(inspect.signature(kind.__init__).parameters.values())
    above = _keywords(kind.__mro__[1]) if any(p.kind is p.VAR_KEYWORD for p in taken) else {}
    return above | {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY and p.name != "generator"}


def _left_out(key: str, value: Any, keywords: Mapping[str, Any]) -> bool:
    return callable(value) and (key == "init" or value is keywords.get(key))


def _plain(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop]}
    name = getattr(value, "__name__", "")
    if callable(value) and getattr(F, name, None) is value:
        return {"function": name}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"an option {value!r} cannot be written down; options that can are numbers, words and lists")


def _options(written: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _revived(value) for key, value in written.items()}


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(item) for item in value]
    if not isinstance(value, dict):
        return value
    kinds = {"dtype": _dtype, "function": _function, "slice": lambda ends: slice(*ends)}
    ((kind, content),) = value.items()
    return kinds[kind](content)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise TypeError(f"torch.{name} is no dtype")
    return found


def _function(name: str) -> Callable:
    found = getattr(F, name)
    if not callable(found) or name.startswith("_"):
        raise TypeError(f"torch.nn.functional.{name} is no function")
    return found


def _full_name(method: type) -> str:
    return f"{method.__module__}.{method.__qualname__}"


def _below(kind: type[Adapter]) -> Iterator[type[Adapter]]:
    for method in kind.__subclasses__():
        yield method
        yield from _below(method)
