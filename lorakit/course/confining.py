"""What a submission's process may not do, as far as a system gives that without root. It runs before the first cell.

memory    RLIMIT_DATA: an allocation beyond it is a MemoryError (Linux; a watchdog outside does the rest, and all of it
          on macOS)
files     Landlock (Linux 5.13): it writes in its own folder only, and reads neither other submissions nor solutions;
          on every system an audit hook refuses the same to Python code, and reports what was tried
network   a filter of system calls (`filtering`, Linux 5.5): no socket at all; Landlock (6.7): no TCP connection; the
          audit hook: no connection but one in its own folder
others    Landlock (6.12): no signal to a process outside, and no abstract Unix socket of one; the filter: so many
          processes and no more
root      a grader that runs as root keeps what files it can read, and nothing else of root

A process that is ended from outside, or that ends itself, is the business of `running`.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import sys
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from lorakit.course import answering, filtering, shedding

CREATE, RULE, RESTRICT, NO_NEW_PRIVILEGES = 444, 445, 446, 38  # the system calls, alike on every processor; prctl's
READ, LIST = 0b1101, 0b1000  # execute, read a file, list a folder; the last alone
WRITE = {1: 0b1_1111_1111_0010, 2: 1 << 13, 3: 1 << 14}  # write, remove, make; refer (ABI 2); truncate (3)
CONNECT_TCP, ABSTRACT_SOCKET_AND_SIGNAL = 1 << 1, 0b11
PATH_BENEATH = 1
DEVICES = ("/dev/null", "/dev/zero", "/dev/shm", "/dev/tty")
Paths = Iterable[str | Path]


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock that this system has, 0 without."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(CREATE, None, 0, 1))


def landlock(readable: Paths, writable: Paths, listable: Paths = ()) -> int:
    """Nothing else may be read or written from here on, by this process or its children. The version, 0: none.

    OSError where the system has Landlock and refuses.
    """
    version, libc = abi(), ctypes.CDLL(None, use_errno=True)
    if not version:
        return 0
    write = sum(bits for since, bits in WRITE.items() if since <= version)
    rules = _Rules(READ | write, CONNECT_TCP if version >= 4 else 0, ABSTRACT_SOCKET_AND_SIGNAL if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _checked(libc, libc.syscall(CREATE, ctypes.byref(rules), size, 0))
    for paths, allowed in ((listable, LIST), (readable, READ), (writable, READ | write)):
        for path in {os.path.realpath(path) for path in paths if os.path.exists(path)}:
            _allow(libc, ruleset, path, allowed)
    _checked(libc, libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(libc, libc.syscall(RESTRICT, ruleset, 0))
    os.close(ruleset)
    return version


def _allow(libc: Any, ruleset: int, path: str, allowed: int) -> None:
    if not os.path.isdir(path):
        allowed &= 0b111 | 1 << 14  # what can be done to a file
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = _Beneath(allowed, folder)
    _checked(libc, libc.syscall(RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0))
    os.close(folder)


def _checked(libc: Any, result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Bounds(NamedTuple):
    """Where a process is at home, the bytes of memory that it has, what it may not read, and the grader's number.

    file   bytes of its largest file, by which it is known too: no two processes have the same, and it cannot be changed
    judge  where its answers are asked for
    kept   where lorakit itself keeps what it has computed: refused as all else is, and no offence
    """

    scratch: str
    memory: int
    secret: tuple[str, ...]
    grader: int
    file: int
    judge: str
    kept: tuple[str, ...] = ()


def watch(bounds: Bounds, report: int) -> None:
    """From here on PermissionError for Python code that writes elsewhere or opens what is secret; `report` is told."""
    ours, theirs = (tuple(map(os.path.realpath, paths)) for paths in ([*DEVICES, bounds.scratch], bounds.secret))
    kept = tuple(map(os.path.realpath, bounds.kept))
    inside, write, real, kind = _inside, os.write, os.path.realpath, PermissionError
    graders = {bounds.grader, os.getppid(), -1}

    def refuse(what: str, path: str = "") -> None:
        if not inside(path, kept):
            write(report, f"{what[:400]}\n".encode(errors="replace"))
        raise kind(f"not while it is graded: {what}")

    def hook(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            path, flags = real(os.fsdecode(args[0])), args[2] if isinstance(args[2], int) else 0
            if flags & WRITING and not inside(path, ours):
                refuse(f"writing {path}", path)
            if inside(path, theirs):
                refuse(f"reading {path}")
        elif event in CHANGES:
            for path in [real(os.fsdecode(arg)) for arg in args if isinstance(arg, str | bytes)]:
                if not inside(path, ours):
                    refuse(f"{event.removeprefix('os.')} {path}", path)
        elif event == "os.kill" and args[0] in graders:
            refuse("a signal to the grader")
        elif event == "socket.connect":
            path = real(os.fsdecode(args[1])) if isinstance(args[1], str | bytes) else ""
            if not inside(path, ours):
                refuse(f"a connection to {path or args[1]}")

    sys.addaudithook(hook)


def _inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


def limit(memory: int, file: int = resource.RLIM_INFINITY) -> None:
    """So many bytes of memory and of a file, no core dump; without root, none can be raised again."""
    for kind, most in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_FSIZE, file), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out all the same, this goes first


def open_to_all(secret: Paths) -> tuple[list[str], list[str]]:
    """What any process of this Python needs to read: around what is secret, and the folders above that, to list."""
    system = ["/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys", "/usr"]
    hidden = tuple(os.path.realpath(path) for path in secret)
    wanted = [*system, sys.prefix, sys.base_prefix, *filter(os.path.isdir, sys.path)]
    split = [_around(os.path.realpath(path), hidden) for path in wanted]
    return [path for some, _ in split for path in some], [path for _, some in split for path in some]


def _around(path: str, hidden: tuple[str, ...]) -> tuple[list[str], list[str]]:
    if _inside(path, hidden):
        return [], []
    if not any(_inside(other, (path,)) for other in hidden):
        return [path], []
    split = [_around(child.path, hidden) for child in os.scandir(path) if not child.is_symlink()]
    return [p for some, _ in split for p in some], [path, *(p for _, some in split for p in some)]


def kernel(bounds: Bounds, connection: str, environment: dict[str, str], report: Connection, line: Connection) -> None:
    """Confine this process, and be the Jupyter kernel of a connection file; what is refused is told to `report`.

    `line` is the grader's, who is asked whether another process may start.
    """
    from ipykernel.kernelapp import IPKernelApp

    shedding.let_go([report.fileno(), line.fileno()])
    multiprocessing.current_process().daemon = False  # a DataLoader in it may have workers
    os.setsid()
    os.chdir(bounds.scratch)
    os.environ.update(environment)
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    answering.listen(bounds.judge)
    may_read, may_list = open_to_all(bounds.secret)
    limit(bounds.memory, bounds.file)
    shedding.abdicate()
    needed = filter(None, [connection, environment.get("LORAKIT_HOME")])
    landlock([*may_read, *needed], [*DEVICES, bounds.scratch], may_list)
    watch(bounds, report.fileno())
    app = IPKernelApp.instance()
    app.initialize(["-f", connection])
    if filtering.available():
        filtering.install(line)
    line.close()
    app.start()
