"""An answer that forms a product which the task does without is found by what comes out, however it is written."""

import numpy as np
import pytest
import torch

from lorakit.checks import CheckFailed, Draw, costing
from lorakit.checks.derive import check_forward
from lorakit.checks.inside_delta_w import check_factored_svd


def numpy_forward(x, W, b, A, B, alpha):
    x, W, b, A, B = (t.numpy() for t in (x, W, b, A, B))
    return x @ (W + alpha / len(A) * (B @ A)).T + b


def scaled_forward(x, W, b, A, B, alpha):
    size = A.abs().max()
    return x @ W.T + b + alpha / len(A) * (x * size) @ (B @ (A / size)).T


def column_by_column(x, W, b, A, B, alpha):
    delta = torch.stack([B @ column for column in A.T], dim=1)
    return x @ (W + alpha / len(A) * delta).T + b


FORMED = [
    lambda x, W, b, A, B, a: x @ (W + a / len(A) * B @ A).T + b,
    lambda x, W, b, A, B, a: x.double() @ torch.addmm(W, B, A, alpha=a / len(A)).double().T + b,
    lambda x, W, b, A, B, a: x @ W.T + b + a / len(A) * x @ torch.einsum("or,ri->oi", B, A).T,
    numpy_forward,
    scaled_forward,
    column_by_column,
]


@pytest.mark.parametrize("seed", [0, 4711])
@pytest.mark.parametrize("forward", FORMED)
def test_delta_w_is_not_formed(forward, seed):
    with (
        pytest.raises(CheckFailed, match="right, but costly: entries of ΔW") as failure,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        check_forward(forward, seed=seed)
    assert failure.value.diagnosis.startswith("ΔW is formed")


def numpy_svd(B, A):
    U, S, Vh = np.linalg.svd(B.numpy() @ A.numpy(), full_matrices=False)
    return [torch.from_numpy(part) for part in (U[:, : len(A)], S[: len(A)], Vh[: len(A)])]


def full_svd(B, A):
    u, s, v = torch.linalg.svd(B)
    w, S, Vh = torch.linalg.svd(s[:, None] * v @ A, full_matrices=False)
    return u[:, : len(A)] @ w, S, Vh


def only_when_small(B, A):
    """Cheap where it is looked at, and not the answer."""
    return numpy_svd(B, A) if B.numel() < 1000 else (B, torch.ones(1), A)


@pytest.mark.parametrize("factored_svd", [numpy_svd, full_svd, only_when_small])
def test_b_a_is_not_formed(factored_svd):
    with pytest.raises(CheckFailed, match="right, but costly: B") as failure:
        check_factored_svd(factored_svd)
    assert failure.value.diagnosis.startswith("B·A is formed")


def test_the_factors_are_harmless_and_the_product_is_not():
    x, W, b, A, B = costing.scattered(Draw(3))
    product = B @ A
    assert all(torch.isfinite(part).all() for part in (x, W, b, A, B))
    assert (product == 0).any()
    assert product.isinf().any()
    B, A = costing.endless(Draw(3))
    assert B.numel() * A.numel() * 8 > costing.ADDRESSED
    assert B.numel() * 8 < 40e6
