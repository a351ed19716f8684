"""Are two answers the same, whatever they were written in, and if not, how do they differ?

    |returned − expected| ≤ tolerance · max |expected|        for every entry, on the scale of the largest

A number, a Tensor, an array, a pair of factors, and lists and dicts of them become float64 arrays first, so that an
answer in NumPy, or in double precision, is as right as one in torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorakit.delta import LowRank

SINGLE, DOUBLE = 2e-4, 1e-9  # how far apart right answers may lie
NUMBER = 2e-7  # where only plain numbers went in: what float32 keeps of one


def plain(value: Any) -> Any:
    """Nested lists and dicts of float64 arrays; whatever is no number stays as it is."""
    if isinstance(value, Tensor):
        return value.detach().cpu().to(torch.float64).numpy().copy()
    if isinstance(value, LowRank):
        return [plain(value.left), plain(value.right)]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.number | np.bool_ | int | float):
        return np.array(value, dtype=np.float64)
    return value


def same(expected: Any, returned: Any, tolerance: float = SINGLE) -> bool:
    """Whether two answers agree in shape and value; their dtypes need not."""
    a, b = _alike(plain(expected), plain(returned))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
    if not isinstance(a, np.ndarray):
        return type(a) is type(b) and bool(a == b)
    if not isinstance(b, np.ndarray) or (a.shape != b.shape and (a.ndim or b.size != 1)):
        return False
    if not a.size:
        return True
    room = tolerance * max(1e-3, float(np.abs(a[np.isfinite(a)]).max(initial=0)))
    return bool(np.allclose(b.reshape(a.shape), a, rtol=0, atol=room, equal_nan=True))


def differing(expected: Any, returned: Any, tolerance: float) -> tuple[Any, Any]:
    """Both, and of two dicts only the entries that differ: what a message need show."""
    if not isinstance(expected, Mapping) or not isinstance(returned, Mapping) or expected.keys() != returned.keys():
        return expected, returned
    keys = [key for key in expected if not same(expected[key], returned[key], tolerance)]
    return {key: expected[key] for key in keys}, {key: returned[key] for key in keys}


def told(expected: Any, returned: Any, tolerance: float) -> tuple[str, str]:
    """Both as a message shows them; where the corners that it has room for are alike, how far apart the rest is."""
    shown = [show(value) for value in differing(expected, returned, tolerance)]
    if shown[0] == shown[1] and (far := _apart(plain(expected), plain(returned))):
        shown[1] = f"the same here, and elsewhere up to {far:.2g} off"
    return shown[0], shown[1]


def _apart(a: Any, b: Any) -> float:
    if isinstance(a, dict) and isinstance(b, dict):
        return max((_apart(a[key], b[key]) for key in a.keys() & b.keys()), default=0.0)
    if isinstance(a, list) and isinstance(b, list):
        return max((_apart(*pair) for pair in zip(a, b)), default=0.0)
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.shape != b.shape or not a.size:
        return 0.0
    return float(np.abs(a - b).max())


def usual(expected: Any, returned: Any, tolerance: float) -> str | None:
    """What is wrong with an answer by its looks alone, or None: the mistakes that any exercise invites."""
    a, b = _alike(plain(expected), plain(returned))
    if same(a, b, tolerance):
        return None
    if b is None:
        return "the function returned None: is its last line a return?"
    if isinstance(a, np.ndarray) and callable(b):
        return "the function returned a function: are the parentheses of a call missing?"
    if isinstance(a, list) and isinstance(b, list):
        return _listed(a, b, tolerance)
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() != b.keys():
        return f"the names differ: missing {sorted(map(str, a.keys() - b.keys()))[:4]}, not asked for " + str(
            sorted(map(str, b.keys() - a.keys()))[:4]
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return _within({f"{key}: ": (a[key], b[key]) for key in a}, tolerance)
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return (
            None if type(a) is type(b) else f"what is asked for is {kind(expected)}; what came back is {kind(returned)}"
        )
    return _shape(a, b) or _values(a, b.reshape(a.shape), tolerance)


def _listed(a: list, b: list, tolerance: float) -> str | None:
    """What differs between two lists: their length, all numbers alike, or what is wrong with the first that is."""
    if len(a) != len(b):
        texts = all(isinstance(item, str) for item in (*a, *b))
        names = f": missing {_lacking(a, b)}, not asked for {_lacking(b, a)}" if texts else ""
        return f"{len(a)} values are asked for, and {len(b)} came back{names}"
    if {item.shape if isinstance(item, np.ndarray) else None for item in (*a, *b)} == {()}:
        says = _values(np.array(a), np.array(b), tolerance)
        if says:
            return says
    places = ("the first", "the second") if len(a) == 2 else [f"value {n}" for n in range(1, len(a) + 1)]
    return _within({f"{place}: ": pair for place, pair in zip(places, zip(a, b))}, tolerance)


def _lacking(a: list[str], b: list[str]) -> list[str]:
    return [text for text in a if text not in b][:3]


def _within(pairs: Mapping[str, tuple[Any, Any]], tolerance: float) -> str | None:
    """What is wrong with the first pair that differs, where its looks say so, behind its name."""
    name = next((name for name, pair in pairs.items() if not same(*pair, tolerance)), None)
    says = usual(*pairs[name], tolerance) if name is not None else None
    return f"{name}{says}" if says else None


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """A list of numbers for an array is one."""
    if isinstance(a, np.ndarray) and isinstance(b, list):
        try:
            b = np.array(b, dtype=np.float64)
        except (TypeError, ValueError):  # not all numbers, or rows of different lengths
            return a, b
    return a, b


def _shape(a: np.ndarray, b: np.ndarray) -> str | None:
    if a.shape == b.shape or (not a.ndim and b.size == 1):
        return None
    if a.ndim == 2 and a.shape == b.shape[::-1]:
        return f"the shape is {b.shape}, and {a.shape} is asked for: a transpose is missing, or one too many"
    return f"the shape is {b.shape or 'that of a single number'}, and {a.shape or 'a single number'} is asked for"


def _values(a: np.ndarray, b: np.ndarray, tolerance: float) -> str | None:
    if not np.isfinite(b).all():
        return "some entries are not finite: is there a division by zero, or a tensor that was never filled?"
    if not b.any() and a.any():
        return "every entry is 0" if b.size > 1 else "this is 0"
    if tolerance < SINGLE and same(a, b, SINGLE):
        return "right to about 7 digits only: somewhere float64 became float32; make new tensors with dtype=x.dtype"
    if a.ndim == 2 and a.shape[0] == a.shape[1] and a.size > 1 and same(a.T, b, tolerance):
        return "this is the transpose of what is asked for"
    if same(-a, b, tolerance):
        return "every sign is turned round"
    factor = float((a * b).sum() / (a * a).sum()) if a.any() else 0.0
    if a.size > 1 and factor and same(factor * a, b, tolerance):
        return f"off by a factor of {factor:.4g} everywhere"
    return None


def kind(value: Any) -> str:
    """What sort of thing an answer is, in a student's words."""
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, np.ndarray | Tensor) and value.ndim:
        return f"an array of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray | Tensor | np.number | int | float):
        return "a number"
    if isinstance(value, list | tuple):
        return f"{len(value)} things"
    names = {dict: "a dict", str: "a text", type(None): "None"}
    return names.get(type(value), f"a {type(value).__name__}")


