"""Two processes call each other's functions, over one connection, one question at a time.

    ask("call", 7, args, kwargs)   →   ("returned", value, …) | ("raised", what, where) | a question back

While one side waits for its answer it answers questions itself: a judge may hand over a function of its own.
"""

from __future__ import annotations

import builtins
import linecache
import traceback
from collections.abc import Callable
from inspect import Parameter, Signature
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

import torch

from lorakit.checks.raising import ours
from lorakit.course.crossing import Handle, Ledger, StandIn

LARGEST = 1 << 28  # bytes of a message: what one side may make the other hold
Place = tuple[str, int, str, str, list[str]]  # file, line number, function, line, the function's parameters


KINDS = (
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
    Parameter.KEYWORD_ONLY,
    Parameter.VAR_KEYWORD,
)


class Surroundings(NamedTuple):
    """What a function finds around it: the random numbers, and how autograd stands."""

    state: torch.Tensor
    gradients: bool
    inference: bool

    @classmethod
    def here(cls) -> Surroundings:
        """As they are where a call is made."""
        autograd = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        return cls(torch.get_rng_state(), *autograd)

    def call(self, function: Callable, args: Any, kwargs: Any) -> tuple[Any, torch.Tensor]:
        """What a function returns in these, and the random numbers as it leaves them."""
        with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(self.gradients):
            torch.set_rng_state(self.state)
            with torch.inference_mode(self.inference):
                returned = function(*args, **kwargs)
            return returned, torch.get_rng_state().clone()


class Lost(BaseException):
    """The other side is gone. No check's `except Exception` takes it for an exception of the student's function."""


class Function(StandIn):
    """A function of the other side: a call crosses, and what it was given comes back as the call left it."""

    def __init__(self, handle: Handle, peer: Peer) -> None:
        super().__init__(handle)
        self._peer = peer
        self.__name__ = self.__qualname__ = handle.name
        if handle.parameters:
            self.__signature__ = Signature([_parameter(*about) for about in handle.parameters])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns there. The exception that it raises there, by its name, at its line."""
        surroundings = Surroundings.here()
        with torch.inference_mode(False):
            returned, now, state = self._peer.ask("call", self._handle.number, args, kwargs, tuple(surroundings))
            torch.set_rng_state(state)
            renewed((list(args), kwargs), now[:2])
        return returned


class Thing(StandIn):
    """An object of the other side, of a class that is not known here: its attributes cross when asked for."""

    def __init__(self, handle: Handle, peer: Peer) -> None:
        super().__init__(handle)
        self._peer = peer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("attribute", self._handle.number, name)

    def __repr__(self) -> str:
        return f"<{self._handle.name}>"


class Peer:
    """One end of a connection. `answers` says which questions of the other side are answered here, and how."""

    def __init__(self, connection: Connection, answers: dict[str, Callable], *, guarded: bool) -> None:
        self.connection, self.answers = connection, answers
        self.ledger = Ledger(self._stand_in, guarded=guarded)

    def ask(self, *question: Any) -> Any:
        """The other side's answer. Its exception, where it raised one; `Lost` where it is gone."""
        self._send(question)
        while True:
            kind, *rest = self._next()
            if kind == "returned":
                return rest[0]
            if kind == "raised":
                _raise(*rest)
            self._answer(kind, rest)

    def serve(self) -> None:
        """Answer until the other side hangs up."""
        while True:
            try:
                kind, *rest = self._next()
            except Lost:
                return
            self._answer(kind, rest)

    def _answer(self, kind: Any, question: list[Any]) -> None:
        try:
            if kind not in self.answers:
                raise ValueError(f"nobody answers {kind!r} here")
            reply: tuple = ("returned", self.answers[kind](*question))
            message = self.ledger.pack(reply)
        except Exception as error:
            message = self.ledger.pack(("raised", _kind(error), str(error)[:2000], _place(error)))
        self._send_bytes(message)

    def _send(self, value: Any) -> None:
        self._send_bytes(self.ledger.pack(value))

    def _send_bytes(self, message: bytes) -> None:
        if len(message) > LARGEST:
            message = self.ledger.pack(("raised", "MemoryError", "what was returned is too large to be checked", None))
        try:
            self.connection.send_bytes(message)
        except OSError as error:
            raise Lost(str(error)) from None

    def _next(self) -> tuple:
        try:
            message = self.connection.recv_bytes(LARGEST)
        except (EOFError, OSError) as error:
            raise Lost(str(error)) from None
        said = self.ledger.unpack(message)
        return said if isinstance(said, tuple) and said else ("nothing",)

    def _stand_in(self, handle: Any) -> StandIn:
        known = Handle(*handle)
        return Thing(known, self) if known.parameters is None else Function(known, self)


def renewed(before: Any, now: Any) -> Any:
    """`before`, a list or dict with what is `now` in it: tensors and modules in it have come back as themselves."""
    if type(before) is list and isinstance(now, list | tuple):
        before[:] = [renewed(old, new) for old, new in zip(before, now)] + list(now)[len(before) :]
    elif type(before) is dict and type(now) is dict:
        items = {key: renewed(before.get(key), value) for key, value in now.items()}
        before.clear()
        before.update(items)
    elif type(before) is tuple and type(now) is tuple and len(before) == len(now):
        return tuple(renewed(old, new) for old, new in zip(before, now))
    else:
        return now
    return before


def _kind(error: Exception) -> str:
    """The nearest built-in class of an exception, by name."""
    return next(kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)


def _place(error: Exception) -> Place | None:
    """Where in the student's own code it was raised."""
    walk = [(f.f_code, line) for f, line in traceback.walk_tb(error.__traceback__) if not ours(f.f_code.co_filename)]
    if not walk:
        return None
    code, line = walk[-1]
    text = linecache.getline(code.co_filename, line).strip()
    return code.co_filename, line, code.co_name, text, [*code.co_varnames[: code.co_argcount]]


def _raise(kind: Any, text: Any, place: Any) -> NoReturn:
    """Raise it here, with a traceback that ends where it was raised there."""
    known = getattr(builtins, str(kind), None)
    error: Exception = RuntimeError(f"{kind}: {text}")
    if isinstance(known, type) and issubclass(known, Exception) and not issubclass(known, OSError | UnicodeError):
        error = known(str(text))
    if not place:
        raise error
    file, line, function, source = str(place[0]), min(max(int(place[1]), 1), 10_000), str(place[2]), str(place[3])
    name, given = f"<answer {file}>", [f"{one}=None" for one in map(str, place[4]) if one.isidentifier()]
    linecache.cache[name] = (len(source), None, ["\n"] * (line - 1) + [source + "\n"], name)
    there: dict[str, Any] = {"error_there": error}
    exec(compile("\n" * (line - 1) + f"def again({', '.join(given)}): raise error_there", name, "exec"), there)
    there["again"].__code__ = there["again"].__code__.replace(co_name=function)
    there["again"]()
    raise error


def _parameter(name: str, kind: int, optional: bool) -> Parameter:
    return Parameter(name, KINDS[kind], default=None if optional else Parameter.empty)
