"""Ground truth: y = (W + ΔW*)·x + noise with ΔW* of rank k. Every probe must give k, or its documented answer.

Full fine-tuning of that task has a closed form, least squares, so nothing here is trained and nothing is by luck.
"""

import numpy as np
import pytest
import torch
from torch import nn

from lorakit.analysis import (
    Projection,
    Subspace,
    amplification,
    directions,
    gradient_probe,
    intrinsic_dimension,
    intruders,
    rank_report,
    similarity,
    spectrum,
    truncation,
)
from lorakit.analysis.chance import haar
from lorakit.delta import LowRank, dense

OUT, IN, EXAMPLES, NOISE = 40, 30, 2000, 0.3
K = 3


class Task:
    """One draw of examples; ΔW* and W are the same for all."""

    def __init__(self, seed, k=K):
        g = torch.Generator().manual_seed(99)
        self.W = torch.randn(OUT, IN, generator=g).double() / IN**0.5
        self.truth = LowRank(haar(OUT, k, g, torch.float64), haar(IN, k, g, torch.float64).mT)  # all σ = 1
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(EXAMPLES, IN, generator=g).double()
        noise = NOISE * torch.randn(EXAMPLES, OUT, generator=g).double()
        self.y = self.x @ (self.W + dense(self.truth)).mT + noise
        self.g = g

    def fine_tuned(self):
        """ΔW of full fine-tuning to the end: the least-squares W less the pretrained one."""
        return torch.linalg.lstsq(self.x, self.y).solution.mT - self.W

    def quality(self, changes):
        """On examples never seen, infinitely many: −E‖(ΔW − ΔW*)·x‖². On those seen, noise would count as gain."""
        return -float((dense(changes["W"]) - dense(self.truth)).square().sum())

    def gradient(self, shuffled=False):
        y = self.y[torch.randperm(EXAMPLES, generator=self.g)] if shuffled else self.y
        W = self.W.clone().requires_grad_()
        (self.x @ W.mT - y).square().mean().backward()
        return {"W": W.grad}


@pytest.fixture(scope="module", params=[1, 3, 6], ids=lambda k: f"k={k}")
def k(request):
    return request.param


def test_spectrum_of_the_truth_counts_k_in_every_way(k):
    found = spectrum(Task(0, k).truth)
    counts = found.stable_rank, found.participation_ratio, found.effective_rank, found.rank, found.rank_at(0.9)
    assert counts == pytest.approx([k, k, k, k, np.ceil(0.9 * k - 1e-9)])


def test_of_a_fine_tuned_delta_the_stable_rank_says_k_and_the_numerical_rank_does_not(k):
    found = spectrum(Task(0, k).fine_tuned())
    assert found.rank == IN  # noise fills every direction
    assert found.stable_rank == pytest.approx(k, rel=0.15)
    assert found.rank_at(0.9) in (k, k + 1)
    assert found.stable_rank < found.null_stable_rank.mean - 3 * found.null_stable_rank.spread


@pytest.mark.parametrize("side", ["left", "right"])
def test_phi_to_the_truth_reaches_1_at_k(k, side):
    found = similarity(Task(0, k).fine_tuned(), Task(0, k).truth, side=side)
    assert found.phi[k - 1, k - 1] > 0.98
    assert found.phi.shape[1] == k


@pytest.mark.parametrize("side", ["left", "right"])
def test_two_runs_share_k_directions_and_beyond_them_chance(k, side):
    a, b = (directions(Task(seed, k).fine_tuned()) for seed in (0, 1))
    assert similarity(a, b, side=side).phi[k - 1, k - 1] > 0.96
    beyond = similarity(a.part(k, k + 5), b.part(k, k + 5), side=side)
    assert beyond.phi[-1, -1] < 0.3
    assert abs(beyond.z[-1, -1]) < 3.5


def test_truncation_needs_k_and_random_directions_need_all(k):
    task = Task(0, k)
    found = truncation(task.quality, {"W": task.fine_tuned()})
    assert found.rank_at(0.95) == k
    assert truncation(task.quality, {"W": task.fine_tuned()}, tail=True).rank_at(0.95) == k
    random = (found.null.mean(0) - found.base) / (found.full - found.base)
    assert found.ranks[np.flatnonzero(random >= 0.95)[0]] > IN / 2


