"""Whatever is handed in is read or named, and a submission's checks are the assignment's own."""

import json
import os

import pytest
from classroom import (
    DELTA,
    OTHER,
    SCALE,
    SMALL,
    cell,
    content,
    edited,
    extra,
    moved,
    notebook,
    unchecked,
    without_checks,
)

from lorakit.course.gradebook import executed
from lorakit.course.marking import Marking
from lorakit.course.submissions import collect, merge, name, which

SOURCES = [SMALL, OTHER]
MERGED = ["title", "setup", "scale-say", "scale", "scale-check", "scale-hidden", "delta-say", "delta", "delta-check"]
MERGED += ["delta-hidden", "why"]


def merged(filled):
    return merge(SMALL, filled["cells"])


def texts(filled):
    return {one.id: one.text for one in merged(filled).cells}


def test_answers_are_the_student_s_and_the_rest_is_the_source_s():
    found = merged(notebook())
    assert [one.id for one in found.cells] == MERGED
    assert found.remarks == ()
    assert texts(notebook())["scale"] == SCALE
    assert texts(notebook())["delta"] == DELTA
    assert texts(notebook())["scale-hidden"] == "small.check_scale(scale, seed=4711)"


def test_check_cells_are_restored_and_named():
    found = merged(edited(unchecked))
    assert texts(edited(unchecked))["scale-check"] == "small.check_scale(scale)"
    assert found.remarks == ("check cells were edited: scale-check, delta-check; as handed out, they were run",)
    assert merged(edited(without_checks)).remarks == ("check cells were deleted: scale-check, delta-check",)
    assert [one.id for one in merged(edited(without_checks)).cells] == MERGED


def test_a_hidden_check_cannot_be_handed_in():
    forged = extra("pass", after="scale-check", id="scale-hidden")
    assert texts(forged)["scale-hidden"] == "small.check_scale(scale, seed=4711)"


def test_extra_cells_run_where_they_stood():
    filled = extra("x = 1", after="scale")
    assert [one.id for one in merged(filled).cells][3:6] == ["scale", "scale-extra-0", "scale-check"]
    assert texts(filled)["scale-extra-0"] == "x = 1"


def test_a_set_up_cell_that_was_added_to_runs_after_our_own():
    filled = edited(lambda one: cell(one, "setup").update(source="import math"))
    ids = [one.id for one in merged(filled).cells]
    assert ids[1:3] == ["setup", "setup-extra-0"]
    assert texts(filled)["setup-extra-0"] == "import math"
    assert "import torch" in texts(filled)["setup"]


def test_a_cell_that_stands_twice_is_named_and_both_run():
    filled = extra("def scale(alpha, rank): return 1", after="scale", id="scale")
    assert merged(filled).remarks == ("the cell 'scale' stands twice",)
    assert texts(filled)["scale"] == SCALE
    assert texts(filled)["scale-extra-0"] == "def scale(alpha, rank): return 1"


def test_an_answer_that_is_gone_is_a_stub():
    filled = edited(lambda one: one["cells"].remove(cell(one, "scale")))
    assert "answer cells are missing: scale" in merged(filled).remarks
    assert texts(filled)["scale"] == 'def scale(alpha, rank):\n    raise NotImplementedError("scale")'


def test_an_editor_may_rename_cells():
    filled = notebook()
    for number, one in enumerate(filled["cells"]):
        one["id"] = f"colab{number}"
    assert name(filled["cells"][3]) == "scale"
    assert texts(filled)["scale"] == SCALE
    assert which(read_one(filled), SOURCES) is SMALL


def read_one(filled):
    from pathlib import Path

    from lorakit.course.submissions import Submission

    return Submission("ada", Path("ada.ipynb"), tuple(filled["cells"]))


def test_a_cell_of_another_type_is_no_answer():
    filled = edited(lambda one: cell(one, "scale").update(cell_type="markdown"))
    assert "the cell 'scale' is of another type" in merged(filled).remarks
    assert "NotImplementedError" in texts(filled)["scale"]


UNREADABLE = {
    "is empty": b" \n",
    "is cut off, or was edited by hand": b'{"cells": [',
    "is no notebook": b"%PDF-1.7 \xff",
    "is no notebook of format 4": b'{"worksheets": []}',
    "has no cells": b'{"cells": []}',
}


@pytest.mark.parametrize("why", UNREADABLE)
def test_what_cannot_be_read_is_named(why, tmp_path):
    content("ada", UNREADABLE[why])(tmp_path)
    (found,) = collect(tmp_path, SOURCES)
    assert (found.student, found.cells) == ("ada", ())
    assert found.problem.startswith(f"0_small.ipynb {why}")


def test_deep_nesting_and_large_files_are_no_notebooks(tmp_path, monkeypatch):
    content("deep", b"[" * 200_000)(tmp_path)
    assert collect(tmp_path, SOURCES)[0].problem.startswith("0_small.ipynb is ")
    monkeypatch.setattr("lorakit.course.submissions.LARGEST", 10)
    assert "are there large outputs in it?" in collect(tmp_path, SOURCES)[0].problem


