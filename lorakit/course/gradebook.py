"""The marks in nbgrader's gradebook, where a person adds those that only a person can give.

    generate_assignment   source/  →  release/                          once a source
    autograde             submitted/  →  autograded/, gradebook.db      a submission that was marked

nbgrader's own steps are used, but for the one that runs the notebook: that is `marking`'s, whose verdicts stand in the
check cells as nbgrader expects them, an error where a check failed. Manual marks are given in nbgrader's Formgrader.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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

    def record(self, student: str, cells: Sequence[Cell], marking: Marking) -> None:
        """Put a submission and its marks into the gradebook. RuntimeError, with nbgrader's log, where it refuses."""
        from nbgrader.converters import Autograde
        from nbgrader.preprocessors import Execute, IgnorePattern

        self._write("submitted", student, text(executed(self.source, cells, marking)))
        steps = [step for step in Autograde.autograde_preprocessors.default() if step not in (Execute, IgnorePattern)]
        kept = [step for step in Autograde.sanitize_preprocessors.default() if step.__name__ != "ClearOutput"]
        self._convert(Autograde, student, autograde_preprocessors=steps, sanitize_preprocessors=kept, force=True)

    def scores(self, student: str) -> dict[str, float | None]:
        """The points of each cell that has some; None where a person has not given them yet."""
        from nbgrader.api import Gradebook as Book
        from nbgrader.api import MissingEntry

        with Book(self.database) as book:
            try:
                grades = book.find_submission_notebook(self.source.name, self.source.name, student).grades
            except MissingEntry:
                return {}
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
        with _log() as said:
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
        shown.append({**kept, "source": cell.text} if written else kept)
        if not cell.markdown:
            verdict = [_verdict(marks[cell.id])] if cell.id in marks else []
            shown[-1] |= {"execution_count": None, "outputs": [*marking.outputs.get(cell.id, []), *verdict]}
    return {**nbgrader(source), "cells": shown}


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
