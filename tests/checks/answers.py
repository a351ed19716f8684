"""How an assignment's checks are tried: right answers written differently, wrong ones with what they must hear."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from lorakit.checks import CheckFailed, Unanswered

SEEDS = (0, 4711)  # the visible check's, and one as a hidden check may have it


class Answered:
    """The checks of one assignment before right and wrong answers; a test file names its own in a class Test….

    CHECKS  {exercise: check}, see `checks_of`
    RIGHT   {exercise: [answer, …]}, an answer being what the check is given: a function, or a tuple of them
    WRONG   {exercise: [(answer, words), …]}, the words a regular expression that fits this diagnosis, and no other
            of its exercise
    SHARED  words that may fit several
    UNSEEDED  exercises whose check draws nothing
    """

    CHECKS: dict
    RIGHT: dict
    WRONG: dict
    SHARED: tuple = ()
    UNSEEDED: tuple = ()

    def given(self, answer):
        """What a check is called with."""
        return answer if isinstance(answer, tuple) else (answer,)

    def pytest_generate_tests(self, metafunc):
        names, rows = metafunc.fixturenames, []
        if "words" in names:
            rows = [(name, *pair) for name, pairs in self.WRONG.items() for pair in pairs]
        elif "answer" in names:
            rows = [(name, answer) for name, answers in self.RIGHT.items() for answer in answers]
        elif "exercise" in names:
            rows = [(name,) for name in self.RIGHT]
        if rows:
            metafunc.parametrize(("exercise", "answer", "words")[: len(rows[0])], rows, ids=_ids(rows))

    def test_right(self, exercise, answer, capsys):
        for seed in SEEDS:
            self.CHECKS[exercise](*self.given(answer), seed=seed)
        assert [line[0] for line in capsys.readouterr().out.splitlines()] == ["✓"] * len(SEEDS)

    def test_wrong(self, exercise, answer, words):
        others = [other for _, other in self.WRONG[exercise] if other not in (words, *self.SHARED)]
        for seed in SEEDS:
            with pytest.raises(CheckFailed) as failure:
                self.CHECKS[exercise](*self.given(answer), seed=seed)
            diagnosis, lines = failure.value.diagnosis or "nothing", str(failure.value).splitlines()
            assert re.search(words, diagnosis), str(failure.value)
            assert [other for other in others if re.search(other, diagnosis)] == []
            assert lines[-1] == f"likely: {diagnosis}"
            assert len(lines) < 12

    def test_a_stub(self, exercise):
        def stub(*args, **kwargs):
            raise NotImplementedError(exercise)

        with pytest.raises(Unanswered, match="not written yet"):
            self.CHECKS[exercise](*[stub for _ in self.given(self.RIGHT[exercise][0])])

    def seen(self, exercise, args):
        """What tells one case from another."""
        return [_seen(value) for value in args]

    def test_a_check_leaves_the_generators_alone(self, exercise):
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        self.CHECKS[exercise](*self.given(self.RIGHT[exercise][0]))
        now = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        assert torch.equal(before[0], now[0])
        assert before[1:] == now[1:]

    def test_another_seed_asks_something_else(self, exercise):
        if exercise in self.UNSEEDED:
            pytest.skip("nothing is drawn: the answer is the student's own")
        asked = []
        for seed in (0, 0, 1):
            asked.append([])
            answers = [self.spied(exercise, answer, asked[-1]) for answer in self.given(self.RIGHT[exercise][0])]
            self.CHECKS[exercise](*answers, seed=seed)
        assert asked[0] == asked[1] != asked[2]

    def spied(self, exercise, answer, asked):
        """The answer, which keeps what it was asked."""

        def spy(*args, **kwargs):
            asked.append(repr(self.seen(exercise, [*args, *kwargs.values()])))
            return answer(*args, **kwargs)

        return spy

    def test_there_are_enough(self):
        """At least three right and five wrong answers for each exercise, each wrong one with words of its own."""
        assert self.CHECKS.keys() == self.RIGHT.keys() == self.WRONG.keys()
        for name, pairs in self.WRONG.items():
            said = [words for _, words in pairs]
            assert len(self.RIGHT[name]) >= 3, name
            assert len(said) >= 5, name
            assert len(set(said)) == len(said), name


def _seen(value):
    """What of an argument tells one case from another: no function, whose address is another each time."""
    if isinstance(value, nn.Module):
        return [_seen(tensor) for tensor in value.state_dict().values()]
    if isinstance(value, torch.optim.Optimizer):
        return [_seen(group["params"]) for group in value.param_groups]
    if isinstance(value, torch.Generator):
        return torch.rand(3, generator=value)
    if isinstance(value, dict):
        return {key: _seen(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_seen(one) for one in value]
    return "a function" if callable(value) else value.detach().tolist() if isinstance(value, torch.Tensor) else value


def checks_of(assignment):
    """{exercise: check} of a module of `lorakit.checks`."""
    return {name.removeprefix("check_"): getattr(assignment, name) for name in assignment.__all__}


def _ids(rows):
    return [f"{row[0]}-{sum(other[0] == row[0] for other in rows[:i])}" for i, row in enumerate(rows)]
