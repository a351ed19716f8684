"""ΔW beside W: table 7 and the intruders, against dense algebra; W's own SVD, kept on disk."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorakit.analysis import amplification, decomposed, intruders, similarity
from lorakit.analysis.chance import haar, projection
from lorakit.delta import LowRank, dense

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31)
OUT, IN = 20, 14


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path))
    return tmp_path


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def matrix(seed=0, out=OUT, inputs=IN):
    """A weight whose singular values fall off, as those of a trained one do."""
    g = generator(seed)
    U, V = haar(out, min(out, inputs), g, torch.float64), haar(inputs, min(out, inputs), g, torch.float64)
    return U * torch.arange(1, min(out, inputs) + 1, dtype=torch.float64) ** -0.7 @ V.mT


def pair(rank=4, seed=1, out=OUT, inputs=IN):
    g = generator(seed)
    left = torch.randn(out, rank, generator=g, dtype=torch.float64)
    return LowRank(left, torch.randn(rank, inputs, generator=g, dtype=torch.float64))


def orthogonal(d, seed):
    return haar(d, d, generator(seed), torch.float64)


def test_random_column_of_table_7_from_two_numbers():
    at = [projection(61.95, rank, (12288, 12288), quartic=0.0).mean ** 0.5 for rank in (4, 64)]
    assert at == pytest.approx([0.020, 0.323], abs=5e-4)
    assert 6.91 / at[0] == pytest.approx(342, abs=1)
    assert [0.32 / at[0], 1.90 / at[1]] == pytest.approx([15.9, 5.9], abs=0.05)


@pytest.mark.parametrize("rank", [1, 3])
def test_null_is_the_mean_and_spread_over_random_directions(rank):
    W, g, draws = matrix(), generator(), 4000
    squares = [
        float((haar(OUT, rank, g, torch.float64).mT @ W @ haar(IN, rank, g, torch.float64)).norm() ** 2)
        for _ in range(draws)
    ]
    S = torch.linalg.svdvals(W)
    chance = projection(float(S.norm()), rank, (OUT, IN), float((S**4).sum()))
    assert abs(np.mean(squares) - chance.mean) < 4 * chance.spread / np.sqrt(draws)
    assert np.std(squares) == pytest.approx(chance.spread, rel=0.12)


def test_row_of_table_7_is_that_of_dense_algebra():
    W, delta = matrix(), pair()
    U, S, Vh = np.linalg.svd(dense(delta).numpy())
    found = amplification(delta, W, 2)
    projected = np.linalg.norm(U[:, :2].T @ W.numpy() @ Vh[:2].T)
    assert found.projected == pytest.approx(projected)
    assert found.norm == pytest.approx(np.linalg.norm(S))
    assert found.weight_norm == pytest.approx(np.linalg.norm(W.numpy()))
    assert found.factor == pytest.approx(np.linalg.norm(S) / projected)
    assert found.null_projected == pytest.approx(np.linalg.norm(W.numpy()) * 2 / np.sqrt(OUT * IN))
    assert found.null_factor * found.null_projected == pytest.approx(found.norm)
    assert found.enrichment == pytest.approx(projected / found.null_projected)
    assert found.on_weight == pytest.approx(np.linalg.norm(np.linalg.svd(W.numpy(), compute_uv=False)[:2]))
    assert found.null_on_weight < found.on_weight
    assert found.rank == 2
    assert amplification(delta, W).rank == 4


def test_figure_8_is_phi_between_the_two_at_all_of_the_deltas_directions():
    W, delta = matrix(), pair()
    found = amplification(delta, W)
    for share, null, side, d in (
        (found.share_left, found.null_share_left, "left", OUT),
        (found.share_right, found.null_share_right, "right", IN),
    ):
        table = similarity(W, delta, side=side)
        counts = np.arange(1, IN + 1)
        np.testing.assert_allclose(share, table.phi[:, -1] * np.minimum(counts, 4) / 4)
        np.testing.assert_allclose(null, counts / d)
    assert found.share_right[-1] == pytest.approx(1)


def test_a_delta_of_the_weights_own_directions_is_enriched_most():
    W = matrix()
    U, S, Vh = decomposed(W)
    own = amplification(LowRank(U[:, :2] * S[:2], Vh[:2]), W)
    assert own.projected == pytest.approx(own.on_weight)
    assert own.factor == pytest.approx(1)
    assert own.z > 10
    assert amplification(pair(2), W).enrichment < own.enrichment


@quick
@given(seed=seeds, factor=st.floats(0.01, 100))
def test_amplification_under_rotation_transposition_and_scale(seed, factor):
    W, delta = matrix(seed), pair(seed=seed + 1)
    L, R = orthogonal(OUT, seed), orthogonal(IN, seed + 1)
    there = amplification(delta, W, 3)
    turned = amplification(LowRank(L @ delta.left, delta.right @ R), L @ W @ R, 3)
    across = amplification(delta.T, W.mT, 3)
    scaled = amplification(delta * factor, W, 3)
    for same in (turned, across, scaled):
        assert same.enrichment == pytest.approx(there.enrichment)
        assert same.z == pytest.approx(there.z)
    assert scaled.factor == pytest.approx(there.factor * factor)
    np.testing.assert_allclose(across.share_left, there.share_right, atol=1e-9)


def test_amplification_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match=r"does not change W \(14, 20\)"):
        amplification(pair(), matrix().mT)
    with pytest.raises(ValueError, match=r"rank must be in 1\.\.4, the numerical rank of this ΔW; given 5"):
        amplification(pair(), matrix(), 5)
    with pytest.raises(ValueError, match=r"1\.\.0"):
        amplification(pair() * 0, matrix())


def by_definition(W, delta, top):
    U0, _, V0 = np.linalg.svd(W.numpy(), full_matrices=False)
    U, _, Vh = np.linalg.svd((W + dense(delta)).numpy(), full_matrices=False)
    return [[max(abs(X.T @ y)) for y in Y.T[:top]] for X, Y in ((U0, U), (V0.T, Vh.T))]


@pytest.mark.parametrize("shape", [(20, 14), (14, 20), (16, 16)])
def test_intruders_are_those_of_the_definition_on_both_sides(shape):
    W, delta = matrix(0, *shape), pair(3, 1, *shape) * 0.05
    found = intruders(delta, W, threshold=0.8, top=6)
    left, right = by_definition(W, delta, 6)
    np.testing.assert_allclose([found.left, found.right], [left, right])
    np.testing.assert_array_equal(found.positions[0], np.flatnonzero(np.array(left) < 0.8))
    assert found.counts(0.8).tolist() == [sum(c < 0.8 for c in left), sum(c < 0.8 for c in right)]
    assert found.counts(np.array([0.1, 0.99])).shape == (2, 2)


def test_what_does_not_change_w_intrudes_nowhere_and_a_large_new_direction_does():
    W = matrix(0, 40, 30)
    U, S, Vh = decomposed(W)
    own = intruders(LowRank(U[:, :2] * S[:2], Vh[:2]), W)
    np.testing.assert_allclose([own.left, own.right], 1)
    nothing = intruders(LowRank(U[:, :1] * 0, Vh[:1]), W)
    assert nothing.counts(1 - 1e-9).tolist() == [0, 0]
    planted = intruders(pair(1, 1, 40, 30) * 0.3, W, threshold=0.6)
    assert planted.positions[0].tolist() == planted.positions[1].tolist() == [0]


def test_transposition_swaps_the_sides():
    W, delta = matrix(), pair() * 0.05
    there, across = intruders(delta, W), intruders(delta.T, W.mT)
    np.testing.assert_allclose(there.left, across.right)
    np.testing.assert_allclose(there.right, across.left)


def test_null_of_intruders_is_a_random_delta_of_the_same_singular_values():
    W, delta = matrix(0, 40, 30), pair(2, 1, 40, 30) * 0.3
    found = intruders(delta, W, draws=20)
    assert found.null_left.shape == (20, 10)
    assert abs(found.counts(0.5) - found.null_counts(0.5)).max() <= 1  # this ΔW is random itself
    again = intruders(delta, W, draws=20)
    np.testing.assert_array_equal(again.null_right, found.null_right)
    assert (intruders(delta, W, draws=20, seed=1).null_right != found.null_right).any()


def test_conv1d_is_measured_as_its_weight_of_whatever_it_stores():
    from transformers.pytorch_utils import Conv1D

    from lorakit.geometry import weight_of

    W, delta = matrix(0, 16, 16), pair(2, 1, 16, 16) * 0.1
    layer = Conv1D(16, 16).double()
    layer.weight.data = W.mT.contiguous()
    there, stored = intruders(delta, weight_of(layer), draws=1), intruders(delta, layer.weight, draws=1)
    np.testing.assert_allclose(there.left, by_definition(W, delta, 10)[0])
    assert abs(stored.left - there.left).max() > 0.01  # the square matrix that nothing stops from going in transposed


def test_intruders_refuse_what_has_no_answer():
    with pytest.raises(ValueError, match=r"does not change W \(14, 20\)"):
        intruders(pair(), matrix().mT)
    with pytest.raises(ValueError, match=r"top in 1\.\.14, .* given 15, 0\.5 and 3"):
        intruders(pair(), matrix(), top=15)
    with pytest.raises(ValueError, match=r"given 10, 2\.0 and 3"):
        intruders(pair(), matrix(), threshold=2.0)


def test_weights_svd_is_made_once_and_read_after(home, monkeypatch):
    W = matrix()
    made = decomposed(W)
    assert len(list((home / "svd").glob("*.npz"))) == 1
    monkeypatch.setattr("lorakit.analysis.weights.svd", lambda weight: pytest.fail("decomposed again"))
    for kept, fresh in zip(decomposed(W), made, strict=True):
        assert torch.equal(kept, fresh)
    assert torch.equal(decomposed(W.mT.contiguous().mT).S, made.S)  # another layout of the same numbers


def test_another_weight_shape_or_dtype_is_another_file(tmp_path):
    W = torch.randn(6, 4, generator=generator())
    for weight in (W, W + 1e-3, W.reshape(4, 6), W.double(), W.bfloat16()):
        found = decomposed(weight, tmp_path / "here")
        expected = weight.to(found.S.dtype)
        torch.testing.assert_close(found.U * found.S @ found.Vh, expected)
    assert len(list((tmp_path / "here").iterdir())) == 5


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive at all"])
def test_a_broken_file_is_made_anew(tmp_path, content):
    W = matrix()
    made = decomposed(W, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert torch.equal(decomposed(W, tmp_path).S, made.S)
    assert file.stat().st_size > 1000


def test_where_nothing_can_be_kept_it_is_made_each_time(tmp_path):
    (tmp_path / "file").touch()
    W = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        assert torch.allclose(decomposed(W, tmp_path / "file" / "svd").S, torch.linalg.svdvals(W))


def test_a_weight_is_one_finite_matrix():
    with pytest.raises(ValueError, match=r"one finite matrix .* given \(3,\)"):
        decomposed(torch.ones(3))
    with pytest.raises(ValueError, match="one finite matrix"):
        decomposed(torch.full((3, 3), torch.inf))


def test_reprs_name_the_chance():
    assert "chance" in repr(amplification(pair(), matrix()))
    assert "chance" in repr(intruders(pair(), matrix()))
