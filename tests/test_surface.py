"""Every run of a planted task at once is every run by itself; a ΔW* one can see; the figures and sliders on both."""

import numpy as np
import pytest
import torch

from lorakit import LoRA, adapt, plots, train
from lorakit.data import planted
from lorakit.data.pictures import noisy, rectangles
from lorakit.delta import LowRank, dense, norm, truncate
from lorakit.layers import gaussian
from lorakit.plots import alt_text
from lorakit.surface import adam, loss_surface, moments, sgd
from lorakit.training import constant
from lorakit.widgets import PictureExplorer, SurfaceExplorer

PLAIN = {"schedule": constant, "warmup": 0, "clip": None, "weight_decay": 0, "progress": False}
RANKS, RATES = (1, 3, 6), (0.01, 0.05, 0.2)


def toy(**options):
    return planted(**{"rank": 3, "inputs": 10, "outputs": 8, "rows": 64, "noise": 0.1, "seed": 3, **options})


@pytest.fixture(scope="module")
def surface():
    return loss_surface(toy(), RANKS, RATES, alpha=4.0, steps=20)


# ---- the surface ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("update", "optimizer", "factor"), [(adam, torch.optim.Adam, 1), (sgd, torch.optim.SGD, 4)])
@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"seed": 5}, {"init": gaussian}])
def test_a_cell_is_the_run_that_train_makes(update, optimizer, factor, options):
    rates = [factor * rate for rate in RATES[:2]]
    found = loss_surface(toy(), RANKS, rates, alpha=1.0, steps=20, update=update, **options)
    for i, rank in enumerate(RANKS):
        for j, rate in enumerate(rates):
            task = toy()
            adapt(task.model, LoRA, "linear", rank=rank, alpha=1.0, **options)
            run = train(task.model, task.batches(batch_size=64), steps=20, lr=rate, optimizer=optimizer, **PLAIN)
            np.testing.assert_allclose(found.loss[:-1, i, j], run.loss, rtol=1e-3, atol=1e-6)
            assert found.loss[-1, i, j] == pytest.approx(task.model(*task.train).loss.item(), rel=1e-3)


def test_the_task_is_left_as_it_is():
    task = toy()
    before = task.model.linear.weight.clone()
    loss_surface(task, (2,), (0.1,), steps=3)
    assert isinstance(task.model.linear, torch.nn.Linear)
    assert torch.equal(task.model.linear.weight, before)


def test_alpha_may_follow_the_rank(surface):
    assert surface.scales.tolist() == [4.0, pytest.approx(4 / 3), pytest.approx(4 / 6)]
    held = loss_surface(toy(), RANKS, RATES, alpha=lambda rank: 2 * rank, steps=2)
    assert held.scales.tolist() == [2.0, 2.0, 2.0]


def test_the_floor_is_what_least_squares_of_that_rank_leaves(surface):
    task = toy()
    C, M, power = moments(task)
    x, y = task.train
    rest = y - x @ task.model.linear.weight.detach().T
    best = torch.linalg.lstsq(x.double(), rest.double()).solution.T  # full rank, (out, in)
    residual = ((rest.double() - x.double() @ best.T) ** 2).mean()
    root = torch.linalg.cholesky((x.T @ x / len(x)).double())
    for rank, floor in zip(RANKS, surface.floor):
        cut = dense(truncate(best @ root, rank)) @ torch.linalg.inv(root)
        assert floor == pytest.approx(((rest.double() - x.double() @ cut.T) ** 2).mean().item(), rel=1e-4)
    assert surface.floor[-1] >= residual.item() - 1e-6
    assert (surface.loss[-1] >= surface.floor[:, None] - 1e-6).all()
    assert surface.untrained == pytest.approx((rest**2).mean().item(), rel=1e-5)
    assert power / len(M) == pytest.approx(surface.untrained, rel=1e-6)
    assert C.shape == (10, 10)


def test_missing_runs_from_untrained_to_the_floor(surface):
    never = loss_surface(toy(), RANKS, (0.0,), steps=3)
    np.testing.assert_allclose(never.missing, 1.0, rtol=1e-5)
    long = loss_surface(toy(), (3,), (0.02,), alpha=3.0, steps=1500)
    assert abs(long.missing[0, 0]) < 0.01
    wild = loss_surface(toy(), (2,), (1e6,), update=sgd, steps=60)
    assert np.isinf(wild.missing).all()


