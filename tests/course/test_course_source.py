"""One source, four notebooks: what the student gets holds no answer, and what cannot be an assignment is refused."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from lorakit.course import nbgrader, otter, parse, read, solution, student
from lorakit.course.command import main
from lorakit.course.writing import HANDED_OUT, INSTRUCTOR, text

ROOT = Path(__file__).parents[2]
SMALL = read(Path(__file__).parent / "instructor" / "0_small.py")
COMMITTED = sorted((ROOT / INSTRUCTOR).glob("*.py"))
four = pytest.mark.parametrize("output", [student, solution, nbgrader, otter], ids=lambda output: output.__name__)


def shown(notebook) -> str:
    return "\n\n".join("".join(cell["source"]) for cell in notebook["cells"])


@four
def test_every_output_is_a_notebook_with_its_ids(output):
    notebook = nbformat.reads(text(output(SMALL)), as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells if cell.cell_type != "raw"]
    wanted = [cell.id for cell in SMALL.cells if output is not student or cell.kind != "hidden"]
    assert ids == wanted


def test_the_student_sees_no_answer_and_no_hidden_check():
    said = shown(student(SMALL))
    assert "alpha / rank" not in said
    assert "first step" not in said
    assert "4711" not in said
    assert "SOLUTION" not in said
    assert 'def scale(alpha, rank):\n    raise NotImplementedError("scale")' in said
    assert '    """ΔW, (out, in), in float64."""\n    raise NotImplementedError("delta")' in said
    assert "at the start?\n\n*Your answer here.*" in said
    assert "%precision 4\nimport torch" in said


def test_the_solution_is_whole():
    said = shown(solution(SMALL))
    assert "    product = B @ A\n    return alpha / len(A) * product" in said
    assert "seed=4711" in said
    assert "SOLUTION" not in said


def test_nbgrader_reads_its_own_comments():
    said = shown(nbgrader(SMALL))
    assert "    ### BEGIN SOLUTION\n    return alpha / rank\n    ### END SOLUTION" in said
    assert "### BEGIN HIDDEN TESTS\nsmall.check_scale(scale, seed=4711)\n### END HIDDEN TESTS" in said
    assert "### BEGIN SOLUTION\nSo that" in said
    assert "# BEGIN" not in re.sub("### BEGIN", "", said)


def test_a_check_is_locked_and_an_answer_is_not():
    marks = {cell["id"]: cell["metadata"] for cell in student(SMALL)["cells"]}
    assert marks["scale-check"]["nbgrader"]["points"] == 1
    assert marks["scale-check"]["nbgrader"]["grade_id"] == "scale-check"
    assert marks["scale-check"]["editable"] is False
    assert marks["scale"]["nbgrader"]["locked"] is False
    assert "points" not in marks["scale"]["nbgrader"]
    assert marks["why"]["nbgrader"]["solution"]
    assert marks["why"]["nbgrader"]["points"] == 3
    assert marks["title"] == {}


def test_otter_asks_a_question_an_exercise_and_tests_only_what_is_given():
    said = shown(otter(SMALL, name="0_small"))
    assert said.count("# BEGIN QUESTION") == 2
    told = 'def test_scale_hidden():\n    from lorakit.course.judged import tell\n    tell("scale-hidden")'
    assert told in said
    assert "seed=4711" not in said  # neither a check nor its seed is in a file that a submission could read
    assert '"points": 2.0, "hidden": true' in said
    assert '"name": "0_small"' in said


def test_a_source_says_what_it_holds():
    assert SMALL.exercises == ["scale", "delta", "why"]
    assert (SMALL.points("scale"), SMALL.points("scale", "hidden"), SMALL.points("why")) == (3, 2, 3)
    assert SMALL.answers == {"scale", "delta"}
    assert repr(SMALL) == "Source(0_small: 3 exercises, 10 points)"


def test_two_regions_each_become_the_stub():
    head = '# %% id="a" kind="answer" exercise="a"\n'
    lines = [
        "# BEGIN SOLUTION",
        "x = 1",
        "# END SOLUTION",
        "if x:",
        "    # BEGIN SOLUTION",
        "    y = 2",
        "    # END SOLUTION",
    ]
    check = '\n# %% id="c" kind="check" exercise="a" points="1"\ncheck(y)'
    source = parse(head + "\n".join(lines) + check, "two")
    stub = 'raise NotImplementedError("a")'
    assert "".join(student(source)["cells"][0]["source"]) == f"{stub}\nif x:\n    {stub}"
    assert source.answers == {"x", "y"}


SOLVED = "# BEGIN SOLUTION\nx = 1\n# END SOLUTION"
REFUSED = {
    "of small letters": '# %% id="Bad Id"\n1',
    "'a' stands twice": '# %% id="a"\n# %% id="a"\n',
    "not 'anwser'": '# %% id="a" kind="anwser" exercise="a"\n',
    "go together": '# %% id="a" kind="answer"\n' + SOLVED,
    "not ..tag": '# %% id="a" tag="b"\n',
    "a cell's head is": "# %% answer id=a\n",
    "points are a number": '# %% id="a" kind="check" exercise="a" points="many"\n',
    "have points above 0": f'# %% id="a" kind="answer" exercise="a" points="1"\n{SOLVED}',
    "hold a solution": '# %% id="a" kind="answer" exercise="a"\nx = 1',
    "no other cell does": f'# %% id="a"\n{SOLVED}',
    "no END SOLUTION": '# %% id="a" kind="answer" exercise="a"\n# BEGIN SOLUTION\nx = 1',
    "take turns": f'# %% id="a" kind="answer" exercise="a"\n# END SOLUTION\n{SOLVED}',
    "stands before its check": '# %% id="a" kind="check" exercise="a" points="1"\ncheck(a)',
    "nothing gives points": f'# %% id="a" kind="answer" exercise="a"\n{SOLVED}',
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_assignment_is_refused(reason):
    with pytest.raises(ValueError, match=f"^wrong.py.*{reason}"):
        parse(REFUSED[reason], "wrong")


def test_a_refusal_names_the_line():
    with pytest.raises(ValueError, match=r"wrong.py, line 3: the id 'a' stands twice"):
        parse('# %% id="a"\n1\n# %% id="a"\n2', "wrong")


def test_pictures_come_from_their_folder(tmp_path):
    source = parse('# %% [markdown] id="a"\n# ![two](attachment:two.png)', "pictured")
    with pytest.raises(ValueError, match=r"'two.png' is not in"):
        student(source, tmp_path)
    (tmp_path / "two.png").write_bytes(b"a picture")
    assert student(source, tmp_path)["cells"][0]["attachments"] == {"two.png": {"image/png": "YSBwaWN0dXJl"}}


def test_a_source_that_is_read_knows_its_own_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "two.png").write_bytes(b"a picture")
    (tmp_path / "pictured.py").write_text('# %% [markdown] id="a"\n# ![two](attachment:two.png)')
    for written in (student, solution, nbgrader):
        cells = written(read(tmp_path / "pictured.py"))["cells"]
        assert cells[0]["attachments"] == {"two.png": {"image/png": "YSBwaWN0dXJl"}}
    assert "attachments" in otter(read(tmp_path / "pictured.py"))["cells"][1]


def test_the_command_writes_all_four(tmp_path, capsys):
    asked = ["--instructor", str(Path(__file__).parent / "instructor")]
    assert main(["assignments", *asked, "--handed-out", f"{tmp_path}/out", "--build", f"{tmp_path}/build"]) == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.ipynb")}
    assert written == {
        "out/0_small.ipynb",
        "build/solution/0_small.ipynb",
        "build/nbgrader/source/0_small/0_small.ipynb",
        "build/otter/0_small/0_small.ipynb",
    }
    assert json.loads((tmp_path / "out/0_small.ipynb").read_text()) == student(SMALL)
    assert "3 exercises, 10 points" in capsys.readouterr().out


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert main(["assignments", "--instructor", str(tmp_path)]) == 1
    assert "no assignment (NAME.py) in" in capsys.readouterr().err


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_what_is_handed_out_is_what_the_source_says(path):
    committed = (ROOT / HANDED_OUT / path.with_suffix(".ipynb").name).read_text(encoding="utf-8")
    assert committed == text(student(read(path), path.parent / "images")), "run make assignments, and commit"


def test_nothing_is_handed_out_that_has_no_source():
    handed_out = {path.stem for path in (ROOT / HANDED_OUT).glob("*.ipynb")}
    assert handed_out == {path.stem for path in COMMITTED}


def test_a_line_of_ipython_s_own_is_read_wherever_it_stands():
    """As jupytext writes it: a comment in the place of the line, indented as the line is."""
    lines = ['# %% id="setup"', "try:", "    import lorakit", "except ImportError:", "    # %pip install lorakit"]
    [cell] = parse("\n".join([*lines, "    import lorakit", "# %matplotlib inline", "# a word", ""]), "1_x").cells
    assert cell.text.splitlines()[3:] == [
        "    %pip install lorakit",
        "    import lorakit",
        "%matplotlib inline",
        "# a word",
    ]
