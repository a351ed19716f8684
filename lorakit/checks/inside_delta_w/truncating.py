"""The best rank-k pair for ΔW = B·A (Eckart & Young 1936), judged by its product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw
from lorakit.checks.failing import fail


def check_truncated(truncated: Callable, *, seed: int = 0) -> None:
    """truncated(B, A, k) = left (out, k), right (k, in), whose product is the best approximation of B·A of rank k."""
    draw, cases = Draw(seed), []
    for i, z in enumerate(draw.sizes(6, low=8)):
        r = max(z.rank, 4)
        B, A = draw.normal(z.out, r, dtype=z.dtype), draw.normal(r, z.inputs, dtype=z.dtype)
        k = (2, r - 1, r, 1, draw.integer(1, r), 2)[i]
        cases.append(Case(f"{z._replace(rank=r)}, k = {k}", (B, A, k), _cut(B, A, slice(0, k))))
    settle(
        "truncated",
        _product(truncated),
        cases,
        TRUNCATED,
        otherwise="is it U·S on one side and Vh on the other, k of each?",
    )


def _cut(B: Tensor, A: Tensor, part: slice, power: float = 1) -> Tensor:
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    S = S[: len(A)]
    return U[:, : len(A)][:, part] * S[part] ** power @ Vh[: len(A)][part]


def _first(B: Tensor, A: Tensor, k: int) -> Tensor:
    return B[:, :k] @ A[:k]


def _longest(B: Tensor, A: Tensor, k: int) -> Tensor:
    chosen = B.norm(dim=0).argsort(descending=True)[:k]
    return B[:, chosen] @ A[chosen]


def _apart(B: Tensor, A: Tensor, k: int) -> Tensor:
    def best(M: Tensor) -> Tensor:
        U, S, Vh = torch.linalg.svd(M, full_matrices=False)
        return U[:, :k] * S[:k] @ Vh[:k]

    return best(B) @ best(A)


def _product(truncated: Callable) -> Callable:
    """The product of the pair that comes back, once its shapes are those of a pair of rank k."""

    def outcome(B: Tensor, A: Tensor, k: int) -> Any:
        pair = truncated(B, A, k)
        if isinstance(pair, Tensor):
            fail(
                "truncated",
                f"k = {k}",
                diagnosis="one matrix came back: the pair (left, right) is asked for, not its product",
            )
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            fail("truncated", f"k = {k}", "(left, right)", pair, "two tensors are asked for: left, right")
        left, right = pair
        if left.ndim != 2 or right.ndim != 2:
            fail(
                "truncated", f"k = {k}", diagnosis="left and right are matrices: is there a slice that dropped a side?"
            )
        wanted, given = ((len(B), k), (k, A.shape[1])), (tuple(left.shape), tuple(right.shape))
        if given != wanted and not (
            left.shape[1] == right.shape[0] and (len(left), right.shape[1]) == (len(B), A.shape[1])
        ):
            fail("truncated", f"k = {k}", str(wanted), str(given), "left is (out, k) and right is (k, in)")
        return left @ right

    return outcome


TRUNCATED = [
    Mistake("the first k columns of B and rows of A are in no order: the directions of B·A are", _first),
    Mistake(
        "S is missing: U·Vh has every direction at the same size", lambda B, A, k: _cut(B, A, slice(0, k), power=0)
    ),
    Mistake("S stands on both sides: once, or its root on each", lambda B, A, k: _cut(B, A, slice(0, k), power=2)),
    Mistake(
        "√S stands on one side only: S once, or its root on each",
        lambda B, A, k: _cut(B, A, slice(0, k), power=0.5),
    ),
    Mistake(
        "these are the last k of all directions, and S is 0 there: it falls, take the first k",
        lambda B, A, k: 0 * B @ A,
    ),
    Mistake(
        "these are the smallest k directions: the largest carry the most",
        lambda B, A, k: _cut(B, A, slice(A.shape[0] - k, A.shape[0])),
    ),
    Mistake("nothing is cut: this is B·A", lambda B, A, k: B @ A),
    Mistake("this is what is lost, B·A minus its best approximation", lambda B, A, k: B @ A - _cut(B, A, slice(0, k))),
    Mistake("one direction too few: [:k] is k of them", lambda B, A, k: _cut(B, A, slice(0, k - 1))),
    Mistake("one direction too many: [:k] is k of them", lambda B, A, k: _cut(B, A, slice(0, k + 1))),
    Mistake("B and A were cut apart: the best of each is not the best of B·A", _apart),
    Mistake("the last k columns of B and rows of A are in no order either", lambda B, A, k: B[:, -k:] @ A[-k:]),
    Mistake("the longest columns of B are no directions of B·A: A turns and stretches them", _longest),
    Mistake("the first direction is left out: counting starts at 0", lambda B, A, k: _cut(B, A, slice(1, k + 1))),
]