def test_windows_hold_the_rates_that_work():
    found = loss_surface(toy(), (1, 3), (1e-6, 0.03, 0.1, 1e4), alpha=4.0, steps=60)
    assert (found.missing[:, 1:3] < 0.2).all()
    np.testing.assert_allclose(found.window(), [[0.03, 0.1]] * 2)
    np.testing.assert_allclose(found.middle(), [0.003**0.5] * 2)
    assert set(found.best) <= {0.03, 0.1}
    assert np.isnan(found.window(-1.0)).all()
    assert "8 runs of 60 steps" in repr(found)


def test_an_empty_surface():
    with pytest.raises(ValueError, match=r"needs ranks and rates; given \[\] and \[0.1\]"):
        loss_surface(toy(), (), (0.1,))
    with pytest.raises(ValueError, match=r"rank must be a whole number in 1..8"):
        loss_surface(toy(), (9,), (0.1,))


# ---- a ΔW* to look at -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_rectangles_have_the_rank_of_their_number(seed):
    for rank in (1, 2, 7, 13):
        delta = rectangles(rank, size=24, seed=seed)
        assert torch.linalg.matrix_rank(dense(delta)) == rank == delta.rank
    few, many = (dense(rectangles(n, size=24, seed=seed)) for n in (1, 2))
    assert set(few.unique().tolist()) == {0.0, 1.0}
    assert set((many - few).unique().tolist()) == {-1.0, 0.0}


def test_a_rectangle_is_one():
    u, v = (side.flatten() for side in (rectangles(1).left, rectangles(1).right))
    for ones in (u, v):
        inside = torch.nonzero(ones).flatten()
        assert len(inside) == inside[-1] - inside[0] + 1 >= 8


def test_too_many_rectangles():
    with pytest.raises(ValueError, match="1 to 13 rectangles have room on a square of 24; given 14"):
        rectangles(14, size=24)


def test_noise_has_the_size_that_was_asked_for():
    seen = noisy(rectangles(2, size=200), 0.5, seed=1) - dense(rectangles(2, size=200))
    assert seen.std().item() == pytest.approx(0.5, rel=0.02)
    assert torch.linalg.matrix_norm(seen, 2).item() == pytest.approx(0.5 * 2 * 200**0.5, rel=0.05)
    assert torch.equal(noisy(rectangles(), 0.0), dense(rectangles()))


