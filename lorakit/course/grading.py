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
from lorakit.course import filtering
from lorakit.course.confining import abi
from lorakit.course.gradebook import Gradebook
from lorakit.course.judging import Judge
from lorakit.course.marking import Marking, mark
from lorakit.course.records import Class, Record, Trying, done, keep, kept
from lorakit.course.running import Limits
from lorakit.course.source import Cell, Source
from lorakit.course.submissions import Submission, collect, merge, which

MOST_TRIES = 2  # of a submission during which the grader itself ended
SEPARATE = 6  # the Landlock that keeps files, connections and signals of every program apart
WEAKER = (
    "this system has no Landlock 6 (Linux 6.12): Python code is kept out of other folders here, but another program "
    "that a submission starts is not; grade in a container that holds nothing else"
)
UNFILTERED = (
    "this system filters no system calls for us (Linux 5.5 on x86-64 or ARM): a submission can start as many processes "
    "as the machine bears, and its programs can connect; grade in a container without a network and with --pids-limit"
)


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
    settings = replace(settings, secret=tuple(p.resolve() for p in (*settings.secret, submissions, grades)))
    with Judge() as judge:
        run = Run(source, sources, settings, grades / source.name, judge)
        run.refer()
        records = [run.graded(one) for one in tqdm(found, desc=source.name, unit="submission")]
    return Class(source, tuple(records), run.fresh, run.folder)


class Run:
    """One pass over a class: what is graded, by whom, and where it is written down."""

    def __init__(
        self, source: Source, sources: Sequence[Source], settings: Settings, folder: Path, judge: Judge
    ) -> None:
        self.source, self.sources, self.settings, self.folder, self.judge = source, sources, settings, folder, judge
        (folder / "records").mkdir(parents=True, exist_ok=True)
        self.book = Gradebook(folder / "nbgrader", source, settings.pictures)
        self.base, self.fresh = fingerprint(source, settings.limits), 0
        if abi() < SEPARATE:
            tqdm.write(WEAKER)
        if not filtering.available():
            tqdm.write(UNFILTERED)

    def refer(self) -> None:
        """RuntimeError unless the reference solution has full marks, and there is nothing to say of it."""
        if not self.settings.again and done(self.folder, "reference", self.base):
            return
        self.book.prepare()
        cells = tuple(replace(cell, text=cell.solved()) for cell in self.source.cells)
        marking = self._mark(cells)
        failed = [f"{mark.id}: {mark.said}" for mark in marking.marks if mark.earned < mark.points]
        if failed or marking.remarks:
            name, lines = self.source.name, "\n".join([*failed, *marking.remarks])
            raise RuntimeError(f"the reference solution of {name} has not full marks, so nothing was graded:\n{lines}")
        (self.folder / "reference.json").write_text(json.dumps({"key": self.base}), encoding="utf-8")

    def graded(self, one: Submission) -> Record:
        """The record of a submission: as it was kept, or graded now."""
        key = hashlib.sha256(self.base.encode() + one.content + one.problem.encode(errors="replace")).hexdigest()
        record = None if self.settings.again else kept(self.folder, one.student, key)
        if record is None:
            self.fresh += 1
            record = self._grade(one, key)
            keep(self.folder, record)
            tqdm.write(f"{one.student}: {record.said or f'{record.earned():g} points'}")
        return replace(record, manual=self._manual(record))

    def _grade(self, one: Submission, key: str) -> Record:
        problem = self._problem(one)
        record = Record(one.student, one.path.name, key, remarks=one.remarks, problem=problem)
        with Trying(self.folder, one.student, key) as tries:
            if tries > MOST_TRIES:
                return replace(record, problem=f"it ended the grader itself, {MOST_TRIES} times: look at it by hand")
            if problem:
                return record
            try:
                return self._marked(one, record)
            except Exception as error:  # whatever it is, the others are graded
                said = f"{type(error).__name__}: {str(error)[:300]}"
                return replace(record, problem=f"the grader could not go through with it ({said}): look at it by hand")

    def _marked(self, one: Submission, record: Record) -> Record:
        merged = merge(self.source, one.cells)
        marking = self._mark(merged.cells)
        kept = self.book.record(one.student, merged.cells, marking)
        return replace(
            record,
            marks=marking.marks,
            remarks=(*one.remarks, *merged.remarks, *marking.remarks, *kept),
            answers={c.exercise: c.text for c in merged.cells if c.kind in ("answer", "manual")},
            printed=_printed(merged.cells, marking),
        )

    def _mark(self, cells: Sequence[Cell]) -> Marking:
        return mark(self.source, cells, self.judge, self.settings.limits, self.settings.secret)

    def _problem(self, one: Submission) -> str:
        """Why a submission cannot be graded, or nothing."""
        if one.problem:
            return one.problem
        other = which(one, self.sources)
        if other is None:
            return f"{one.path.name} holds no cell of {self.source.name}"
        same = other.name == self.source.name
        return "" if same else f"{one.path.name} is the assignment {other.name}, not {self.source.name}"

    def _manual(self, record: Record) -> dict[str, float | None]:
        """The points that a person gives, by exercise; None: not yet."""
        if record.problem or not self.source.of("manual"):
            return {}
        scores = self.book.scores(record.student)
        return {cell.exercise: scores.get(cell.id) for cell in self.source.of("manual")}


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


def _printed(cells: Sequence[Any], marking: Marking) -> dict[str, str]:
    """What the answers' cells showed, by exercise."""
    texts: dict[str, str] = {}
    for cell in cells:
        if cell.kind == "answer":
            for output in marking.outputs.get(cell.id, []):
                said = output.get("text") or f"{output.get('ename')}: {output.get('evalue')}\n"
                texts[cell.exercise] = texts.get(cell.exercise, "") + said
    return texts
