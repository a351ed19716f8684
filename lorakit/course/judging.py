"""The judge: runs a check where no submission can reach it, and calls the student's function in another process.

    check  ──▶  judge (trusted)  ── scale(16, 8)? ──▶  the submission's own process
    passed or why not  ◀──       ◀──────  2.0  ──────

What a submission did to lorakit, to torch or to its own checks is done in its own process; here they are as installed.
A line of JSON in: {"code": …, "names": […], "address": …, "key": …}; two out: {"listening": true}, and the `Verdict`.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import pickle
import socket
import sys
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from lorakit.course.talking import Lost, Peer


@dataclass(frozen=True)
class Verdict:
    """What came of a check: whether it passed, what it printed or why it failed, and the likely misconception."""

    passed: bool
    said: str = ""
    diagnosis: str = ""
    kind: str = ""

    def __repr__(self) -> str:
        return f"Verdict({'passed' if self.passed else self.kind}: {self.said.splitlines()[0] if self.said else ''})"


def judge(code: str, names: list[str], connection: Connection) -> Verdict:
    """Run a check's code; these names in it are the student's, at the other end of the connection."""
    peer = Peer(connection, {"call": lambda *asked: _called_back(peer, *asked)}, guarded=True)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            given = {name: peer.ask("get", name) for name in names}
            exec(compile(code, "<check>", "exec"), {"__name__": "check", **given})
    except Lost:
        return Verdict(False, "the process that runs the answer is gone", kind="Lost")
    except pickle.UnpicklingError as error:
        return Verdict(False, f"the answer is of a kind that cannot be checked: {error}", kind="UnpicklingError")
    except Exception as error:
        said = str(error) if hasattr(error, "diagnosis") else f"{type(error).__name__}: {error}"
        return Verdict(False, said, str(getattr(error, "diagnosis", None) or ""), type(error).__name__)
    return Verdict(True, printed.getvalue().strip())


def _called_back(peer: Peer, number: int, args: tuple, kwargs: dict, state: Any) -> tuple:
    """A function that the check handed over, called by the student's."""
    return peer.ledger.sent[number](*args, **kwargs), (list(args), kwargs), state


def admitted(listener: socket.socket, key: str) -> Connection:
    """The connection of who knows the key, before the listener's patience ends."""
    while True:
        accepted, _ = listener.accept()
        accepted.settimeout(None)
        connection = Connection(accepted.detach())
        with contextlib.suppress(EOFError, OSError):
            if hmac.compare_digest(connection.recv_bytes(256), key.encode()):
                return connection
        connection.close()


def main() -> None:
    """Answer until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(asked["address"])
            listener.listen()
            listener.settimeout(asked["seconds"])
            print(json.dumps({"listening": True}), file=answers, flush=True)
            try:
                with admitted(listener, asked["key"]) as connection:
                    verdict = judge(asked["code"], asked["names"], connection)
            except TimeoutError:
                verdict = Verdict(False, "the process that runs the answer never came", kind="Lost")
        print(json.dumps(asdict(verdict)), file=answers, flush=True)


if __name__ == "__main__":
    main()
