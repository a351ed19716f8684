"""One submission's own process: a Jupyter kernel, confined, that is watched from outside while each cell runs.

    run(code, seconds)  →  ok · error · slow: interrupted, killed if it goes on · large, many: killed · died

What it prints is kept, up to a limit, for the student to read. No mark depends on what it says.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.blocking import BlockingKernelClient

from lorakit.assets.store import cache
from lorakit.course import sweeping
from lorakit.course.confining import Bounds, kernel
from lorakit.course.filtering import Census
from lorakit.course.showing import Shown

FRESH = get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":  # a process that has imported torch and nothing of any submission forks each of theirs
    FRESH.set_forkserver_preload(["lorakit.course.confining", "lorakit.course.answering", "ipykernel.kernelapp"])
GRACE = 3.0  # seconds between an interrupt and the end
PAUSE = 0.5  # seconds until a process that has not answered is asked again


@dataclass(frozen=True)
class Limits:
    """What a cell may take: seconds, and bytes of a process and its children; `start`: for the first sign of life."""

    seconds: float = 120.0
    memory: int = 6 << 30
    start: float = 120.0


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: "ok", "error", "slow", "large", "many", "died"; what it printed, and the seconds it took."""

    status: str
    outputs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the process went on."""
        return self.status in ("ok", "error")

    def __repr__(self) -> str:
        return f"Outcome({self.status}, {self.seconds:.1f} s, {len(self.outputs)} outputs)"


class Process:
    """A confined kernel in a folder of its own; `secret` are folders that it may not read."""

    def __init__(self, limits: Limits, secret: Sequence[Path] = ()) -> None:
        self.limits = limits
        self.folder = Path(tempfile.mkdtemp(prefix="lorakit-"))
        self.scratch = self.folder / "work"
        (self.scratch / "tmp").mkdir(parents=True)
        connection = self.folder / "connection.json"
        connection.write_text(json.dumps(self._connection()))
        kept = (str(cache() / "svd"),)  # of weights that a check has met
        self.shared = sweeping.names()
        self.largest_file = (1 << 30) - int.from_bytes(os.urandom(3))
        self.judge = str(self.folder / "judge")
        own = (str(self.scratch), limits.memory, tuple(map(str, secret)), os.getpid(), self.largest_file, self.judge)
        (self._report, report), (self._line, line) = FRESH.Pipe(duplex=False), FRESH.Pipe()
        started = (Bounds(*own, kept), str(connection), self._environment(), report, line)
        self.process = FRESH.Process(  # type: ignore[attr-defined]
            target=kernel, args=started, daemon=True
        )
        self.process.start()
        report.close()
        line.close()
        self.census = Census(self._line)
        self.client = BlockingKernelClient(connection_file=str(connection))
        self.client.load_connection_file()
        self.client.start_channels()

    def _connection(self) -> dict[str, Any]:
        ports = {name: number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        where = {"transport": "ipc", "ip": str(self.scratch / "tmp" / "k")}
        key = {"key": os.urandom(16).hex(), "signature_scheme": "hmac-sha256", "kernel_name": ""}
        return {**{f"{name}_port": port for name, port in ports.items()}, **where, **key}

    def _environment(self) -> dict[str, str]:
        own: dict[str, object] = {
            "HOME": self.scratch,
            "TMPDIR": self.scratch / "tmp",
            "IPYTHONDIR": self.scratch / ".ipython",
        }
        own |= {"LORAKIT_HOME": cache(), "MPLBACKEND": "agg", "HF_HUB_OFFLINE": 1, "PYTHONDONTWRITEBYTECODE": 1}
        own |= {"TORCHINDUCTOR_CACHE_DIR": self.scratch / "tmp" / "inductor"}
        own |= {"JPY_PARENT_PID": os.getpid(), sweeping.MARK: self.folder.name}
        return {name: str(value) for name, value in own.items()}

    def run(self, code: str, seconds: float | None = None) -> Outcome:
        """Run a cell, and see how it ends."""
        began, outputs = time.monotonic(), Shown()
        deadline = began + (self.limits.seconds if seconds is None else seconds)
        interrupted = False
        asked = self.client.execute(code, allow_stdin=False)
        while (ended := self._listen(asked, outputs)) is None:
            now = time.monotonic()
            if not self.alive:
                ended = "died"
            elif self._memory() > self.limits.memory:
                ended = "large"
            elif self.census.crowded:
                ended = "many"
            elif now > deadline + GRACE:
                ended = "slow"
            elif now > deadline and not interrupted:
                interrupted = True
                self._signal(signal.SIGINT)
            if ended:
                self.kill()
                break
        if interrupted and ended in ("ok", "error"):
            ended = "slow"
        elif ended in ("ok", "error") and self._leaves(asked):
            ended = "died"
            self.kill()
        return Outcome(ended, outputs.kept, time.monotonic() - began)

    def wait_until_ready(self) -> Outcome:
        """The first sign of life: asked again and again, for what is said before we are connected is lost."""
        began = time.monotonic()
        while self.alive and time.monotonic() < began + self.limits.start:
            asked, until = self.client.execute("pass", allow_stdin=False), time.monotonic() + PAUSE
            while time.monotonic() < until:
                if self._listen(asked, Shown()):
                    return Outcome("ok", [], time.monotonic() - began)
        self.kill()
        return Outcome("slow", [], time.monotonic() - began)

    def _leaves(self, asked: str) -> bool:
        """Whether the reply to a cell says that the kernel will end: exit() in IPython does not do it at once."""
        with contextlib.suppress(queue.Empty, ValueError):
            while (reply := self.client.get_shell_msg(timeout=2.0))["parent_header"].get("msg_id") != asked:
                pass
            return any(entry.get("source") == "ask_exit" for entry in reply["content"].get("payload", []))
        return not self.alive

    def _listen(self, asked: str, outputs: Shown) -> str | None:
        """Take in what is said within a moment; how the cell ended, or None."""
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except (queue.Empty, ValueError):
                return None
            if message["parent_header"].get("msg_id") == asked and outputs.take(
                message["msg_type"], message["content"]
            ):
                return "error" if outputs.failed else "ok"
        return None

    def _memory(self) -> int:
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in [psutil.Process(self.process.pid), *self._children()]:
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
        return total

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self.process.is_alive()

    def attempts(self) -> list[str]:
        """What the audit hook refused, each once."""
        said = b""
        with contextlib.suppress(OSError):
            while self._report.poll() and (more := os.read(self._report.fileno(), 1 << 16)):
                said += more
        return list(dict.fromkeys(said.decode(errors="replace").splitlines()))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it, and whatever it started: from here on nothing more can be."""
        self.census.over = True
        self._signal(signal.SIGKILL)
        self.process.join()
        sweeping.end(self.folder.name, self.largest_file)

    def _children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        self.client.stop_channels()
        self._report.close()
        self._line.close()
        sweeping.sweep(self.shared)
        shutil.rmtree(self.folder, ignore_errors=True)
