"""side(row) = u(key) < 0.1: test · < 0.2: validation · else train, with u = SHA-256 of the key as a fraction.

The side is a function of the text alone: no seed, no order, no size of the corpus enters it, so that the same
sentence stands on the same side in every task that has it.
"""

import hashlib
import html
import re
from collections.abc import Iterable
from typing import NamedTuple

SIDES = ("train", "validation", "test")


class Sides(NamedTuple):
    """The rows of each side."""

    train: list[tuple]
    validation: list[tuple]
    test: list[tuple]


def normalised(text: str) -> str:
    """Letters and digits, lower case, one space between: what makes two sentences the same sentence."""
    return " ".join(re.findall(r"\w+", html.unescape(text).casefold())) or text


def fraction(key: str) -> float:
    """A fixed number in [0, 1) for a key: its SHA-256, not Python's hash, which differs from run to run."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def side(key: str) -> str:
    """The side of everything that shares this key: 8 in 10 keys train, 1 validation, 1 test."""
    u = fraction(key)
    return "test" if u < 0.1 else "validation" if u < 0.2 else "train"


def strictest(placed: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The one side of each normalised text, from (text, side) pairs: test before validation before train."""
    sides: dict[str, str] = {}
    for text, where in placed:
        key = normalised(text)
        sides[key] = max(sides.get(key, "train"), where, key=SIDES.index)
    return sides


def divide(placed: Iterable[tuple[tuple, str]], sides: dict[str, str] | None = None) -> Sides:
    """The sides of (row, side) pairs, a row being (text, …), each in the fixed order of its texts' hashes.

    Groups can share a sentence: a copy that stands on a laxer side than its strictest one (by `sides`, or by
    these rows) is left out.
    """
    placed = list(placed)
    sides = strictest((row[0], where) for row, where in placed) if sides is None else sides
    kept = [(row, where) for row, where in placed if sides[normalised(row[0])] == where]
    kept.sort(key=lambda pair: fraction(pair[0][0]))
    return Sides(*([row for row, where in kept if where == chosen] for chosen in SIDES))
