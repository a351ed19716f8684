"""ΔW = U·diag(S)·Vh by its factors. Signs and bases are free, so the answer is judged by what it must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lorakit.checks.checking import Case, settle
from lorakit.checks.comparing import plain, same
from lorakit.checks.costing import endless, without_endless
from lorakit.checks.drawing import Draw


def check_factored_svd(factored_svd: Callable, *, seed: int = 0) -> None:
    """factored_svd(B, A) = U (out, r), S (r,), Vh (r, in) of B·A, without forming it."""
    draw, cases = Draw(seed), []
    for z in draw.sizes(6):
        B, A = draw.normal(z.out, z.rank, dtype=z.dtype), draw.normal(z.rank, z.inputs, dtype=z.dtype)
        U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
        cases.append(Case(str(z), (B, A), (U[:, : z.rank], S[: z.rank], Vh[: z.rank])))
    costly = "B·A is formed, out × in: the SVD of the r × r core of two thin QRs is all that is needed"
    settle(
        "factored_svd",
        factored_svd,
        cases,
        right=lambda case, returned: _wrong(case, returned) is None,
        otherwise=_wrong,
        looks=False,
        then=lambda: without_endless("factored_svd", factored_svd, endless(draw), _factors, costly),
    )


def _wrong(case: Case, returned: Any) -> str | None:
    """What is wrong with (U, S, Vh), or None."""
    if not isinstance(returned, list | tuple) or len(returned) != 3:
        return "three things are asked for: U, S, Vh"
    if not all(isinstance(part, Tensor) for part in returned):
        return "U, S and Vh are tensors"
    U, S, Vh = (part.detach().double() for part in returned)
    return _by_shape(case, U, S, Vh) or _by_values(case, S) or _by_directions(case, U, S, Vh)


def _factors(B: Tensor, A: Tensor, returned: Any) -> bool:
    """Whether (U, S, Vh) is the SVD of B·A, which has one direction: that of B on the left, of A on the right."""
    shapes = [B.shape, (1,), A.shape]
    parts = [*map(plain, returned)] if isinstance(returned, list | tuple) else []
    if [getattr(part, "shape", None) for part in parts] != shapes:
        return False
    U, S, Vh = map(torch.as_tensor, parts)
    left, right = torch.linalg.norm(B), torch.linalg.norm(A)
    turned = (B.mT @ U) * (Vh @ A.mT) / (left * right)
    return same([1.0, 1.0, left * right, 1.0], [torch.linalg.norm(U), torch.linalg.norm(Vh), S, turned], 1e-6)


def _by_shape(case: Case, U: Tensor, S: Tensor, Vh: Tensor) -> str | None:
    B, A = case.args
    (out, r), inputs = B.shape, A.shape[1]
    if S.ndim == 2:
        return "S is the diagonal alone, (r,): the matrix diag(S) came back"
    if Vh.shape == (inputs, r):
        return "you returned V, (in, r): Vh is its transpose, one direction a row"
    if U.shape == (r, out):
        return "U came back transposed: it is (out, r), one direction a column"
    if U.shape[1:] == (out,) or Vh.shape[0] == inputs or len(S) == min(out, inputs) > r:
        return f"only r = {r} directions exist, and more came back: cut U, S and Vh to them (thin)"
    if U.shape == (r, r) or Vh.shape == (r, r):
        return "u and vh of the core are still in the coordinates of the QRs: multiply by Q to get back to out and in"
    if (U.shape, S.shape, Vh.shape) != ((out, r), (r,), (r, inputs)):
        return "U is (out, r), S is (r,) and Vh is (r, in)"
    return None


def _by_values(case: Case, S: Tensor) -> str | None:
    B, A = (factor.double() for factor in case.args)
    true, of_B, of_A = case.expected[1], torch.linalg.svdvals(B), torch.linalg.svdvals(A)
    if same(true, S, case.room):
        return None
    named = {
        "S runs from small to large: the largest comes first": true.flip(0),
        "these are the squares of S, the eigenvalues of ΔWᵀΔW: take the root": true**2,
        "S is that of A alone": of_A,
        "S is that of B alone": of_B,
        "S of B times S of A is not S of B·A: the two QRs meet in a core of their own": of_B * of_A,
        "these are diagonal entries of R, and no singular values": torch.linalg.qr(B).R.diagonal().abs(),
    }
    found = [text for text, wrong in named.items() if same(wrong, S, max(case.room, 1e-6))]
    return found[0] if found else "these are not the singular values of B·A: is the core R_B·R_Aᵀ, in this order?"


def _by_directions(case: Case, U: Tensor, S: Tensor, Vh: Tensor) -> str | None:
    B, A = (factor.double() for factor in case.args)
    product, eye, room = B @ A, torch.eye(len(S), dtype=torch.float64), max(1e3 * case.room, 1e-5)
    if not same(eye, U.mT @ U, room):
        return "the columns of U are not orthonormal: is S multiplied into them, or is U that of B alone?"
    if not same(eye, Vh @ Vh.mT, room):
        return "the rows of Vh are not orthonormal: is S multiplied into them?"
    if same(product, U * S @ Vh, room):
        return None
    if same(product.abs(), (U * S @ Vh).abs(), room) or same(product, -(U * S @ Vh), room):
        return "U·S·Vh is B·A with a sign turned round: the signs of U and Vh belong together"
    u, _, vh = torch.linalg.svd(torch.linalg.qr(A.mT).R @ torch.linalg.qr(B).R.mT)
    if same(torch.linalg.qr(B).Q @ u @ torch.diag(S) @ vh @ torch.linalg.qr(A.mT).Q.mT, U * S @ Vh, room):
        return "U and Vh are those of the core transposed: it is R_B·R_Aᵀ, B first"
    return "S is right, and U·diag(S)·Vh is not B·A: do U and Vh come from the same SVD?"
