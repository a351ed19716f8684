"""An answer is right where every case is: what is expected first, then the student's function on copies.

    for each case:  returned = function(*copies)   →   same as expected, and the copies untouched, or CheckFailed

The diagnosis is the first of: a `Mistake` of the exercise whose wrong formula returns just this; what the answer's
looks give away (`comparing.usual`); the exercise's own word for the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lorakit.checks.comparing import DOUBLE, NUMBER, SINGLE, plain, same, show, told, usual
from lorakit.checks.failing import CheckFailed, Unanswered, fail, passed
from lorakit.checks.raising import raised


@dataclass(frozen=True, eq=False)
class Case:
    """One trial of an answer: what it is called in the message, what goes in and what is to come out.

    changes    the function may change what it is given (a training step changes a model)
    shared     and is given it itself, not a copy: the check looks at it afterwards
    tolerance  how far apart right answers may lie, relative to the largest entry; None: by the dtype of the arguments
    """

    says: str
    args: tuple
    expected: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    changes: bool = False
    shared: bool = False
    tolerance: float | None = None

    @property
    def room(self) -> float:
        """The tolerance of this case: double precision where nothing it is given is less precise."""
        if self.tolerance is not None:
            return self.tolerance
        if isinstance(self.expected, int):
            return 0.0
        dtypes = {tensor.dtype for tensor in _tensors((self.args, dict(self.kwargs))) if tensor.is_floating_point()}
        return SINGLE if dtypes - {torch.float64} else DOUBLE if dtypes else NUMBER


@dataclass(frozen=True, eq=False)
class Mistake:
    """A wrong answer that many give: what to say, and the wrong formula, called as the student's function is.

    `says` may name the case's values: a text, or a function of the case's arguments.
    """

    says: str | Callable[..., str | None]
    wrong: Callable[..., Any]

    def about(self, case: Case, returned: Any) -> str | None:
        """The diagnosis, where this formula returns what the student's function returned and is wrong on this case."""
        try:
            guess = self.wrong(*copied(case.args), **copied(dict(case.kwargs)))
        except Exception:  # a formula that does not fit this case explains nothing
            return None
        if same(case.expected, guess, case.room) or not same(guess, returned, max(case.room, 1e-7)):
            return None
        return self.says if isinstance(self.says, str) else self.says(*case.args, **case.kwargs)


def settle(
    exercise: str,
    function: Callable,
    cases: Sequence[Case],
    mistakes: Sequence[Mistake] = (),
    *,
    right: Callable[[Case, Any], bool] | None = None,
    otherwise: str | Callable[[Case, Any], str | None] | None = None,
    then: Callable[[], None] | None = None,
    looks: bool = True,
) -> None:
    """Print a line when `function` is right on every case; raise `CheckFailed` on the first where it is not.

    right      (case, returned) → whether this is right, where more than one answer is; by default `same`
    otherwise  the diagnosis where no mistake and no usual one fits: a text, or a function of case and returned
    looks      whether an answer's looks (`comparing.usual`) may say what is wrong before `otherwise` does
    then       what else is asked of an answer that is right on every case
    """
    right = right or (lambda case, returned: same(case.expected, returned, case.room))
    for number, case in enumerate(cases, 1):
        title = f"case {number} of {len(cases)}: {case.says}"
        returned = call(exercise, function, case, title)
        if not right(case, returned):
            diagnosis = next((text for m in mistakes if (text := m.about(case, returned))), None)
            diagnosis = diagnosis or (usual(case.expected, returned, case.room) if looks else None)
            last = otherwise if isinstance(otherwise, str | None) else otherwise(case, returned)
            fail(exercise, title, *told(case.expected, returned, case.room), diagnosis or last)
    if then is not None:
        then()
    passed(exercise, _counted(cases))


def call(exercise: str, function: Callable, case: Case, title: str | None = None) -> Any:
    """What `function` returns on copies of the case's arguments; `CheckFailed` where it raises or changes them."""
    title = case.says if title is None else title
    if not callable(function):
        fail(
            exercise,
            title,
            diagnosis=f"give the check the function itself, not {show(function)}: check(f), not check(f(x))",
        )
    given = (case.args, dict(case.kwargs))
    args, kwargs = given if case.shared else copied(given)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            returned = function(*args, **kwargs)
    except CheckFailed:
        raise
    except NotImplementedError as error:
        if error.args == (exercise,):
            raise Unanswered(
                exercise, diagnosis="not written yet: replace the line that raises NotImplementedError"
            ) from None
        raised(exercise, title, error)
    except Exception as error:
        raised(exercise, title, error)
    if not case.changes and not same(_state(given), _state((args, kwargs)), 0.0):
        fail(exercise, title, diagnosis="the function changed what it was given, in place: work on a copy (x.clone())")
    return returned


def copied(value: Any) -> Any:
    """A copy that shares nothing with `value`: tensors keep whether they require a gradient."""
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _state(value: Any) -> Any:
    """What of an argument can be seen to change."""
    if isinstance(value, nn.Module):
        return plain(dict(value.state_dict()))
    if isinstance(value, list | tuple):
        return [_state(item) for item in value]
    if isinstance(value, dict):
        return {key: _state(item) for key, item in value.items()}
    return 0 if callable(value) else plain(value)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, nn.Module):
        return list(value.parameters())
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = list(vars(value).values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _counted(cases: Sequence[Case]) -> str:
    tensors = [_tensors((case.args, dict(case.kwargs))) for case in cases]
    dtypes = sorted({str(t.dtype).removeprefix("torch.") for some in tensors for t in some if t.is_floating_point()})
    shapes = {tuple(tuple(tensor.shape) for tensor in some) for some in tensors if some}
    parts = [f"{len(cases)} cases" if len(cases) > 1 else "1 case"]
    parts += [" and ".join(dtypes)] if dtypes else []
    parts += [f"{len(shapes)} shapes"] if len(shapes) > 1 else []
    return ", ".join(parts)
