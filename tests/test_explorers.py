"""Explorers of ΔW: what the menus and sliders ask for is what the picture says."""

import numpy as np
import pytest
import torch

from lorakit.analysis import similarity, spectrum
from lorakit.delta import LowRank
from lorakit.plots import alt_text
from lorakit.widgets import LayerExplorer, PhiExplorer
from lorakit.widgets.weights import WeightMenus


def pair(seed, rank):
    g = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(20, rank, generator=g), torch.randn(rank, 16, generator=g))


def run(seed, rank, kinds="qv", layers=(0, 1, 10)):
    return {f"model.{n}.{kind}": pair(100 * seed + 7 * n + ord(kind), rank) for n in layers for kind in kinds}


PAIRS = {"small and large": (run(0, 2), run(1, 5)), "large twice": (run(1, 5), run(2, 5))}


@pytest.fixture
def phi():
    return PhiExplorer(PAIRS, about="tiny")


def drawn(explorer):
    return explorer.view.figure


def test_starts_at_the_first_of_everything(phi):
    a, b = PAIRS["small and large"]
    expected = similarity(a["model.0.q"], b["model.0.q"])
    np.testing.assert_array_equal(drawn(phi).data[0].z, expected.phi)
    assert (phi.i.max, phi.j.max) == (2, 5)
    assert drawn(phi).layout.title.subtitle.text == "tiny · small and large · model.0.q"


def test_sliders_mark_a_cell_and_say_its_numbers(phi):
    phi.i.value, phi.j.value = 2, 4
    table = phi.similarity
    said = f"φ(2, 4) = {table.phi[1, 3]:.3f}, by chance {table.null[1, 3]:.3f}, z = {table.z[1, 3]:.1f}"
    assert drawn(phi).layout.title.text == said
    frame = drawn(phi).layout.shapes[-1]
    assert (frame.x0, frame.y1) == (3.5, 2.5)
    assert "φ(2, 4)" in phi.view.alt


def test_menus_choose_layer_matrix_and_pair(phi):
    phi.menus.matrix.value, phi.menus.layer.value, phi.pair.value = "v", "10", "large twice"
    a, b = PAIRS["large twice"]
    np.testing.assert_array_equal(drawn(phi).data[0].z, similarity(a["model.10.v"], b["model.10.v"]).phi)
    assert (phi.i.max, phi.j.max) == (5, 5)


def test_sliders_follow_a_smaller_table(phi):
    phi.pair.value = "large twice"
    phi.i.value = 5
    phi.pair.value = "small and large"
    assert (phi.i.value, phi.i.max) == (2, 2)
    assert drawn(phi).layout.title.text.startswith("φ(2, 1)")


def test_a_pair_is_measured_once(phi, monkeypatch):
    first = phi.similarity
    phi.pair.value = "large twice"
    phi.pair.value = "small and large"
    assert phi.similarity is first


def test_options_reach_the_measure():
    explorer = PhiExplorer(PAIRS, side="left", top=1)
    a, b = PAIRS["small and large"]
    np.testing.assert_array_equal(
        explorer.similarity.phi, similarity(a["model.0.q"], b["model.0.q"], side="left", top=1).phi
    )


def test_a_zero_delta_is_said_to_be_one():
    zero = {"model.0.q": LowRank(torch.zeros(20, 2), torch.zeros(2, 16))}
    explorer = PhiExplorer({"zero": (zero, zero)})
    assert "zero" in drawn(explorer).layout.title.text
    assert "zero" in alt_text(drawn(explorer))


def test_only_layers_that_all_have_are_offered():
    explorer = PhiExplorer({"one": (run(0, 2), run(1, 2, kinds="q"))})
    assert explorer.menus.matrix.options == ("q",)
    with pytest.raises(ValueError, match=r"no layer that all of \['one'\] have in common"):
        PhiExplorer({"one": (run(0, 2, kinds="v"), run(1, 2, kinds="q"))})


def test_the_menus_always_name_a_weight():
    menus = WeightMenus(["h.0.q", "h.1.q", "h.1.v", "h.2.v"])
    assert menus.name == "h.0.q"
    menus.matrix.value = "v"
    assert (menus.layer.options, menus.name) == (("1", "2"), "h.1.v")
    menus.layer.value = "2"
    menus.matrix.value = "q"
    assert menus.name == "h.0.q"
    menus = WeightMenus(["h.0.q", "h.1.q", "h.2.q", "h.1.v", "h.2.v"])
    menus.layer.value = "2"
    menus.matrix.value = "v"
    assert menus.name == "h.2.v", "a layer that has both stays"


def test_a_second_stack_is_on_the_menu():
    menus = WeightMenus(["encoder.0.q", "decoder.0.q"])
    assert menus.matrix.options == ("encoder.*.q", "decoder.*.q")
    menus.matrix.value = "decoder.*.q"
    assert menus.name == "decoder.0.q"


def test_the_layer_explorer_shows_the_measure_its_null_and_one_spectrum():
    deltas = run(0, 3)
    explorer = LayerExplorer(deltas, about="tiny")
    explorer.menus.matrix.value, explorer.menus.layer.value = "v", "1"
    explorer.measure.value = "stable_rank"
    places, lines = (view.figure for view in explorer.views)
    one = spectrum(deltas["model.1.v"])
    measured, chance = places.data
    assert measured.z[1, 1] == one.stable_rank
    assert chance.z[1, 1] == one.null_stable_rank.mean
    assert {(frame.x0, frame.y0, frame.yref) for frame in places.layout.shapes} == {(0.5, 0.5, "y"), (0.5, 0.5, "y2")}
    np.testing.assert_allclose(lines.data[2].y, one.singular_values / one.norm)
    explorer.measure.value = "norm"
    assert len(explorer.views[0].figure.data) == 1, "a norm has no null of its own: chance is given the same"


def test_nothing_to_show():
    with pytest.raises(ValueError, match="no ΔW to show"):
        LayerExplorer({})
