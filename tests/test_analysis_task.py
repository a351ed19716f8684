"""What the task says: truncation, the gradient, a random subspace; and the report that puts all answers together."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lorakit.analysis import (
    Projection,
    Subspace,
    gradient_probe,
    intrinsic_dimension,
    rank_report,
    truncation,
)
from lorakit.analysis.projection import hadamard
from lorakit.delta import LowRank, combine, dense, norm, truncate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(rank=4, seed=0, out=12, inputs=9):
    g = generator(seed)
    left = torch.randn(out, rank, generator=g, dtype=torch.float64)
    return LowRank(left, torch.randn(rank, inputs, generator=g, dtype=torch.float64))


DELTAS = {"q": pair(4, 0), "v": pair(2, 1)}


def distance(changes):
    """A quality that is 0 with all of ΔW and falls with the square of what is missing."""
    return -sum(float(norm(combine([DELTAS[name], part], [1, -1]))) ** 2 for name, part in changes.items())


def test_quality_of_the_head_is_that_of_the_best_approximation():
    found = truncation(distance, DELTAS)
    assert found.ranks.tolist() == [0, 1, 2, 3, 4]
    expected = [distance({n: truncate(d, min(k, d.rank)) for n, d in DELTAS.items()}) for k in range(5)]
    np.testing.assert_allclose(found.quality, expected, atol=1e-9)
    assert found.base == pytest.approx(expected[0])
    assert found.full == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(found.energy, 1 - found.quality / found.base, atol=1e-9)


def test_tail_is_what_the_head_leaves():
    head, tail = truncation(distance, DELTAS), truncation(distance, DELTAS, tail=True)
    np.testing.assert_allclose(head.energy + tail.energy, 1)
    np.testing.assert_allclose(head.quality + tail.quality, head.base, atol=1e-9)  # orthogonal parts
    assert (tail.quality[0], tail.quality[-1]) == (tail.full, tail.base)


def test_random_directions_do_worse_than_the_top_and_better_than_the_tail():
    head, tail = truncation(distance, DELTAS, seeds=range(8)), truncation(distance, DELTAS, tail=True, seeds=range(8))
    assert head.null.shape == (8, 5)
    assert (head.null <= head.quality + 1e-9).all()
    assert (tail.null >= tail.quality - 1e-9).all()
    np.testing.assert_allclose(head.null[:, [0, -1]], np.tile([head.base, head.full], (8, 1)), atol=1e-9)


def test_random_directions_keep_their_share_of_the_energy_and_the_rank():
    kept = {}

    def look(changes):
        kept.setdefault(int(np.linalg.matrix_rank(dense(changes["x"]).numpy())), []).append(norm(changes["x"]) ** 2)
        return 0.0

    delta = pair(4)
    truncation(look, {"x": delta}, [2], seeds=range(400))
    shares = np.array(kept[2][1:]) / float(norm(delta) ** 2)  # the first is the top two
    assert shares.mean() == pytest.approx(0.5, abs=4 * shares.std() / 20)


def test_evaluations_are_those_that_differ():
    calls = []
    truncation(lambda changes: calls.append(changes) or 0.0, DELTAS, [0, 2, 4], seeds=(0, 1))
    assert len(calls) == 2 + 1 + 2  # nothing and everything, k = 2, its null twice
    assert all(change.shape == DELTAS[name].shape for call in calls for name, change in call.items())


def test_rank_that_keeps_or_loses_a_share_of_the_gain():
    found = truncation(distance, DELTAS)
    gained = 1 - found.quality / found.base
    assert found.rank_at(0.8) == np.flatnonzero(gained >= 0.8)[0]
    lost = truncation(distance, DELTAS, tail=True)
    assert lost.rank_at(0.8) == found.rank_at(0.8)
    with pytest.raises(ValueError, match="no rank of \\[1\\] reaches a share of 1"):
        truncation(distance, DELTAS, [1]).rank_at(1.0)
    with pytest.raises(ValueError, match="changes nothing that is measured"):
        truncation(lambda _: 1.0, DELTAS).rank_at()


def test_ranks_out_of_reach_are_refused():
    with pytest.raises(ValueError, match=r"ranks must be in 0\.\.4, .* given \[5\]"):
        truncation(distance, DELTAS, [5])


@pytest.mark.parametrize("p", [1, 2, 8, 64, 1024, 4096])
def test_hadamard_is_sylvesters_matrix(p):
    H = np.array([[1.0]])
    while len(H) < p:
        H = np.block([[H, H], [H, -H]]) / np.sqrt(2)
    x = torch.randn(3, p, generator=generator(), dtype=torch.float64)
    np.testing.assert_allclose(hadamard(x), x.numpy() @ H, atol=1e-10)
    with pytest.raises(ValueError, match="power of two; given 6"):
        hadamard(torch.ones(6))


def whole(P):
    return torch.stack([P.expand(axis) for axis in torch.eye(P.d)], 1)


@settings(max_examples=25, deadline=None)
@given(D=st.integers(1, 300), share=st.floats(0, 1), seed=st.integers(0, 100))
def test_the_two_products_of_a_projection_are_transposes(D, share, seed):
    P = Projection(D, max(1, int(share * D)), seed=seed)
    matrix, g = whole(P), torch.randn(D, generator=generator(seed))
    torch.testing.assert_close(P.contract(g), matrix.T @ g, atol=1e-4, rtol=1e-4)
    z = torch.randn(P.d, generator=generator(seed), requires_grad=True)
    (P(z) * g).sum().backward()
    torch.testing.assert_close(z.grad, matrix.T @ g, atol=1e-4, rtol=1e-4)


def test_columns_are_orthonormal_and_the_matrix_looks_gaussian():
    P = Projection(4096, 50)
    matrix = whole(P)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(50), atol=1e-5, rtol=0)
    rows = matrix * 64  # entries of variance 1
    assert abs(rows.mean()) < 0.02
    assert float(rows.pow(4).mean()) == pytest.approx(3, abs=0.3)
    other = whole(Projection(4096, 50, seed=1))
    assert float((matrix.T @ other).pow(2).mean()) == pytest.approx(1 / 4096, rel=0.2)


def test_many_blocks_in_chunks_are_one_projection(monkeypatch):
    P, z = Projection(5000, 10, seed=3), torch.randn(10, generator=generator())
    at_once, back = P.expand(z), P.contract(torch.arange(5000.0))
    monkeypatch.setattr("lorakit.analysis.projection.CHUNK", 64)
    torch.testing.assert_close(P.expand(z), at_once)
    torch.testing.assert_close(P.contract(torch.arange(5000.0)), back)


def test_a_projection_stores_two_signs_a_parameter():
    stored = sum(b.numel() * b.element_size() for b in Projection(100_000, 1000).buffers())
    assert stored < 2.1 * 100_000
    with pytest.raises(ValueError, match=r"ℝ\^10 has 1\.\.10 dimensions; given 11"):
        Projection(10, 11)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def test_a_subspace_starts_at_the_model_and_moves_along_p():
    net, x = model(), torch.randn(3, 6, generator=generator())
    before, theta = net(x), torch.cat([p.detach().flatten() for p in net.parameters()])
    space = Subspace(net, 7)
    assert torch.equal(space(x), before)
    assert [name for name, p in space.named_parameters() if p.requires_grad] == ["z"]
    with torch.no_grad():
        space.z.normal_()
    moved = torch.cat([value.detach().flatten() for value in space.values().values()]) - theta
    torch.testing.assert_close(moved, whole(space.projection) @ space.z.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theta, torch.cat([p.flatten() for p in net.parameters()]))  # θ₀ stays


def test_gradient_of_z_is_the_projected_gradient_of_theta():
    x = torch.randn(3, 6, generator=generator())
    net = model()
    net(x).square().sum().backward()
    full = torch.cat([p.grad.flatten() for p in net.parameters()])
    space = Subspace(model(), 7)
    space(x).square().sum().backward()
    torch.testing.assert_close(space.z.grad, space.projection.contract(full))


def test_said_scales_each_tensor_and_counts_its_scales():
    space, x = Subspace(model(), 11, said=True), torch.randn(3, 6, generator=generator())
    assert (len(space.z), len(space.scales)) == (7, 4)
    with torch.no_grad():
        space.z.normal_()
        space.scales.copy_(torch.tensor([2.0, 1.0, 1.0, 0.0]))
    plain = Subspace(model(), 7)
    plain.z.data = space.z.data
    start = dict(model().named_parameters())
    moves, base = space.values(), plain.values()
    torch.testing.assert_close(moves["0.weight"] - start["0.weight"], 2 * (base["0.weight"] - start["0.weight"]))
    assert torch.equal(moves["2.bias"], start["2.bias"])
    space(x).square().sum().backward()
    assert space.scales.grad.abs().min() > 0
    with pytest.raises(ValueError, match=r"at least 5 \(one λ for each of 4 tensors\); given 4"):
        Subspace(model(), 4, said=True)


def test_beside_the_subspace_a_head_trains_by_itself():
    space = Subspace(model(), 3, beside=["2.*"])
    trains = [name for name, p in space.named_parameters() if p.requires_grad]
    assert trains == ["z", "model.2.weight", "model.2.bias"]
    with pytest.raises(ValueError, match=r"beside='head\.\*' matches nothing"):
        Subspace(model(), 3, beside=["head.*"])
    with pytest.raises(ValueError, match="nothing is left to move"):
        Subspace(model().requires_grad_(False), 3)


def test_search_finds_the_threshold_of_each_seed():
    found = intrinsic_dimension(lambda d, seed: d / (10 + 20 * seed), 1.0, dimensions=[4, 8, 16, 32, 64], seeds=[0, 1])
    assert found.passed.tolist() == [16, 32]
    assert found.failed.tolist() == [8, 16]
    assert found.dimension == pytest.approx(np.sqrt(16 * 32))
    assert found.interval == (8, 32)
    assert found.null.tolist() == [0, 0]
    assert len(found.tried) <= 2 * 4
    assert "score at 0 0" in repr(found)


def test_search_says_when_no_training_is_needed_and_when_none_is_enough():
    free = intrinsic_dimension(lambda d, seed: 0.8, 0.7, dimensions=[4, 8])
    assert (free.dimension, free.interval) == (0, (0, 0))
    assert "met without training" in repr(free)
    never = intrinsic_dimension(lambda d, seed: 0.0, 0.7, dimensions=[4, 8])
    assert never.dimension == np.inf
    assert never.interval == (8, np.inf)
    with pytest.raises(ValueError, match=r"must ascend .* given \[8, 4\]"):
        intrinsic_dimension(lambda d, seed: 0.0, 1, dimensions=[8, 4])


def gradients(rank, seed, noise=0.02, out=40, inputs=30):
    g = generator(seed)
    return dense(pair(rank, seed, out, inputs)).float() / 20 + noise * torch.randn(out, inputs, generator=g)


def test_gradient_probe_finds_the_planted_directions_and_their_order():
    found = gradient_probe({"q": gradients(3, 0), "v": gradients(6, 1), "k": gradients(3, 2) * 0.01})
    assert found.directions.tolist() == [3, 6, 3]
    assert found.order(8) == ["v", "q", "k"]
    S = np.linalg.svd(gradients(3, 0).numpy(), compute_uv=False)
    np.testing.assert_allclose(found.gain[0, 2], np.linalg.norm(S[:3]), rtol=1e-4)
    np.testing.assert_allclose(found.norm[0], np.linalg.norm(S), rtol=1e-4)
    assert found.calibrated_by == "a random matrix of the same norm"


def test_gain_is_the_best_step_of_that_rank():
    G = gradients(5, 0)
    gain = gradient_probe({"q": G}).gain[0]
    for rank in (1, 2, 5):
        best = truncate(G, rank)
        step = dense(best) / norm(best)
        assert gain[rank - 1] == pytest.approx(float((G * step).sum()), rel=1e-4)
        random = dense(pair(rank, 9, 40, 30)).float()
        assert abs(float((G * random / random.norm()).sum())) < gain[rank - 1]


def test_pure_noise_has_no_direction():
    noise = {str(seed): torch.randn(40, 30, generator=generator(seed)) for seed in range(20)}
    assert gradient_probe(noise, draws=64).directions.sum() <= 2


def test_shuffled_labels_are_the_null_where_given():
    common = gradients(1, 7) * 3  # what inputs alone give, whatever the labels

    def batch(seed, task):
        return {"q": common + task * gradients(2, 0, 0) + 0.02 * torch.randn(40, 30, generator=generator(seed))}

    found = gradient_probe(
        [batch(s, 1.0) for s in range(4)], shuffled=lambda: [batch(s, 0.0) for s in range(4, 8)], rank=3
    )
    values = torch.stack([torch.linalg.svdvals(batch(s, 0.0)["q"]) for s in range(4, 8)])
    np.testing.assert_allclose(found.null[0], values.mean(0)[:3], rtol=1e-4)
    np.testing.assert_allclose(found.ceiling[0], float(values.max()), rtol=1e-4)
    mean = sum(batch(s, 1.0)["q"] for s in range(4)) / 4
    np.testing.assert_allclose(found.singular_values[0], torch.linalg.svdvals(mean)[:3], rtol=1e-4)
    assert found.calibrated_by == "shuffled labels"


def test_gradients_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one gradient a weight"):
        gradient_probe({})
    with pytest.raises(ValueError, match="a shuffled one for each"):
        gradient_probe({"q": torch.ones(2, 2)}, shuffled={"v": torch.ones(2, 2)})
    with pytest.raises(ValueError, match=r"rank must be in 1\.\.8"):
        gradient_probe({"q": torch.ones(2, 2)}).order(9)


def test_report_sets_the_probes_side_by_side_and_explains():
    shared = pair(1, 5, 60, 50)
    twice = [{n: combine([shared, pair(3, s + 2 * i, 60, 50)], [30, 1]) for i, n in enumerate("qv")} for s in (10, 20)]
    found = rank_report(
        twice[0],
        other=twice[1],
        truncation=truncation(distance, DELTAS),
        gradients=gradient_probe({"q": gradients(3, 0)}),
        intrinsic=intrinsic_dimension(lambda d, seed: d, 100),
    )
    assert found["rank"].value.tolist() == [4, 4]
    assert found["stable rank"].value.max() < 1.2 < found["stable rank"].null.min()
    assert found["rank at 90% energy"].value.tolist() == [1, 1]
    assert found["directions shared by two runs"].value.min() > 0.7
    assert found["gradient directions"].value.tolist() == [3]
    assert found["intrinsic dimension as rank"].value.tolist() == pytest.approx([128 / 220])
    table = str(found)
    assert all(answer.probe in table for answer in found.answers)
    assert "the gradient shows 3 directions before training" in table
    with pytest.raises(KeyError, match="no probe 'luck' was asked"):
        found["luck"]


def test_report_on_one_delta_a_zero_one_and_a_random_one():
    assert "near that of a random ΔW" in str(rank_report(pair(8, 0, 60, 40)))
    assert "1 ΔW are zero" in str(rank_report({"q": pair() * 0, "v": pair()}))
    said = str(rank_report(pair(8, 0, 60, 40), other=pair(8, 1, 60, 40)))
    assert "are found again" in said
    assert max(map(len, said.splitlines())) <= 106  # what a laptop's window has beside the file browser
    with pytest.raises(ValueError, match="needs at least one ΔW"):
        rank_report({})
