"""A figure shows the numbers it was given, says what they are, and stands on any page."""

import re
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
import pytest

from lorakit import plots
from lorakit.plots import style

ABOUT = "MiniLM · movies · rank 8 · α 16 · seed 0"
LOSS = np.linspace(0.7, 0.3, 40)
RANKS, ACCURACY = np.arange(9), np.linspace(0.78, 0.84, 9)
RUN = SimpleNamespace(loss=LOSS)

FIGURES = {
    "training_curve": plots.training_curve(RUN, validation={20: 0.8, 40: 0.84}, references={"head": 0.78}, about=ABOUT),
    "prediction": plots.prediction(["no", "yes"], [0.1, 0.9], base=[0.4, 0.6], about=ABOUT),
    "spectrum": plots.spectrum([3, 2, 1], kept=2, about=ABOUT),
    "truncation": plots.truncation(RANKS, ACCURACY, at=3, interval=(ACCURACY - 0.02, ACCURACY + 0.02), about=ABOUT),
    "parameters": plots.parameters(5, 95, about=ABOUT),
    "heatmap": plots.heatmap([[1.0, -4.0], [0.5, 2.0]], about=ABOUT),
    "parts": plots.parts({"*.query": (100, 10), "embeddings": (900, 0)}, about=ABOUT),
}


@pytest.fixture(params=FIGURES.values(), ids=FIGURES)
def figure(request):
    return request.param


def contrast(one, other):
    """The contrast ratio of WCAG 2.1 between two colours "#rrggbb"."""
    channels = np.array([list(bytes.fromhex(colour[1:])) for colour in (one, other)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    darker, lighter = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (lighter + 0.05) / (darker + 0.05)


def test_these_plots_are_public():
    assert {*FIGURES, "alt_text", "running_mean"} <= set(plots.__all__)


def test_it_says_what_it_was_computed_for(figure):
    assert figure.layout.title.subtitle.text == ABOUT
    assert figure.layout.title.text


def test_it_has_words_for_who_cannot_see_it(figure):
    assert len(plots.alt_text(figure)) > 15
    assert "<" not in plots.alt_text(figure)


def test_no_slab_on_a_dark_page(figure):
    assert figure.layout.paper_bgcolor is None
    assert figure.layout.template.layout.paper_bgcolor == style.CLEAR
    assert figure.layout.template.layout.plot_bgcolor == style.CLEAR


def test_no_latex(figure):
    assert not re.search(r"\$[^$]+\$", figure.to_json())


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_its_text_can_be_read_on_both_pages(page):
    assert contrast(style.INK, page) > 4
    assert all(contrast(colour, page) > 2.8 for colour in style.COLOURS)


def test_a_running_mean_is_the_weighted_mean_it_says():
    weights = 0.9 ** np.arange(len(LOSS))[::-1]
    assert plots.running_mean(LOSS, 0.9)[-1] == pytest.approx((weights * LOSS).sum() / weights.sum())
    assert plots.running_mean(LOSS, 0.9)[0] == LOSS[0]
    assert plots.running_mean([], 0.9).size == 0


def test_a_training_curve_holds_every_step():
    batches, mean, validation = FIGURES["training_curve"].data
    assert batches.x[0] == 1
    np.testing.assert_array_equal(batches.y, LOSS)
    assert mean.y[-1] > LOSS[-1]
    assert list(validation.x) == [20, 40]
    assert FIGURES["training_curve"].layout.shapes[0].y0 == 0.78
    assert FIGURES["training_curve"].layout.shapes[0].yref == validation.yaxis == "y2"


def test_a_curve_that_still_grows_keeps_its_axis():
    assert plots.training_curve(SimpleNamespace(loss=[]), total=150).layout.xaxis.range == (0, 151)
    assert "No loss yet" in plots.alt_text(plots.training_curve(SimpleNamespace(loss=[])))


def test_a_prediction_shows_both_models():
    adapted, base = FIGURES["prediction"].data
    assert list(adapted.x) == [0.1, 0.9]
    assert list(base.x) == [0.4, 0.6]
    assert base.marker.color == style.CLEAR, "an outline must not hide the bar"
    assert plots.alt_text(FIGURES["prediction"]) == "The model says no 10.0%, yes 90.0%"


def test_a_prediction_needs_a_name_for_every_class():
    with pytest.raises(ValueError, match="one probability a label; given 1 labels and 2 probabilities"):
        plots.prediction(["no"], [0.1, 0.9])


def test_a_spectrum_fills_what_is_kept():
    bars = FIGURES["spectrum"].data[0]
    assert list(bars.y) == [3, 2, 1]
    assert list(bars.marker.color) == [style.BLUE, style.BLUE, style.CLEAR]
    assert "92.9% of the energy" in plots.alt_text(FIGURES["spectrum"])  # 13/14


def test_a_spectrum_of_nothing():
    assert "0 of 2" in plots.alt_text(plots.spectrum([0.0, 0.0], kept=0))


def test_a_truncation_marks_where_it_stands():
    band, line, now = FIGURES["truncation"].data
    assert (now.x[0], now.y[0]) == (3, ACCURACY[3])
    assert max(band.y) == pytest.approx(ACCURACY.max() + 0.02)
    assert min(band.y) == pytest.approx(ACCURACY.min() - 0.02)
    assert len(line.x) == 9


def test_parameters_are_to_scale():
    cells = np.asarray(FIGURES["parameters"].data[0].z)
    assert cells.shape == (20, 50)
    assert cells.sum() == pytest.approx(1000 * 5 / 100)
    assert np.asarray(plots.parameters(1, 9999).data[0].z).sum() == pytest.approx(0.1)


def test_a_heatmap_is_symmetric_about_zero():
    cells = FIGURES["heatmap"].data[0]
    assert (cells.zmin, cells.zmax) == (-4, 4)
    assert FIGURES["heatmap"].layout.yaxis.autorange == "reversed", "row 0 of ΔW belongs on top"
    assert plots.heatmap(np.zeros((2, 2))).data[0].zmax == 1
    assert plots.heatmap(np.eye(2), limit=3).data[0].zmin == -3


def test_other_peoples_figures_have_words_too():
    figure = go.Figure(go.Scatter3d(), layout={"title": {"text": "Loss"}})
    assert plots.alt_text(figure) == "Loss: scatter3d plot"
    assert plots.alt_text(go.Figure()) == "Figure: empty plot"
