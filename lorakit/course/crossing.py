"""What may cross between two processes that do not trust each other: values, and never code.

    judge  ── arguments ──▶  the student's process          the judge's objects are numbered as they leave, and
    judge  ◀── the result, and the arguments as they are now ──          come back as themselves, changed or not

Numbers, texts, lists, tensors, arrays, modules, optimisers and lorakit's dataclasses cross by value. A function, or an
object of a class that the other side does not have, stays at home and crosses as a `Handle`. The judge's ledger is
`guarded`: it takes what stands on a short list, for a pickle from outside could otherwise name any function to call.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.course import unpacking

ALIKE = ("torch", "lorakit", "transformers", "numpy", "builtins", "collections", "copyreg", "types")  # both sides'
FUNCTIONS = types.FunctionType | types.BuiltinFunctionType | types.MethodType
STATEFUL = nn.Module | torch.optim.Optimizer


class Handle(NamedTuple):
    """What stayed at home: its number there, its name, and its parameters where it can be called."""

    number: int
    name: str
    parameters: tuple[tuple[str, int, bool], ...] | None


class StandIn:
    """In the place of a function or object of the other side; what it can do is the business of who made it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle


class Ledger:
    """What one side has sent and was sent, by number; `stand_in` makes something of a handle of the other side."""

    def __init__(self, stand_in: Callable[[Handle], StandIn], *, guarded: bool) -> None:
        self.stand_in, self.guarded = stand_in, guarded
        self.sent: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}  # id → number of what was sent
        self.received: dict[int, tuple[int, bytes]] = {}  # id → number there, and what it held then
        self.came_as: dict[int, Any] = {}  # number there → the object

    def pack(self, value: Any) -> bytes:
        """A value as a message. TypeError or pickle.PicklingError where something in it cannot cross."""
        stream = io.BytesIO()
        _Packer(self, stream).dump(value)
        return stream.getvalue()

    def unpack(self, message: bytes) -> Any:
        """The value of a message. pickle.UnpicklingError where it names what may not cross."""
        return unpacking.unpack(self, message)

    def number(self, value: Any) -> int:
        """The number under which an object is known to the other side, given when it first leaves."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.sent)
            self.sent[len(self.sent)] = value
        return self.numbers[id(value)]

    def came(self, number: int, value: Any) -> Any:
        """The object, remembered as the other side's number so-and-so."""
        if (before := self.came_as.get(number)) is not value:
            self.received.pop(id(before), None)
        self.came_as[number] = value
        self.received[id(value)] = (number, held(value))
        return value

    def known(self, number: int, kind: type) -> Any:
        """The object that came under this number before, if it is of this kind; None: there is none."""
        value = self.came_as.get(number)
        return value if isinstance(value, kind) else None

    def borrowed(self) -> list[Any]:
        """The other side's objects that are here, each as it is now."""
        return [*self.came_as.values()]


class _Packer(pickle.Pickler):
    def __init__(self, ledger: Ledger, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        self.ledger = ledger

    def reducer_override(self, value: Any) -> Any:
        """How each kind of object crosses; NotImplemented: as pickle has it, which is by value."""
        number, before = self.ledger.received.get(id(value), (-1, b""))
        if isinstance(value, StandIn):
            return unpacking.yours, (value._handle.number,)
        if isinstance(value, Tensor):
            return self._tensor(value, number, before)
        if isinstance(value, np.ndarray | np.generic):
            return unpacking.array, (value.tobytes(), value.dtype.str, value.shape, isinstance(value, np.generic))
        if isinstance(value, torch.Generator):
            return unpacking.generator, (self._mine(value), number, value.get_state().numpy().tobytes())
        if isinstance(value, PurePath):
            return unpacking.path, (str(value),)
        if type(value).__module__ == "torch.return_types":
            return tuple, (list(value),)
        if isinstance(value, STATEFUL) and not foreign(type(value)):
            return self._stateful(value, number)
        return self._handle(value) if self._stays(value) else NotImplemented

    def _stays(self, value: Any) -> bool:
        """The judge sends all it can by name or value; a student's functions and classes stay where they are."""
        if isinstance(value, FUNCTIONS) and unpacking.HELPERS.get(value.__name__) is value:
            return False
        if isinstance(value, FUNCTIONS):
            return not importable(value) or not (self.ledger.guarded or unpacking.harmless(value))
        if self.ledger.guarded:
            return False
        return foreign(value if isinstance(value, type) else type(value)) or isinstance(value, np.ufunc | partial)

    def _mine(self, value: Any) -> int:
        """The number of the judge's own objects; what a student's process makes has none."""
        return self.ledger.number(value) if self.ledger.guarded else -1

    def _tensor(self, value: Tensor, number: int, before: bytes) -> tuple:
        data = None if before and held(value) == before else raw(value)
        about = str(value.dtype), tuple(value.shape), value.requires_grad, isinstance(value, nn.Parameter)
        return unpacking.tensor, (self._mine(value), number, data, *about, value.grad if value.is_leaf else None)

    def _stateful(self, value: Any, number: int) -> tuple:
        _, _, state, *_ = value.__reduce_ex__(2)
        return unpacking.stateful, (self._mine(value), number, type(value)), state

    def _handle(self, value: Any) -> tuple:
        name = getattr(value, "__name__", type(value).__name__)
        handle = Handle(self.ledger.number(value), str(name), _parameters(value))
        return unpacking.handle, tuple(handle)


def raw(tensor: Tensor) -> bytes:
    """The entries of a tensor as bytes, row by row."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def held(value: Any) -> bytes:
    """A digest of what a tensor holds; nothing for any other object."""
    if not isinstance(value, Tensor):
        return b""
    return hashlib.blake2b(raw(value) + str((value.dtype, tuple(value.shape))).encode(), digest_size=16).digest()


def importable(value: Any) -> bool:
    """Whether a function or class is found by its name in its module."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return module is not None and getattr(module, getattr(value, "__name__", ""), None) is value


def foreign(kind: type) -> bool:
    """Whether a class is one that the other side may not have."""
    return kind.__module__.partition(".")[0] not in ALIKE or not importable(kind)


def _parameters(value: Any) -> tuple[tuple[str, int, bool], ...] | None:
    if not callable(value):
        return None
    try:
        known = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple((p.name, int(p.kind), p.default is not p.empty) for p in known)
