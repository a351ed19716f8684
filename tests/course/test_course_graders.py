"""Two graders and our own give the same: all points to the solution, none to the blank notebook, its half to a half."""

import json
import os
from dataclasses import replace

import pytest
from classroom import ROOT, SMALL, course, notebook

from lorakit.course import read, solution, student
from lorakit.course.judging import Judge
from lorakit.course.marking import mark
from lorakit.course.running import Limits
from lorakit.course.submissions import merge
from lorakit.course.writing import INSTRUCTOR

pytest.importorskip("nbgrader", reason="the graders have a virtual environment of their own: make test-grading")
pytestmark = pytest.mark.grading

HALF = notebook(delta='def delta(A, B, alpha):\n    raise NotImplementedError("delta")')
THREE = {"full": (solution(SMALL), 7.0), "blank": (student(SMALL), 0.0), "half": (HALF, 3.0)}


def test_nbgrader_s_own_autograde_gives_the_same(tmp_path):
    from nbgrader.api import Gradebook as Book

    from lorakit.course.gradebook import Gradebook

    book = Gradebook(tmp_path, SMALL)
    book.prepare()
    for name, (made, _) in THREE.items():
        book._write("submitted", name, json.dumps(made))
    run = course("nbgrader", "autograde", "0_small", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    with Book(book.database) as marks:
        found = {name: marks.find_submission("0_small", name).score for name in THREE}
    assert found == {name: points for name, (_, points) in THREE.items()}


def test_otter_s_zip_gives_the_same(tmp_path, monkeypatch):
    from lorakit.course import gradescope

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "course")]))
    made = gradescope.pack(SMALL, tmp_path)
    assert repr(made) == f"Zip({tmp_path}/gradescope/0_small.zip: solution 7, blank 0, of 7)"
    assert gradescope.points(HALF, made.path) == (3.0, 7.0)


QUICK = ("1_derive", "3_inside_delta_w", "4_intrinsic_rank")


@pytest.fixture(scope="module")
def judge():
    with Judge() as one:
        yield one


@pytest.mark.parametrize("name", QUICK)
def test_a_real_assignment_s_solution_has_full_marks(judge, name):
    source = read(ROOT / INSTRUCTOR / f"{name}.py")
    cells = tuple(replace(cell, text=cell.solved()) for cell in source.cells)
    marking = mark(source, cells, judge, Limits(), [ROOT / INSTRUCTOR])
    assert [(one.id, one.said) for one in marking.marks if one.earned < one.points] == []
    assert marking.remarks == ()


def test_a_real_assignment_as_it_is_handed_out_has_none(judge):
    source = read(ROOT / INSTRUCTOR / "1_derive.py")
    cells = merge(source, student(source, ROOT / INSTRUCTOR / "images")["cells"]).cells
    marking = mark(source, cells, judge, Limits(), [ROOT / INSTRUCTOR])
    assert (marking.earned, marking.remarks) == (0.0, ())
    assert all(one.diagnosis.startswith("not written yet") for one in marking.marks)
