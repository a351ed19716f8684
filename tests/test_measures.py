"""Figures of measures: the numbers in them are the result's, the null stands beside every one, words say both."""

import numpy as np
import pytest
import torch

from lorakit import plots
from lorakit.analysis import (
    amplification,
    gradient_probe,
    intrinsic_dimension,
    intruders,
    rank_report,
    similarity,
    spectrum,
    truncation,
)
from lorakit.delta import LowRank
from lorakit.plots.panels import Panels, logarithmic

ABOUT = "a tiny model · rank 3 · seed 0"


def pair(seed, rank=3, out=20, inputs=16):
    g = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(out, rank, generator=g), torch.randn(rank, inputs, generator=g))


def weight(seed=9, out=20, inputs=16):
    return torch.randn(out, inputs, generator=torch.Generator().manual_seed(seed))


def layers(seed=0):
    return {f"model.{n}.attn.{kind}": pair(10 * seed + n + 5 * (kind == "v")) for n in (0, 10, 2) for kind in "qv"}


def saturating(d, seed):
    return 0.5 + 0.4 * d / (d + 100 + 20 * seed)


A, B = pair(0), pair(1, rank=5)
PHI = similarity(A, B)
REPORT = rank_report(layers(), other=layers(1))
CUT = truncation(lambda parts: sum(float(part.left.norm()) for part in parts.values()), layers())
PROBE = gradient_probe({name: weight(n) for n, name in enumerate(layers())}, rank=2)
DIMENSION = intrinsic_dimension(saturating, 0.7, seeds=(0, 1))
FIGURES = {
    "phi_map": lambda: plots.phi_map(PHI, about=ABOUT),
    "phi_maps": lambda: plots.phi_maps({"one": PHI, "two": PHI}, about=ABOUT),
    "spectra": lambda: plots.spectra({"a": spectrum(A), "b": spectrum(B)}, about=ABOUT),
    "layer_map": lambda: plots.layer_map({"0.q": 1.0}, null={"0.q": 2.0}, about=ABOUT),
    "amplification": lambda: plots.amplification(amplification(A, weight()), about=ABOUT),
    "intruders": lambda: plots.intruders(intruders(A, weight(), top=4), about=ABOUT),
    "truncation_curve": lambda: plots.truncation_curve(CUT, about=ABOUT),
    "gradients": lambda: plots.gradients(PROBE, about=ABOUT),
    "intrinsic_dimension": lambda: plots.intrinsic_dimension(DIMENSION, about=ABOUT),
    "rank_report": lambda: plots.rank_report(REPORT, about=ABOUT),
}
NULLS = ("chance", "random", "untrained")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path_factory.getbasetemp() / "home"))


def words(figure):
    notes = [note.text for note in figure.layout.annotations]
    return " ".join([*notes, *(trace.name or "" for trace in figure.data)])


@pytest.mark.parametrize("name", FIGURES)
def test_says_what_it_is_for_and_draws_its_null(name):
    figure = FIGURES[name]()
    assert figure.layout.title.subtitle.text == ABOUT
    assert any(null in words(figure) for null in NULLS), "the null is not drawn, or not named"
    assert any(null in plots.alt_text(figure) for null in NULLS), "the null is not in the alternative text"
    assert figure.layout.paper_bgcolor is None, "paper stays clear by the template"


def test_phi_stands_beside_its_null_in_the_same_colours():
    figure = plots.phi_map(PHI)
    measured, chance = figure.data
    np.testing.assert_array_equal(measured.z, PHI.phi)
    np.testing.assert_array_equal(chance.z, PHI.null)
    assert (list(measured.y), list(measured.x)) == ([1, 2, 3], [1, 2, 3, 4, 5])
    assert measured.coloraxis == chance.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 1)
    assert figure.layout.yaxis.autorange == "reversed"
    np.testing.assert_allclose(measured.customdata[..., 1], PHI.z, atol=1e-4)


def test_the_mark_frames_its_cell_in_both_panels():
    frames = plots.phi_map(PHI, mark=(2, 5)).layout.shapes
    assert {(one.x0, one.x1, one.y0, one.y1) for one in frames} == {(4.5, 5.5, 1.5, 2.5)}
    assert [(one.xref, one.yref) for one in frames] == [("x", "y")] * 2 + [("x2", "y2")] * 2
    assert frames[0].line.width > frames[1].line.width, "light within dark: seen on any cell, on any page"
    assert f"φ(2, 5) = {PHI.phi[1, 4]:.2f}" in plots.alt_text(plots.phi_map(PHI, mark=(2, 5)))


