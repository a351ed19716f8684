"""The six assignments as a student meets them: a picture, minutes that add up, and every exercise on its own feet."""

import base64
import contextlib
import importlib
import io
import json
import os
import re
from glob import glob
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lorakit.checks import Unanswered
from lorakit.course import outputs, source

INSTRUCTOR = Path(__file__).parents[2] / "notebooks" / "assignments" / "instructor"
NAMES = [path.stem for path in sorted(INSTRUCTOR.glob("*.py"))]
ALONE = [(name, cell.exercise) for name in NAMES for cell in source.read(INSTRUCTOR / f"{name}.py").of("check")]
LOOKS_BACK = {"claims"}  # what it claims was measured in the cells before it
assignments = pytest.mark.parametrize("name", NAMES)


def read(name):
    return source.read(INSTRUCTOR / f"{name}.py")


@assignments
def test_it_opens_with_a_picture_that_every_output_keeps(name):
    opened = read(name)
    for write in (outputs.student, outputs.solution, outputs.nbgrader, outputs.otter):
        cells = [cell for cell in write(opened)["cells"] if cell.get("id") == "title"]
        ((picture, files),) = cells[0]["attachments"].items()
        assert re.search(rf"!\[[^\]]{{10,}}\]\(attachment:{picture}\)", "".join(cells[0]["source"]))
        data = base64.b64decode(files["image/png"])
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert len(data) < 60_000


@assignments
def test_it_says_what_one_will_be_able_to_do_and_minutes_that_add_up(name):
    cells = {cell.id: cell.text for cell in read(name).cells}
    abilities = cells["title"].partition("Afterwards you can\n")[2].partition("\n\n**")[0]
    assert abilities.count("\n- ") >= 3
    minutes = [int(said) for text in cells.values() for said in re.findall(r"\*Difficulty .* (\d+) minutes", text)]
    assert re.search(rf"together: {sum(minutes)} minutes", cells["title"])
    assert len(minutes) >= 5


@assignments
def test_after_its_check_an_exercise_says_how_to_go_on_without_it(name):
    cells = list(read(name).cells)
    for number, cell in enumerate(cells):
        if cell.kind == "check":
            on = cells[number + 1]
            assert on.id == cell.id.replace("-check", "-on")
            assert "*Going on without it?*" in on.text
            for own in re.findall(r"lorakit's own is `([\w.]+)`", on.text):
                assert found(own) is not None


def found(dotted):
    """The thing of this name: a module's, or an attribute of something in one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    return None


def run(text, names):
    """A cell's code, in silence."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source.unmagic(text), "cell", "exec"), names)


def stubs(name):
    """Everything that the student defines, as it was handed out."""
    handed_out = outputs.student(read(name))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in handed_out if cell["cell_type"] == "code"}


@pytest.mark.parametrize(("name", "exercise"), [pair for pair in ALONE if pair[1] not in LOOKS_BACK])
def test_an_exercise_solved_alone_passes(name, exercise):
    opened, code, names = read(name), stubs(name), {}
    run(code["setup"], names)
    for cell in opened.of("answer"):
        run(cell.solved() if cell.exercise == exercise else code[cell.id], names)
    for cell in opened.of("check", "hidden"):
        if cell.exercise == exercise:
            run(cell.text, names)
        elif cell.kind == "check" and cell.exercise not in LOOKS_BACK:
            with pytest.raises(Unanswered, match=f"✗ {cell.exercise}|not written yet"):
                run(cell.text, names)


@pytest.mark.lessons
@assignments
def test_all_but_one_unsolved_the_notebook_still_shows_what_it_has_to_show(name, tmp_path, monkeypatch):
    """Every cell of the student's copy, in its order: a check asks for its answer, and no other cell needs one."""
    monkeypatch.chdir(tmp_path)
    opened, code, names = read(name), stubs(name), {"display": lambda *shown: None}
    for cell in opened.cells:
        if cell.kind == "check":
            with pytest.raises(Unanswered, match="not written yet"):
                run(cell.text, names)
            before = dict(names)
            run(next(a for a in opened.of("answer") if a.exercise == cell.exercise).solved(), names)
            run(cell.text, names)
            names.update({key: before[key] for key in opened.answers & before.keys()})
        elif not cell.markdown and cell.kind != "hidden":
            with contextlib.ExitStack() as stack:
                if needs_an_answer(opened, cell):
                    stack.enter_context(pytest.raises(NotImplementedError, match=cell.id.removesuffix("-see")))
                run(code[cell.id], names)


def needs_an_answer(opened, cell):
    """Whether the text before it says so."""
    cells = list(opened.cells)
    return cells[cells.index(cell) - 1].text.startswith("*With your function:*")


@pytest.mark.lessons
@assignments
def test_run_all_stops_at_the_first_answer_that_is_not_written_and_says_so(name, tmp_path):
    notebook = nbformat.reads(json.dumps(outputs.student(read(name))), 4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    first = read(name).of("check")[0]
    with pytest.raises(CellExecutionError) as stopped:
        client.execute(env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert stopped.value.ename == "Unanswered"
    assert "not written yet: replace the line that raises NotImplementedError" in stopped.value.evalue
    (failed,) = (cell for cell in notebook.cells if any(o.output_type == "error" for o in cell.get("outputs", [])))
    assert failed.id == first.id
    assert len("\n".join(failed.outputs[-1].traceback).splitlines()) < 8


@assignments
def test_it_finds_the_wheel_beside_it_or_in_the_folder_above_as_the_zip_has_it(name, tmp_path, monkeypatch):
    (expression,) = re.findall(r"%pip install --quiet {(.*)}", stubs(name)["setup"])
    (tmp_path / "assignments").mkdir()
    (tmp_path / "lorakit-0.1.0-py3-none-any.whl").touch()
    for folder, wheel in ((tmp_path, "lorakit-0.1.0"), (tmp_path / "assignments", "../lorakit-0.1.0")):
        monkeypatch.chdir(folder)
        assert eval(expression, {"glob": glob}).startswith(wheel)