def test_gradient_before_training_shows_k_directions(k):
    task = Task(0, k)
    assert gradient_probe(task.gradient(), rank=12).directions.tolist() == [k]
    assert gradient_probe(task.gradient(), shuffled=[Task(0, 1).gradient(True)], rank=12).directions.max() <= k
    step = similarity(LowRank(*_top(task.gradient()["W"], k)), task.truth)
    assert step.phi[-1, -1] > 0.95


def _top(G, k):
    U, S, Vh = torch.linalg.svd(G, full_matrices=False)
    return U[:, :k] * S[:k], Vh[:k]


def test_gradient_of_shuffled_labels_is_a_null_that_noise_does_not_pass():
    shuffled = [Task(seed).gradient(True) for seed in range(4)]
    assert gradient_probe(Task(9).gradient(True), shuffled=shuffled).directions.max() <= 1


def test_planted_directions_intrude_and_their_position_is_their_size(k, tmp_path):
    g = torch.Generator().manual_seed(0)
    W = torch.randn(200, 160, generator=g) / 160**0.5  # σ₁ ≈ 2.1
    planted = LowRank(4 * haar(200, k, g), haar(160, k, g).mT)
    found = intruders(planted, W, top=k + 3, cache=tmp_path)
    assert found.positions[0].tolist() == found.positions[1].tolist() == list(range(k))
    assert intruders(planted * 0.02, W, top=k + 3, cache=tmp_path).counts(0.5).tolist() == [0, 0]


def test_a_truth_that_knows_nothing_of_w_is_at_chance_and_its_factor_is_large(k, tmp_path):
    row = amplification(Task(0, k).truth, Task(0, k).W, cache=tmp_path)
    assert abs(row.z) < 3.5
    assert row.enrichment == pytest.approx(1, abs=0.6)
    assert row.factor > 2


@pytest.mark.parametrize("needed", [4, 10])
def test_intrinsic_dimension_is_the_number_of_constraints(needed):
    """Li et al.'s example: θ ∈ ℝ¹⁰⁰⁰, each of `needed` groups has to sum to its own target."""
    goal = torch.arange(1.0, needed + 1)

    def score(d, seed):
        if d == 0:
            return -float(goal.square().sum())
        groups = torch.stack([Projection(1000, d, seed=seed).expand(axis) for axis in torch.eye(d)], 1)
        groups = groups[: 1000 // needed * needed].view(needed, -1, d).sum(1)
        return -float((groups @ torch.linalg.lstsq(groups, goal[:, None]).solution[:, 0] - goal).square().sum())

    found = intrinsic_dimension(score, -1e-4, dimensions=range(1, 21))
    assert (found.passed == needed).all()
    assert (found.failed == needed - 1).all()


def test_a_model_trains_in_its_subspace():
    torch.manual_seed(0)
    x, net = torch.randn(200, 8), nn.Linear(8, 2)
    y = x[:, :1] - x[:, 1:2]
    losses = {}
    for d in (2, 18):  # 18 is all there is
        space = Subspace(net.requires_grad_(True), d)
        optimizer = torch.optim.LBFGS([space.z], max_iter=50)

        def closure(space=space, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (space(x) - y).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        losses[d] = closure().item()
    assert losses[18] < 1e-8 < 0.1 < losses[2]


def test_report_puts_k_in_every_row_that_asks_for_it(k):
    task = Task(0, k)
    found = rank_report(
        {"W": task.fine_tuned()},
        other={"W": Task(1, k).fine_tuned()},
        truncation=truncation(task.quality, {"W": task.fine_tuned()}),
        gradients=gradient_probe(task.gradient(), rank=12),
        share=0.95,
    )
    assert found["rank that the task needs"].value == k
    assert found["gradient directions"].value == k
    assert found["stable rank"].value == pytest.approx(k, rel=0.15)
    assert found["rank that the task needs"].null > IN / 2
