"""Four notebooks from one source: the student's, its solution, nbgrader's and otter's.

    student    no hidden cell, no solution: `raise NotImplementedError("scale")` stands where one was
    solution   everything, solved
    nbgrader   everything, solved, in the marks of `nbgrader generate_assignment`
    otter      everything, solved, in the raw cells of `otter assign`

Each is the notebook as JSON would have it: a dict, without outputs. The student's copy carries nbgrader's metadata,
for those outlive an editor that renames cells (Colab does); a check cell says that it is not to be edited.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from textwrap import indent
from typing import Any

from lorakit.course.source import Cell, Source

ANSWER_HERE = "*Your answer here.*"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PICTURE = re.compile(r"!\[[^\]]*\]\(attachment:([\w.-]+)\)")
Notebook = dict[str, Any]


def student(source: Source, pictures: Path | None = None) -> Notebook:
    """What is handed out. `pictures` holds the files of `![…](attachment:name.png)`; by default, the source's own."""
    cells = [cell for cell in source.cells if cell.kind != "hidden"]
    return _notebook([_shown(cell, _stubbed(cell), pictures or source.pictures, **_marks(cell)) for cell in cells])


def solution(source: Source, pictures: Path | None = None) -> Notebook:
    """The reference: what full marks look like."""
    return _notebook(
        [_shown(cell, cell.solved(), pictures or source.pictures, **_marks(cell)) for cell in source.cells]
    )


def nbgrader(source: Source, pictures: Path | None = None) -> Notebook:
    """What `nbgrader generate_assignment` reads."""
    return _notebook(
        [_shown(cell, _delimited(cell), pictures or source.pictures, **_marks(cell)) for cell in source.cells]
    )


def otter(source: Source, pictures: Path | None = None, **settings: Any) -> Notebook:
    """What `otter assign` reads: a question for every exercise with a check. `settings` join its configuration.

    A manual cell is an ordinary one here: a person marks it in Gradescope, under its own title.
    """
    plain = {"init_cell": False, "check_all_cell": False, "export_cell": False}
    judged = {"plugins": ["lorakit.course.judged.Judged"], "autograder_files": ["assignment.json"]}
    config = {**plain, **judged, "tests": {"files": True, "ok_format": False}, **settings}
    asked = {cell.exercise: cell for cell in source.of("answer") if source.points(cell.exercise, "check", "hidden")}
    cells = [_raw("assignment", f"# ASSIGNMENT CONFIG\n{json.dumps(config)}")]
    for cell in source.cells:
        if cell is asked.get(cell.exercise):  # the last answer cell of its exercise
            cells += _question(source, cell)
        elif cell.kind not in ("check", "hidden"):
            cells.append(_shown(cell, cell.solved(), pictures or source.pictures))
    return _notebook(cells)


def _question(source: Source, answer: Cell) -> list[Notebook]:
    """An exercise between the raw cells by which otter knows its solution and its tests."""
    name, solved = answer.exercise, f"# BEGIN SOLUTION NO PROMPT\n{answer.solved()}\n# END SOLUTION"
    tests = [_test(source, cell) for cell in source.of("check", "hidden") if cell.exercise == name]
    return [
        _raw(f"{name}-begin", f"# BEGIN QUESTION\n{json.dumps({'name': name})}"),
        _raw(f"{name}-begin-solution", "# BEGIN SOLUTION"),
        _shown(answer, solved, None),
        _raw(f"{name}-end-solution", "# END SOLUTION"),
        _raw(f"{name}-begin-tests", "# BEGIN TESTS"),
        *tests,
        _raw(f"{name}-end-tests", "# END TESTS"),
        _raw(f"{name}-end", "# END QUESTION"),
    ]


def _test(source: Source, cell: Cell) -> Notebook:
    """A check as a test of otter's: it tells what the judge found, who had the submission before."""
    source.check(cell)  # ValueError where it could not be run
    config = json.dumps({"points": cell.points, "hidden": cell.kind == "hidden"})
    head = f'""" # BEGIN TEST CONFIG\n{config}\n""" # END TEST CONFIG'
    body = f"from lorakit.course.judged import tell\ntell({json.dumps(cell.id)})"
    return _shown(cell, f"{head}\ndef test_{cell.id.replace('-', '_')}():\n{indent(body, '    ')}", None)


def _stubbed(cell: Cell) -> str:
    if cell.kind not in ("answer", "manual"):
        return cell.text
    return cell.stubbed(ANSWER_HERE if cell.markdown else f'raise NotImplementedError("{cell.exercise}")')


def _delimited(cell: Cell) -> str:
    """A cell between nbgrader's own comments."""
    if cell.kind == "hidden":
        return f"### BEGIN HIDDEN TESTS\n{cell.text}\n### END HIDDEN TESTS"
    return re.sub(
        r"^( *)(?:# (BEGIN|END) SOLUTION|<!-- (BEGIN|END) SOLUTION -->) *$", _nbgraders, cell.text, flags=re.M
    )


def _nbgraders(found: re.Match) -> str:
    return f"{found[1]}### {found[2] or found[3]} SOLUTION"


def _marks(cell: Cell) -> dict[str, Any]:
    """nbgrader's metadata of a cell that has a kind; a check is not to be edited or deleted."""
    if not cell.kind:
        return {}
    graded, written = cell.kind != "answer", cell.kind in ("answer", "manual")
    marks = {"grade": graded, "grade_id": cell.id, "locked": not written, "schema_version": 3}
    marks |= {"solution": written, "task": False, "cell_type": "markdown" if cell.markdown else "code"}
    marks |= {"points": cell.points} if graded else {}
    return {"nbgrader": marks} | ({} if written else {"deletable": False, "editable": False})


def _shown(cell: Cell, text: str, pictures: Path | None, **metadata: Any) -> Notebook:
    kind = "markdown" if cell.markdown else "code"
    shown = {"cell_type": kind, "id": cell.id, "metadata": metadata, "source": text.splitlines(keepends=True)}
    if not cell.markdown:
        return shown | {"execution_count": None, "outputs": []}
    names = PICTURE.findall(text)
    return shown | ({"attachments": {name: _picture(name, pictures) for name in names}} if names else {})


def _picture(name: str, folder: Path | None) -> dict[str, str]:
    file = None if folder is None else folder / name
    if file is None or not file.is_file():
        raise ValueError(f"the picture {name!r} is not in {folder}")
    return {"image/png": base64.b64encode(file.read_bytes()).decode()}


def _raw(name: str, text: str) -> Notebook:
    return {"cell_type": "raw", "id": name, "metadata": {}, "source": text.splitlines(keepends=True)}


def _notebook(cells: list[Notebook]) -> Notebook:
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
