"""ΔW by its factors against dense algebra in float64, and what must hold for every pair of factors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorakit.delta import LowRank, combine, dense, extract, inner, norm, svd, truncate

sizes = st.integers(1, 9)
shapes = st.tuples(sizes, sizes, st.integers(0, 12), st.integers(0, 10_000))  # out, in, rank (also above both), seed


def pair(out, into, rank, seed, *batch) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(*batch, out, rank, generator=generator, dtype=torch.float64)
    return LowRank(left, torch.randn(*batch, rank, into, generator=generator, dtype=torch.float64))


def close(a, b, tolerance=1e-10) -> bool:
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (a, b))
    return a.shape == b.shape and bool(((a - b).abs() <= tolerance * (1 + b.abs().max() if b.numel() else 1)).all())


# against dense algebra


@given(shapes)
def test_svd_is_that_of_the_product(shape):
    delta = pair(*shape)
    U, S, Vh = svd(delta)
    k = min(*delta.shape, delta.rank)
    assert (U.shape, S.shape, Vh.shape) == ((shape[0], k), (k,), (k, shape[1]))
    assert close(U.mT @ U, torch.eye(k))
    assert close(Vh @ Vh.mT, torch.eye(k))
    assert close((U * S) @ Vh, delta.left @ delta.right)
    assert close(S, torch.linalg.svdvals(delta.left @ delta.right)[:k])


@given(shapes, st.integers(0, 10_000))
def test_inner_and_norm_are_those_of_the_product(shape, seed):
    a, b = pair(*shape), pair(*shape[:2], 2, seed)
    A, B = a.left @ a.right, b.left @ b.right
    for one, other in ((a, b), (A, b), (a, B), (A, B)):
        assert close(inner(one, other), (A * B).sum())
    assert close(norm(a), torch.linalg.matrix_norm(A))
    assert close(norm(A), torch.linalg.matrix_norm(A))


@given(shapes, st.integers(1, 4), st.integers(0, 10_000))
def test_combine_is_the_sum_of_the_products(shape, other_rank, seed):
    pairs = [pair(*shape), pair(*shape[:2], other_rank, seed), pair(*shape[:2], 1, seed + 1)]
    weights = [0.5, -2.0, 1.0]
    expected = sum(w * (p.left @ p.right) for w, p in zip(weights, pairs, strict=True))
    total = combine(pairs, weights)
    assert isinstance(total, LowRank)
    assert total.rank == sum(p.rank for p in pairs)
    assert close(dense(total), expected)
    mixed = combine([pairs[0], dense(pairs[1]), pairs[2]], weights)
    assert isinstance(mixed, torch.Tensor)
    assert close(mixed, expected)
    assert close(dense(combine(pairs)), sum(p.left @ p.right for p in pairs))


@given(shapes, st.data())
def test_truncate_is_the_best_approximation(shape, data):
    delta = pair(*shape)
    exact = delta.left @ delta.right
    rank = data.draw(st.integers(0, min(*delta.shape, delta.rank)))
    for given_as in (delta, exact):
        cut = truncate(given_as, rank)
        assert cut.rank == rank
        U, S, Vh = torch.linalg.svd(exact, full_matrices=False)
        assert close(dense(cut), (U[:, :rank] * S[:rank]) @ Vh[:rank], 1e-7)
        lost = torch.linalg.matrix_norm(exact - dense(cut)) / torch.linalg.matrix_norm(exact) if exact.any() else 0.0
        assert close(cut.error, lost, 1e-7)
        assert close(cut.left.mT @ cut.left, torch.diag(S[:rank] ** 2), 1e-9)


@pytest.mark.parametrize("energy", [0.1, 0.5, 0.9, 0.99, 1.0])
def test_truncate_to_an_energy_takes_as_few_as_hold_it(energy):
    U, V = torch.linalg.qr(torch.randn(8, 4, dtype=torch.float64)).Q, torch.linalg.qr(torch.randn(6, 4).double()).Q
    S = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    share = (S**2).cumsum(0) / (S**2).sum()
    cut = truncate(LowRank(U * S, V.mT), energy=energy)
    assert cut.rank == next(i for i, held in enumerate(share.tolist(), 1) if held >= energy - 1e-12)
    assert cut.error**2 == pytest.approx(1 - float(share[cut.rank - 1]), abs=1e-12)


def test_an_energy_met_exactly_needs_no_further_triple():
    delta = torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
    assert truncate(delta, energy=4 / 6).rank == 1
    assert truncate(delta, energy=4 / 6 + 1e-6).rank == 2


def test_combine_recompressed_says_what_it_cost():
    pairs = [pair(8, 6, 2, seed) for seed in range(3)]
    cut = combine(pairs, [1.0, 2.0, 3.0], rank=3)
    exact = dense(combine(pairs, [1.0, 2.0, 3.0]))
    assert cut.rank == 3
    assert 0 < cut.error == pytest.approx(float((exact - dense(cut)).norm() / exact.norm()))
    assert close(dense(cut), dense(truncate(exact, 3)))


def test_the_mean_of_products_is_not_the_product_of_means():
    a, b = pair(8, 6, 2, 0), pair(8, 6, 2, 1)
    wrong = (a.left + b.left) / 2 @ ((a.right + b.right) / 2)
    assert not close(dense(combine([a, b], [0.5, 0.5])), wrong, 1e-2)


def test_extract_gives_back_a_planted_pair():
    planted = pair(12, 9, 3, 0)
    found = extract(dense(planted), 3)
    assert close(dense(found), dense(planted))
    assert found.error < 1e-12
    assert extract(dense(planted), 2).error > 1e-2


# what holds for every pair


@given(shapes, st.integers(0, 10_000))
def test_the_gauge_changes_nothing(shape, seed):
    """B → B·G, A → G⁻¹·A leaves ΔW as it is, and so everything that is said about it."""
    delta = pair(*shape)
    Q, R = torch.linalg.qr(torch.randn(shape[2], shape[2], generator=torch.Generator().manual_seed(seed)).double())
    G = Q * (1 + R.diagonal().abs())
    turned = LowRank(delta.left @ G, torch.linalg.solve(G, delta.right))
    assert close(dense(turned), dense(delta), 1e-8)
    assert close(svd(turned).S, svd(delta).S, 1e-8)
    assert close(norm(turned), norm(delta), 1e-8)
    assert close(inner(turned, delta), norm(delta) ** 2, 1e-8)


@given(shapes)
def test_transposing_swaps_left_and_right(shape):
    delta = pair(*shape)
    assert delta.T.shape == delta.shape[::-1]
    assert close(dense(delta.T), dense(delta).mT)
    assert close(svd(delta.T).S, svd(delta).S)


@given(shapes, st.floats(-5, 5))
def test_scaling_scales_once(shape, factor):
    delta = pair(*shape)
    for scaled in (factor * delta, delta * factor):
        assert close(dense(scaled), factor * dense(delta))
        assert close(norm(scaled), abs(factor) * norm(delta))
        assert close(svd(scaled).S, abs(factor) * svd(delta).S)


@given(shapes, st.integers(0, 10_000))
def test_a_change_of_basis_turns_the_vectors_only(shape, seed):
    delta = pair(*shape)
    Q = torch.linalg.qr(torch.randn(shape[0], shape[0], generator=torch.Generator().manual_seed(seed)).double()).Q
    turned = LowRank(Q @ delta.left, delta.right)
    assert close(svd(turned).S, svd(delta).S)
    assert close(norm(turned), norm(delta))
    assert close(dense(truncate(turned, 0)), torch.zeros(shape[:2]))


# the corners


def test_a_zero_delta_has_no_length_and_loses_nothing():
    zero = LowRank(torch.zeros(6, 2), torch.randn(2, 5))
    assert norm(zero) == 0
    assert not svd(zero).S.any()
    assert truncate(zero, 1).error == 0.0
    assert truncate(zero, energy=0.9).rank == 0
    assert not dense(combine([zero, -1.0 * zero])).any()


def test_a_difference_that_cancels_is_not_nan():
    delta = pair(7, 5, 2, 0)
    nothing = combine([delta, delta], [1.0, -1.0])
    assert norm(nothing) < 1e-14
    assert svd(nothing).S.max() < 1e-14


def test_rank_deficient_factors():
    one = pair(7, 5, 1, 0)
    delta = LowRank(one.left.repeat(1, 3), one.right.repeat(3, 1))
    S = svd(delta).S
    assert S[0] == pytest.approx(float(norm(delta)))
    assert S[1:].max() < 1e-14 * S[0]
    assert truncate(delta, 1).error < 1e-7
    assert truncate(delta, energy=1.0).rank == 1


def test_norm_and_svd_keep_what_a_gram_matrix_would_lose():
    """‖ΔW‖² by traces of Gram matrices loses half the digits where the factors nearly cancel."""
    u, v = torch.randn(50, 1, dtype=torch.float64), torch.randn(1, 40, dtype=torch.float64)
    nudge = 1e-9 * torch.randn(50, 1, dtype=torch.float64)
    delta = LowRank(torch.cat([u + nudge, -u], 1), torch.cat([v, v]))
    exact = float(((u + nudge) - u).norm() * v.norm())
    assert float(norm(delta)) == pytest.approx(exact, rel=1e-5)
    assert float(svd(delta).S[0]) == pytest.approx(exact, rel=1e-5)


def test_batched_is_one_by_one():
    many = pair(6, 5, 2, 0, 3, 4)
    assert many.shape == (3, 4, 6, 5)
    other = pair(6, 5, 3, 1, 3, 4)
    spectra, lengths, products = svd(many).S, norm(many), inner(many, other)
    for i in range(3):
        for j in range(4):
            one = LowRank(many.left[i, j], many.right[i, j])
            assert close(spectra[i, j], svd(one).S)
            assert close(lengths[i, j], norm(one))
            assert close(products[i, j], inner(one, LowRank(other.left[i, j], other.right[i, j])))
    assert close(dense(combine([many, other])), dense(many) + dense(other))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_decomposed_in_float32(dtype):
    exact = pair(12, 9, 3, 0)
    half = exact.to(dtype)
    assert half.dtype == dtype
    assert svd(half).S.dtype == torch.float32
    rounded = half.left.double() @ half.right.double()
    assert close(svd(half).S, torch.linalg.svdvals(rounded)[:3], 1e-5)
    assert svd(half, dtype=torch.float64).S.dtype == torch.float64
    assert close(svd(half, dtype=torch.float64).S, torch.linalg.svdvals(rounded)[:3])
    assert svd(half.left).U.dtype == torch.float32
    assert truncate(half, 2).left.dtype == torch.float32
    assert float(norm(half)) == pytest.approx(float(rounded.norm()), rel=1e-6)


def test_float64_stays_float64():
    assert svd(pair(5, 4, 2, 0)).S.dtype == torch.float64


def test_a_pair_is_a_plain_value():
    delta = LowRank(torch.ones(4, 2, requires_grad=True), torch.ones(2, 3), error=0.25)
    assert (delta.shape, delta.rank, delta.dtype, delta.device.type) == ((4, 3), 2, torch.float32, "cpu")
    assert repr(delta) == "LowRank(4 × 3, rank 2, torch.float32)"
    assert not delta.detach().left.requires_grad
    assert delta.T.error == delta.detach().error == delta.to(torch.float64).error == (2 * delta).error == 0.25
    with pytest.raises(AttributeError):
        delta.left = delta.right


def test_dense_is_differentiable():
    left, right = torch.randn(4, 2, requires_grad=True), torch.randn(2, 3)
    dense(LowRank(left, right)).sum().backward()
    assert close(left.grad, right.sum(1).expand(4, 2))


def test_dtypes_that_differ_meet_in_the_wider():
    a, b = pair(5, 4, 2, 0), pair(5, 4, 3, 1).to(torch.bfloat16)
    exact = (dense(a) * (b.left.double() @ b.right.double())).sum()
    assert inner(a, b).dtype == inner(b, a).dtype == torch.float64
    assert close(inner(a, b), exact)
    assert inner(b, b).dtype == torch.float32


# what is refused

refused = pytest.mark.usefixtures("as_users_see_it")


@refused
def test_factors_that_do_not_fit():
    with pytest.raises(ValueError, match=r"share their rank; given left \(4, 2\) and right \(3, 5\)"):
        LowRank(torch.ones(4, 2), torch.ones(3, 5))
    with pytest.raises(ValueError, match=r"given left \(4,\)"):
        LowRank(torch.ones(4), torch.ones(3, 5))


@refused
def test_shapes_that_differ():
    a, b = pair(4, 3, 2, 0), pair(3, 4, 2, 0)
    for refuse in (lambda: inner(a, b), lambda: combine([a, b]), lambda: combine([a, dense(b)])):
        with pytest.raises(ValueError, match=r"one shape; given \(4, 3\) and \(3, 4\)"):
            refuse()


@refused
def test_weights_that_do_not_pair_up():
    with pytest.raises(ValueError, match="one weight a delta, and at least one; given 2 and 1"):
        combine([pair(4, 3, 2, 0)] * 2, [1.0])
    with pytest.raises(ValueError, match="given 0 and 0"):
        combine([])


@refused
@pytest.mark.parametrize("rank", [-1, 3, 100])
def test_a_rank_that_is_not_there(rank):
    with pytest.raises(ValueError, match=rf"rank must be in 0\.\.2 for this ΔW; given {rank}"):
        truncate(pair(4, 3, 2, 0), rank)


@refused
@pytest.mark.parametrize("energy", [0.0, -0.5, 1.5, math.nan])
def test_an_energy_that_is_no_share(energy):
    with pytest.raises(ValueError, match=r"energy is a share of .* in \(0, 1\]; given"):
        truncate(pair(4, 3, 2, 0), energy=energy)


@refused
def test_rank_and_energy_are_one_choice():
    with pytest.raises(ValueError, match="rank or energy, one of the two; given rank=None, energy=None"):
        truncate(pair(4, 3, 2, 0))
    with pytest.raises(ValueError, match=r"given rank=1, energy=0\.5"):
        truncate(pair(4, 3, 2, 0), 1, energy=0.5)


@refused
def test_truncate_takes_one_matrix():
    with pytest.raises(ValueError, match=r"one matrix \(out, in\) at a time; given \(2, 4, 3\)"):
        truncate(pair(4, 3, 2, 0, 2), 1)
