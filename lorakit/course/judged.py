"""On Gradescope, too, the judge decides: an otter plugin, which runs where otter does and not where a submission does.

    before_grading      of what was uploaded, the notebook stays: no log to unpickle, no module to import by mistake
    before_execution    the notebook is marked as `make grade` marks it; otter gets an empty one to run in its place
    tell("scale-check") the whole of a test in the zip: the judge's verdict, printed, or raised as an AssertionError

Left alone, otter runs a submission and its tests in one process, which then writes down its own points.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorakit.course.source import Cell, Source

ASSIGNMENT = "assignment.json"  # in the zip, and so in ../source/files from where otter has the submission
VERDICTS = "verdicts.json"


def packed(source: Source) -> str:
    """An assignment as the zip carries it."""
    return json.dumps({"name": source.name, "cells": [asdict(cell) for cell in source.cells]}, ensure_ascii=False)


def unpacked(text: str) -> Source:
    """The assignment in a zip."""
    read = json.loads(text)
    return Source(read["name"], tuple(Cell(**cell) for cell in read["cells"]))


class Judged:
    """The plugin. Otter makes it for a submission, and calls it in the folder of what was uploaded."""

    def __init__(self, submission_path: str, submission_metadata: dict[str, Any], plugin_config: Any) -> None:
        self.path = Path(submission_path)
        self.remarks: tuple[str, ...] = ()

    def before_grading(self, config: Any) -> None:
        """Leave the notebook and the tests of the zip, and nothing else of the upload."""
        if self.path.is_symlink():
            raise ValueError(f"{self.path.name} is no file: a link")
        for entry in Path().iterdir():
            if entry.name != self.path.name:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        shutil.copytree("../source/tests", "tests")

    def before_execution(self, notebook: Any) -> Any:
        """Mark the notebook, write the verdicts down, and give otter one without a cell."""
        from lorakit.course.judging import Judge
        from lorakit.course.marking import mark
        from lorakit.course.running import Limits
        from lorakit.course.submissions import merge

        source = unpacked(Path(f"../source/files/{ASSIGNMENT}").read_text(encoding="utf-8"))
        merged = merge(source, notebook["cells"])
        with Judge() as judge:
            marking = mark(source, merged.cells, judge, Limits(), [Path(os.pardir).resolve()])
        self.remarks = (*merged.remarks, *marking.remarks)
        verdicts = {mark.id: [mark.earned == mark.points, mark.said] for mark in marking.marks}
        Path(VERDICTS).write_text(json.dumps(verdicts), encoding="utf-8")
        notebook["cells"] = []
        return notebook

    def generate_report(self) -> str:
        """What was noticed, for the lecturer."""
        return "\n".join(self.remarks)


def tell(check: str) -> None:
    """What the judge said of a check. AssertionError where it did not pass."""
    passed, said = json.loads(Path(VERDICTS).read_text(encoding="utf-8"))[check]
    if not passed:
        raise AssertionError(said)
    print(said)
