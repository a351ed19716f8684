"""Values cross between a judge and a student's process as themselves; code does not, whatever a message names."""

import io
import os
import pickle
import socket

import numpy as np
import pytest
import torch
from torch import nn
from two_ends import two_ends

from lorakit.checks import Case, Mistake, call
from lorakit.course import judging, unpacking
from lorakit.course.talking import Function, Lost, Thing
from lorakit.delta import LowRank

ends = pytest.fixture(two_ends)


def given(ends, function):
    judge, defined = ends
    defined["f"] = function
    return judge.ask("get", "f")


A = torch.arange(6.0).reshape(2, 3)
VALUES = [
    3,
    2.5,
    None,
    "ΔW",
    (1, [2, {"a": (3,)}]),
    A,
    A.T,
    A.to(torch.bfloat16),
    A[:0],
    torch.tensor(True),
    torch.complex(A, A),
    nn.Parameter(A.clone()),
    np.arange(4).reshape(2, 2),
    np.float64(1.5),
    torch.float16,
    torch.Size([2, 3]),
    LowRank(A.T, A),
    torch.linalg.svd(A),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_goes_and_comes_back(ends, value):
    back = given(ends, lambda x: (x, len([x])))(value)[0]
    plain = tuple if type(value).__module__ == "torch.return_types" else type(value)
    assert type(back) is plain
    flat = [value.left, back.left] if isinstance(value, LowRank) else [value, back]
    if isinstance(flat[0], torch.Tensor):
        assert torch.equal(*flat)
        assert flat[0].dtype == flat[1].dtype
    elif isinstance(value, np.ndarray):
        assert np.array_equal(*flat)
    elif plain is not tuple:
        assert flat[0] == flat[1]


def test_what_is_returned_as_it_was_given_is_the_same_object(ends):
    tensor = A.clone()
    assert given(ends, lambda x: x)(tensor) is tensor


def test_a_change_in_place_comes_back(ends):
    tensor, items, names = A.clone(), [A.clone(), 1], {"a": 1}

    def change(x, items, names):
        x.mul_(2)
        items[0].data.zero_()
        items.append("new")
        names["b"] = names.pop("a")

    given(ends, change)(tensor, items, names)
    assert torch.equal(tensor, 2 * A)
    assert not items[0].any()
    assert items[1:] == [1, "new"]
    assert names == {"b": 1}


@pytest.mark.parametrize("made", [A.clone, lambda: nn.Linear(3, 2), lambda: torch.Generator().manual_seed(1)])
def test_an_object_is_the_same_there_each_time_it_comes(ends, made):
    """A function that keeps a layer and is called again has that layer, as it is by then."""
    kept = []
    keep = given(ends, lambda value: (kept.append(value), len({id(one) for one in kept}))[1])
    value = made()
    assert keep(value) == 1
    if isinstance(value, torch.Tensor):
        value.mul_(2)
    assert keep(value) == 1
    assert keep(made()) == 2
    assert not isinstance(value, torch.Tensor) or torch.equal(kept[0], 2 * A)


def test_a_model_is_trained_where_the_student_is(ends):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    weight = model[0].weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = weight.detach().clone()

    def step(model, optimizer, x):
        model[0].bias.requires_grad_(False)
        model(x).square().sum().backward()
        optimizer.step()
        model.eval()
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    assert given(ends, step)(model, optimizer, torch.ones(4, 3)) == 6
    assert model[0].weight is weight
    assert not torch.equal(weight, before)
    assert weight.grad is not None
    assert not model.training
    assert not model[0].bias.requires_grad
    assert optimizer.state[weight]["step"] == 1


def test_a_layer_that_was_put_in_crosses(ends):
    def swap(model):
        model[0] = nn.Linear(3, 5)
        return model

    model = nn.Sequential(nn.Linear(3, 2))
    assert given(ends, swap)(model) is model
    assert model[0].weight.shape == (5, 3)


def test_a_function_is_called_where_it_lives(ends):
    judge, defined = ends
    defined["f"] = lambda loss, x: loss(x) + loss(2 * x)
    assert judge.ask("get", "f")(lambda x: x.sum(), A) == 45
    made = given(ends, lambda k: lambda x: k * x)(3)
    assert isinstance(made, Function)
    assert made(4) == 12


def test_a_function_s_parameters_are_known(ends):
    import inspect

    found = given(ends, lambda A, B, *, alpha=1: None)
    assert [*inspect.signature(found).parameters] == ["A", "B", "alpha"]


def test_random_numbers_are_those_of_the_caller(ends):
    torch.manual_seed(3)
    wanted = [torch.rand(2), torch.rand(2)]
    torch.manual_seed(3)
    draw = given(ends, lambda: torch.rand(2))
    assert all(torch.equal(draw(), one) for one in wanted)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(given(ends, lambda g: torch.rand(2, generator=g))(generator), wanted[0])
    assert torch.equal(torch.rand(2, generator=generator), wanted[1])


def test_an_exception_keeps_its_kind_its_words_and_its_line(ends):
    import traceback

    code = compile("def scale(alpha):\n    return alpha / 0\n", "/tmp/ipykernel_1/1.py", "exec")
    names: dict = {}
    exec(code, names)
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        given(ends, names["scale"])(1)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.name, last.lineno) == ("scale", 2)


