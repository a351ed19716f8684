"""The checks' common ground: what counts as the same answer, what a failure says, and what an answer may not do."""

import ast
import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lorakit import checks
from lorakit.checks import Case, CheckFailed, Draw, Mistake, Unanswered, same, settle, show
from lorakit.checks.comparing import told, usual
from lorakit.delta import LowRank, truncate


def product_cases(seed=0):
    draw = Draw(seed)
    pairs = [
        (str(z), draw.normal(z.out, z.rank, dtype=z.dtype), draw.normal(z.rank, z.inputs, dtype=z.dtype))
        for z in draw.sizes(4)
    ]
    return [Case(says, (B, A), B @ A) for says, B, A in pairs]


MISTAKES = [
    Mistake("you added the sum of A", lambda B, A: B @ A + A.sum()),
    Mistake(lambda B, A: f"off by r = {A.shape[0]}", lambda B, A: A.shape[0] * (B @ A)),
]


def times(B, A):
    return B @ A


def settled(function, cases=None, **options):
    settle("times", function, product_cases() if cases is None else cases, MISTAKES, **options)


@pytest.mark.parametrize(
    "right",
    [
        times,
        lambda B, A: torch.einsum("or,ri->oi", B, A),
        lambda B, A: B.double() @ A.double(),
        lambda B, A: B.numpy() @ A.numpy(),
        lambda B, A: sum(torch.outer(B[:, k], A[k]) for k in range(len(A))),
    ],
)
def test_a_right_answer_prints_one_line(right, capsys):
    settled(right)
    assert capsys.readouterr().out == "✓ times: 4 cases, float32 and float64, 4 shapes\n"


def into_itself(B, A):
    B *= 2
    return B @ A / 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda B, A: None, "is its last line a return"),
        (lambda B, A: (B @ A).T, r"shape is .* a transpose is missing, or one too many"),
        (lambda B, A: B @ A[:, :1], "the shape is"),
        (lambda B, A: -B @ A, "every sign"),
        (lambda B, A: 3 * B @ A, "off by a factor of 3 everywhere"),
        (lambda B, A: B @ A + A.sum(), "likely: you added the sum of A"),
        (lambda B, A: A.shape[0] * (B @ A), r"likely: off by r = \d"),
        (lambda B, A: B.float() @ A.float(), "right to about 7 digits only"),
        (lambda B, A: B @ A * float("nan"), "not finite"),
        (lambda B, A: torch.zeros(len(B), A.shape[1]), "every entry is 0"),
        (lambda B, A: A @ B, r"returned  nothing: it raised RuntimeError.*\nlikely: shapes that do not fit"),
        (lambda B, A: B @ missing, "raised NameError: name 'missing' is not defined"),
        (lambda B: B, "does not take the arguments"),
        (lambda B, A: {"ΔW": B @ A}, r"asked for is an array of shape .*; what came back is a dict"),
        (lambda B, A: lambda: B @ A, "parentheses"),
        (into_itself, "changed what it was given, in place"),
        (torch.ones(2), "give the check the function itself"),
    ],
)
def test_a_wrong_answer_says_why(wrong, says, capsys):
    with pytest.raises(CheckFailed, match=says) as failure:
        settled(wrong)
    assert capsys.readouterr().out == ""
    assert failure.value.exercise == "times"
    assert failure.value.case.startswith("case ")
    assert str(failure.value).splitlines()[-1] == f"likely: {failure.value.diagnosis}"


def test_what_none_of_them_explains_is_left_to_the_exercise():
    def wrong(B, A):
        return (B @ A) ** 2

    with pytest.raises(CheckFailed) as failure:
        settled(wrong)
    assert failure.value.diagnosis is None
    assert "likely" not in str(failure.value)
    with pytest.raises(CheckFailed, match="likely: look at the orientation"):
        settled(wrong, otherwise="look at the orientation")
    with pytest.raises(CheckFailed, match="likely: the mean is off by"):
        settled(wrong, otherwise=lambda case, returned: f"the mean is off by {returned.mean() - case.expected.mean()}")


