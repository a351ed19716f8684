"""What a submission's process sheds before anything is run in it: root's powers, and what it has of the grader's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from multiprocessing import resource_tracker

OVERRIDE_OWNERS = 0b110  # two capabilities: a file may be somebody else's


def abdicate() -> None:
    """Root without root's powers, but to read files of others: no mounts, no clock, no other user, no raised limit."""
    if sys.platform == "linux" and os.geteuid() == 0:
        header, kept = (
            struct.pack("=II", 0x20080522, 0),
            struct.pack("=6I", OVERRIDE_OWNERS, OVERRIDE_OWNERS, 0, 0, 0, 0),
        )
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capset(header, kept):
            raise OSError(ctypes.get_errno(), f"capabilities: {os.strerror(ctypes.get_errno())}")


def let_go(kept: Iterable[int]) -> None:
    """Close what was inherited: the grader's pipes, and the line to who removes its semaphores."""
    for number in [int(name) for name in os.listdir("/dev/fd")]:
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
    vars(resource_tracker._resource_tracker).update(_fd=None, _pid=None)  # what needs one starts its own
