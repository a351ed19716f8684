"""The judge: runs a check where no submission can reach it, and calls the student's function in another process.

    check  ──▶  judge (trusted)  ── scale(16, 8)? ──▶  the submission's own process
    passed or why not  ◀──       ◀──────  2.0  ──────

What a submission did to lorakit, to torch or to its own checks is done in its own process; here they are as installed.
A line of JSON in: {"code": …, "names": […], "address": …, "key": …}; two out: {"calling": true}, and the `Verdict`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from lorakit.course.confining import limit
from lorakit.course.running import Outcome, Process
from lorakit.course.talking import Lost, Peer

ANSWER = "__import__('lorakit.course.answering', fromlist=['answer']).answer({key!r})"
PATIENCE = 60.0  # seconds for a judge to start
HURRY = 10.0  # seconds for its verdict once nobody answers any more: it hangs up itself where all went well
MEMORY = 12 << 30  # bytes that the judge may take: what an answer sends is unpacked there


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


def _called_back(peer: Peer, number: int, args: tuple, kwargs: dict, around: tuple) -> tuple:
    """A function that the check handed over, called by the student's."""
    return peer.ledger.sent[number](*args, **kwargs), (list(args), kwargs), around[0]


def main() -> None:
    """Answer until standard input ends."""
    limit(MEMORY)
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        with socket.socket(socket.AF_UNIX) as own:
            try:
                own.connect(asked["address"])
                connection = Connection(own.detach())
                connection.send_bytes(asked["key"].encode())
            except OSError:
                connection = None
        print(json.dumps({"calling": connection is not None}), file=answers, flush=True)
        verdict = Verdict(False, "the process that runs the answer is gone", kind="Lost")
        if connection is not None:
            with connection:
                verdict = judge(asked["code"], asked["names"], connection)
        print(json.dumps(asdict(verdict)), file=answers, flush=True)


class Judge:
    """Checks are run here, one at a time. Close it, or use it in a `with`."""

    def __init__(self, python: str = sys.executable) -> None:
        self.python = python
        self.process: subprocess.Popen | None = None
        self.said: queue.Queue[str] = queue.Queue()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, code: str, names: Sequence[str], process: Process) -> tuple[Verdict, Outcome]:
        """What the check says, and what it cost the submission's process."""
        key = os.urandom(16).hex()
        asked = {"code": code, "names": [*names], "address": process.judge, "key": key}
        if self._ask(asked) is None:
            return Verdict(False, "the check could not be started", kind="Judge"), Outcome("ok")
        outcome = process.run(ANSWER.format(key=key))
        said = self._hear(HURRY)
        if said is None:
            self.close()
            said = {"passed": False, "said": "the check did not end, or died", "kind": "Judge"}
        return Verdict(**said), outcome

    def close(self) -> None:
        """End the process; the next check starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    stream and stream.close()
        self.process = None

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if self.process is None or self.process.poll() is not None:
            self.close()
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        except OSError:
            return None
        return self._hear(PATIENCE)

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        try:
            said = self.said.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(said) if said else None

    def _start(self) -> None:
        command = [self.python, "-P", "-m", "lorakit.course.judging"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said = queue.Queue()
        threading.Thread(target=_read, args=(self.process.stdout, self.said), daemon=True).start()


def _read(stream: Any, said: queue.Queue[str]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for line in stream:
            said.put(line)
    said.put("")


if __name__ == "__main__":
    main()
