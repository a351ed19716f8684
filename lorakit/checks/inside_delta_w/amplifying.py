"""‖ΔW‖_F/‖UᵀWV‖_F, the amplification factor of table 7, and the factor of a ΔW that has nothing to do with W."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import Draw


def check_factor(factor: Callable, *, seed: int = 0) -> None:
    """factor(delta, W, rank) = ‖ΔW‖_F/‖UᵀWV‖_F with U, V the top `rank` directions of ΔW (out, in)."""
    draw, cases = Draw(seed), []
    for i, z in enumerate(draw.sizes(6, low=8)):
        z = z._replace(inputs=z.out) if i == 0 else z  # a square one: there a transpose raises nothing
        r = max(z.rank, 2)
        delta = draw.normal(z.out, r + 2, dtype=z.dtype) @ draw.normal(r + 2, z.inputs, dtype=z.dtype)
        W = draw.normal(z.out, z.inputs, dtype=z.dtype)
        cases.append(Case(f"{z._replace(rank=r)}", (delta, W, r), _factor(delta, W, r)))
    settle("factor", factor, cases, FACTOR_MISTAKES, otherwise="is it U[:, :r].T @ W @ Vh[:r].T, with U and Vh of ΔW?")


def _svd(M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U, S, Vh


def _norm(M: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(M)


def _inside(D: Tensor, W: Tensor, r: int) -> Tensor:
    U, _, Vh = _svd(D)
    return U[:, :r].mT @ W @ Vh[:r].mT


def _projected(D: Tensor, W: Tensor, r: int) -> Tensor:
    return _norm(_inside(D, W, r))


def _factor(D: Tensor, W: Tensor, r: int) -> Tensor:
    return _norm(D) / _projected(D, W, r)


def _columns_of_Vh(D: Tensor, W: Tensor, r: int) -> Tensor:
    U, _, Vh = _svd(D)
    return _norm(D) / _norm(U[:, :r].mT @ W @ Vh[:, :r])


BY_HINT = "‖ΔW‖ over what random directions see of W, ‖W‖·r/√(out·in): for GPT-3 that is 0.02"


def check_factor_null(factor_null: Callable, *, seed: int = 0) -> None:
    """factor_null(norm_delta, norm_W, rank, out, inputs): the factor when ΔW's directions are independent of W."""
    draw = Draw(seed)
    cases = []
    for _ in range(5):
        d, w, r = draw.integer(10, 90) / 10, draw.integer(100, 900) / 10, draw.integer(2, 9)
        o, i = draw.distinct(2, 60, 900)
        cases.append(Case(f"‖ΔW‖ = {d:g}, ‖W‖ = {w:g}, r = {r}, {o}×{i}", (d, w, r, o, i), _null(d, w, r, o, i)))
    cases.append(Case("GPT-3, table 7: r = 4", (6.91, 61.95, 4, 12288, 12288), _null(6.91, 61.95, 4, 12288, 12288)))
    settle("factor_null", factor_null, cases, NULL_MISTAKES, otherwise=BY_HINT)


def _null(norm_delta: float, norm_W: float, rank: int, out: int, inputs: int) -> float:
    return norm_delta * math.sqrt(out * inputs) / (norm_W * rank)


