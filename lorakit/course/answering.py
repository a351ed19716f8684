"""In the student's process: their functions, called for a judge who is elsewhere.

A grader runs `answer(key)` in a submission's kernel, after its cells. Nothing here decides anything: who
changes this file in memory changes what is said of their own answers, and no mark is given here. What an answer costs
is not asked of this side either: a check that forbids a product sends factors whose product cannot be had.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from functools import partial
from multiprocessing.connection import Connection
from types import FunctionType
from typing import Any

from lorakit.course.talking import Peer, Surroundings

LISTENERS: list[socket.socket] = []


def listen(address: str) -> None:
    """Where the judge will call: made before the first cell, for after it no socket can be made."""
    LISTENERS.append(socket.socket(socket.AF_UNIX))
    LISTENERS[-1].bind(address)
    LISTENERS[-1].listen()


def answer(key: str) -> None:
    """Call what the judge who knows this key asks for, until it hangs up."""
    while True:
        accepted, _ = LISTENERS[-1].accept()
        with Connection(accepted.detach()) as connection, contextlib.suppress(EOFError):
            if connection.recv_bytes(256) == key.encode():
                return answerer(connection).serve()


def answerer(connection: Connection) -> Peer:
    """The student's end of a connection."""
    peer = Peer(connection, {}, guarded=False)
    peer.answers |= {"get": _get, "call": partial(_call, peer), "attribute": partial(_attribute, peer)}
    return peer


def _get(name: str) -> Any:
    names = vars(sys.modules["__main__"])
    if name not in names:
        raise NameError(f"name {name!r} is not defined")
    return names[name]


def _call(peer: Peer, number: int, args: tuple, kwargs: dict, around: tuple) -> tuple:
    """What the function returns, the arguments as they are now, and what it left behind."""
    returned, left = Surroundings(*around).call(peer.ledger.sent[number], args, kwargs)
    return returned, (list(args), kwargs, peer.ledger.borrowed()), left


def _attribute(peer: Peer, number: int, name: str) -> Any:
    return getattr(peer.ledger.sent[number], name)


def changed(packages: list[str]) -> str:
    """What of these packages' functions, methods and classes comes from a cell of the notebook, as JSON."""
    modules = [(name, module) for name, module in [*sys.modules.items()] if name.partition(".")[0] in packages]
    found = set()
    for name, module in modules:
        for attribute, value in [*vars(module).items()]:
            methods = vars(value).items() if isinstance(value, type) and value.__module__ == name else ()
            found |= {f"{name}.{attribute}.{method}" for method, one in [*methods] if _from_a_cell(one)}
            found |= {f"{name}.{attribute}"} if _from_a_cell(value) else set()
    return json.dumps(sorted(found))


def _from_a_cell(value: Any) -> bool:
    if isinstance(value, type):
        return value.__module__ == "__main__"
    return type(value) is FunctionType and "ipykernel_" in value.__code__.co_filename