def test_a_mistake_that_is_right_on_a_case_explains_nothing_there():
    cases = [Case("r = 1", (torch.ones(2, 1), torch.ones(1, 2)), torch.ones(2, 2))]
    with pytest.raises(CheckFailed) as failure:
        settled(lambda B, A: torch.full((2, 2), 7.0), cases)
    assert failure.value.diagnosis == "off by a factor of 7 everywhere"


def test_a_stub_is_unanswered_and_only_its_own():
    def stub(B, A):
        raise NotImplementedError("times")

    def other(B, A):
        raise NotImplementedError("no QR for float16")

    with pytest.raises(Unanswered, match=r"^✗ times\nlikely: not written yet") as failure:
        settled(stub)
    assert isinstance(failure.value, NotImplementedError)
    with pytest.raises(CheckFailed, match="raised NotImplementedError: no QR") as failure:
        settled(other)
    assert not isinstance(failure.value, Unanswered)


def test_an_error_further_down_in_the_library_is_told_by_the_student_s_own_line():
    def answer(B, A):
        return truncate(LowRank(B, A), rank=-1)

    with pytest.raises(CheckFailed, match=r"in line \d+ of answer: return truncate\(LowRank\(B, A\), rank=-1\)"):
        settled(answer)


def test_the_line_of_the_student_s_own_code_is_named():
    def answer(B, A):
        wide = B.T
        return wide @ missing

    with pytest.raises(CheckFailed, match=r"  in line \d+ of answer: return wide @ missing\nlikely: it stops"):
        settled(answer)


def test_an_answer_gets_copies_and_expectations_are_older_than_it():
    cases = product_cases()
    before = copy.deepcopy([(case.args, case.expected) for case in cases])
    with pytest.raises(CheckFailed):
        settled(lambda B, A: B.zero_(), cases)
    assert same(before, [(case.args, case.expected) for case in cases], 0)


def test_a_module_may_change_only_where_the_case_says_so():
    def train(layer):
        nn.init.zeros_(layer.weight)
        return 1.0

    settled(train, [Case("a step", (nn.Linear(2, 2),), 1.0, changes=True)])
    with pytest.raises(CheckFailed, match="in place"):
        settled(train, [Case("a look", (nn.Linear(2, 2),), 1.0)])


def test_an_answer_draws_from_a_random_state_of_its_own():
    torch.manual_seed(7)
    undisturbed = torch.rand(3)
    torch.manual_seed(7)
    settle("noise", lambda x: torch.rand(5).sum() * 0 + x, [Case("", (1.0,), 1.0)])
    assert same(torch.rand(3), undisturbed, 0)


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (1.0, torch.tensor([1.0]), True),
        (True, np.bool_(True), True),
        ((1, 2.0), [1.0, torch.tensor(2)], True),
        ({"a": 1}, {"a": np.float32(1)}, True),
        ({"a": 1}, {"b": 1}, False),
        ((1, 2), (1, 2, 3), False),
        ("W", "W", True),
        ("W", 1.0, False),
        (1.0, None, False),
        (torch.eye(2), [[1, 0], [0, 1]], True),
        (torch.eye(2), [[1, 0], [0]], False),
        (torch.ones(2, 1), torch.ones(2), False),
        (torch.full((2,), 1e3), torch.full((2,), 1e3 + 0.1), True),
        (torch.full((2,), 1e3), torch.full((2,), 1e3 + 1), False),
        (torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.01]), False),
        (torch.empty(0), torch.empty(0), True),
        (LowRank(torch.ones(3, 1), torch.ones(1, 2)), LowRank(torch.ones(3, 1), torch.ones(1, 2).double()), True),
    ],
)
def test_same(a, b, alike):
    assert same(a, b) is alike


