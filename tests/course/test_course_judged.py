"""Otter's plugin: what it leaves of an upload, and what it tells otter of the judge's verdicts."""

import json

import pytest
from classroom import SMALL

from lorakit.course.judged import VERDICTS, Judged, packed, tell, unpacked


def test_an_assignment_comes_out_of_the_zip_as_it_went_in():
    again = unpacked(packed(SMALL))
    assert (again.name, again.cells, again.exercises) == (SMALL.name, SMALL.cells, SMALL.exercises)


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """What otter has: the zip's folder, and beside it that of the upload, where it is."""
    (tmp_path / "source" / "tests").mkdir(parents=True)
    (tmp_path / "source" / "tests" / "scale.py").write_text("ours")
    own = tmp_path / "submission"
    for name in ("hers.ipynb", ".OTTER_LOG", "otter.py", "tests/scale.py", "tests/more.py", "lorakit/__init__.py"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("hers")
    (own / "link").symlink_to(tmp_path / "source", target_is_directory=True)
    monkeypatch.chdir(own)
    return own


def test_of_an_upload_the_notebook_stays_and_nothing_else(upload):
    Judged(str(upload / "hers.ipynb"), {}, {}).before_grading(None)
    left = {str(path.relative_to(upload)): path.read_text() for path in upload.rglob("*") if path.is_file()}
    assert left == {"hers.ipynb": "hers", "tests/scale.py": "ours"}
    assert (upload.parent / "source" / "tests" / "scale.py").exists()


def test_a_link_is_no_upload(upload):
    (upload / "linked.ipynb").symlink_to(upload.parent / "source" / "tests" / "scale.py")
    with pytest.raises(ValueError, match=r"linked\.ipynb is no file: a link"):
        Judged(str(upload / "linked.ipynb"), {}, {}).before_grading(None)


def test_a_test_tells_what_the_judge_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / VERDICTS).write_text(json.dumps({"a-check": [True, "✓ a"], "b-check": [False, "✗ b: why"]}))
    tell("a-check")
    assert capsys.readouterr().out == "✓ a\n"
    with pytest.raises(AssertionError, match="✗ b: why"):
        tell("b-check")
    with pytest.raises(KeyError):
        tell("c-check")
