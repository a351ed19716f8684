"""θ = θ₀ + P·z, and training z alone.

    moved(start, P, z)      descend(W₀, P, x, y, steps, lr)

A step of z moves W by −lr·P·Pᵀ·∂L/∂W: that is how what is right is worked out here, by hand and in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, call, settle
from lorakit.checks.drawing import DTYPES, Draw
from lorakit.checks.failing import fail

IN_TURN = "cut P·z into pieces as long as the tensors, one after another, and add each to its own"
A_STEP = "start at z = 0; each step is z − lr·∂L/∂z, at the W of this step, and lr stays what it is"


def check_subspace(function: Callable, *, seed: int = 0) -> None:
    """`moved(start, P, z)` → θ₀ + P·z, one tensor after another, in a graph that leads to z; raises `CheckFailed`."""
    draw = Draw(seed)
    cases = [_placed(draw, count, DTYPES[n % 2]) for n, count in enumerate((2, 3, 1, 4))]
    settle("subspace", function, cases, SUBSPACE, otherwise=IN_TURN, then=lambda: _lead_back(function, cases))


def _lead_back(function: Callable, cases: Sequence[Case]) -> None:
    """Of an answer that is right: whether a loss of it has a gradient in z."""
    for case in cases:
        if not all(getattr(part, "requires_grad", False) for part in call("subspace", function, case)):
            why = "the values are right, and no gradient leads back to z: a detach(), .data or no_grad() is in the way"
            fail("subspace", case.says, diagnosis=why)


def check_descend(function: Callable, *, seed: int = 0) -> None:
    """`descend(W0, P, x, y, steps, lr)` → W after steps of gradient descent on z alone; raises `CheckFailed`."""
    draw, cases = Draw(seed), []
    for out, inputs, rank, dtype in draw.sizes(4, low=4, high=8):
        d, rows, steps = rank + 3, draw.integer(9, 15), draw.integer(4, 7)
        W, x, y = (draw.normal(*shape, dtype=dtype) for shape in ((out, inputs), (rows, inputs), (rows, out)))
        given = (W, draw.orthonormal(out * inputs, d, dtype), x, y, steps, 0.5)
        says = f"W {out}×{inputs}, d = {d}, {rows} rows, {steps} steps"
        cases.append(Case(says, given, _descended(*given)))
    settle("descend", function, cases, DESCEND, otherwise=A_STEP)


# ── θ₀ + P·z ────────────────────────────────────────────────────────────────────────────────────────────


def _placed(draw: Draw, count: int, dtype: torch.dtype) -> Case:
    shapes = [tuple(draw.distinct(2, 2, 6)) if draw.integer(0, 3) else (draw.integer(2, 6),) for _ in range(count - 1)]
    shapes.insert(1, tuple(draw.distinct(2, 3, 6)))
    start = [draw.normal(*shape, dtype=dtype) for shape in shapes]
    D, d = sum(part.numel() for part in start), draw.integer(2, 7)
    P, z = draw.normal(D, d, dtype=dtype), draw.normal(d, dtype=dtype).requires_grad_()
    says = f"tensors of shapes {', '.join(map(str, shapes))}, d = {d}"
    return Case(says, (start, P, z), _moved(start, P.detach(), z.detach()))


def _moved(
    start: Sequence[Tensor], P: Tensor, z: Tensor, read: Callable[[Tensor, Tensor], Tensor] | None = None
) -> list:
    parts = (P @ z).split([part.numel() for part in start])
    return [part + (read(move, part) if read else move.view_as(part)) for part, move in zip(start, parts)]


def _multiplied(start: Sequence[Tensor], P: Tensor, z: Tensor) -> list[Tensor]:
    return [part * (moved - part) for part, moved in zip(start, _moved(start, P, z))]


def _by_columns(move: Tensor, part: Tensor) -> Tensor:
    return move.view(part.shape[::-1]).permute(*range(part.ndim)[::-1])


SUBSPACE = (
    Mistake("this is P·z alone: θ₀ is missing", lambda start, P, z: _moved([0 * part for part in start], P, z)),
    Mistake(
        "every tensor took the first entries of P·z: the next one goes on where the last one ended",
        lambda start, P, z: [part + (P @ z)[: part.numel()].view_as(part) for part in start],
    ),
    Mistake(
        "the entries are read column by column: reshape to the tensor's own shape, row by row",
        lambda start, P, z: _moved(start, P, z, _by_columns),
    ),
    Mistake("θ₀ − P·z: this goes the other way", lambda start, P, z: _moved(start, P, -z)),
    Mistake("the move is twice as long as P·z", lambda start, P, z: _moved(start, P, 2 * z)),
    Mistake("θ₀·P·z: the move is added, not multiplied", _multiplied),
    Mistake("the tensors came back from the last to the first", lambda start, P, z: _moved(start, P, z)[::-1]),
    Mistake(
        "the columns of P are scaled to length 1: P is used as it is",
        lambda start, P, z: _moved(start, P / P.norm(dim=0), z),
    ),
    Mistake("z does not come in: these are the values at z = 0", lambda start, P, z: list(start)),
    Mistake(
        "this is one long vector: give each tensor its own shape back",
        lambda start, P, z: torch.cat([part.flatten() for part in start]) + P @ z,
    ),
    Mistake(
        "P·z was handed out from the last tensor to the first",
        lambda start, P, z: _moved(start[::-1], P, z)[::-1],
    ),
)


# ── Training z alone ────────────────────────────────────────────────────────────────────────────────────


def _descended(W, P, x, y, steps, lr, *, all_of_it=False, summed=1.0, piling=False, start=1.0, extra=0, begin=0.0):
    """W after gradient descent on z, or what one of the mistakes makes of it."""
    W0, P, x, y = (tensor.detach().double() for tensor in (W, P, x, y))
    z, moved, pile = torch.full((P.shape[1],), begin, dtype=torch.float64), torch.zeros_like(W0), torch.zeros_like(W0)
    for _ in range(steps + extra):
        W = W0 + (moved if all_of_it else (P @ z).view_as(W0))
        G = 2 * (x @ W.mT - y).mT @ x / y.numel() * summed
        pile = pile + G if piling else G
        z, moved = z - lr * P.mT @ pile.flatten(), moved - lr * pile
    return start * W0 + (moved if all_of_it else (P @ z).view_as(W0))


DESCEND = (
    Mistake("all of W moved, and not only along P: it is z that trains", partial(_descended, all_of_it=True)),
    Mistake(
        "the loss was summed over rows and outputs: take the mean of all squared errors",
        lambda W, P, x, y, steps, lr: _descended(W, P, x, y, steps, lr, summed=y.numel()),
    ),
    Mistake(
        "the loss was summed over the outputs: the mean is over rows and outputs, all entries of y",
        lambda W, P, x, y, steps, lr: _descended(W, P, x, y, steps, lr, summed=y.shape[1]),
    ),
    Mistake("gradients pile up from step to step: set z.grad back before each", partial(_descended, piling=True)),
    Mistake("this is one step: `steps` are asked for", lambda W, P, x, y, steps, lr: _descended(W, P, x, y, 1, lr)),
    Mistake(
        "the gradient is that at W₀ in every step: work it out anew",
        lambda W, P, x, y, steps, lr: _descended(W, P, x, y, 1, steps * lr),
    ),
    Mistake("lr is an argument, and 0.1 was taken", lambda W, P, x, y, steps, lr: _descended(W, P, x, y, steps, 0.1)),
    Mistake("z starts at 0: here it starts at 1", partial(_descended, begin=1.0)),
    Mistake("this is P·z alone: W₀ is missing", partial(_descended, start=0.0)),
    Mistake(
        "the loss goes up: a step is −lr·gradient", lambda W, P, x, y, steps, lr: _descended(W, P, x, y, steps, -lr)
    ),
    Mistake("one step too few", partial(_descended, extra=-1)),
    Mistake("one step too many", partial(_descended, extra=1)),
    Mistake("half the gradient: the derivative of a square brings a 2", partial(_descended, summed=0.5)),
    Mistake("W is where it started: is z updated, and W worked out from z at the end?", lambda W, *rest: W),
)
