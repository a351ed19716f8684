"""Every measure of an adapter under one menu: what the map says is what was measured, and its null beside it."""

import numpy as np
import pytest
import torch

from lorakit.delta import LowRank
from lorakit.inspecting import measured
from lorakit.widgets import AdapterExplorer


def run(seed, layers=(0, 1), kinds="qv"):
    g = torch.Generator().manual_seed(seed)
    names = [f"h.{n}.{kind}" for n in layers for kind in kinds]
    return {name: LowRank(torch.randn(24, 3, generator=g), torch.randn(3, 20, generator=g)) for name in names}


def weight(name, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(name)))


@pytest.fixture
def rows():
    return list(measured(run(0), weight, run(1)))


def offered(explorer):
    return [label for label, _ in explorer.measure.options]


def choose(explorer, label):
    explorer.measure.value = dict(explorer.measure.options)[label]


def cells(explorer):
    return [trace.z for trace in explorer.views[0].figure.data if trace.type == "heatmap"]


def test_the_menu_holds_what_was_measured(rows):
    assert len(offered(AdapterExplorer(rows))) == 9
    alone = list(measured(run(0)))
    assert offered(AdapterExplorer(alone)) == ["effective rank", "stable rank", "norm ‖ΔW‖"]
    assert [len(AdapterExplorer(some).views) for some in (alone, list(measured(run(0), weight)), rows)] == [2, 3, 3]


@pytest.mark.parametrize(
    ("label", "value", "null"),
    [
        ("effective rank", lambda r: r.spectrum.effective_rank, lambda r: r.spectrum.null_effective_rank.mean),
        ("stable rank", lambda r: r.spectrum.stable_rank, lambda r: r.spectrum.null_stable_rank.mean),
        ("norm ‖ΔW‖", lambda r: r.spectrum.norm, None),
        ("norm ‖ΔW‖ / ‖W‖", lambda r: r.amplification.norm / r.amplification.weight_norm, None),
        ("enrichment", lambda r: r.amplification.enrichment, lambda r: 1),
        ("amplification factor", lambda r: r.amplification.factor, lambda r: r.amplification.null_factor),
        (
            "intruders, of 2 × 10",
            lambda r: r.intruders.counts(0.5).sum(),
            lambda r: r.intruders.null_counts(0.5).sum(),
        ),
        ("φ of the first directions", lambda r: r.similarity.phi[0, 0], lambda r: r.similarity.null[0, 0]),
        ("φ of all directions", lambda r: r.similarity.phi[-1, -1], lambda r: r.similarity.null[-1, -1]),
    ],
)
def test_the_map_is_the_measure_and_its_null(rows, label, value, null):
    explorer = AdapterExplorer(rows, about="tiny")
    choose(explorer, label)
    found = cells(explorer)
    assert explorer.views[0].figure.layout.title.text == label[0].upper() + label[1:]
    assert len(found) == (1 if null is None else 2)
    for table, of in zip(found, (value, null)):
        expected = np.array([[of(rows[0]), of(rows[2])], [of(rows[1]), of(rows[3])]], dtype=float)
        np.testing.assert_allclose(np.asarray(table, dtype=float), expected)


def test_menus_lead_to_the_layer(rows):
    explorer = AdapterExplorer(rows, about="tiny")
    before = [view.alt for view in explorer.views]
    explorer.menus.matrix.value, explorer.menus.layer.value = "v", "1"
    _, spectrum, phi = explorer.views
    assert spectrum.figure.layout.title.subtitle.text == "tiny · 1 v"
    assert "rank 3" in spectrum.alt
    np.testing.assert_array_equal(phi.figure.data[0].z, rows[3].similarity.phi)
    assert [view.alt for view in explorer.views][2] != before[2]


def test_a_measure_redraws_the_map_alone(rows):
    explorer = AdapterExplorer(rows)
    map_, spectrum, phi = (view.figure for view in explorer.views)
    choose(explorer, "enrichment")
    assert explorer.views[0].figure is not map_
    assert explorer.views[1].figure is spectrum
    assert explorer.views[2].figure is phi


def test_layers_that_only_one_adapter_has(rows):
    rows = list(measured(run(0), weight, {"h.0.q": run(1)["h.0.q"]}))
    explorer = AdapterExplorer(rows)
    explorer.menus.layer.value = "1"
    assert explorer.views[2].figure.layout.title.text == "Not in the other adapter"
    choose(explorer, "φ of the first directions")
    assert cells(explorer)[0].shape == (1, 1)


def test_zero_has_no_direction():
    zero = {"h.0.q": torch.zeros(4, 4), **run(0, layers=(1,), kinds="q")}
    assert list(AdapterExplorer(list(measured(zero))).rows) == ["h.1.q"]
    with pytest.raises(ValueError, match="1 rows, and none with a ΔW that is not zero"):
        AdapterExplorer(list(measured({"h.0.q": torch.zeros(4, 4)})))


def test_half_of_a_pair_that_is_zero_is_no_cell(rows):
    other = {**run(1), "h.0.q": torch.zeros(24, 20)}
    explorer = AdapterExplorer(list(measured(run(0), None, other)))
    choose(explorer, "φ of all directions")
    assert np.isnan(np.asarray(cells(explorer)[0], dtype=float)).sum() == 1


def test_intruders_of_both_sides_are_counted(rows):
    assert all(row.intruders.null_counts(0.5).min() > 0 for row in rows), "else the test above would not tell the sides"
