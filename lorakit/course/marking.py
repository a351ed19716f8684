"""One submission, from its first cell to its last: what ran, what was checked, and the marks.

    cells  ──▶  its own process (`running`)         check cells  ──▶  the judge (`judging`), who calls into that process

A cell that ends the process, or has to be ended, is left out from then on: another process runs the cells before it
again, and the rest of the submission is graded. Only the judge's verdict gives marks.
"""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lorakit.course.filtering import MOST
from lorakit.course.judging import Judge, Verdict
from lorakit.course.running import Limits, Outcome, Process
from lorakit.course.source import Cell, Source

PROBE = "print(__import__('lorakit.course.answering', fromlist=['changed']).changed({packages}))"
WHY = {
    "slow": "it did not end within {seconds:g} seconds",
    "large": "it took more than {memory:.1f} GB of memory",
    "many": f"it started more than {MOST} processes",
    "died": "it ended the process it ran in",
    "lost": "it ended the check: exit()?",
}


@dataclass(frozen=True)
class Mark:
    """What a check gave: the points earned of those it has, what it said, and the likely misconception."""

    id: str
    exercise: str
    points: float
    earned: float
    said: str
    diagnosis: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Marking:
    """A submission marked: a mark for each check, what each cell showed, and what was noticed."""

    marks: tuple[Mark, ...]
    outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def earned(self) -> float:
        """All points."""
        return sum(mark.earned for mark in self.marks)

    def __repr__(self) -> str:
        return f"Marking({self.earned:g} of {sum(mark.points for mark in self.marks):g} points)"


def mark(source: Source, cells: Sequence[Cell], judge: Judge, limits: Limits, secret: Sequence[Path] = ()) -> Marking:
    """Run a submission's cells in order, and have its checks judged where they stand."""
    began = time.monotonic()
    sitting = Sitting(limits, secret)
    marks: list[Mark] = []
    given_up: dict[str, str] = {}  # exercise → why its checks are not tried again
    try:
        for cell in cells:
            if cell.kind in ("check", "hidden"):
                marks.append(_checked(source, cell, judge, sitting, given_up))
            elif not cell.markdown:
                sitting.cell(cell)
        remarks = [*sitting.remarks, *sitting.tampered(source)]
    finally:
        sitting.close()
    return Marking(tuple(marks), sitting.outputs, tuple(dict.fromkeys(remarks)), time.monotonic() - began)


def _checked(source: Source, cell: Cell, judge: Judge, sitting: Sitting, given_up: dict[str, str]) -> Mark:
    names, lines = source.check(cell)
    blank = Mark(cell.id, cell.exercise, cell.points, 0.0, "", hidden=cell.kind == "hidden")
    process = None if cell.exercise in given_up else sitting.process_for(f"check {cell.id}")
    if process is None:
        return replace(blank, said=given_up.get(cell.exercise, sitting.exhausted))
    verdict, outcome = judge.check("\n".join(lines), names, process)
    ended = sitting.after_check(cell, outcome)
    if not ended and verdict.kind == "Lost":
        ended = sitting.why("lost")
        sitting.remarks.append(f"the answer {cell.exercise!r} was stopped in its check: {ended}")
    if ended:
        given_up[cell.exercise] = f"✗ {cell.exercise}: {ended}"
        verdict = Verdict(False, given_up[cell.exercise], ended, "Ended")
    earned = cell.points if verdict.passed else 0.0
    return replace(blank, earned=earned, said=verdict.said, diagnosis=verdict.diagnosis)


