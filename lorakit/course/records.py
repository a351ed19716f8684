"""What is written down of a class: a record a student, so that a stopped run goes on, and the table of marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lorakit.course.marking import Mark
from lorakit.course.source import Source


@dataclass(frozen=True)
class Record:
    """A student's result: marks, what they wrote and what was noticed; `key` says of what, so that it is done once."""

    student: str
    file: str
    key: str
    marks: tuple[Mark, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    problem: str = ""
    manual: dict[str, float | None] = field(default_factory=dict)

    def earned(self, exercise: str | None = None) -> float:
        """Points so far, of one exercise or of all; a cell that nobody has marked yet has none."""
        own = [mark for mark in self.marks if exercise in (None, mark.exercise)]
        by_hand = [score or 0.0 for name, score in self.manual.items() if exercise in (None, name)]
        return sum(mark.earned for mark in own) + sum(by_hand)

    @property
    def said(self) -> str:
        """What the lecturer is told of it, in a line."""
        return "; ".join(filter(None, [self.problem, *self.remarks]))

    def __repr__(self) -> str:
        return f"Record({self.student}: {self.problem or f'{self.earned():g} points'})"


@dataclass(frozen=True)
class Class:
    """What came of a run: every record, and how many of them were graded now."""

    source: Source
    records: tuple[Record, ...]
    fresh: int
    folder: Path

    def __repr__(self) -> str:
        unread = sum(bool(record.problem) for record in self.records)
        counts = f"{len(self.records)} submissions, {self.fresh} graded now, {unread} that cannot be graded"
        return f"Class({self.source.name}: {counts})"


class Trying:
    """Counts how often a submission was begun and not ended: with the count, for as long as it is graded."""

    def __init__(self, folder: Path, student: str, key: str) -> None:
        self.path, self.key = folder / "records" / f"{student}.trying", key

    def __enter__(self) -> int:
        before = self.path.read_text(encoding="utf-8").split() if self.path.exists() else []
        tries = 1 + (int(before[1]) if before[:1] == [self.key] else 0)
        self.path.write_text(f"{self.key} {tries}", encoding="utf-8")
        return tries

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def keep(folder: Path, record: Record) -> None:
    """Write a record down: from here on the submission is graded."""
    path = folder / "records" / f"{record.student}.json"
    path.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def done(folder: Path, name: str, key: str) -> bool:
    """Whether something was done for this very key."""
    path = folder / f"{name}.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8")).get("key") == key


def kept(folder: Path, student: str, key: str) -> Record | None:
    """The record of a submission that was graded as it is now."""
    path = folder / "records" / f"{student}.json"
    if not path.exists():
        return None
    read = json.loads(path.read_text(encoding="utf-8"))
    if read["key"] != key:
        return None
    return Record(**{**read, "marks": tuple(Mark(**mark) for mark in read["marks"]), "remarks": tuple(read["remarks"])})


def rows(graded: Class) -> Iterator[list[str]]:
    """The class as a table: a head, and a line a student."""
    source = graded.source
    yield ["student", "file", "points", "of", "to mark by hand", *source.exercises, "remarks"]
    total = sum(source.points(exercise) for exercise in source.exercises)
    for record in graded.records:
        waiting = [name for name, score in record.manual.items() if score is None]
        points = [f"{record.earned(exercise):g}" for exercise in source.exercises]
        first = [record.student, record.file, f"{record.earned():g}", f"{total:g}", " ".join(waiting)]
        entries = (*first, *points, record.said)
        yield [re.sub(r"^(?=[=+@-])", "'", entry) for entry in entries]  # no formula of a spreadsheet
