"""A class of thirty, graded in one run: each has the marks that are due, is told why, and nothing is lost or harmed."""

import csv
import hashlib
import html
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from classroom import course, fill, moved, notebook

pytest.importorskip("nbgrader", reason="the graders have a virtual environment of their own: make test-grading")
pytestmark = pytest.mark.grading

HERE = Path(__file__).parent
SECONDS = 8


def grade(where, *options):
    own = ["--instructor", where.instructor, "--build", where.build, "--grades", where.grades]
    limits = ["--seconds", SECONDS, "--memory", 3]
    return course("lorakit.course", "grade", where.submissions, *own, *limits, *options)


def table(where):
    with open(where.grades / "0_small" / "grades.csv", newline="", encoding="utf-8-sig") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def places(folder):
    """A lecturer's folders, with the small assignment and another one in them."""
    where = {name: folder / name for name in ("submissions", "instructor", "build", "grades")}
    where["instructor"].mkdir(parents=True)
    shutil.copy(HERE / "instructor" / "0_small.py", where["instructor"])
    other = '# %% id="far" kind="answer" exercise="far"\n# BEGIN SOLUTION\nfar = 1\n# END SOLUTION\n\n'
    other += '# %% id="far-check" kind="check" exercise="far" points="1"\nfar'
    (where["instructor"] / "9_other.py").write_text(other)
    return SimpleNamespace(**where)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The class after one run, and what the run said."""
    where = places(tmp_path_factory.mktemp("class"))
    where.handed_in = fill(where.submissions, where.grades)
    where.before = digests(where.submissions)
    where.run = grade(where)
    assert where.run.returncode == 0, where.run.stderr
    return where


def test_there_are_thirty(room):
    assert len(room.handed_in) >= 30
    assert table(room).keys() == {one.name for one in room.handed_in}


def test_each_has_the_marks_that_are_due_and_no_other(room):
    due = {one.name: one.points for one in room.handed_in}
    assert {name: float(row["points"]) for name, row in table(room).items()} == due


def test_what_was_tried_is_said_by_name(room):
    rows, told = table(room), {one.name: one.told for one in room.handed_in if one.told}
    assert {name: rows[name]["remarks"] for name, words in told.items() if words not in rows[name]["remarks"]} == {}
    honest = ("ada", "bea", "cem", "dan", "eva", "fay", "gil", "hal", "ida", "jan")
    assert {name: rows[name]["remarks"] for name in honest if rows[name]["remarks"]} == {}


def test_nobody_s_file_was_touched_and_nothing_was_left_behind(room):
    assert digests(room.submissions) == room.before
    assert [*room.grades.rglob("stolen*"), *Path("/tmp").glob("stolen*"), *HERE.parents[1].glob("stolen*")] == []


def test_everyone_gets_a_page_that_says_why(room):
    pages = {path.stem: path.read_text() for path in (room.grades / "0_small" / "feedback").glob("*.html")}
    assert pages.keys() == {one.name for one in room.handed_in}
    assert "did you use α instead of α/r?" in pages["fay"]
    assert "not written yet" in pages["eva"]
    assert "work on a copy" in pages["hal"]
    assert "is cut off" in pages["cuts"]
    assert "did not end within 8 seconds" in pages["deaf"]
    assert "http" not in "".join(re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL) for page in pages.values())


def test_no_page_shows_a_solution_or_another_s_answer(room):
    pages = sorted((room.grades / "0_small" / "feedback").glob("*.html"))
    assert pages
    for path in pages:
        assert "product = B @ A" not in path.read_text(), path.name
        assert "So that ΔW is zero" not in path.read_text(), path.name


def test_the_class_is_one_picture_that_needs_no_network(room):
    page = (room.grades / "0_small" / "class.html").read_text()
    assert "Marks by exercise" in page
    assert "did you use α instead of α/r?" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)


def test_a_second_run_grades_what_changed_and_takes_marks_given_by_hand(room):
    from nbgrader.api import Gradebook

    assert "0 graded now" in grade(room).stdout
    moved("zoe")(room.submissions)
    (room.submissions / "fay" / "0_small.ipynb").write_text(json.dumps(notebook()))
    with Gradebook(f"sqlite:///{room.grades}/0_small/nbgrader/gradebook.db") as book:
        found = book.find_grade("why", "0_small", "0_small", "ada")
        assert found.needs_manual_grade
        found.manual_score, found.needs_manual_grade = 2.5, False
        book.db.commit()
    again = grade(room)
    assert "2 graded now" in again.stdout, again.stdout + again.stderr
    rows = table(room)
    assert [float(rows[name]["points"]) for name in ("zoe", "fay", "ada")] == [7, 7, 9.5]
    assert [rows[name]["to mark by hand"] for name in ("fay", "ada")] == ["why", ""]
    other = notebook("def scale(alpha, rank):\n    return alpha * (1 / rank)")
    (room.submissions / "ada" / "0_small.ipynb").write_text(json.dumps(other))
    third = grade(room)
    assert "1 graded now" in third.stdout, third.stdout + third.stderr
    assert "Warning" not in room.run.stderr + again.stderr + third.stderr
    assert float(table(room)["ada"]["points"]) == 9.5
    said = "the text 'why' is what it was when it was marked: its points stay, 2.5"
    assert table(room)["ada"]["remarks"] == said
    assert html.escape(said) in (room.grades / "0_small" / "feedback" / "ada.html").read_text()


def test_nothing_is_graded_unless_the_reference_has_full_marks(tmp_path):
    where = places(tmp_path)
    path = where.instructor / "0_small.py"
    path.write_text(path.read_text().replace("return alpha / rank", "return alpha"))
    where.submissions.mkdir()
    moved("ada")(where.submissions)
    run = grade(where)
    assert run.returncode == 1
    assert "the reference solution of 0_small has not full marks, so nothing was graded" in run.stderr
    assert "scale-check: ✗ scale, case 1" in run.stderr
    assert not (where.grades / "0_small" / "grades.csv").exists()