class Bomb:
    """Named by a message, it would run a command where it is read."""

    def __reduce__(self):
        return os.system, ("touch stolen",)


def test_an_object_of_the_student_s_stays_with_the_student(ends):
    back = given(ends, lambda: Bomb())()
    assert isinstance(back, Thing)
    assert repr(back) == "<Bomb>"


@pytest.mark.parametrize("named", [os.system, eval, pickle.loads, torch.load, socket.socket, Bomb, nn.Linear.forward])
def test_a_judge_takes_no_message_that_names_code(ends, named):
    judge, _ = ends
    with pytest.raises(pickle.UnpicklingError, match="may not cross"):
        judge.ledger.unpack(pickle.dumps(named))


class Fill:
    """In a message: this object, filled with that."""

    def __init__(self, target, state):
        self.target, self.state = target, state


class Forger(pickle._Pickler):
    """A student's own pickler, which does not ask an object how it is filled."""

    def save(self, value, *more, **options):
        if not isinstance(value, Fill):
            return super().save(value, *more, **options)
        super().save(value.target)
        super().save(value.state)
        return self.write(pickle.BUILD)


class Own:
    """The judge's object of a number, asked back."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return unpacking.yours, (self.number,)


def forged(value):
    stream = io.BytesIO()
    Forger(stream, 5).dump(value)
    return stream.getvalue()


@pytest.mark.parametrize("state", [{"room": 1e9}, (None, {"room": 1e9})], ids=["dict", "slots"])
@pytest.mark.parametrize("target", [Case, Mistake, nn.functional.softmax, nn.Linear, Own(0)])
def test_no_message_changes_a_class_or_a_function(ends, target, state):
    judge, _ = ends
    assert judge.ledger.number(call) == 0
    room = Case("α", (2.0,), 1.0).room
    with pytest.raises(pickle.UnpicklingError, match="may not be changed by a message"):
        judge.ledger.unpack(forged(Fill(target, state)))
    assert Case("α", (2.0,), 1.0).room == room


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state_dict": 1}, "Linear.state_dict is a method"),
        ({"parameters": nn.functional.relu}, "Linear.parameters is a method"),
        ({"_parameters": 3}, "Linear._parameters is a int"),
    ],
)
def test_a_module_s_methods_and_what_it_holds_are_the_judge_s(ends, state, words):
    judge, _ = ends
    layer = nn.Linear(2, 2)
    number = judge.ledger.number(layer)
    with pytest.raises(pickle.UnpicklingError, match=words):
        judge.ledger.unpack(forged(Fill(Own(number), state)))
    assert len([*layer.parameters()]) == 2


def test_a_module_that_lies_about_its_weights_does_not_come_back(ends):
    class Lying(dict):
        def items(self):
            return iter(())

    def lie(model):
        model.__dict__["_parameters"] = Lying(model._parameters)

    with pytest.raises(pickle.UnpicklingError, match=r"Linear\._parameters is a Thing"):
        given(ends, lie)(nn.Linear(2, 2))

    def shadow(model):
        model.named_parameters = lambda: []

    with pytest.raises(pickle.UnpicklingError, match=r"Linear\.named_parameters is a method"):
        given(ends, shadow)(nn.Linear(2, 2))


class Made:
    """In a message: a class, called."""

    def __init__(self, kind, *args):
        self.made = kind, args

    def __reduce__(self):
        return self.made


def test_a_message_makes_no_module_by_its_class(ends):
    judge, _ = ends
    with pytest.raises(pickle.UnpicklingError, match="may not be called by a message"):
        judge.ledger.unpack(forged(Made(nn.Linear, 2, 2)))


def test_a_judge_takes_no_number_that_it_never_gave(ends):
    judge, _ = ends

    class Forged:
        def __reduce__(self):
            return unpacking.yours, (77,)

    with pytest.raises(pickle.UnpicklingError, match="number 77 is none of what was sent"):
        judge.ledger.unpack(pickle.dumps(Forged()))


def test_who_hangs_up_is_lost_and_no_exception_of_the_answer(ends):
    judge, defined = ends
    defined["f"] = lambda: None
    function = judge.ask("get", "f")
    judge.connection.close()
    assert not issubclass(Lost, Exception)
    with pytest.raises(Lost):
        function()


def test_the_verdict_is_the_check_s(ends):
    judge, defined = ends
    defined["scale"] = lambda alpha, rank: alpha
    code = "from lorakit.checks import Case, settle\nsettle('scale', scale, [Case('α = 2, r = 4', (2, 4), 0.5)])"
    verdict = judging.judge(code, ["scale"], judge.connection)
    assert not verdict.passed
    assert verdict.kind == "CheckFailed"
    assert "returned  2" in verdict.said
    assert "off by" not in verdict.said
    assert not judging.judge(code, ["other"], judge.connection).passed


def test_a_check_that_passes_says_so(ends):
    judge, defined = ends
    defined["scale"] = lambda alpha, rank: alpha / rank
    code = "from lorakit.checks import Case, settle\nsettle('scale', scale, [Case('α = 2, r = 4', (2, 4), 0.5)])"
    assert judging.judge(code, ["scale"], judge.connection) == judging.Verdict(True, "✓ scale: 1 case")
