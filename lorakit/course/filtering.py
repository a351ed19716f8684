"""System calls that a submission's programs do not have, and the one they must ask for: another process (Linux 5.5).

    clone, fork, vfork        the grader is asked, and counts: go on, or EAGAIN from the 257th on (threads: go on)
    socket, io_uring_setup    none: no connection of any kind, to a network or to another program on this machine; nor
                              a pair for datagrams, which can be sent elsewhere
    setrlimit, subreaper      none: by its limits a process is known as the submission's, and lost children come home

A filter holds for whatever is started, in any language, and needs no root: Docker sets one the same way. The kernel has
its own sockets by then, and the pair by which the judge calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading
from multiprocessing.connection import Connection
from typing import NamedTuple

MOST = 256  # processes that a submission may start
NO_NEW_PRIVILEGES, SUBREAPER, THREAD, DATAGRAM = 38, 36, 0x10000, 0b10
SET_FILTER, ACTION_AVAILABLE = 1, 2
EVERY_THREAD, LISTENER, SAY_WHICH = 1, 8, 16
ALLOW, ASK, REFUSE = 0x7FFF0000, 0x7FC00000, 0x00050000
RECEIVE, SEND, GO_ON = 0xC0502100, 0xC0182101, 1


class Calls(NamedTuple):
    """The numbers of a processor's system calls; -1: it has no such call."""

    architecture: int
    seccomp: int
    socket: int
    clone: int
    fork: int
    vfork: int
    prctl: int
    setrlimit: int
    prlimit: int
    socketpair: int
    io_uring: int = 425
    clone3: int = 435


CALLS = {
    "x86_64": Calls(0xC000003E, 317, 41, 56, 57, 58, 157, 160, 302, 53),
    "aarch64": Calls(0xC00000B7, 277, 198, 220, -1, -1, 167, 164, 261, 199),
}


def available() -> bool:
    """Whether this system has such filters and lets a grader be asked."""
    calls = CALLS.get(platform.machine()) if sys.platform == "linux" else None
    asked = ctypes.c_uint32(ASK)
    return calls is not None and not ctypes.CDLL(None).syscall(calls.seccomp, ACTION_AVAILABLE, 0, ctypes.byref(asked))


def install(grader: Connection) -> None:
    """Filter this process, all of its threads and what it starts, and hand the grader what it is asked by.

    Where somebody else is asked already (a container's own supervisor), no process can be started at all. OSError where
    the system refuses.
    """
    libc, calls = ctypes.CDLL(None, use_errno=True), CALLS[platform.machine()]
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for flags, process in ((EVERY_THREAD | LISTENER | SAY_WHICH, ASK), (EVERY_THREAD, REFUSE | errno.EAGAIN)):
        code = _program(calls, process)
        lines = ctypes.create_string_buffer(code, len(code))
        program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(lines)))
        asked_by = libc.syscall(calls.seccomp, SET_FILTER, flags, program)
        if asked_by >= 0:
            break
    else:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    with socket.socket(fileno=os.dup(grader.fileno())) as line:
        socket.send_fds(line, [b"."], [asked_by] if asked_by else [])
    if asked_by:
        os.close(asked_by)


def _program(calls: Calls, process: int) -> bytes:
    """The filter: what comes first that fits."""
    refused = REFUSE | errno.EPERM
    rows = [_load(4), _unless(calls.architecture, refused), _load(0), _at_least(0x40000000, refused)]
    rows += [_if(number, refused) for number in (calls.socket, calls.io_uring, calls.setrlimit)]
    rows += [_if(calls.clone3, REFUSE | errno.ENOSYS)]  # whose flags cannot be seen: the C library then calls clone
    rows += [_if(number, process) for number in (calls.fork, calls.vfork) if number >= 0]
    rows += [_where(calls.clone, 16, THREAD, process, wanted=False)]
    rows += [_where(calls.prctl, 16, SUBREAPER, refused, equal=True)]
    rows += [_where(calls.prlimit, 32, 0xFFFFFFFF, refused), _where(calls.prlimit, 36, 0xFFFFFFFF, refused)]
    rows += [_where(calls.socketpair, 24, DATAGRAM, refused)]
    return b"".join([*rows, _return(ALLOW)])


def _row(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _load(offset: int) -> bytes:
    return _row(0x20, offset)


def _return(action: int) -> bytes:
    return _row(0x06, action)


def _if(number: int, action: int) -> bytes:
    return _row(0x15, number, 0, 1) + _return(action)


def _unless(number: int, action: int) -> bytes:
    return _row(0x15, number, 1, 0) + _return(action)


def _at_least(number: int, action: int) -> bytes:
    return _row(0x35, number, 0, 1) + _return(action)


def _where(number: int, offset: int, bits: int, action: int, *, wanted: bool = True, equal: bool = False) -> bytes:
    """For this call, by an argument: where it has one of these bits, has none of them, or equals them."""
    test = _row(0x15 if equal else 0x45, bits, *((0, 1) if wanted else (1, 0)))
    return _row(0x15, number, 0, 4) + _load(offset) + test + _return(action) + _load(0)


class Census(threading.Thread):
    """The grader's end: counts what a submission starts; refuses what is too much, and everything once it is over."""

    def __init__(self, line: Connection, most: int = MOST) -> None:
        super().__init__(daemon=True)
        self.line, self.most, self.started, self.over = line, most, 0, False
        self.start()

    @property
    def crowded(self) -> bool:
        """Whether more was asked for than a submission may start."""
        return self.started > self.most

    def run(self) -> None:
        """Answer until no process is left to ask."""
        with contextlib.suppress(OSError):
            with socket.socket(fileno=os.dup(self.line.fileno())) as line:
                _, found, *_ = socket.recv_fds(line, 1, 1)
            for asked_by in found:
                self._answer(asked_by)
                os.close(asked_by)

    def _answer(self, asked_by: int) -> None:
        waiting = select.poll()
        waiting.register(asked_by, select.POLLIN)
        while waiting.poll()[0][1] & select.POLLIN:
            asked = bytearray(80)
            with contextlib.suppress(OSError):  # who asked is gone
                fcntl.ioctl(asked_by, RECEIVE, asked)
                self.started += 1
                refused = self.over or self.crowded
                number = struct.unpack_from("=Q", asked)[0]
                said = struct.pack("=QqiI", number, 0, -errno.EAGAIN if refused else 0, 0 if refused else GO_ON)
                fcntl.ioctl(asked_by, SEND, bytearray(said))
