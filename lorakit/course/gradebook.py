"""The marks in nbgrader's gradebook, where a person adds those that only a person can give.

    generate_assignment   source/  →  release/                          once a source
    autograde             submitted/  →  autograded/, gradebook.db      a submission that was marked

nbgrader's own steps are used, but for the one that runs the notebook: that is `marking`'s, whose verdicts stand in the
check cells as nbgrader expects them, an error where a check failed. Manual marks are given in nbgrader's Formgrader.
Where a submission is marked anew, they stay with a text that is what it was, and go where it is another.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lorakit.course import submissions
from lorakit.course.marking import Marking
from lorakit.course.outputs import nbgrader
from lorakit.course.source import Cell, Source
from lorakit.course.writing import text

SETTINGS = """# nbgrader's own configuration of this folder: `jupyter lab` started here has Formgrader, to mark by hand.
c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.db_url = {database!r}
c.OverwriteCells.add_missing_cells = True  # the student's copy has no hidden check
"""


KEPT = "the text {exercise!r} is what it was when it was marked: its points stay, {points:g}"
DROPPED = "the text {exercise!r} is another than was marked: it had {points:g} points, and waits for new ones"


class Given(NamedTuple):
    """What a person gave: for this text, so many points, of so many."""

    text: str
    points: float
    most: float


class Gradebook:
    """A folder that nbgrader understands, for one assignment."""

    def __init__(self, folder: Path, source: Source, pictures: Path | None = None) -> None:
        self.folder, self.source, self.pictures = folder.resolve(), source, pictures
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = f"sqlite:///{self.folder / 'gradebook.db'}"
        settings = SETTINGS.format(root=str(self.folder), database=self.database)
        own = str(Path(sys.executable).parent)  # nbgrader calls alembic by its bare name
        if own not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", "")])
        (self.folder / "nbgrader_config.py").write_text(settings, encoding="utf-8")

    def prepare(self) -> None:
        """Tell nbgrader what the assignment is. RuntimeError, with its log, where it refuses."""
        from nbgrader.converters import GenerateAssignment

        self._write("source", ".", text(nbgrader(self.source, self.pictures)))
        self._convert(GenerateAssignment, ".", force=True)

    def record(self, student: str, cells: Sequence[Cell], marking: Marking) -> tuple[str, ...]:
        """Put a submission and its marks into the gradebook; what became of points that a person had given.

        RuntimeError, with nbgrader's log, where it refuses.
        """
        from nbgrader.converters import Autograde
        from nbgrader.preprocessors import Execute, IgnorePattern

        given = self._given(student)
        self._write("submitted", student, text(executed(self.source, cells, marking)))
        steps = [step for step in Autograde.autograde_preprocessors.default() if step not in (Execute, IgnorePattern)]
        kept = [step for step in Autograde.sanitize_preprocessors.default() if step.__name__ != "ClearOutput"]
        self._convert(Autograde, student, autograde_preprocessors=steps, sanitize_preprocessors=kept, force=True)
        return self._taken_over(student, cells, given)

    def _given(self, student: str) -> dict[str, Given]:
        """The points that a person has given, by cell, with the text that they are for."""
        marked = self.folder / "autograded" / student / self.source.name / f"{self.source.name}.ipynb"
        if not marked.exists():
            return {}
        read = json.loads(marked.read_text(encoding="utf-8"))["cells"]
        texts = {submissions.name(cell): submissions.text(cell) for cell in read}
        with self._grades(student) as grades:
            return {
                grade.name: Given(texts.get(grade.name, ""), grade.manual_score, grade.max_score)
                for grade in grades
                if grade.manual_score is not None and not grade.needs_manual_grade
            }

    def _taken_over(self, student: str, cells: Sequence[Cell], given: dict[str, Given]) -> tuple[str, ...]:
        now, said = {cell.id: cell for cell in cells}, []
        with self._grades(student) as grades:
            for grade in grades:
                if (before := given.get(grade.name)) is None:
                    continue
                cell = now[grade.name]
                same = (_readable(cell), grade.max_score) == (before.text, before.most)
                grade.manual_score, grade.needs_manual_grade = before.points if same else None, not same
                said.append((KEPT if same else DROPPED).format(exercise=cell.exercise, points=before.points))
        return tuple(said)

    @contextlib.contextmanager
    def _grades(self, student: str) -> Iterator[list[Any]]:
        """What nbgrader keeps of each cell of a submission; nothing of one that it does not know."""
        from nbgrader.api import Gradebook as Book
        from nbgrader.api import MissingEntry

        with Book(self.database) as book:
            try:
                grades = book.find_submission_notebook(self.source.name, self.source.name, student).grades
            except MissingEntry:
                grades = []
            yield grades
            book.db.commit()

    def scores(self, student: str) -> dict[str, float | None]:
        """The points of each cell that has some; None where a person has not given them yet."""
        with self._grades(student) as grades:
            return {grade.name: None if grade.needs_manual_grade else grade.score for grade in grades}

    def _write(self, step: str, student: str, content: str) -> None:
        folder = self.folder / step / student / self.source.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / f"{self.source.name}.ipynb").write_text(content, encoding="utf-8")

    def _convert(self, step: Any, student: str, **options: Any) -> None:
        from nbgrader.coursedir import CourseDirectory
        from traitlets.config import Config

        where = {
            "root": str(self.folder),
            "db_url": self.database,
            "assignment_id": self.source.name,
            "student_id": student,
        }
        config = Config({"CourseDirectory": where, "OverwriteCells": {"add_missing_cells": True}})
        with _log() as said, warnings.catch_warnings():
            # nbgrader reads from the database between making a submission and adding it, which is in order
            warnings.filterwarnings("ignore", "Object of type <Submitted.* not in session")
            converter = step(coursedir=CourseDirectory(config=config), config=config, **options)
            converter.log = logging.getLogger("lorakit.course.nbgrader")
            try:
                converter.start()
            except Exception as error:
                raise RuntimeError(f"nbgrader: {error}\n" + "\n".join(said)) from error
            except SystemExit as error:
                raise RuntimeError("nbgrader stopped\n" + "\n".join(said)) from error


def executed(source: Source, cells: Sequence[Cell], marking: Marking) -> dict[str, Any]:
    """A submission's notebook after it ran: nbgrader's own cells, the student's answers, the verdicts as outputs."""
    marks = {mark.id: mark for mark in marking.marks}
    own = {cell["id"]: cell for cell in nbgrader(source)["cells"]}
    shown = []
    for cell in cells:
        kept = own.get(cell.id, {"cell_type": "markdown" if cell.markdown else "code", "id": cell.id, "metadata": {}})
        written = cell.kind in ("answer", "manual") or cell.id not in own
        shown.append({**kept, "source": _readable(cell)} if written else kept)
        if not cell.markdown:
            verdict = [_verdict(marks[cell.id])] if cell.id in marks else []
            shown[-1] |= {"execution_count": None, "outputs": [*marking.outputs.get(cell.id, []), *verdict]}
    return {**nbgrader(source), "cells": shown}


def _readable(cell: Cell) -> str:
    """A cell as Formgrader may show it, which renders HTML and links where the lecturer is logged in to give marks."""
    if not cell.markdown:
        return cell.text
    return re.sub(r"<(?=[a-zA-Z/!?])|\](?=[(:\[])", lambda found: found[0] + " ", cell.text)


def _verdict(mark: Any) -> dict[str, Any]:
    if mark.earned:
        return {"output_type": "stream", "name": "stdout", "text": mark.said + "\n"}
    return {"output_type": "error", "ename": "CheckFailed", "evalue": mark.said, "traceback": mark.said.split("\n")}


@contextlib.contextmanager
def _log() -> Iterator[list[str]]:
    """What nbgrader says, kept instead of shown."""
    logger, said = logging.getLogger("lorakit.course.nbgrader"), []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    keep = Keep()
    logger.addHandler(keep)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(keep)
