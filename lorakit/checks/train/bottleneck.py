"""The bottleneck h + U·GELU(D·h + c) + e (Houlsby et al. 2019), and how wide it may be beside a LoRA of rank r."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw

WITHIN = "what each takes: LoRA r·(d + d) a matrix, a bottleneck of width r its two matrices and two biases a place"


def check_bottleneck(bottleneck: Callable, *, seed: int = 0) -> None:
    """bottleneck(h, down, c, up, e) = h + up·GELU(down·h + c) + e, with down (r, d) and up (d, r)."""
    draw, cases = Draw(seed), []
    for i, z in enumerate(draw.sizes(6)):
        shapes = ((2, 3, z.out), (4, z.out), (z.out,))[i % 3], (z.rank, z.out), (z.rank,), (z.out, z.rank), (z.out,)
        args = tuple(draw.normal(*shape, dtype=z.dtype) for shape in shapes)
        cases.append(Case(f"h {tuple(shapes[0])}, r = {z.rank}, {str(z.dtype)[6:]}", args, _through(*args)))
    settle(
        "bottleneck", bottleneck, cases, BOTTLENECK, otherwise="down first, then c, GELU, up, e, and h added at the end"
    )


def _through(h: Tensor, down: Tensor, c: Tensor, up: Tensor, e: Tensor, *, act: Callable = F.gelu) -> Tensor:
    return h + act(h @ down.mT + c) @ up.mT + e


def check_sizes(sizes: Callable, *, seed: int = 0) -> None:
    """sizes(budget, d, matrices, places) = (rank of LoRA, width of the bottlenecks): the largest within the budget."""
    draw = Draw(seed)
    drawn = [
        (draw.integer(20_000, 90_000), draw.integer(60, 400), draw.integer(2, 24), draw.integer(2, 12))
        for _ in range(5)
    ]
    close = [_close(draw, *spare) for spare in ((1, 1), (0, 0), (0, -1))]
    cases = [(2 * 5 * 96 * 8, 96, 8, 2), (73_728, 384, 12, 12), *drawn, *close]
    mistakes = [
        Mistake("these are fractions: a rank is a whole number, //", _sizes_with(lambda n, k: n / k)),
        Mistake(
            "the bottleneck's bias of length r is left out",
            lambda b, d, m, p: (_sizes(b, d, m, p)[0], (b // p - d) // (2 * d)),
        ),
        Mistake(
            "the bottleneck's bias of length d is left out",
            lambda b, d, m, p: (_sizes(b, d, m, p)[0], b // p // (2 * d + 1)),
        ),
        Mistake("the bottleneck's biases are left out", lambda b, d, m, p: (_sizes(b, d, m, p)[0], b // p // (2 * d))),
        Mistake("LoRA has two factors in each matrix: 2·d·r", lambda b, d, m, p: (b // (d * m), _sizes(b, d, m, p)[1])),
        Mistake(
            "the whole budget went to one matrix or place: divide it among them", lambda b, d, m, p: _sizes(b, d, 1, 1)
        ),
        Mistake("the rank comes first, and this is the width and then the rank", lambda *a: _sizes(*a)[::-1]),
        Mistake("matrices and places are swapped", lambda b, d, m, p: _sizes(b, d, p, m)),
        Mistake("both are one too large: they do not fit the budget", lambda *a: tuple(n + 1 for n in _sizes(*a))),
        Mistake("both are one too small: there is room for one more", lambda *a: tuple(n - 1 for n in _sizes(*a))),
        Mistake(
            "the two are as wide as each other: the bottleneck pays for its biases, and has its own number of places",
            lambda b, d, m, p: (b // (2 * d * m),) * 2,
        ),
        Mistake("rounded: a rank or width above the budget is no fair rival, round down", _sizes_with(_rounded)),
    ]
    names = [f"{b:,} parameters, d = {d}, {m} matrices, {p} places" for b, d, m, p in cases]
    settle(
        "sizes",
        sizes,
        [Case(says, args, _sizes(*args)) for says, args in zip(names, cases)],
        mistakes,
        otherwise=WITHIN,
    )


def _close(draw: Draw, vectors: int, more: int) -> tuple[int, int, int, int]:
    """What bottlenecks of some width take to the last number, and so many vectors and numbers more in each place."""
    d, matrices, places, width = (draw.integer(*ends) for ends in ((60, 90), (2, 24), (2, 12), (20, 40)))
    return places * (2 * d * width + width + d + vectors * d + more), d, matrices, places


def _rounded(n: float, k: float) -> int:
    return round(n / k)


def _sizes_with(divide: Callable) -> Callable:
    return lambda b, d, m, p: (divide(b, 2 * d * m), divide(b / p - d, 2 * d + 1))


def _sizes(budget: int, d: int, matrices: int, places: int) -> tuple[int, int]:
    return budget // (2 * d * matrices), (budget // places - d) // (2 * d + 1)


BOTTLENECK = [
    Mistake("h itself is missing: the bottleneck adds to it", lambda h, *rest: _through(h, *rest) - h),
    Mistake(
        "GELU is missing: without it, this is a matrix of rank r, and could be merged",
        lambda *a: _through(*a, act=lambda x: x),
    ),
    Mistake("this has ReLU: GELU is asked for", lambda *a: _through(*a, act=F.relu)),
    Mistake("this has SiLU: GELU is asked for", lambda *a: _through(*a, act=F.silu)),
    Mistake("this has tanh: GELU is asked for", lambda *a: _through(*a, act=torch.tanh)),
    Mistake("this has a sigmoid: GELU is asked for", lambda *a: _through(*a, act=torch.sigmoid)),
    Mistake("the bias c is taken off: it is added", lambda h, D, c, U, e: _through(h, D, -c, U, e)),
    Mistake("h is taken off: the bottleneck adds to it", lambda h, *rest: _through(h, *rest) - 2 * h),
    Mistake("h is added twice: once", lambda h, *rest: _through(h, *rest) + h),
    Mistake("h is multiplied by it: the bottleneck adds to h", lambda h, *rest: h * _through(h, *rest)),
    Mistake(
        "this is GELU's tanh approximation: F.gelu(x) is the exact one",
        lambda *a: _through(*a, act=lambda x: F.gelu(x, approximate="tanh")),
    ),
    Mistake("the bias c is missing", lambda h, D, c, U, e: _through(h, D, 0 * c, U, e)),
    Mistake("the bias e is missing", lambda h, D, c, U, e: _through(h, D, c, U, 0 * e)),
    Mistake(
        "GELU stands behind up: it belongs between down and up",
        lambda h, D, c, U, e: h + F.gelu((h @ D.mT + c) @ U.mT + e),
    ),
    Mistake("GELU twice: once, between down and up", lambda h, D, c, U, e: h + F.gelu(F.gelu(h @ D.mT + c) @ U.mT + e)),
    Mistake("c is added behind GELU: it belongs inside", lambda h, D, c, U, e: h + (F.gelu(h @ D.mT) + c) @ U.mT + e),
    Mistake(
        "GELU is laid around everything: h passes by it",
        lambda h, D, c, U, e: F.gelu(h + (h @ D.mT + c) @ U.mT + e),
    ),
]