def test_a_change_of_ones_own_is_planted():
    own = LowRank(torch.tensor([[3.0], [4.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    task = planted(delta=own, rows=50)
    assert (task.rank, task.singular_values) == (1, (pytest.approx(5.0),))
    x, y = task.train
    torch.testing.assert_close(y - x @ task.model.linear.weight.T, x @ dense(own).T, rtol=1e-4, atol=1e-5)


# ---- figures --------------------------------------------------------------------------------------------


def test_the_map_shows_what_is_missing(surface):
    figure = plots.loss_surface(surface, mark=(3, 0.05), about="toy")
    (cells,), (frame, _) = figure.data, figure.layout.shapes
    np.testing.assert_allclose(10 ** np.asarray(cells.z), np.clip(surface.missing, 1e-3, 1), rtol=1e-6)
    at = list(cells.x).index("0.05"), list(cells.y).index("3")
    assert (frame.x0 + 0.5, frame.y0 + 0.5) == at
    assert f"marked, rank 3 with lr 0.05: {surface.missing[1, 1]:.1%}" in alt_text(figure)


def test_a_run_that_diverged_has_no_colour():
    found = loss_surface(toy(), (2,), (0.02, 1e6), update=sgd, steps=60)
    figure = plots.loss_surface(found, mark=(2, 1e6))
    assert np.isfinite(figure.data[0].z[0][0])
    assert np.isnan(figure.data[0].z[0][1])
    assert "nothing learned" in alt_text(figure)
    assert "nothing learned" in plots.surface_run(found, 2, 1e6).layout.title.text


def test_one_run_of_it(surface):
    figure = plots.surface_run(surface, 3, 0.05)
    np.testing.assert_allclose(figure.data[0].y, surface.loss[:, 1, 1])
    heights = [shape.y0 for shape in figure.layout.shapes]
    np.testing.assert_allclose(heights, [surface.untrained, surface.floor[1]])
    assert [note.text for note in figure.layout.annotations] == ["untrained", "least at rank 3"]
    with pytest.raises(ValueError, match=r"no run of rank 2 at learning rate 0.05; there are ranks \[1, 3, 6\]"):
        plots.surface_run(surface, 2, 0.05)


def test_windows_are_drawn_around_their_middle(surface):
    figure = plots.rate_windows({"one": surface, "two": surface}, missing=0.5)
    low, high, middle = figure.data[:3]
    np.testing.assert_allclose(np.stack([low.y, high.y], 1), surface.window(0.5))
    np.testing.assert_allclose(middle.y, np.sqrt(surface.window(0.5).prod(1)))
    assert len(figure.data) == 6


def test_pictures_share_their_colours():
    figure = plots.pictures({"a": np.eye(3), "b": -2 * np.eye(3)})
    assert {(trace.zmin, trace.zmax) for trace in figure.data} == {(-2.0, 2.0)}
    assert [note.text for note in figure.layout.annotations] == ["a", "b"]
    assert len({trace.xaxis for trace in figure.data}) == 2


def test_a_cut_fills_what_it_keeps():
    figure = plots.cut({"a": np.eye(3)}, [3.0, 2.0, 1.0], 1, level=1.5)
    colours = figure.data[-1].marker.color
    assert colours[0] != colours[1] == colours[2]
    assert figure.layout.shapes[0].y0 == 1.5
    assert "2 exceed it" in alt_text(figure)


# ---- sliders --------------------------------------------------------------------------------------------


def test_the_picture_says_how_far_the_cut_is_from_the_truth():
    explorer = PictureExplorer(rank=2, most=4, size=24, noise=0.4, seed=1)
    explorer.rank.value, explorer.noise.value, explorer.kept.value = 3, 0.5, 2
    truth, seen = dense(rectangles(3, size=24, seed=1)), noisy(rectangles(3, size=24, seed=1), 0.5, seed=1)
    top = dense(truncate(seen, 2))
    planted_picture, whole, cut, bars = explorer.view.figure.data
    for trace, matrix in ((planted_picture, truth), (whole, seen), (cut, top)):
        np.testing.assert_allclose(trace.z, matrix, atol=1e-5)
    np.testing.assert_allclose(bars.y, torch.linalg.svdvals(seen)[:8], rtol=1e-5)
    errors = [(norm(one - truth) / norm(truth)).item() for one in (top, seen)]
    assert (
        explorer.view.figure.layout.title.text
        == f"The top 2 miss ΔW* by {errors[0]:.0%}, ΔW as it stands by {errors[1]:.0%}"
    )
    assert explorer.error == pytest.approx(errors[0], rel=1e-4)
    assert explorer.level == pytest.approx(0.5 * 2 * 24**0.5)


def test_alpha_trains_and_the_others_only_choose(monkeypatch):
    explorer = SurfaceExplorer(toy(), RANKS, RATES, alpha=4.0, steps=20, about="toy")
    first = explorer.surface
    explorer.rank.value, explorer.rate.value = 6, 0.2
    assert explorer.surface is first
    frame, _ = explorer.views[0].figure.layout.shapes
    assert (frame.x1 - 0.5, frame.y1 - 0.5) == (RATES.index(0.2), RANKS.index(6))
    np.testing.assert_allclose(explorer.views[1].figure.data[0].y, first.loss[:, 2, 2])
    explorer.alpha.value = 16.0
    assert explorer.surface is not first
    again = loss_surface(toy(), RANKS, RATES, alpha=16.0, steps=20)
    np.testing.assert_array_equal(explorer.surface.loss, again.loss)
    assert "toy · α = 16, s = α/r, 20 steps" in explorer.views[0].figure.layout.title.subtitle.text


@pytest.mark.parametrize(("scale", "expected"), [("α/√r", 4 / np.sqrt(RANKS)), ("α", [4.0] * 3)])
def test_the_menu_says_what_divides_alpha(scale, expected):
    explorer = SurfaceExplorer(toy(), RANKS, RATES, alpha=4.0, steps=2)
    explorer.scale.value = scale
    np.testing.assert_allclose(explorer.surface.scales, expected)
