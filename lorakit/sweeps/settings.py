"""grid(rank=[1, 8], seed=range(3)) → six dicts, and what the folder of each is called."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

Settings = Mapping[str, Any]


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Every combination, the last axis fastest. A list or a range is an axis, anything else the same in every run.

    Grids are lists and add up: grid(rank=8, seed=range(3)) + grid(rank=64, seed=0).
    """
    values = [list(axis) if isinstance(axis, list | range) else [axis] for axis in axes.values()]
    return [dict(zip(axes, point)) for point in itertools.product(*values)]


def name_of(settings: Settings) -> str:
    """The folder of a run: its settings, in words, and eight digits that tell apart what the words do not."""
    plain = as_stored(settings)
    words = ",".join(f"{key}={value}" for key, value in plain.items())
    return f"{re.sub(r'[^A-Za-z0-9.=,+-]+', '_', words)[:150]}-{crc32(json.dumps(plain).encode()):08x}"


def named(settings: Iterable[Settings]) -> dict[str, Settings]:
    """{name: settings}, in their order. Raises ValueError where two are called the same."""
    found: dict[str, Settings] = {}
    for one in settings:
        name = name_of(one)
        if name in found:
            raise ValueError(f"one run twice, or two that go by one name: {name}")
        found[name] = one
    return found


def as_stored(settings: Settings) -> dict[str, Any]:
    """Settings as JSON gives them back, in the order of their names."""
    return json.loads(json.dumps(settings, sort_keys=True, default=word))


def word(value: Any) -> Any:
    """What JSON has no word for: a NumPy or torch scalar is its number, a class or function its name."""
    if hasattr(value, "item"):
        return value.item()
    name = getattr(value, "__qualname__", "<")
    if "<" in name:
        raise TypeError(f"a setting is a plain value, a tuple, or a named class or function; given {value!r}")
    return name
