"""What a student reads where the function itself raised: the error, its own last line, and what that often means.

  returned  nothing: it raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x11 and 7x2)
  in line 3 of delta: return A @ B
likely: shapes that do not fit together: remember A (r, in), B (out, r), ΔW (out, in)
"""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path
from typing import NoReturn

from lorakit.checks.failing import CheckFailed

LIBRARY = str(Path(__file__).resolve().parents[1])
MISFITS = (
    "cannot be multiplied",
    "size of tensor",
    "size mismatch",
    "must match",
    "Expected size for",
    "be a matrix",
    "inconsistent tensor",
    "could not be broadcast",
    "mismatch in its core dimension",
)


def raised(exercise: str, title: str, error: Exception) -> NoReturn:
    """Raise `CheckFailed`: what the student's function raised, in which line of its own, and what it may mean."""
    walk = traceback.walk_tb(error.__traceback__)
    own = [(frame.f_code, line) for frame, line in walk if not ours(frame.f_code.co_filename)]
    code, number = own[-1] if own else (None, 0)
    line = linecache.getline(code.co_filename, number).strip() if code else ""
    said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    where = f"\n  in line {number} of {code.co_name}: {line}" if code and line else ""
    given = set(code.co_varnames[: code.co_argcount]) if code else set()
    raise CheckFailed(exercise, title, "", f"nothing: it raised {said}{where}", _advice(error, given)) from error


def ours(filename: str) -> bool:
    """Whether a file is a library's, and not the student's."""
    return "site-packages" in filename or filename.startswith(LIBRARY)


def _advice(error: Exception, given: set[str]) -> str:
    text = str(error)
    if isinstance(error, TypeError) and "positional argument" in text:
        return "the function does not take the arguments that the task names"
    if any(words in text for words in MISFITS):
        reminder = "remember A (r, in), B (out, r), ΔW (out, in)"
        batch = "print both; a batch has one input a row, so that W·x is x @ W.T"
        reminder = f"{reminder}; {batch}" if {"A", "x"} <= given else reminder if "A" in given else batch
        return f"shapes that do not fit together: {reminder}"
    if "does not require grad" in text:
        return "backward finds no way to a parameter: a no_grad(), detach() or item() stands before it"
    if "cannot assign" in text and "Parameter" in text:
        return "a Parameter takes no plain tensor in its place: set its .data, or make it a Parameter"
    if "dtype" in text or "same type" in text:
        return "float32 met float64: make new tensors with dtype=x.dtype"
    return f"it stops before it returns anything: {type(error).__name__}"
