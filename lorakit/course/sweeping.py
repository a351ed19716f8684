"""What a submission leaves when it is over, taken away: programs, and what is in the memory that all programs share.

A program is the submission's by a mark in its environment, or, where it wiped that, by the largest file that it may
write: each submission has another limit, and none can change it. /dev/shm is where semaphores and shared tensors are:
what came while the submission ran, is this user's and is in no living program's hands, was the submission's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "LORAKIT_SUBMISSION"
SHARED = Path("/dev/shm")
WAIT, ROUNDS = 3.0, 10  # seconds for what was killed to be gone, and how often it is looked for


def programs(name: str, largest_file: int) -> list[psutil.Process]:
    """What of a submission lives, by its mark or its limit."""
    return [one for one in psutil.process_iter() if _is_of(one, name, largest_file)]


def _is_of(one: psutil.Process, name: str, largest_file: int) -> bool:
    with contextlib.suppress(psutil.Error, OSError, AttributeError):  # macOS has no such limits
        if one.status() != psutil.STATUS_ZOMBIE and one.rlimit(psutil.RLIMIT_FSIZE)[1] == largest_file:
            return True
    with contextlib.suppress(psutil.Error, OSError):
        return one.environ().get(MARK) == name
    return False


def end(name: str, largest_file: int) -> None:
    """Kill all of it, and what it started in the meantime."""
    for _ in range(ROUNDS):
        if not (strays := programs(name, largest_file)):
            return
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        psutil.wait_procs(strays, timeout=WAIT)


def names() -> frozenset[str]:
    """What is there."""
    return frozenset(os.listdir(SHARED)) if SHARED.is_dir() else frozenset()


def sweep(before: frozenset[str]) -> list[str]:
    """Remove what was not there before and nobody holds; its names."""
    fresh = {name for name in names() - before if _mine(SHARED / name)}
    held = " ".join(_held()) if fresh else ""
    gone = sorted(name for name in fresh if str(SHARED / name) not in held)
    for name in gone:
        with contextlib.suppress(OSError):
            shutil.rmtree(SHARED / name) if (SHARED / name).is_dir() else (SHARED / name).unlink()
    return gone


def _mine(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid == os.geteuid()
    return False


def _held() -> Iterator[str]:
    """What every process that can be looked into has mapped or open."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (process / "maps").read_text(errors="replace")
            for file in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    yield os.readlink(process / "fd" / file)
