"""One run, whole or not at all.

claim ── scratch folder ── run ── result.json: settings, result, the size of every file ── rename
"""

from __future__ import annotations

import inspect
import json
import pickle
import shutil
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lorakit.sweeps.settings import Settings, as_stored, word

RESULT = "result.json"


def attempt(run: Callable, settings: Settings, place: Path, wait: bool) -> bool | Exception:
    """Whether `place` holds the run now, or what it raised; False where another sweep is at it and we do not wait.

    The system drops the claim of a process that dies.
    """
    lock = place.parent / ".locks" / place.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, blocking=wait):
            if recall(place, settings) is None:
                _publish(run, settings, place)
    except Timeout:
        return False
    except Exception as error:
        error.add_note(f"in {place.name}:\n{traceback.format_exc()}")
        return _portable(error)
    return True


def recall(place: Path, settings: Settings) -> dict[str, Any] | None:
    """The row of a run that is whole, else None."""
    try:
        record = json.loads((place / RESULT).read_text(encoding="utf-8"))
        whole = record["settings"] == as_stored(settings) and record["files"] == _sizes(place)
        row = {**record["settings"], **record["result"]}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        warnings.warn(f"{place} is not whole, or not what its name says; it counts as missing", stacklevel=2)
        return None
    return row


def _publish(run: Callable, settings: Settings, place: Path) -> None:
    """Run in a scratch folder, which only the holder of the claim touches; rename it when everything is in it."""
    scratch = place.with_name(f".part-{place.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # a killed process could not tidy up
    scratch.mkdir(parents=True)
    try:
        own = {"folder": scratch} if "folder" in inspect.signature(run).parameters else {}
        result = _checked(run(**settings, **own), settings)
        record = {"settings": as_stored(settings), "result": result, "files": _sizes(scratch)}
        (scratch / RESULT).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)  # what is there is not whole
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sizes(place: Path) -> dict[str, int]:
    """Bytes of every file the run left, by its path: one that is missing or cut short shows."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    names = {path.relative_to(place).as_posix(): path.stat().st_size for path in files}
    return {name: size for name, size in names.items() if name != RESULT}


def _checked(result: Any, settings: Settings) -> dict[str, Any]:
    """The result as JSON gives it back. Raises TypeError or ValueError for one that makes no row."""
    if not isinstance(result, dict):
        raise TypeError(f"a run returns a dict of plain values; this one returned {type(result).__name__}")
    if both := sorted(result.keys() & settings.keys()):
        raise ValueError(f"a run returns what it found, beside its settings; it would hide {both}")
    return json.loads(json.dumps(result, default=word))


def _portable(error: Exception) -> Exception:
    """An error that cannot be built again from what it shows would break the pool on its way back."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        told = RuntimeError(repr(error))
        told.add_note(error.__notes__[-1])
        return told
