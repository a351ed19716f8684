"""Assignment 1, Derive, the layer: what it computes, and the gradients of A and B."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.costing import scattered, without_scattered
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail

FOR_ALPHA = "ΔW is off by a factor of r = {}: did you use α where it says α/r?"
SUM = "three things are added: W·x, b, and α/r times what B makes of A·x"
TWICE = "the scale is there twice: α/r stands once in h"


def check_forward(forward: Callable, *, seed: int = 0) -> None:
    """forward(x, W, b, A, B, alpha) = W·x + b + (α/r)·B·A·x for x (…, in), at the cost of the thin products."""
    draw, cases = Draw(seed), []
    for i, z in enumerate(draw.sizes(6)):
        z = z._replace(inputs=z.out) if i == 0 else z  # a square one: there a transpose raises nothing
        shapes = ((2, 3, z.inputs), (4, z.inputs), (z.inputs,))[i % 3], (z.out, z.inputs), (z.out,)
        x, W, b, A, B = (draw.normal(*s, dtype=z.dtype) for s in (*shapes, (z.rank, z.inputs), (z.out, z.rank)))
        alpha = draw.choice(5, 7, 11) + 0.5
        cases.append(Case(f"x {tuple(x.shape)}, {z}, α = {alpha:g}", args := (x, W, b, A, B, alpha), _forward(*args)))
    mistakes = [
        Mistake(lambda x, W, b, A, B, a: FOR_ALPHA.format(len(A)), _forward_with(s=lambda a, r: a)),
        Mistake("the scale α/r is missing", _forward_with(s=lambda a, r: 1.0)),
        Mistake("α/√r is rsLoRA's scale: the paper's is α/r", _forward_with(s=lambda a, r: a / math.sqrt(r))),
        Mistake(
            "α is divided by a side of W: r is the inner one, the rows of A",
            lambda x, W, b, A, B, a: _forward(x, W, b, A, B, a * len(A) / len(W)),
        ),
        Mistake(
            "α is divided by a side of W: r is the inner one, the rows of A",
            lambda x, W, b, A, B, a: _forward(x, W, b, A, B, a * len(A) / W.shape[1]),
        ),
        Mistake("the fraction is upside down: this has r/α", _forward_with(s=lambda a, r: r / a)),
        Mistake("B·A·x is taken off: it is added", _forward_with(s=lambda a, r: -a / r)),
        Mistake("b is added twice: F.linear(x, W, b) has it", _forward_with(b=lambda b, s: 2 * b)),
        Mistake(TWICE, _forward_with(s=lambda a, r: (a / r) ** 2)),
        Mistake("the frozen part W·x + b is missing", _forward_with(W=lambda W, s: 0 * W, b=lambda b, s: 0 * b)),
        Mistake("the bias b is missing", _forward_with(b=lambda b, s: 0 * b)),
        Mistake("b is scaled by α/r: only B·A·x is", _forward_with(b=lambda b, s: s * b)),
        Mistake("W·x is scaled by α/r: only B·A·x is", _forward_with(W=lambda W, s: s * W)),
        Mistake("all of it is scaled by α/r: only B·A·x is", _forward_with(W=lambda W, s: s * W, b=lambda b, s: s * b)),
        Mistake("W is taken transposed: one row of W makes one output", _forward_with(W=lambda W, s: W.T)),
        Mistake(
            "A and B are taken in the wrong order: A meets x, and B what comes out of it",
            lambda x, W, b, A, B, a: x @ W.mT + b + a / len(A) * (x @ B @ A),
        ),
        Mistake("this is the frozen layer alone: ΔW·x is missing", _forward_with(s=lambda a, r: 0.0)),
    ]
    costly = "ΔW is formed, out × in: take A·x first, then B of that, and no product is larger than its result"
    wild = scattered(draw)
    thin = partial(without_scattered, "forward", forward, (*wild, 7.0), _forward(*wild, 7.0), costly)
    settle("forward", forward, cases, mistakes, otherwise=SUM, then=thin)


def _forward(x: Tensor, W: Tensor, b: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    return x @ W.mT + b + alpha / len(A) * (x @ A.mT @ B.mT)


def _forward_with(
    s: Callable = lambda a, r: a / r, W: Callable = lambda W, s: W, b: Callable = lambda b, s: b
) -> Callable:
    """The same with another scale, W or bias: each a function of what it should be (and of α/r)."""

    def wrong(x, W0, b0, A, B, alpha):
        r = len(A)
        return _forward(x, W(W0, alpha / r), b(b0, alpha / r), A, B, r * s(alpha, r))

    return wrong


def check_gradients(gradients: Callable, *, seed: int = 0) -> None:
    """gradients(x, g, A, B, alpha) = (∂L/∂A, ∂L/∂B) for y = … + (α/r)·B·A·x and g = ∂L/∂y (N, out), by hand."""
    draw, cases = Draw(seed), []
    for z in draw.sizes(6):
        shapes = (rows := draw.integer(3, 6), z.inputs), (rows, z.out), (z.rank, z.inputs), (z.out, z.rank)
        x, g, A, B = (draw.normal(*shape, dtype=z.dtype) for shape in shapes)
        alpha = draw.choice(5, 7, 11) + 0.5
        says = f"x ({rows}, {z.inputs}), {z}, α = {alpha:g}"
        cases.append(Case(says, (x, g, A, B, alpha), _gradients(x, g, A, B, alpha)))
    settle(
        "gradients",
        _by_hand(gradients),
        cases,
        GRADIENTS_MISTAKES,
        otherwise="write y = s·h·Bᵀ with h = x·Aᵀ, and go back one product at a time",
    )


def _gradients(x: Tensor, g: Tensor, A: Tensor, B: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    scale = alpha / len(A)
    return scale * (g @ B).mT @ x, scale * g.mT @ (x @ A.mT)


def _by_hand(gradients: Callable) -> Callable:
    """In inference mode, where autograd has nothing to go back through."""

    def alone(*args):
        with torch.inference_mode():
            try:
                return gradients(*args)
            except NotImplementedError:  # a RuntimeError too: the stub's
                raise
            except RuntimeError as error:
                if "grad" not in str(error) and "nference" not in str(error):
                    raise
                fail("gradients", "", diagnosis="autograd is switched off here: write the two products by hand")

    return alone


GRADIENTS_MISTAKES = [
    Mistake(lambda x, g, A, B, a: FOR_ALPHA.format(len(A)), lambda x, g, A, B, a: _gradients(x, g, A, B, a * len(A))),
    Mistake(
        "the scale α/r is missing: it stands before B·A·x, and so before both gradients",
        lambda x, g, A, B, a: _gradients(x, g, A, B, len(A)),
    ),
    Mistake(TWICE + " and once in each gradient", lambda x, g, A, B, a: _gradients(x, g, A, B, a * a / len(A))),
    Mistake("∂L/∂A comes first, and this is ∂L/∂B and then ∂L/∂A", lambda *args: _gradients(*args)[::-1]),
    Mistake(
        "both are transposed: a gradient has the shape of what it is the gradient of",
        lambda *args: tuple(d.T for d in _gradients(*args)),
    ),
    Mistake(
        "the mean over rows: L's gradient g already holds any 1/N, so the rows are summed",
        lambda x, *args: tuple(d / len(x) for d in _gradients(x, *args)),
    ),
    Mistake(
        "the sign is that of a step downhill: the gradient itself is asked for",
        lambda *args: tuple(-d for d in _gradients(*args)),
    ),
    Mistake(
        "the scale is missing in ∂L/∂A",
        lambda x, g, A, B, a: (_gradients(x, g, A, B, len(A))[0], _gradients(x, g, A, B, a)[1]),
    ),
    Mistake(
        "the scale is missing in ∂L/∂B",
        lambda x, g, A, B, a: (_gradients(x, g, A, B, a)[0], _gradients(x, g, A, B, len(A))[1]),
    ),
]