def show(value: Any) -> str:
    """A value in a line or three: numbers to four digits, the corner of a large array, names and sizes of a dict."""
    value = value if isinstance(value, bool) else plain(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in [*value.items()][:4]) + _more(value, 4) + "}"
    if isinstance(value, list):
        return "(" + ", ".join(map(show, value[:4])) + _more(value, 4) + ")"
    if not isinstance(value, np.ndarray):
        return repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "…"
    if not value.ndim:
        return f"{float(value):.6g}"
    matrix = value[(0,) * (value.ndim - 2)] if value.size else value
    corner = matrix[tuple(slice(0, 3 if value.ndim > 1 else 6) for _ in matrix.shape)]
    text = np.array2string(corner, precision=4, suppress_small=False, separator=", ").replace("\n", "\n" + " " * 12)
    return text if corner.shape == value.shape else f"{text} … of shape {value.shape}"


def _more(items: Any, shown: int) -> str:
    return f", … {len(items)} in all" if len(items) > shown else ""


def listing(function: Any) -> Any:
    """The function with a vector that it returns as a list of numbers: where a list is asked for, both will do."""
    if not callable(function):
        return function

    def answer(*args: Any, **kwargs: Any) -> Any:
        returned = function(*args, **kwargs)
        is_vector = isinstance(returned, np.ndarray | Tensor) and returned.ndim == 1
        return list(plain(returned)) if is_vector else returned

    return answer