def test_a_flat_table_and_its_null_stand_below_each_other():
    flat, square = plots.phi_map(similarity(pair(0, 2), pair(1, 12))), plots.phi_map(similarity(A, A))
    assert flat.layout.yaxis.domain[0] > flat.layout.yaxis2.domain[1]
    assert square.layout.xaxis.domain[1] < square.layout.xaxis2.domain[0]
    assert square.data[0].texttemplate


def test_a_zero_delta_is_named_and_not_drawn():
    zero = LowRank(torch.zeros(20, 3), torch.zeros(3, 16))
    assert "zero" in plots.alt_text(plots.phi_map(similarity(A, zero)))
    figure = plots.spectra({"none": spectrum(zero), "some": spectrum(A)})
    assert "none: ΔW is zero" in plots.alt_text(figure)
    assert {trace.name for trace in figure.data} == {"by chance", "some"}


def test_spectra_are_scaled_to_one_norm_and_so_is_their_band():
    one = spectrum(A)
    band, middle, line = plots.spectra(one).data[:3]
    np.testing.assert_allclose(line.y, one.singular_values / one.norm)
    assert (np.asarray(line.y) ** 2).sum() == pytest.approx(1)
    np.testing.assert_allclose(middle.y, one.null_singular_values.mean / one.norm)
    spread = np.asarray(band.y)[:3] - np.asarray(middle.y)
    np.testing.assert_allclose(spread, 2 * one.null_singular_values.spread / one.norm)
    np.testing.assert_allclose(plots.spectra(one).data[-1].y, one.energy)


def test_a_weight_is_placed_by_its_layer_and_kind():
    assert plots.placed("bert.encoder.layer.3.attention.self.query") == ("3", "attention.self.query")
    assert plots.placed("h.11.attn.c_attn") == ("11", "attn.c_attn")
    assert plots.placed("classifier") == ("–", "classifier")


def test_two_stacks_of_layers_do_not_hide_each_other():
    names = ["encoder.layers.0.q", "encoder.layers.1.q", "decoder.layers.0.q", "head"]
    assert plots.places(names[:2]) == {names[0]: ("0", "q"), names[1]: ("1", "q")}
    assert list(plots.places(names).values())[2:] == [("0", "decoder.layers.*.q"), ("–", "head")]
    (cells,) = plots.layer_map(dict(zip(names, (1.0, 2.0, 3.0, 4.0)))).data
    assert np.isfinite(cells.z).sum() == 4


def test_labels_are_brief_and_never_the_same():
    stem = "bert.encoder.layer.3"
    assert plots.labels([f"{stem}.attention.self.query"]) == ["3 query"]
    own = [f"{stem}.attention.output.dense", f"{stem}.output.dense.weight"]
    assert plots.labels(own) == ["3 attention.output.dense", "3 output.dense"]
    two = ["encoder.0.q", "decoder.0.q"]
    assert plots.labels(two) == two


def test_layers_come_in_the_order_of_their_numbers():
    values = {"h.10.q": 3.0, "h.2.q": 2.0, "h.0.q": 1.0, "h.2.v": 5.0, "head": 7.0}
    figure = plots.layer_map(values, mark="h.2.v")
    (cells,), (frame, _) = figure.data, figure.layout.shapes
    assert list(cells.x) == ["0", "2", "10", "–"]
    assert list(cells.y) == ["q", "v", "head"]
    np.testing.assert_array_equal(cells.z, [[1, 2, 3, np.nan], [np.nan, 5, np.nan, np.nan], [*[np.nan] * 3, 7]])
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, 0.5, 1.5)


def test_both_maps_of_layers_share_one_scale():
    one, two = plots.layer_map({"0.q": 1.0, "1.q": 2.0}, null={"0.q": 5.0, "1.q": 6.0}).data
    assert one.coloraxis == two.coloraxis
    np.testing.assert_array_equal(two.z, [[5, 6]])


def test_amplification_shows_the_enrichment_and_tells_the_factor():
    found = {name: amplification(delta, weight()) for name, delta in layers().items()}
    chance, own, most, bars = plots.amplification(found).data
    first = next(iter(found.values()))
    assert (chance.x[0], own.x[0], most.x[0]) == (first.null_projected, first.projected, first.on_weight)
    np.testing.assert_allclose(bars.x, [one.projected / one.null_projected for one in found.values()])
    np.testing.assert_allclose(bars.customdata[0], [first.z, first.factor, first.null_factor])
    (line,) = plots.amplification(found).layout.shapes
    assert (line.x0, line.x1, line.xref) == (1, 1, "x2")


