"""What a student reads: one line when an answer is right, and when it is not, which case, what, and why.

✗ scale, case 2 of 12: α = 16, r = 8
  expected  2
  returned  16
likely: off by a factor of 8 = r: did you use α instead of α/r?
"""

from __future__ import annotations

import textwrap
from typing import Any, NoReturn

from lorakit.checks.comparing import show

WIDTH = 100  # letters, about what JupyterLab has beside its file browser on a laptop


class CheckFailed(AssertionError):
    """An answer is wrong: on which case, what was expected and returned, and the likely misconception.

    In a notebook it is shown as its few lines, without the checks' own traceback.
    """

    def __init__(
        self, exercise: str, case: str = "", expected: str = "", returned: str = "", diagnosis: str | None = None
    ) -> None:
        self.exercise, self.case, self.expected = exercise, case, expected
        self.returned, self.diagnosis = returned, diagnosis
        lines = [f"✗ {exercise}" + (f", {case}" if case else "")]
        lines += [f"  expected  {expected}"] if expected else []
        lines += [f"  returned  {returned}"] if returned else []
        lines += [f"likely: {diagnosis}"] if diagnosis else []
        super().__init__("\n".join(lines))

    def _render_traceback_(self) -> list[str]:
        head, *rest = (part for line in str(self).split("\n") for part in _fitted(line))
        return [f"\x1b[1m{head}\x1b[0m", *rest]  # bold alone: red on a dark theme's red cannot be read


def _fitted(line: str) -> list[str]:
    """A line in pieces that an output is wide enough for, cut between words: a browser cuts inside them."""
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


class Unanswered(CheckFailed, NotImplementedError):
    """The stub stands as it was handed out."""


def fail(
    exercise: str, case: str, expected: Any = None, returned: Any = None, diagnosis: str | None = None
) -> NoReturn:
    """Raise `CheckFailed`; texts stand as they are, other values are shown small, and None is left out."""
    first, second = ("" if value is None else _shown(value) for value in (expected, returned))
    if expected is not None and returned is None:
        second = "None"
    raise CheckFailed(exercise, case, first, second, diagnosis) from None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else show(value)


def passed(exercise: str, how: str) -> None:
    """The line that says an answer is right."""
    print(f"✓ {exercise}: {how}")
