"""φ against its definition entry by entry, SciPy's angles, its laws, and its null over Haar pairs."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorakit.analysis import similarities, similarity
from lorakit.analysis.chance import haar, overlap
from lorakit.delta import LowRank, dense

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(rank=5, seed=0, out=24, inputs=18):
    g = generator(seed)
    left = torch.randn(out, rank, generator=g, dtype=torch.float64)
    return LowRank(left, torch.randn(rank, inputs, generator=g, dtype=torch.float64))


def orthogonal(d, seed):
    return haar(d, d, generator(seed), torch.float64)


def by_definition(U, V):
    table = np.empty((U.shape[1], V.shape[1]))
    for i in range(1, U.shape[1] + 1):
        for j in range(1, V.shape[1] + 1):
            table[i - 1, j - 1] = np.linalg.norm(U[:, :i].T @ V[:, :j]) ** 2 / min(i, j)
    return table


def dense_directions(matrix, rank, side):
    U, _, Vh = np.linalg.svd(matrix.numpy())
    return U[:, :rank] if side == "left" else Vh[:rank].T


@pytest.mark.parametrize("side", ["left", "right"])
def test_table_is_the_definition_for_every_i_and_j(side):
    a, b = pair(3, 0), pair(7, 1)
    U, V = dense_directions(dense(a), 3, side), dense_directions(dense(b), 7, side)
    found = similarity(a, b, side=side)
    np.testing.assert_allclose(found.phi, by_definition(U, V), atol=1e-10)
    assert found.dimension == (24 if side == "left" else 18)


@pytest.mark.parametrize(("of", "side"), [("A", "right"), ("B", "left")])
def test_of_one_factor(of, side):
    a, b = pair(3, 0), pair(7, 1)
    factors = [delta.right if of == "A" else delta.left for delta in (a, b)]
    bases = [dense_directions(factor, min(factor.shape), side) for factor in factors]
    np.testing.assert_allclose(similarity(a, b, of=of).phi, by_definition(*bases), atol=1e-10)


def test_dense_and_factored_agree():
    a, b = pair(3, 0), pair(7, 1)
    np.testing.assert_allclose(similarity(dense(a), dense(b)).phi, similarity(a, b).phi, atol=1e-10)


@quick
@given(seed=seeds, near=st.floats(1e-9, 1))
def test_angles_are_scipys(seed, near):
    a, b = pair(3, seed), pair(4, seed + 1)
    b = LowRank(b.left, torch.cat([a.right, a.right[:1]]) + near * b.right)
    U, V = (dense_directions(dense(delta), delta.rank, "right") for delta in (a, b))
    np.testing.assert_allclose(similarity(a, b).angles, scipy.linalg.subspace_angles(U, V), atol=1e-6, rtol=1e-5)


def test_an_angle_too_small_for_its_cosine_is_still_measured():
    a = pair(3)
    axes = torch.eye(18, dtype=torch.float64)[:2]
    tilted = torch.stack([axes[0] + 1e-10 * torch.eye(18, dtype=torch.float64)[5], 0.8 * axes[1]])
    flat, other = LowRank(a.left[:, :2], axes), LowRank(a.left[:, :2], tilted)
    assert similarity(flat, other).angles[0] == pytest.approx(1e-10, rel=1e-4)  # 1 − cos is 5e-21


@quick
@given(seed=seeds)
def test_symmetric_within_0_and_1_and_1_against_itself(seed):
    a, b = pair(4, seed), pair(6, seed + 1)
    found = similarity(a, b).phi
    np.testing.assert_allclose(found, similarity(b, a).phi.T, atol=1e-12)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_allclose(np.diag(similarity(a, a).phi), 1, atol=1e-9)
    np.testing.assert_allclose(similarity(a, a).angles, 0, atol=1e-7)


@quick
@given(seed=seeds)
def test_gauge_basis_scale_and_transposition(seed):
    a, b, G = pair(4, seed), pair(6, seed + 1), orthogonal(4, seed) + 0.3 * torch.eye(4, dtype=torch.float64)
    there = similarity(a, b).phi
    gauged = LowRank(a.left @ G * 3, torch.linalg.solve(G, a.right) / 5)
    np.testing.assert_allclose(similarity(gauged, b).phi, there, atol=1e-8)
    L, R = orthogonal(24, seed), orthogonal(18, seed + 1)
    turned = [LowRank(L @ delta.left, delta.right @ R) for delta in (a, b)]
    np.testing.assert_allclose(similarity(*turned).phi, there, atol=1e-8)
    np.testing.assert_allclose(similarity(a.T, b.T, side="left").phi, there, atol=1e-10)


def test_a_gauge_moves_phi_of_a_factor_but_not_of_the_delta():
    a, b = pair(4, 0), pair(4, 1)
    G = torch.diag(torch.tensor([1.0, 10, 100, 1000], dtype=torch.float64))
    gauged = LowRank(a.left @ G, torch.linalg.solve(G, a.right))
    assert abs(similarity(gauged, b, of="A").phi - similarity(a, b, of="A").phi).max() > 0.01
    np.testing.assert_allclose(similarity(gauged, b).phi, similarity(a, b).phi, atol=1e-8)


def test_null_is_the_mean_and_spread_of_haar_pairs():
    d, i, j, draws = 12, 3, 5, 3000
    g = generator()
    V = torch.stack([haar(d, j, g, torch.float64) for _ in range(draws)])
    squares = (V[:, :i] ** 2).cumsum(1).cumsum(2).numpy()  # U is the first i axes
    counts = np.meshgrid(np.arange(1, i + 1), np.arange(1, j + 1), indexing="ij")
    chance = overlap(*counts, d)
    assert (abs(squares.mean(0) - chance.mean) < 4.5 * chance.spread / np.sqrt(draws)).all()
    np.testing.assert_allclose(squares.std(0), chance.spread, rtol=0.08)


def test_null_of_the_result_is_max_over_d_with_its_spread():
    found = similarity(pair(3, 0), pair(7, 1))
    i, j = np.meshgrid(np.arange(1, 4), np.arange(1, 8), indexing="ij")
    np.testing.assert_allclose(found.null, np.maximum(i, j) / 18)
    np.testing.assert_allclose(found.null_spread, overlap(i, j, 18).spread / np.minimum(i, j))
    np.testing.assert_allclose(found.z, (found.phi - found.null) / found.null_spread)


def test_the_papers_own_null_and_a_laptops():
    assert overlap(8, 64, 12288).mean / 8 == pytest.approx(0.0052, abs=1e-4)
    assert overlap(8, 64, 128).mean / 8 == 0.5


def test_independent_deltas_are_within_chance_and_a_shared_direction_is_not():
    zs = [similarity(pair(4, 2 * s, 60, 40), pair(8, 2 * s + 1, 60, 40)).z[-1, -1] for s in range(60)]
    assert abs(np.mean(zs)) < 4 / np.sqrt(60)
    assert 0.6 < np.std(zs) < 1.5
    a, b = pair(4, 0, 60, 40), pair(8, 1, 60, 40)
    left, right = 30 * a.left[:, :1], a.right[:1]
    both = [LowRank(torch.cat([d.left, left], 1), torch.cat([d.right, right])) for d in (a, b)]
    found = similarity(*both)
    assert found.phi[0, 0] > 0.9
    assert found.z[0, 0] > 10
    assert 0.9 < found.shared[0, 0] <= 1


def test_table_stops_at_the_numerical_rank_and_says_what_was_cut():
    a = pair(3)
    wide = LowRank(torch.cat([a.left, a.left], 1), torch.cat([a.right, a.right]))
    found = similarity(wide, pair(5, 1))
    assert (found.phi.shape, found.cut) == ((3, 5), (6, 5))
    assert "3 × 5 of (6, 5)" in repr(found)
    assert similarity(wide, pair(5, 1), top=2).phi.shape == (2, 2)


def test_zero_has_no_direction_to_compare():
    found = similarity(pair(3) * 0, pair(5, 1))
    assert found.phi.shape == (0, 5)
    assert found.angles.shape == (0,)
    assert "no direction" in repr(found)


def test_a_whole_space_leaves_chance_no_room():
    found = similarity(pair(4, 0, 4, 4), pair(4, 1, 4, 4))
    assert found.z[-1, -1] == 0
    assert found.shared[-1, -1] == 0
    assert found.phi[-1, -1] == pytest.approx(1)


def test_many_layers_at_once_is_each_by_itself():
    a, b = ({name: pair(r, seed + at) for at, name in enumerate("qkv")} for r, seed in ((3, 0), (7, 9)))
    found = similarities(a, {**b, "other": b["q"]}, side="left")
    assert list(found) == ["q", "k", "v"]
    np.testing.assert_array_equal(found["k"].phi, similarity(a["k"], b["k"], side="left").phi)
    with pytest.raises(ValueError, match="no layer in common"):
        similarities(a, {"other": b["q"]})


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"a's are in ℝ\^18, b's in ℝ\^10"):
        similarity(pair(), pair(inputs=10))
    with pytest.raises(ValueError, match="rank's own coordinates"):
        similarity(pair(), pair(), of="A", side="left")
    with pytest.raises(ValueError, match="given 'C' and None"):
        similarity(pair(), pair(), of="C")
    with pytest.raises(TypeError, match="only factors have an A"):
        similarity(torch.ones(3, 3), torch.ones(3, 3), of="A")
