"""All that is wrong with somebody else's file.

ledger(tensors, layers, rank)   [(what, key), …], empty where every tensor and every layer is accounted for
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lorakit.checks.checking import Case, call
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail, passed

PREFIX = "base_model.model."


def check_ledger(function: Callable, *, seed: int = 0) -> None:
    """`ledger(tensors, layers, rank)` → [(what, key), …] of all that is wrong; raises `CheckFailed`."""
    draw = Draw(seed)
    cases = [_file(draw, *faults) for faults in FAULTS]
    for number, case in enumerate(cases, 1):
        title = f"case {number} of {len(cases)}: {case.says}"
        returned = call("ledger", _listing(function, title), case, title)
        pairs = _pairs(title, returned)
        found = set(pairs)
        if found != set(case.expected):
            why = _overlooked(set(case.expected), found, case.args[0], case.args[1])
            fail("ledger", title, _told(set(case.expected)), _told(found), why)
        if len(pairs) > len(found):
            (what, key), times = Counter(pairs).most_common(1)[0]
            why = f"every fault is right, and {times} times there: one pair for each, or a reader counts {len(pairs)}"
            fail("ledger", title, _told(found), f"{times} times {what} {key.removeprefix(PREFIX)}", why)
    passed("ledger", f"{len(cases)} files, {sum(len(case.expected) for case in cases)} faults")


FAULTS = (
    ("a file as it should be",),
    ("B of a layer is not there", "missing B"),
    ("a layer is not there at all", "missing A", "missing B"),
    ("a tensor that no layer asks for", "unknown"),
    ("an A of another rank", "rank"),
    ("an A the other way round", "turned"),
    ("a B with NaN", "nan"),
    ("an A with infinity", "inf"),
    ("an A of another rank, with NaN in it", "rank nan"),
    ("a tensor that no layer asks for, with NaN in it", "unknown nan"),
    ("everything at once", "missing B", "unknown", "rank", "turned", "nan", "inf"),
)


def _file(draw: Draw, says: str, *faults: str) -> Case:
    """A file with these faults, each in a layer of its own unless it is about the same one."""
    rank = draw.integer(2, 4)
    names = [f"encoder.layer.{n}.{part}" for n in range(3) for part in ("query", "value")]
    layers = {name: tuple(draw.distinct(2, 6, 12)) for name in [*names, "lora_A_head"]}
    tensors = {}
    for name, (out, inputs) in layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = draw.normal(rank, inputs)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = draw.normal(out, rank)
    order, expected = draw.distinct(len(names), 0, len(names) - 1), []
    for place, fault in enumerate(faults):
        layer = names[order[0 if fault.startswith("missing") else place]]
        expected.append(_spoil(tensors, layer, fault, draw))
    return Case(says, (tensors, layers, rank), expected)


def _spoil(tensors: dict[str, Tensor], layer: str, fault: str, draw: Draw) -> tuple[str, str]:
    A, B = (f"{PREFIX}{layer}.lora_{side}.weight" for side in "AB")
    if fault.startswith("missing"):
        key = A if fault.endswith("A") else B
        del tensors[key]
        return "missing", key
    if fault.startswith("unknown"):
        key = f"{PREFIX}{layer.replace('layer', 'layers')}.lora_A.weight"
        tensors[key] = tensors[A] * (math.nan if fault.endswith("nan") else 1.0)
        return "unknown", key
    if fault.startswith("rank"):
        tensors[A] = draw.normal(len(tensors[A]) + 1, tensors[A].shape[1])
        tensors[A][0, 1] = math.nan if fault.endswith("nan") else tensors[A][0, 1]
        return "shape", A
    if fault == "turned":
        tensors[A] = tensors[A].T.contiguous()
        return "shape", A
    key = B if fault == "nan" else A
    tensors[key][0, 1] = math.nan if fault == "nan" else math.inf
    return "not finite", key


def _listing(function: Callable, title: str) -> Callable:
    """The function, which may not refuse."""
    if not callable(function):
        return function

    def answer(*args: Any) -> Any:
        try:
            return function(*args)
        except KeyError as error:
            why = "a key that there should be is looked up before anybody asked whether it is there"
            fail("ledger", title, returned=f"it raised KeyError: {error}", diagnosis=why)
        except (ValueError, AssertionError) as error:
            why = (
                "a ledger lists all that is wrong and leaves it to the caller to refuse: it does not stop at the first"
            )
            fail("ledger", title, returned=f"it raised {type(error).__name__}", diagnosis=why)

    return answer


def _pairs(title: str, returned: Any) -> list[tuple[str, str]]:
    try:
        return [(str(what), str(key)) for what, key in returned]
    except (TypeError, ValueError):
        why = "return a list of pairs (what, key), an empty one where nothing is wrong"
        fail("ledger", title, "[(what, key), …]", returned, why)


def _told(found: set[tuple[str, str]]) -> str:
    return "; ".join(f"{what} {key.removeprefix(PREFIX)}" for what, key in sorted(found)) or "nothing wrong"


def _overlooked(expected: set, found: set, tensors: dict[str, Tensor], layers: dict[str, Any]) -> str:
    lacking, added = sorted(expected - found), sorted(found - expected)
    twofold = sorted({key for _, key in expected} & {key for what, key in added if what == "not finite"})
    if twofold:
        says = "stands under two words" if not lacking else "is called 'not finite' alone"
        return f"{_last(twofold[0])} {says}: 'not finite' is for a tensor that is asked for and has its shape"
    if lacking and {key for _, key in lacking} == {key for _, key in added}:
        return f"the words are 'missing', 'unknown', 'shape' and 'not finite', not {added[0][0]!r}"
    if added and {(what, f"{key}.weight") for what, key in added} <= expected:
        return "keys end in .weight in the file: give them as they are there"
    if added and {(key, what) for what, key in added} <= expected:
        return "a pair is (what, key), and these are (key, what)"
    if added:
        return _false_alarm(added[0][0], added[0][1], tensors)
    what, key = lacking[0]
    side, tensor = key.split(".")[-2], tensors.get(key)
    if what == "missing":
        if found:
            return (
                f"it stops at the first fault: the list is of all that is wrong, and {side} is not in the file either"
            )
        return f"{side} is not in the file: read with B = 0, this layer would be the frozen model in disguise"
    if what == "unknown":
        return "a tensor that no layer asks for is dropped in silence: go through the keys of the file as well"
    assert tensor is not None
    if what == "not finite":
        return "infinity passes: isnan sees only NaN" if tensor.isinf().any() else "NaN passes unseen"
    sizes = {(rank, size) for shape in layers.values() for size in shape for rank in (tensor.shape[1],)}
    turned = tensor.T.shape in {torch.Size(pair) for pair in sizes}
    return (
        "a transposed A has as many entries as the right one: compare shapes, (r, in) for A and (out, r) for B"
        if turned
        else "an A of another rank passes: its shape is to be (r, in) with the r of the configuration"
    )


def _last(key: str) -> str:
    return key.removeprefix(PREFIX).removesuffix(".weight")


def _false_alarm(what: str, key: str, tensors: dict[str, Tensor]) -> str:
    if "lora_A_head" in key:
        return "a layer may have lora_A in its own name: take the key apart at its end, not wherever 'lora_A' stands"
    if not key.startswith(PREFIX):
        return f"keys begin with {PREFIX!r} in the file: without it, everything is missing and everything unknown"
    shape = f", {tuple(tensors[key].shape)}" if key in tensors else ""
    return f"a false alarm, {what!r} for {key}{shape}: A is (r, in), B is (out, r), layers holds (out, in)"