def test_intruders_are_counted_at_every_threshold():
    found = intruders(100 * A, weight(), top=4, threshold=0.9)
    left, right, *chance = plots.intruders(found).data
    at = np.flatnonzero(np.isclose(left.x, 0.9))[0]
    assert (left.y[at], right.y[at]) == tuple(found.counts(0.9))
    assert [line.y[at] for line in chance] == found.null_counts(0.9).tolist()
    assert all(line.line.dash == "dot" for line in chance)
    assert plots.intruders(found).layout.shapes[0].x0 == 0.9


def test_truncation_shows_random_directions_and_both_ends():
    band, random, top = plots.truncation_curve(CUT).data
    np.testing.assert_array_equal(top.y, CUT.quality)
    np.testing.assert_allclose(random.y, CUT.null.mean(0))
    assert (max(band.y), min(band.y)) == (CUT.null.max(), CUT.null.min())
    assert [shape.y0 for shape in plots.truncation_curve(CUT).layout.shapes] == [CUT.base, CUT.full]
    assert plots.truncation_curve(CUT, form=".2f").layout.annotations[0].text == f"no ΔW {CUT.base:.2f}"


def test_gradients_fill_what_counts_and_stand_in_the_probes_order():
    strong = {"0.a": weight(0), "1.b": weight(1) + 20 * torch.outer(torch.ones(20), torch.ones(16))}
    probe = gradient_probe(strong, rank=2)
    dots, ceiling = plots.gradients(probe).data
    assert list(dots.y) == ["1 b", "1 b", "0 a", "0 a"]
    filled = [colour != "rgba(128, 128, 128, 0)" for colour in dots.marker.color]
    assert filled == [True, False, False, False]
    np.testing.assert_array_equal(dots.x, probe.singular_values[[1, 0]].ravel())
    assert list(ceiling.x) == [probe.ceiling[1, 0], probe.ceiling[0, 0]]


def test_intrinsic_dimension_shades_its_interval_and_draws_untrained():
    figure = plots.intrinsic_dimension(DIMENSION, beside={"LoRA, r = 1": (400, 0.8)})
    seeds = [trace for trace in figure.data if trace.name.startswith("seed")]
    assert [trace.name for trace in seeds] == ["seed 0", "seed 1"]
    for trace, seed in zip(seeds, (0, 1)):
        assert list(trace.x) == sorted(trace.x)
        np.testing.assert_allclose(trace.y, [saturating(d, seed) for d in trace.x])
        assert min(trace.x) > 0, "0 has no place on a logarithmic axis"
    target, untrained, interval = figure.layout.shapes
    assert (target.y0, untrained.y0) == (0.7, 0.5)
    assert (interval.x0, interval.x1) == DIMENSION.interval
    assert figure.data[-1].x == (400,)


def test_the_report_draws_every_layer_the_median_and_chance():
    each, chance, median = plots.rank_report(REPORT).data
    answer = REPORT["stable rank"]
    row = list(median.y).index("stable rank")
    assert median.x[row] == np.median(answer.value)
    assert chance.x[row] == np.median(answer.null)
    assert np.isnan(chance.x[list(chance.y).index("rank")])
    drawn = [x for x, y in zip(each.x, each.y) if y == "stable rank"]
    np.testing.assert_array_equal(drawn, answer.value)


def test_a_logarithmic_axis_holds_what_is_above_zero():
    axis = logarithmic([0.1, np.nan, 0, 100.0], title="x")
    low, high = axis["range"]
    assert (axis["type"], axis["title"]) == ("log", "x")
    assert -2 < low < -1
    assert 2 < high < 3
    low, high = logarithmic([10.0])["range"]
    assert low < 1 < high


def test_panels_fill_the_figure_and_do_not_overlap():
    grid = Panels(5, columns=3, gap=(0.1, 0.2))
    layout = grid.layout(*(grid.at(n, str(n), {"title": "x"}, {"title": "y"}) for n in range(5)))
    assert (layout["xaxis"]["domain"][0], layout["xaxis3"]["domain"][1]) == (0, 1)
    assert layout["xaxis2"]["domain"][0] - layout["xaxis"]["domain"][1] == pytest.approx(0.1)
    assert layout["yaxis"]["domain"][0] - layout["yaxis4"]["domain"][1] == pytest.approx(0.2)
    assert ["title" in layout[f"xaxis{n}"] for n in ("", "2", "3", "4", "5")] == [False, False, True, True, True]
    assert ["title" in layout[f"yaxis{n}"] for n in ("", "2", "4")] == [True, False, True]
    assert len(layout["annotations"]) == 5