def test_a_folder_holds_a_student_s_notebook_whatever_it_is_called(tmp_path):
    moved("ada", file="Untitled (3).txt")(tmp_path)
    (tmp_path / "ada" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "ada" / ".ipynb_checkpoints" / "0_small.ipynb").write_text("{}")
    (tmp_path / "ada" / "photo.jpg").write_bytes(b"\xff")
    (found,) = collect(tmp_path, SOURCES)
    assert found.path.name == "Untitled (3).txt"
    assert found.remarks == ("the file is called Untitled (3).txt",)


def test_of_several_notebooks_one_is_graded_and_the_others_are_named(tmp_path):
    moved("ada")(tmp_path)
    (tmp_path / "ada" / "notes.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": "1"}]}))
    (found,) = collect(tmp_path, SOURCES)
    assert found.path.name == "0_small.ipynb"
    assert found.remarks == ("several notebooks; 0_small.ipynb was graded, and not notes.ipynb",)


def test_a_file_is_a_student_s_and_names_are_safe_and_apart(tmp_path):
    for file in ("ada_0_small.ipynb", "a b.ipynb", "a_b.ipynb"):
        (tmp_path / file).write_text(json.dumps(notebook()))
    assert sorted(one.student for one in collect(tmp_path, SOURCES)) == ["a_b", "a_b_2", "ada"]


def test_no_folder_and_nothing_in_it_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no folder of submissions: one folder, or one file, a student"):
        collect(tmp_path / "nowhere", SOURCES)
    with pytest.raises(ValueError, match="nothing was submitted in"):
        collect(tmp_path, SOURCES)


def test_another_assignment_is_recognised(tmp_path):
    from lorakit.course import student

    content("ada", json.dumps(student(OTHER)).encode())(tmp_path)
    assert which(collect(tmp_path, SOURCES)[0], SOURCES) is OTHER
    content("bea", json.dumps({"cells": [{"cell_type": "code", "source": "1", "id": "x"}]}).encode())(tmp_path)
    assert which(collect(tmp_path, SOURCES)[1], SOURCES) is None


def test_a_link_to_another_s_file_and_what_is_no_file_are_named(tmp_path):
    moved("ada")(tmp_path)
    (tmp_path / "bea").mkdir()
    (tmp_path / "bea" / "0_small.ipynb").symlink_to(tmp_path / "ada" / "0_small.ipynb")
    (tmp_path / "cem.ipynb").symlink_to(tmp_path / "ada" / "0_small.ipynb")
    (tmp_path / "dan").symlink_to(tmp_path / "ada")
    os.mkfifo(tmp_path / "eva.ipynb")  # reading it would wait for ever
    problems = {one.student: one.problem for one in collect(tmp_path, SOURCES)}
    assert problems["ada"] == ""
    assert problems["bea"] == "the folder is empty"
    assert [("is no file: a link" in problems[name]) for name in ("cem", "dan", "eva")] == [True] * 3


def test_half_a_character_is_no_reason_to_stop():
    filled = edited(lambda one: cell(one, "scale").update(source="x = '\ud800'"))
    assert texts(filled)["scale"] == "x = '?'"


def test_an_entry_of_the_table_is_no_formula(tmp_path):
    from lorakit.course.records import Class, Record, rows

    record = Record("=cmd()", "+1.ipynb", "", problem="@what")
    _, row = rows(Class(SMALL, (record,), 1, tmp_path))
    assert (row[0], row[1], row[-1]) == ("'=cmd()", "'+1.ipynb", "'@what")


def test_whatever_stops_the_grader_is_said_of_that_submission(tmp_path, monkeypatch):
    from lorakit.course import grading

    def broken(*given):
        raise ZeroDivisionError("as nobody thought of")

    (tmp_path / "in").mkdir()
    moved("ada")(tmp_path / "in")
    monkeypatch.setattr(grading, "mark", broken)
    run = grading.Run(SMALL, SOURCES, grading.Settings(), tmp_path / "out", None)
    record = run.graded(collect(tmp_path / "in", SOURCES)[0])
    assert "could not go through with it (ZeroDivisionError: as nobody thought of)" in record.problem
    assert run.graded(collect(tmp_path / "in", SOURCES)[0]) == record
    assert run.fresh == 1


def test_a_submission_that_ended_the_grader_twice_is_left_out(tmp_path):
    from lorakit.course.records import Trying

    (tmp_path / "records").mkdir()
    for tries in (1, 2, 3):
        trying = Trying(tmp_path, "ada", "key")
        assert trying.__enter__() == tries  # and the grader ended
    assert Trying(tmp_path, "ada", "another").__enter__() == 1


def test_a_text_has_no_tag_and_no_link_where_a_lecturer_reads_it():
    filled = extra("<!-- more -->", cell_type="markdown")
    cell(filled, "why")["source"] = "a < b, <b onclick='x'> and [here](javascript:x), [there][1]\n\n[1]: x"
    shown = executed(SMALL, merge(SMALL, filled["cells"]).cells, Marking(()))["cells"]
    texts = {one["id"]: one["source"] for one in shown}
    assert texts["why"] == "a < b, < b onclick='x'> and [here] (javascript:x), [there] [1]\n\n[1] : x"
    assert texts["setup-extra-0"] == "< !-- more -->"
    assert texts["scale"] == SCALE
