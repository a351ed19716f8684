"""The cache: a folder appears by one rename when every sum agrees, so one that is there is whole and is trusted.

workshop (private, on the same disk) ── members, sha256 each ── rename ──> <cache>/<name>-<sum>
"""

import errno
import hashlib
import os
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Unavailable(OSError):
    """Something that is not in the cache could not be fetched; the message says what, where and what to do."""


def cache() -> Path:
    """$LORAKIT_HOME, else lorakit/ in $XDG_CACHE_HOME, else ~/.cache/lorakit."""
    home = os.environ.get("LORAKIT_HOME")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).expanduser() if home else Path(base) / "lorakit"


@contextmanager
def workshop(folder: Path, *, needs: int) -> Iterator[Path]:
    """A private scratch folder on the cache's disk, gone afterwards whatever happens; `needs` is in bytes.

    Raises OSError where the disk has less, before or while it is filled.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    try:
        if shutil.disk_usage(folder.parent).free < needs:
            raise OSError(errno.ENOSPC, "too little room")
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as room:
            yield Path(room)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        said = f"the disk is full: {folder.name} needs {needs / 1e6:.0f} MB free in {folder.parent} while it is made"
        raise OSError(
            errno.ENOSPC, f"{said}; nothing was kept. Make room, or set LORAKIT_HOME to another disk"
        ) from None


def _sweep(directory, age=24 * 3600):
    """A killed process cannot tidy its workshop; the next one does, a day later."""
    for left in directory.glob(".part-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > age:
                shutil.rmtree(left)


def publish(members: Path, folder: Path) -> None:
    """Rename `members` to `folder`: whole or not at all, and the first of two processes wins."""
    try:
        members.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def extract(archive: Path, members: dict, into: Path) -> None:
    """Write the named members of a zip or tar into `into`, one flat file each, and check every sha256."""
    into.mkdir()
    with _opened(archive) as stream_of:
        for name, member in members.items():
            target = into / Path(name).name
            with stream_of(member["member"]) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _check(target, member["sha256"])


@contextmanager
def _opened(archive):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as package:
            yield package.open
    else:
        with tarfile.open(archive) as package:
            yield package.extractfile


def _check(path, expected):
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Unavailable(f"{path.name} is not the file the manifest names: sha256 expected {expected}, got {found}")
