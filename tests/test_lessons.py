"""Every lesson runs from top to bottom without a word on stderr, and is committed clean."""

import ast
import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
LONGEST = 12  # lines a cell
lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python(source):
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


@lessons
def test_is_committed_clean(lesson):
    notebook = nbformat.read(lesson, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in code(notebook) if cell.outputs or cell.execution_count] == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert all(re.fullmatch("[a-z][a-z0-9-]*", cell.id) for cell in notebook.cells)


@lessons
def test_keeps_the_rhythm(lesson):
    """At most twelve lines a cell, no definitions, prose before code."""
    notebook = nbformat.read(lesson, as_version=4)
    assert [cell.id for cell in code(notebook) if len(cell.source.splitlines()) > LONGEST] == []
    nodes = [node for cell in code(notebook) for node in ast.walk(ast.parse(python(cell.source)))]
    assert [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)] == []
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert "questions" in notebook.cells[-1].source.lower()


@lessons
def test_shadows_no_module_of_the_standard_library(lesson):
    assert lesson.stem.isidentifier() or lesson.stem[0].isdigit()


@pytest.mark.lessons
@pytest.mark.model
@lessons
def test_runs_from_top_to_bottom(lesson, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TQDM_DISABLE", "0")
    os.symlink(NOTEBOOKS.parent / "data", tmp_path / "data")
    notebook = nbformat.read(lesson, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = [
        (cell.id, output.text)
        for cell in code(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert said == []
    assert json.dumps(notebook)  # what it shows can be stored
