"""Two graders and our own give the same: all points to the solution, none to the blank notebook, its half to a half."""

import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from classroom import PATCHED, ROOT, SMALL, course, extra, notebook

from lorakit.course import read, solution, student
from lorakit.course.judging import Judge
from lorakit.course.marking import mark
from lorakit.course.running import Limits
from lorakit.course.submissions import merge
from lorakit.course.writing import INSTRUCTOR

pytest.importorskip("nbgrader", reason="the graders have a virtual environment of their own: make test-grading")
pytestmark = pytest.mark.grading

HALF = notebook(delta='def delta(A, B, alpha):\n    raise NotImplementedError("delta")')
WRONG = notebook("def scale(alpha, rank):\n    return alpha", "def delta(A, B, alpha):\n    return B @ A")
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


@pytest.fixture(scope="module")
def otters(tmp_path_factory):
    """The zip of the small assignment, tried."""
    from lorakit.course import gradescope

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "course")]))
        yield gradescope.pack(SMALL, tmp_path_factory.mktemp("otter"))


def test_otter_s_zip_gives_the_same(otters):
    from lorakit.course import gradescope

    assert repr(otters).endswith("/gradescope/0_small.zip: solution 7, blank 0, of 7)")
    assert gradescope.points(HALF, otters.path) == (3.0, 7.0)


class Bomb:
    """Where otter unpickles a log that was handed in, or a submission's own results, this runs in otter."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


FORGED = """
from otter.test_files import test_case
OK_FORMAT, name, points = False, "scale", 1000
@test_case(points=1000, hidden=False)
def test_scale(): pass
"""


def test_whatever_is_uploaded_with_it_or_patched_in_it_raises_nothing(otters, tmp_path):
    """otter's own files among the upload, and a notebook that writes its own results where otter looks for them."""
    from otter.api import grade_submission
    from otter.check.notebook import OTTER_LOG_FILENAME

    exploded = tmp_path / "exploded"
    patched = extra(f"{PATCHED}\nimport otter.execute\notter.execute.Checker.get_results = lambda *a: []", WRONG)
    upload = {"hers.ipynb": json.dumps(patched), OTTER_LOG_FILENAME: pickle.dumps(Bomb(exploded))}
    upload |= dict.fromkeys(("otter.py", "__init__.py", "lorakit/__init__.py"), f"open({str(exploded)!r}, 'w')")
    upload |= {"tests/scale.py": FORGED, "tests/more.py": FORGED, "verdicts.json": '{"scale-check": [true, ""]}'}
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as file:
        for name, text in upload.items():
            file.writestr(name, text)
    results = grade_submission(str(tmp_path / "upload.zip"), str(otters.path))
    assert (results.total, results.possible) == (0.0, 7.0)
    assert not exploded.exists()
    said = " ".join(str(one.to_dict()) for one in results.results.values())
    assert "did you use α instead of α/r?" in said


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
