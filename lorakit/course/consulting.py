"""The judge, seen from the grader: a process of its own that outlives the submissions, and is replaced if it does not.

Judge.check(code, names, process)  →  Verdict      the check runs with the judge, the functions in `process`
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from lorakit.course.judging import Verdict
from lorakit.course.running import Limits, Outcome, Process

ANSWER = "__import__('lorakit.course.answering', fromlist=['answer']).answer({address!r}, {key!r})"
PATIENCE = 60.0  # seconds for a judge to start, or to think after the last call


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
        address, key = str(process.scratch / "tmp" / os.urandom(8).hex()), os.urandom(16).hex()
        limits: Limits = process.limits
        asked = {"code": code, "names": [*names], "address": address, "key": key, "seconds": limits.seconds}
        if self._ask(asked) is None:
            return Verdict(False, "the check could not be started", kind="Judge"), Outcome("ok")
        outcome = process.run(ANSWER.format(address=address, key=key))
        said = self._hear(PATIENCE)
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