class Sitting:
    """A submission's processes, one after another where one was ended, and what its cells showed."""

    MOST_PROCESSES = 8

    def __init__(self, limits: Limits, secret: Sequence[Path]) -> None:
        self.limits, self.secret = limits, secret
        self.process: Process | None = None
        self.done: list[str] = []  # cells to run again in the next process
        self.started = 0
        self.outputs: dict[str, list[dict[str, Any]]] = {}
        self.remarks: list[str] = []
        self.exhausted = "not run: too many cells before it had to be ended"

    def why(self, status: str) -> str:
        """How a cell ended, in words."""
        return WHY[status].format(seconds=self.limits.seconds, memory=self.limits.memory / 2**30)

    def cell(self, cell: Cell) -> None:
        """Run a cell; one that ends the process, or has to be interrupted, is not run again."""
        process = self.process_for(cell.id)
        if process is None:
            self.outputs[cell.id] = [_said(self.exhausted)]
            return
        outcome = process.run(cell.text)
        self.outputs[cell.id] = outcome.outputs
        if outcome.alive:
            self.done.append(cell.text)
            self.remarks += [f"{_called(cell)} raised {error}" for error in _errors(outcome)]
        else:
            self.outputs[cell.id] = [*_streams(outcome), _said(f"stopped: {self.why(outcome.status)}")]
            self.remarks.append(f"{_called(cell)} was stopped: {self.why(outcome.status)}")
        self._look_after()

    def after_check(self, cell: Cell, outcome: Outcome) -> str:
        """Keep what the student's function printed; how it ended the process, if it did."""
        self.outputs[cell.id] = _streams(outcome)
        self._look_after()
        if outcome.alive:
            return ""
        self.remarks.append(f"the answer {cell.exercise!r} was stopped in its check: {self.why(outcome.status)}")
        return self.why(outcome.status)

    def process_for(self, what: str) -> Process | None:
        """The process; a new one in which everything before is run again, where there is none; None: no more."""
        if self.process is not None and not self.process.alive:
            self.remarks.append(f"the process ended before {what}")
            self._drop()
        while self.process is None and self.started < self.MOST_PROCESSES:
            self.started += 1
            self.process = Process(self.limits, self.secret)
            if not self.process.wait_until_ready().alive or not all(self._again(text) for text in self.done):
                self._drop()
        return self.process

    def _again(self, text: str) -> bool:
        assert self.process is not None
        return self.process.run(text).alive

    def _look_after(self) -> None:
        if self.process is not None:
            self.remarks += [f"tried, and was refused: {attempt}" for attempt in self.process.attempts()]
            if not self.process.alive:
                self._drop()

    def tampered(self, source: Source) -> list[str]:
        """What a submission changed in lorakit and in what else the checks use: harmless here, and said."""
        if self.process is None or not self.process.alive:
            return []
        outcome = self.process.run(PROBE.format(packages=sorted(_packages(source))), 30.0)
        printed = "".join(output["text"] for output in _streams(outcome) if output["name"] == "stdout")
        try:
            names = json.loads(printed)
        except ValueError:
            return []
        return [f"changed in its own process, which gives no marks: {', '.join(map(str, names[:5]))}"] if names else []

    def _drop(self) -> None:
        if self.process is not None:
            self.process.close()
        self.process = None

    def close(self) -> None:
        """End what is left."""
        self._drop()


def _packages(source: Source) -> set[str]:
    """The packages that the checks stand on."""
    lines = [line for cell in source.of("check", "hidden") for line in source.check(cell)[1]]
    imports = [node for line in lines for node in ast.parse(line).body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {
        alias.name if isinstance(node, ast.Import) else node.module or "" for node in imports for alias in node.names
    }
    return {name.partition(".")[0] for name in named} | {"lorakit", "torch", "numpy", "builtins"}


def _called(cell: Cell) -> str:
    """A cell as its student knows it."""
    own, added, _ = cell.id.rpartition("-extra-")
    return f"the cell added after {own!r}" if added else f"the cell {cell.id!r}"


def _said(text: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": "Stopped", "evalue": text, "traceback": [text]}


def _errors(outcome: Outcome) -> list[str]:
    """What a cell raised, in a line; an answer that is not written yet is no news."""
    errors = [output for output in outcome.outputs if output["output_type"] == "error"]
    return [f"{e['ename']}: {e['evalue']}"[:200] for e in errors if e["ename"] != "NotImplementedError"]


def _streams(outcome: Outcome) -> list[dict[str, Any]]:
    return [output for output in outcome.outputs if output["output_type"] == "stream"]
