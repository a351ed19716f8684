"""The receiving half of a crossing: what each kind of message entry becomes, and what a judge refuses to take.

A message names helpers of this file, and a few classes of torch, lorakit and transformers. On the judge's side
anything else is refused, so that no message can make it call a function of the sender's choice; and what a message
fills is an object, never a class or a function, and no method of it: those are the judge's own.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

VALUES = {
    "builtins": {"set", "frozenset", "complex", "slice", "range", "bytearray", "tuple", "list", "dict", "int", "float"},
    "collections": {"OrderedDict", "defaultdict"},
    "copyreg": {"__newobj__"},
    "torch": {"Size", "device"},
    "types": {"SimpleNamespace"},
}
PURE = ("torch.nn.functional", "torch._C._nn")  # functions that only compute: a layer may hold one
SHARED = ("torch", "lorakit", "transformers")
STATEFUL = (nn.Module, torch.optim.Optimizer)
PLAIN = (dict, OrderedDict, defaultdict)
HELD = {"_parameters": PLAIN, "_buffers": PLAIN, "_modules": PLAIN, "state": PLAIN, "param_groups": (list,)}


def unpack(ledger: Any, message: bytes) -> Any:
    """The value of a message. pickle.UnpicklingError where it names what may not cross."""
    return (Guarded if ledger.guarded else Unpacker)(ledger, message).load()


class Unpacker(pickle.Unpickler):
    """Reads one message for a student's process: what a judge sends is taken as it is."""

    def __init__(self, ledger: Any, message: bytes) -> None:
        super().__init__(io.BytesIO(message))
        self.ledger = ledger

    def find_class(self, module: str, name: str) -> Any:
        """A helper of this file, bound to the ledger; or what the name says."""
        return _helper(self.ledger, module, name) or super().find_class(module, name)


class Guarded(pickle._Unpickler):
    """Reads one message for a judge: pickle's own reader in Python, for that of C lets nobody see what it fills."""

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]
    stack: list[Any]

    def __init__(self, ledger: Any, message: bytes) -> None:
        super().__init__(io.BytesIO(message))
        self.ledger = ledger

    def find_class(self, module: str, name: str) -> Any:
        """A helper of this file, bound to the ledger; a class or function that may cross; or UnpicklingError."""
        if helper := _helper(self.ledger, module, name):
            return helper
        found = getattr(sys.modules.get(module), name, None) if name.isidentifier() else None
        if found is None or not (name in VALUES.get(module, ()) or harmless(found) or _shared(found)):
            raise pickle.UnpicklingError(f"{module}.{name} may not cross")
        return found

    def load_reduce(self) -> None:
        """Call a helper or a class of values; a module is not made by a call of its class."""
        made = self.stack[-2]
        if not isinstance(made, Bound) and not (isinstance(made, type) and not issubclass(made, STATEFUL)):
            raise pickle.UnpicklingError(f"{made!r} may not be called by a message")
        super().load_reduce()  # type: ignore[misc]

    def load_build(self) -> None:
        """Fill an object of a shared class; neither a class itself nor a method."""
        filled, state = self.stack[-2:]
        if not (isinstance(filled, types.SimpleNamespace) or _shared(type(filled))) or not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{filled!r} may not be changed by a message")
        if taken := [name for name in state if callable(getattr(type(filled), str(name), None))]:
            raise pickle.UnpicklingError(f"{type(filled).__name__}.{taken[0]} is a method, and may not be replaced")
        if odd := [name for name, kinds in HELD.items() if name in state and type(state[name]) not in kinds]:
            raise pickle.UnpicklingError(f"{type(filled).__name__}.{odd[0]} is a {type(state[odd[0]]).__name__}")
        super().load_build()  # type: ignore[misc]

    dispatch |= {pickle.REDUCE[0]: load_reduce, pickle.BUILD[0]: load_build}


class Bound:
    """A helper of this file with its ledger."""

    def __init__(self, helper: Callable, ledger: Any) -> None:
        self.helper, self.ledger = helper, ledger

    def __call__(self, *entry: Any) -> Any:
        return self.helper(self.ledger, *entry)


def _helper(ledger: Any, module: str, name: str) -> Bound | None:
    return Bound(HELPERS[name], ledger) if module == __name__ and name in HELPERS else None


def harmless(value: Any) -> bool:
    """Whether a function only computes."""
    if isinstance(value, torch.dtype):
        return True
    return isinstance(value, types.FunctionType | types.BuiltinFunctionType) and value.__module__ in PURE


def _shared(kind: Any) -> bool:
    """Modules, optimisers, configurations and dataclasses of the packages that both sides have."""
    if not isinstance(kind, type) or kind.__module__.partition(".")[0] not in SHARED:
        return False
    plain = kind.__module__.partition(".")[0] != "torch" and (is_dataclass(kind) or kind.__name__.endswith("Config"))
    return plain or issubclass(kind, STATEFUL)


def tensor(ledger, theirs, mine, data, dtype, shape, requires_grad, parameter, grad) -> Tensor:
    """A tensor of the other side, the same one where it came before; or one of this side's own, as it is now."""
    kind = getattr(torch, dtype.removeprefix("torch."))
    fresh = None if data is None else _filled(data, kind, shape)
    value = ledger.known(theirs, Tensor) if mine < 0 else _own(ledger, mine, Tensor)
    if value is None or (mine < 0 and not value.is_leaf):
        new = torch.empty(0) if fresh is None else fresh
        value = nn.Parameter(new, requires_grad) if parameter else new
    elif fresh is not None:
        value.data = fresh
    if value.is_leaf:
        value.requires_grad_(requires_grad)
        value.grad = grad
    return ledger.came(theirs, value) if mine < 0 <= theirs else value


def stateful(ledger, theirs, mine, kind) -> Any:
    """A module or optimiser, empty: pickle fills it; one of this side's own keeps its identity."""
    if mine >= 0:
        return _own(ledger, mine, nn.Module | torch.optim.Optimizer)
    if not issubclass(kind, STATEFUL):
        raise pickle.UnpicklingError(f"{kind} is no module")
    return ledger.came(theirs, ledger.known(theirs, kind) or kind.__new__(kind)) if theirs >= 0 else kind.__new__(kind)


def generator(ledger, theirs, mine, state) -> torch.Generator:
    """A generator with the state of the other side's."""
    came = ledger.known(theirs, torch.Generator)
    value = _own(ledger, mine, torch.Generator) if mine >= 0 else came or torch.Generator()
    value.set_state(_filled(state, torch.uint8, (len(state),)))
    return ledger.came(theirs, value) if mine < 0 <= theirs else value


def array(ledger, data, dtype, shape, scalar) -> Any:
    """A NumPy array, or a scalar of NumPy's."""
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise pickle.UnpicklingError("an array of objects may not cross")
    value = np.frombuffer(data, kind).reshape(shape).copy()
    return value[()] if scalar else value


def path(ledger, text) -> Path:
    """A path."""
    return Path(text)


def handle(ledger, number, name, parameters) -> Any:
    """What stands in for a function or object that stayed on the other side."""
    return ledger.stand_in((number, name, parameters))


def yours(ledger, number) -> Any:
    """A function or object of this side, come home."""
    return _own(ledger, number, object)


def _own(ledger: Any, number: int, kind: Any) -> Any:
    value = ledger.sent.get(number)
    if number not in ledger.sent or not isinstance(value, kind):
        raise pickle.UnpicklingError(f"number {number} is none of what was sent")
    return value


def _filled(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not data and 0 in shape:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape).clone()


HELPERS = {f.__name__: f for f in (tensor, stateful, generator, array, path, handle, yours)}
