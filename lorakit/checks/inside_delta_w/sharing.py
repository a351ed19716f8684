"""φ(i, j) = ‖U_iᵀV_j‖_F²/min(i, j), for all i and j, and max(i, j)/d, what chance gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lorakit.checks.checking import Case, Mistake, settle
from lorakit.checks.drawing import DTYPES, Draw


def check_phi(phi: Callable, *, seed: int = 0) -> None:
    """phi(U, V): the table (i, j) for orthonormal U (d, i) and V (d, j)."""
    draw, cases = Draw(seed), []
    for number in range(6):
        (i, j), dtype = draw.distinct(2, 2, 6), DTYPES[number % 2]
        d = draw.integer(9, 20)
        U, V = _sharing(draw, d, i, j, shared=number % 3)
        says = f"U ({d}, {i}), V ({d}, {j}), {number % 3} directions shared, {str(dtype)[6:]}"
        cases.append(Case(says, (U.to(dtype), V.to(dtype)), _phi(U, V).to(dtype)))
    settle(
        "phi",
        phi,
        cases,
        PHI_MISTAKES,
        otherwise="square the table of overlaps UᵀV, sum it up along both sides, divide",
    )


def _sharing(draw: Draw, d: int, i: int, j: int, shared: int) -> tuple[Tensor, Tensor]:
    """Orthonormal U and V whose spans have `shared` directions in common, turned within each."""
    frame = draw.orthonormal(d, d, torch.float64)
    U = frame[:, :i] @ draw.orthonormal(i, i, torch.float64)
    rest = frame[:, shared:] @ draw.orthonormal(d - shared, j - shared, torch.float64)
    V = torch.cat([frame[:, :shared], rest], 1) @ draw.orthonormal(j, j, torch.float64)
    return U, V


def _total(U: Tensor, V: Tensor) -> Tensor:
    return ((U.mT @ V) ** 2).cumsum(0).cumsum(1)


def _counts(U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    i, j = torch.meshgrid(torch.arange(1, U.shape[1] + 1), torch.arange(1, V.shape[1] + 1), indexing="ij")
    return i, j


def _share(total: Tensor, U: Tensor, V: Tensor) -> Tensor:
    return total / torch.minimum(*_counts(U, V))


def _phi(U: Tensor, V: Tensor) -> Tensor:
    return _share(_total(U, V), U, V)


def check_phi_null(phi_null: Callable, *, seed: int = 0) -> None:
    """phi_null(i, j, d): the table (i, j) of what φ is on average between independent subspaces of ℝᵈ."""
    draw = Draw(seed)
    drawn = [(*draw.distinct(2, 2, 7), draw.integer(16, 400)) for _ in range(4)]
    cases = [
        Case(f"i = {i}, j = {j}, d = {d}", (i, j, d), _table(i, j).amax(-1) / d) for i, j, d in [*drawn, (8, 64, 12288)]
    ]
    mistakes = [
        Mistake("the smaller count over d: it is the larger one", lambda i, j, d: _table(i, j).amin(-1) / d),
        Mistake("i·j/d is ‖UᵀV‖_F² by chance: φ divides it by min(i, j)", lambda i, j, d: _table(i, j).prod(-1) / d),
        Mistake(
            "chance is not 0: two subspaces of one space always overlap a little",
            lambda i, j, d: 0 * _table(i, j).amax(-1),
        ),
        Mistake(
            "1/d is right for (1, 1) alone: the larger subspace catches more",
            lambda i, j, d: _table(i, j).amax(-1) * 0 + 1 / d,
        ),
        Mistake(
            "i·j/d²: one power of d too many, and it is not divided by min(i, j)",
            lambda i, j, d: _table(i, j).prod(-1) / d**2,
        ),
        Mistake(
            "the root was taken: φ is a squared cosine on average", lambda i, j, d: (_table(i, j).amax(-1) / d).sqrt()
        ),
        Mistake("i/d for every j: it is the larger of the two", lambda i, j, d: _table(i, j)[..., 0] / d),
        Mistake("j/d for every i: it is the larger of the two", lambda i, j, d: _table(i, j)[..., 1] / d),
        Mistake(
            "one number for the whole: a table with a row for each count up to i is asked for",
            lambda i, j, d: max(i, j) / d,
        ),
        Mistake(
            "counting starts at 1: row 0 is the top one direction", lambda i, j, d: (_table(i, j) - 1).amax(-1) / d
        ),
        Mistake("the table is transposed: i runs down", lambda i, j, d: _table(j, i).amax(-1) / d),
    ]
    settle("phi_null", phi_null, cases, mistakes, otherwise="E‖UᵀV‖_F² is i·j/d; divide it as φ does")


def _table(i: int, j: int) -> Tensor:
    """(i, j, 2): both counts at every place."""
    counts = torch.meshgrid(torch.arange(1, i + 1), torch.arange(1, j + 1), indexing="ij")
    return torch.stack(counts, -1).double()


PHI_MISTAKES = [
    Mistake(
        "divided by max(i, j): the smaller of the two counts how much could be shared",
        lambda U, V: _total(U, V) / torch.maximum(*_counts(U, V)),
    ),
    Mistake("not divided: φ is a share of min(i, j)", _total),
    Mistake("divided by i for every j", lambda U, V: _total(U, V) / _counts(U, V)[0]),
    Mistake("divided by j for every i", lambda U, V: _total(U, V) / _counts(U, V)[1]),
    Mistake(
        "divided by i·j: by the smaller one alone",
        lambda U, V: _total(U, V) / (_counts(U, V)[0] * _counts(U, V)[1]),
    ),
    Mistake(
        "the overlaps are not squared: ‖·‖_F² is the sum of squares",
        lambda U, V: _share((U.mT @ V).abs().cumsum(0).cumsum(1), U, V),
    ),
    Mistake(
        "the overlaps are neither squared nor positive: ‖·‖_F² is the sum of squares",
        lambda U, V: _share((U.mT @ V).cumsum(0).cumsum(1), U, V),
    ),
    Mistake("the root was taken: φ holds the squared norm", lambda U, V: _share(_total(U, V).sqrt(), U, V)),
    Mistake("each pair of directions alone: φ(i, j) sums over the top i and the top j", lambda U, V: (U.mT @ V) ** 2),
    Mistake(
        "each pair of directions alone: φ(i, j) sums over the top i and the top j",
        lambda U, V: _share((U.mT @ V) ** 2, U, V),
    ),
    Mistake("summed over i only: both counts grow", lambda U, V: _share(((U.mT @ V) ** 2).cumsum(0), U, V)),
    Mistake("summed over j only: both counts grow", lambda U, V: _share(((U.mT @ V) ** 2).cumsum(1), U, V)),
    Mistake("φ at (1, 1) is 1.0: did you compare U with itself?", lambda U, V: _phi(U, U)[:, : V.shape[1]]),
    Mistake("φ at (1, 1) is 1.0: did you compare V with itself?", lambda U, V: _phi(V, V)[: U.shape[1]]),
    Mistake("φ at (1, 1) is 1.0: did you compare U with itself?", lambda U, V: _phi(U, U)),
    Mistake("φ at (1, 1) is 1.0: did you compare V with itself?", lambda U, V: _phi(V, V)),
    Mistake(
        "divided by the smaller of all counts: each entry by its own",
        lambda U, V: _total(U, V) / min(U.shape[1], V.shape[1]),
    ),
    Mistake("this is 1 − φ, what is not shared", lambda U, V: 1 - _phi(U, V)),
    Mistake("a root too many: this is √φ", lambda U, V: _phi(U, V).sqrt()),
    Mistake("directions are taken from the last: the first ones come first", lambda U, V: _phi(U.flip(1), V.flip(1))),
    Mistake("the table is transposed: i, the directions of U, runs down", lambda U, V: _phi(V, U)),
    Mistake(
        "this is φ for all i and all j at once, one number: the whole table is asked for",
        lambda U, V: _phi(U, V)[-1, -1],
    ),
]