FACTOR_MISTAKES = [
    Mistake("upside down: ‖ΔW‖ stands above", lambda D, W, r: 1 / _factor(D, W, r)),
    Mistake(
        "‖ΔW‖ is cut to its top directions: the factor has all of it",
        lambda D, W, r: _svd(D)[1][:r].norm() / _projected(D, W, r),
    ),
    Mistake(
        "these are W's own directions: W is projected on those of ΔW",
        lambda D, W, r: _norm(D) / _projected(W, W, r),
    ),
    Mistake("this is ‖W‖ over ‖UᵀWV‖: ΔW stands above", lambda D, W, r: _norm(W) / _projected(D, W, r)),
    Mistake(
        "all directions of ΔW are used, or W as it is: W is seen by the top r alone",
        lambda D, W, r: _norm(D) / _projected(D, W, min(D.shape)),
    ),
    Mistake(
        "the largest singular value, not the Frobenius norm",
        lambda D, W, r: torch.linalg.matrix_norm(D, 2) / torch.linalg.matrix_norm(_inside(D, W, r), 2),
    ),
    Mistake("ΔW and W are swapped: the directions are those of ΔW", lambda D, W, r: _factor(W, D, r)),
    Mistake("ΔW is projected on its own directions: W is to be", lambda D, W, r: _factor(D, D, r)),
    Mistake("only the first direction is taken: the top r", lambda D, W, r: _factor(D, W, 1)),
    Mistake("one direction too few: [:r] is r of them", lambda D, W, r: _factor(D, W, r - 1)),
    Mistake("r times too large: no rank stands in the factor itself", lambda D, W, r: r * _factor(D, W, r)),
    Mistake("the norms are squared", lambda D, W, r: _factor(D, W, r) ** 2),
    Mistake("this is ‖UᵀWV‖ alone: divide ‖ΔW‖ by it", _projected),
    Mistake("columns of Vh are taken: its rows are the directions, Vh[:r]", _columns_of_Vh),
    Mistake(
        "U stands on both sides: inputs are projected on V, the rows of Vh",
        lambda D, W, r: _norm(D) / _norm(_svd(D)[0][:, :r].mT @ W @ _svd(D)[0][:, :r]),
    ),
    Mistake(
        "only the side of the outputs is projected: V is missing",
        lambda D, W, r: _norm(D) / _norm(_svd(D)[0][:, :r].mT @ W),
    ),
    Mistake(
        "only the side of the inputs is projected: U is missing",
        lambda D, W, r: _norm(D) / _norm(W @ _svd(D)[2][:r].mT),
    ),
]
NULL_MISTAKES = [
    Mistake("this is ‖UᵀWV‖ by chance: the factor divides ‖ΔW‖ by it", lambda d, w, r, o, i: w * r / math.sqrt(o * i)),
    Mistake("upside down", lambda d, w, r, o, i: 1 / _null(d, w, r, o, i)),
    Mistake(
        "out·in without the root: r²/(out·in) is the share of ‖W‖², and its root that of ‖W‖",
        lambda d, w, r, o, i: d / (w * r / (o * i)),
    ),
    Mistake(
        "√r for r: r directions on each side, r² of out·in places",
        lambda d, w, r, o, i: d / (w * math.sqrt(r) / math.sqrt(o * i)),
    ),
    Mistake(
        "r² for r: the norm is the root of the share r²/(out·in)",
        lambda d, w, r, o, i: d / (w * r * r / math.sqrt(o * i)),
    ),
    Mistake(
        "‖W‖ times the share of its square: of the share r²/(out·in), the root belongs to ‖W‖",
        lambda d, w, r, o, i: d / (w * r * r / (o * i)),
    ),
    Mistake("all of it is squared: take the root", lambda d, w, r, o, i: _null(d, w, r, o, i) ** 2),
    Mistake(
        "r stands above: it divides, as more directions see more of W",
        lambda d, w, r, o, i: d / w * r * math.sqrt(o * i),
    ),
    Mistake("‖W‖ and ‖ΔW‖ are swapped", lambda d, w, r, o, i: w / d * math.sqrt(o * i) / r),
    Mistake("out + in under the root: W has out·in places", lambda d, w, r, o, i: d / w * math.sqrt(o + i) / r),
    Mistake("the mean of out and in: it is their root √(out·in)", lambda d, w, r, o, i: d / w * (o + i) / 2 / r),
    Mistake("two roots: √(out·in) has one", lambda d, w, r, o, i: d / w * (o * i) ** 0.25 / r),
    Mistake("rounded: give the factor as it is", lambda d, w, r, o, i: round(_null(d, w, r, o, i))),
    Mistake("√(out·in) is missing: how many places W has", lambda d, w, r, o, i: d / w / r),
    Mistake("the rank is missing", lambda d, w, r, o, i: d / w * math.sqrt(o * i)),
    Mistake("this takes out for both sides: √(out·in)", lambda d, w, r, o, i: d / w * o / r),
    Mistake("this takes in for both sides: √(out·in)", lambda d, w, r, o, i: d / w * i / r),
    Mistake(
        "‖W‖ is missing: a large W is large in random directions too",
        lambda d, w, r, o, i: d * math.sqrt(o * i) / r,
    ),
    Mistake("‖ΔW‖ is missing: it stands above", lambda d, w, r, o, i: math.sqrt(o * i) / (w * r)),
    Mistake("chance is not 1: random directions meet only a small part of W", lambda d, w, r, o, i: 1.0),
    Mistake("this is ‖ΔW‖/‖W‖: random directions meet only a small part of W", lambda d, w, r, o, i: d / w),
]
