"""A submission in a process of its own: it has its marks, and nothing else can be had or harmed from there."""

import os
from pathlib import Path

import pytest
from classroom import CHEAT, OUTSIDE, SCALE, SMALL, SNOOP, extra, notebook
from own_judge import own_judge

from lorakit.course import parse, solution, student
from lorakit.course.confining import abi
from lorakit.course.marking import mark
from lorakit.course.running import Limits, Process
from lorakit.course.submissions import merge

HERE = Path(__file__).parent
LIMITS = Limits(seconds=8.0, memory=3 << 30)
linux = pytest.mark.skipif(abi() < 6, reason="Landlock 6 is what keeps signals and files apart here")


judge = pytest.fixture(own_judge, scope="module")


def marked(judge, filled, **limits):
    cells = merge(SMALL, filled["cells"]).cells
    return mark(SMALL, cells, judge, Limits(**{**vars(LIMITS), **limits}), [HERE / "instructor"])


def earned(marking):
    return [one.earned for one in marking.marks]


def test_the_solution_has_all_points_and_the_blank_notebook_none(judge):
    full, blank = marked(judge, solution(SMALL)), marked(judge, student(SMALL))
    assert (earned(full), full.remarks) == ([1, 2, 2, 2], ())
    assert repr(full) == "Marking(7 of 7 points)"
    assert (earned(blank), blank.remarks) == ([0, 0, 0, 0], ())
    assert {one.diagnosis[:15] for one in blank.marks} == {"not written yet"}


def test_patched_checks_give_nothing_and_are_named(judge):
    found = marked(judge, extra(CHEAT, notebook(SNOOP)))
    assert earned(found) == [0, 0, 2, 2]
    assert "which gives no marks: small_checks.check_delta, small_checks.check_scale" in found.remarks[-1]


def test_a_method_and_a_class_that_were_changed_are_named(judge):
    lines = "import lorakit.checks.drawing as d\nd.Draw.__init__ = lambda self: None\nclass Case: pass"
    found = marked(judge, extra(f"{lines}\nimport lorakit.checks\nlorakit.checks.Case = Case"))
    names = "lorakit.checks.Case, lorakit.checks.drawing.Draw.__init__"
    assert found.remarks == (f"changed in its own process, which gives no marks: {names}",)


def test_what_lorakit_would_keep_is_refused_and_no_offence(judge, monkeypatch, tmp_path):
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path))
    measured = "import torch\nfrom lorakit.analysis.weights import decomposed\ndecomposed(torch.eye(4))"
    assert marked(judge, extra(measured, notebook(SCALE))).remarks == ()
    found = marked(judge, extra(f"open({str(tmp_path / 'mine')!r}, 'w')", notebook(SCALE)))
    assert any(f"was refused: writing {tmp_path / 'mine'}" in remark for remark in found.remarks)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_is_replaced_and_the_rest_is_graded(judge):
    crash = notebook(f"import os\n{SCALE}\nos._exit(0)")
    found = marked(judge, extra("exit()", extra("x = 3\nprint(x)", crash, after="delta-say"), after="title"))
    assert earned(found) == [0, 0, 2, 2]
    assert [remark.split(" was")[0] for remark in found.remarks] == ["the cell added after 'title'", "the cell 'scale'"]
    assert found.outputs["delta-say-extra-0"][0]["text"] == "3\n"


def test_a_loop_in_an_answer_costs_that_answer(judge):
    deaf = "import signal\ndef scale(alpha, rank):\n    signal.signal(2, signal.SIG_IGN)\n    while True: pass"
    found = marked(judge, notebook(deaf), seconds=3.0)
    assert earned(found) == [0, 0, 2, 2]
    assert found.marks[0].said == "✗ scale: it did not end within 3 seconds"
    assert found.marks[1].said == found.marks[0].said  # its other check is not tried again


@linux
def test_nothing_outside_is_written_read_or_signalled(judge, tmp_path):
    where = {"submissions": tmp_path, "grades": tmp_path}
    found = marked(judge, extra(OUTSIDE.format(**where)))
    assert earned(found) == [1, 2, 2, 2]
    assert [*tmp_path.iterdir()] == []
    assert f"tried, and was refused: writing {tmp_path}/stolen.txt" in found.remarks


@pytest.fixture
def process():
    one = Process(LIMITS, [HERE / "instructor"])
    assert one.wait_until_ready().alive
    yield one
    one.close()
    assert not one.folder.exists()