def test_small_values_are_compared_on_their_own_scale():
    assert not same(torch.tensor([0.01]), torch.tensor([0.01002]))
    assert same(torch.tensor([0.0]), torch.tensor([1e-8]))


def test_show_is_small():
    assert show(2 / 3) == "0.666667"
    assert show(torch.arange(3.0)) == "[0., 1., 2.]"
    assert show(torch.zeros(100, 100)).endswith("… of shape (100, 100)")
    assert len(show({str(i): torch.rand(50) for i in range(50)}).splitlines()) < 6
    assert show((1, None)) == "(1, None)"


def test_a_difference_out_of_sight_is_told():
    wrong = torch.zeros(40)
    wrong[30] = 0.5
    assert told(torch.zeros(40), wrong, 1e-6)[1] == "the same here, and elsewhere up to 0.5 off"
    assert told({"a": [1, torch.zeros(40)]}, {"a": [1, wrong]}, 1e-6)[1].endswith("up to 0.5 off")
    assert told(1.0, 2.0, 1e-6) == ("1", "2")


def test_a_long_line_is_cut_between_words_and_the_message_itself_is_not():
    failure = CheckFailed("scale", "case 1", "2", "16", "many words and more " * 20)
    lines = failure._render_traceback_()
    assert max(map(len, lines[1:])) <= 100
    assert all(line.split()[-1] in ("words", "many", "and", "more") for line in lines[3:])
    assert str(failure).splitlines()[-1] == f"likely: {failure.diagnosis}"


def test_in_a_notebook_it_is_its_lines_alone():
    failure = CheckFailed("scale", "case 1", "2", "16", "a factor of 8 = r")
    lines = failure._render_traceback_()
    assert lines[1:] == ["  expected  2", "  returned  16", "likely: a factor of 8 = r"]
    assert "✗ scale, case 1" in lines[0]
    assert copy.copy(failure).exercise == "scale"


def test_other_seeds_are_other_shapes_and_the_same_seed_the_same():
    assert Draw(0).sizes(6) == Draw(0).sizes(6)
    assert Draw(0).sizes(6) != Draw(4711).sizes(6)
    for sizes in Draw(3).sizes(40):
        assert sizes.out != sizes.inputs
        assert 1 <= sizes.rank < min(sizes.out, sizes.inputs)
    assert {z.dtype for z in Draw(0).sizes(2)} == {torch.float32, torch.float64}
    U = Draw(1).orthonormal(9, 3, torch.float64)
    assert same(U.T @ U, torch.eye(3), 1e-12)


@pytest.mark.parametrize(
    ("expected", "returned", "says"),
    [
        ([1.0, 2.0], [3.0, 6.0], "off by a factor of 3 everywhere"),
        ((torch.ones(2, 3), torch.ones(3)), (torch.ones(3, 2), torch.ones(3)), r"^the first: the shape is \(3, 2\)"),
        ([torch.ones(2)] * 3, [torch.ones(2), torch.ones(2), -torch.ones(2)], "^value 3: every sign"),
        ({"a": 1.0, "b": [1.0, 2.0]}, {"a": 1.0, "b": [None, None]}, "^b: the first: the function returned None"),
        (
            ["query", "value"],
            ["query"],
            "2 values are asked for, and 1 came back: missing .'value'., not",
        ),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2), None),  # right, whatever else is wrong with it
    ],
)
def test_what_differs_is_said_of_the_part_that_does(expected, returned, says):
    told = usual(expected, returned, 1e-6)
    assert told is None if says is None else re.search(says, told)


def test_every_exercise_has_a_last_word():
    """An answer that no formula explains hears something all the same."""
    silent = []
    for path in sorted(Path(checks.__file__).parent.glob("*/*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        settled = [call for call in calls if getattr(call.func, "id", "") == "settle"]
        silent += [(path.name, c.lineno) for c in settled if "otherwise" not in {k.arg for k in c.keywords}]
    assert not silent
