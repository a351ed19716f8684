"""Was a product formed that the task does without? Factors that are harmless, and a product that is not.

    scattered    |B·A| runs from 1e-400 to 1e400, which no float64 holds on any scale; B·(A·x) is of a size with b
    endless      B·A has more entries than a process can address; its factors have four million each

Nothing is counted or timed, so there is no counter to patch: where the product is formed, what its factors give does
not come out. One way is left: to scale `scattered` row by row first, or to take longer floats, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lorakit.checks.checking import Case, call
from lorakit.checks.comparing import plain, same
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail

COSTLY = "right, but costly"
EXPONENT = 200  # of ten: two of them leave float64 at either end, by more than its whole range
ADDRESSED = 1 << 47  # bytes that a process can address


def scattered(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x (2, in), W (out, in) = 0, b (out,), A (3, in), B (out, 3) in float64; ΔW cannot be held, Wx + b + ΔW·x can."""
    out, inputs = 12, 15
    rows, columns = (10 ** torch.linspace(EXPONENT, -EXPONENT, n, dtype=torch.float64) for n in (out, inputs))
    x, b, A, B = (1 + draw.normal(*s, dtype=torch.float64).abs() for s in ((2, inputs), (out,), (3, inputs), (out, 3)))
    W = torch.zeros(out, inputs, dtype=torch.float64)
    return x / columns, W, b * rows, A * columns, B * rows[:, None]


def without_scattered(exercise: str, function: Callable, args: tuple, expected: Tensor, diagnosis: str) -> None:
    """Fail where a function of `scattered` factors returns something else: every row counts, however small."""
    says = f"{COSTLY}: entries of ΔW from 1e-{2 * EXPONENT} to 1e{2 * EXPONENT}, where those of all else fit float64"
    returned = call(exercise, function, Case(says, args, expected))
    if not same(torch.ones_like(expected), plain(returned) / plain(expected), 1e-9):
        fail(exercise, says, expected, returned, diagnosis)


def endless(draw: Draw) -> tuple[Tensor, Tensor]:
    """B (out, 1) and A (1, in) in float64 of a few million entries each, with a product beyond any address space."""
    side = int((ADDRESSED / 8) ** 0.5) + 100_000
    return draw.normal(side, 1, dtype=torch.float64), draw.normal(1, side, dtype=torch.float64)


def without_endless(
    exercise: str, function: Callable, args: tuple, right: Callable[[Tensor, Tensor, Any], bool], diagnosis: str
) -> None:
    """Fail where a function of `endless` factors raises, or returns what `right(B, A, returned)` says no to."""
    B, A = args
    says = f"{COSTLY}: B {tuple(B.shape)}, A {tuple(A.shape)}"
    try:
        returned = function(*args)
    except Exception as error:
        first = str(error).partition("\n")[0]
        fail(exercise, says, "what its factors give", f"nothing: {type(error).__name__}: {first}", diagnosis)
    if not right(B, A, returned):
        fail(exercise, says, "what its factors give", "something else", diagnosis)