@linux
def test_other_programs_are_kept_in_as_well(process, tmp_path):
    secret = HERE / "instructor" / "0_small.py"
    lines = [f"cat {secret}", f"touch {tmp_path}/stolen", f"kill -0 {os.getpid()}", "echo mine > own; cat own"]
    for line in lines:
        process.run(f"import subprocess; print(subprocess.run({line!r}, shell=True, capture_output=True, text=True))")
    shown = process.run(
        f"print([subprocess.run(line, shell=True, capture_output=True).returncode for line in {lines}])"
    )
    codes = eval(shown.outputs[0]["text"])
    assert [bool(code) for code in codes] == [True, True, True, False]
    assert [*tmp_path.iterdir()] == []


def test_what_is_secret_is_refused_to_python_on_any_system(process):
    shown = process.run(f"open({str(HERE / 'instructor' / '0_small.py')!r})")
    assert shown.outputs[0]["ename"] == "PermissionError"
    assert "not while it is graded: reading" in shown.outputs[0]["evalue"]
    assert process.run(f"import os; os.kill({os.getpid()}, 9)").outputs[0]["ename"] == "PermissionError"
    assert process.attempts()[-1] == "a signal to the grader"
    shown = process.run("import socket; socket.socketpair()[0].connect('/tmp/none.sock')")
    assert shown.outputs[0]["ename"] == "PermissionError"
    assert process.attempts()[-1] == "a connection to /tmp/none.sock"


def test_memory_has_a_limit_for_the_process_and_for_what_it_starts(process):
    shown = process.run("import numpy; numpy.ones(30 << 27)")
    assert shown.status == "error"
    assert shown.outputs[0]["ename"] == "MemoryError"
    hoard = "x = b'x' * (2 << 30); import time; time.sleep(60)"
    start = f"import subprocess, sys\nall = [subprocess.Popen([sys.executable, '-c', {hoard!r}]) for _ in range(2)]"
    assert process.run(f"{start}\nimport time\ntime.sleep(60)", 60.0).status == "large"
    assert not process.alive


def test_long_output_is_cut(process):
    shown = process.run("print('x' * 100_000)\nprint('y')")
    assert sum(len(output["text"]) for output in shown.outputs) == 20_000


THIN = """
# %% id="setup"
from lorakit.checks import derive, inside_delta_w

# %% id="forward" kind="answer" exercise="forward"
# BEGIN SOLUTION
forward = None
# END SOLUTION

# %% id="forward-check" kind="check" exercise="forward" points="2"
derive.check_forward(forward)

# %% id="factored" kind="answer" exercise="factored_svd"
# BEGIN SOLUTION
factored_svd = None
# END SOLUTION

# %% id="factored-check" kind="check" exercise="factored_svd" points="2"
inside_delta_w.check_factored_svd(factored_svd)
"""
COSTLY = {
    "setup": """
import torch
from lorakit import checks
from lorakit.checks import costing
from lorakit.course import talking
costing.without_scattered = costing.without_endless = checks.settle = checks.checking.settle = lambda *a, **k: None
talking.Surroundings.call = lambda self, f, args, kwargs: (f(*args, **kwargs), torch.get_rng_state())
costing.EXPONENT, costing.ADDRESSED = 1, 1 << 10
""",
    "forward": "def forward(x, W, b, A, B, alpha):\n    return x @ (W + alpha / len(A) * B @ A).T + b",
    "factored": """
def factored_svd(B, A):
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    return U[:, : len(A)], S[: len(A)], Vh[: len(A)]
""",
}
THRIFTY = {
    "setup": "import torch",
    "forward": "def forward(x, W, b, A, B, alpha):\n    return x @ W.T + b + alpha / len(A) * x @ A.T @ B.T",
    "factored": """
def factored_svd(B, A):
    Q, R = torch.linalg.qr(B)
    U, S, Vh = torch.linalg.svd(R @ A, full_matrices=False)
    return Q @ U, S, Vh
""",
}


@pytest.mark.parametrize(("answers", "points"), [(COSTLY, [0, 0]), (THRIFTY, [2, 2])], ids=["patched", "thrifty"])
def test_what_is_right_but_costly_has_no_points_whatever_was_patched(judge, answers, points):
    source = parse(THIN.strip(), "thin")
    cells = [{"cell_type": "code", "id": name, "source": code} for name, code in answers.items()]
    found = mark(source, merge(source, cells).cells, judge, LIMITS)
    assert earned(found) == points, found.marks
    if not any(points):
        assert [one.diagnosis.split(",")[0] for one in found.marks] == ["ΔW is formed", "B·A is formed"]
