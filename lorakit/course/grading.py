"""A class, graded: the reference first, then every submission that is new or changed, one after another.

    submissions/  ──▶  grades/1_derive/grades.csv · class.html · feedback/ada.html · records/ada.json · nbgrader/

The reference solution goes the same way as every submission, and nothing is graded unless it has full marks: a grader
without NumPy once gave a whole class 0. A submission's record stands when it is done, so a run that was stopped goes on
where it was; one that stopped the run twice is left out, and said.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

import lorakit
from lorakit.course.consulting import Judge
from lorakit.course.gradebook import Gradebook
from lorakit.course.marking import Marking, mark
from lorakit.course.records import Class, Record, Trying, done, keep, kept
from lorakit.course.running import Limits
from lorakit.course.source import Source
from lorakit.course.submissions import Submission, collect, merge, which

MOST_TRIES = 2  # of a submission during which the grader itself ended


@dataclass(frozen=True)
class Settings:
    """How a class is graded: the limits of a cell, what no submission may read, whether to grade again what is done."""

    limits: Limits = field(default_factory=Limits)
    secret: tuple[Path, ...] = ()
    pictures: Path | None = None
    again: bool = False


def grade(submissions: Path, sources: Sequence[Source], grades: Path, settings: Settings, wanted: str = "") -> Class:
    """Grade a folder of submissions. RuntimeError where the reference has not full marks, ValueError for no folder.

    `wanted` names the assignment; without it, it is the one that most submissions are of.
    """
    found = collect(submissions, sources)
    source = _wanted(found, sources, wanted)
    folder = grades / source.name
    (folder / "records").mkdir(parents=True, exist_ok=True)
    settings = replace(settings, secret=tuple(p.resolve() for p in (*settings.secret, submissions, grades)))
    book, base = Gradebook(folder / "nbgrader", source, settings.pictures), fingerprint(source, settings.limits)
    with Judge() as judge:
        if settings.again or not done(folder, "reference", base):
            book.prepare()
            _refer(source, judge, settings)
            (folder / "reference.json").write_text(json.dumps({"key": base}), encoding="utf-8")
        records, fresh = [], 0
        for one in tqdm(found, desc=source.name, unit="submission"):
            key = hashlib.sha256(base.encode() + one.content + one.problem.encode()).hexdigest()
            record = None if settings.again else kept(folder, one.student, key)
            if record is None:
                record, fresh = _graded(one, key, source, sources, judge, settings, book, folder), fresh + 1
                tqdm.write(f"{one.student}: {'; '.join([record.problem, *record.remarks]).strip('; ')}".rstrip(": "))
            records.append(replace(record, manual=_manual(book, record, source)))
    return Class(source, tuple(records), fresh, folder)


def fingerprint(source: Source, limits: Limits) -> str:
    """What a mark depends on, the submission aside: the assignment, lorakit as it is, the limits."""
    package = Path(lorakit.__file__).parent
    files = [path.read_bytes() for path in sorted(package.rglob("*.py"))]
    return hashlib.sha256(b"\0".join([repr(source.cells).encode(), repr(limits).encode(), *files])).hexdigest()


def _wanted(found: Sequence[Submission], sources: Sequence[Source], wanted: str) -> Source:
    named = {source.name: source for source in sources}
    if wanted and wanted not in named:
        raise ValueError(f"no assignment {wanted!r}; there are {', '.join(named)}")
    kinds = Counter(source.name for one in found if (source := which(one, sources)))
    if not wanted and not kinds:
        raise ValueError(f"none of {len(found)} submissions is of any assignment: {found[0].problem or found[0].path}")
    return named[wanted or kinds.most_common(1)[0][0]]


def _refer(source: Source, judge: Judge, settings: Settings) -> None:
    """RuntimeError unless the reference solution has full marks, and there is nothing to say of it."""
    cells = tuple(replace(cell, text=cell.solved()) for cell in source.cells)
    marking = mark(source, cells, judge, settings.limits, settings.secret)
    failed = [f"{mark.id}: {mark.said}" for mark in marking.marks if mark.earned < mark.points]
    if failed or marking.remarks:
        lines = "\n".join([*failed, *marking.remarks])
        raise RuntimeError(
            f"the reference solution of {source.name} has not full marks, so nothing was graded:\n{lines}"
        )


def _graded(
    one: Submission,
    key: str,
    source: Source,
    sources: Sequence[Source],
    judge: Judge,
    settings: Settings,
    book: Gradebook,
    folder: Path,
) -> Record:
    record = Record(one.student, one.path.name, key, remarks=one.remarks, problem=_problem(one, source, sources))
    with Trying(folder, one.student, key) as tries:
        if tries > MOST_TRIES:
            record = replace(record, problem=f"it ended the grader itself, {MOST_TRIES} times: look at it by hand")
        if not record.problem:
            merged = merge(source, one.cells)
            marking = mark(source, merged.cells, judge, settings.limits, settings.secret)
            book.record(one.student, merged.cells, marking)
            record = replace(
                record,
                marks=marking.marks,
                remarks=(*one.remarks, *merged.remarks, *marking.remarks),
                answers={c.exercise: c.text for c in merged.cells if c.kind in ("answer", "manual")},
                printed=_printed(merged.cells, marking),
            )
        keep(folder, record)
    return record


def _problem(one: Submission, source: Source, sources: Sequence[Source]) -> str:
    """Why a submission cannot be graded, or nothing."""
    if one.problem:
        return one.problem
    other = which(one, sources)
    if other is None:
        return f"{one.path.name} holds no cell of {source.name}"
    return "" if other.name == source.name else f"{one.path.name} is the assignment {other.name}, not {source.name}"


def _printed(cells: Sequence[Any], marking: Marking) -> dict[str, str]:
    """What the answers' cells showed, by exercise."""
    texts: dict[str, str] = {}
    for cell in cells:
        if cell.kind == "answer":
            for output in marking.outputs.get(cell.id, []):
                said = output.get("text") or f"{output.get('ename')}: {output.get('evalue')}\n"
                texts[cell.exercise] = texts.get(cell.exercise, "") + said
    return texts


def _manual(book: Gradebook, record: Record, source: Source) -> dict[str, float | None]:
    """The points that a person gives, by exercise; None: not yet."""
    if record.problem or not source.of("manual"):
        return {}
    scores = book.scores(record.student)
    return {cell.exercise: scores.get(cell.id) for cell in source.of("manual")}
