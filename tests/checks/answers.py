"""How an assignment's checks are tried: right answers written differently, wrong ones with what they must hear."""

import re

import pytest

from lorakit.checks import CheckFailed, Unanswered

SEEDS = (0, 4711)  # the visible check's, and one as a hidden check may have it


class Answered:
    """The checks of one assignment before right and wrong answers; a test file names its own in a class Test….

    CHECKS  {exercise: check}, see `checks_of`
    RIGHT   {exercise: [answer, …]}, an answer being what the check is given: a function, or a tuple of them
    WRONG   {exercise: [(answer, words), …]}, the words a regular expression that fits this diagnosis, and no other
            of its exercise
    SHARED  words that may fit several
    """

    CHECKS: dict
    RIGHT: dict
    WRONG: dict
    SHARED: tuple = ()

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

    def test_there_are_enough(self):
        """At least three right and five wrong answers for each exercise, each wrong one with words of its own."""
        assert self.CHECKS.keys() == self.RIGHT.keys() == self.WRONG.keys()
        for name, pairs in self.WRONG.items():
            said = [words for _, words in pairs]
            assert len(self.RIGHT[name]) >= 3, name
            assert len(said) >= 5, name
            assert len(set(said)) == len(said), name


def checks_of(assignment):
    """{exercise: check} of a module of `lorakit.checks`."""
    return {name.removeprefix("check_"): getattr(assignment, name) for name in assignment.__all__}


def _ids(rows):
    return [f"{row[0]}-{sum(other[0] == row[0] for other in rows[:i])}" for i, row in enumerate(rows)]
