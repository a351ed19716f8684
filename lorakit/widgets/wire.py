"""The arrays of plotly's JSON: read in any of the forms plotly writes, and packed for the wire.

plotly 5 leaves NumPy arrays as they are, plotly 6 and later write {"bdata": base64, "dtype", "shape"}, and
both keep lists as lists. On the wire every long one becomes {"bytes", "dtype", "shape"}, its bytes raw.
"""

from __future__ import annotations

from base64 import b64decode
from math import floor, log10
from numbers import Real
from typing import Any

import numpy as np

LARGE = 1000  # cells of a picture whose numbers nobody reads one by one
PACKED_FROM = 16  # a shorter list costs less as JSON than as a buffer


def array(node: Any) -> np.ndarray:
    """The array that `node` stands for, whichever way plotly wrote it."""
    if isinstance(node, dict):
        shape = [int(n) for n in str(node.get("shape", -1)).split(",")]
        return np.frombuffer(b64decode(node["bdata"]), node["dtype"]).reshape(shape)
    return np.asarray(node)


def pack(node: Any) -> Any:
    """Plotly JSON with its arrays as `view.js` unpacks them: float32, or int32 where integers fit."""
    if isinstance(node, dict):
        return _packed(array(node)) if "bdata" in node else {key: pack(value) for key, value in node.items()}
    if isinstance(node, np.ndarray):
        return _packed(node)
    if isinstance(node, list | tuple):
        return _packed(np.asarray(node)) if _long_and_numeric(node) else [pack(item) for item in node]
    return node.item() if isinstance(node, np.generic) else node


def _long_and_numeric(items: list | tuple) -> bool:
    return len(items) >= PACKED_FROM and all(isinstance(i, Real) and not isinstance(i, bool) for i in items)


def _packed(values: np.ndarray) -> Any:
    if values.dtype.kind == "M":
        return np.datetime_as_string(values).tolist()
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2, 3):
        return values.tolist()
    dtype = "<f4" if values.dtype.kind == "f" else _integers(values)
    return {"dtype": dtype[1:], "shape": list(values.shape), "bytes": values.astype(dtype).tobytes()}


def _integers(values: np.ndarray) -> str:
    return "<i4" if np.abs(values.astype(float)).max(initial=0) < 2**31 else "<f8"


def coarse(packed: dict) -> dict:
    """A large picture in one byte a cell, whole multiples of a round `step`, at most 127 each way; else as it is."""
    if packed["dtype"] != "f4" or len(packed["shape"]) != 2:
        return packed
    values = np.frombuffer(packed["bytes"], "<f4")
    largest = float(np.abs(values).max(initial=0))
    if values.size < LARGE or not np.isfinite(largest) or not largest:
        return packed
    tens = 10.0 ** floor(log10(largest / 127))
    step = next(tens * factor for factor in (1, 2, 5, 10) if tens * factor * 127 >= largest)
    return {**packed, "dtype": "i1", "step": step, "bytes": np.rint(values / step).astype("i1").tobytes()}
