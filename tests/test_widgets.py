"""What a widget computes and what it sends; what it looks like is for the browser to say."""

import base64
import re
import sys
import time
import zlib
from types import SimpleNamespace
from xml.etree import ElementTree

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from lorakit import LoRA, adapt, adapters, plots
from lorakit.delta import dense, svd
from lorakit.layers import deltas, disabled
from lorakit.widgets import AlphaExplorer, LiveCurve, PlotlyView, RankExplorer
from lorakit.widgets.alpha import scaled
from lorakit.widgets.axes import Axis, round_numbers
from lorakit.widgets.png import data_uri, painted
from lorakit.widgets.still import still
from lorakit.widgets.wire import array, pack

HEAT = plots.heatmap(np.random.default_rng(0).standard_normal((64, 64)))
SVG = "{http://www.w3.org/2000/svg}"


class Tokens(dict):
    def to(self, _device):
        return self


def tokenizer(text, **_options):
    return Tokens(input_ids=torch.tensor([[1 + ord(letter) % 28 for letter in text] or [1]]))


@pytest.fixture
def model(tiny):
    model = tiny.bert()
    adapt(model, LoRA, ["*.query", "*.value"], rank=4, alpha=8.0)
    tiny.stir(model)
    return model.train()


@torch.no_grad()
def answer(model, text):
    model.eval()
    probability = model(**tokenizer(text)).logits[0].softmax(-1).numpy()
    model.train()
    return probability


# ---- the wire -------------------------------------------------------------------------------------------


def unpacked(node):
    """The inverse of `pack`, as view.js has it."""
    if isinstance(node, list):
        return [unpacked(item) for item in node]
    if isinstance(node, dict) and "bytes" in node:
        return np.frombuffer(node["bytes"], "<" + node["dtype"]).reshape(node["shape"])
    return {key: unpacked(value) for key, value in node.items()} if isinstance(node, dict) else node


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.linspace(0, 1, 50), "f4"),
        (np.arange(50), "i4"),
        (np.arange(50, dtype=np.uint8), "i4"),
        (np.array([2**40, 1]), "f8"),
        (np.ones((3, 4), np.float32), "f4"),
        (np.array([]), "f4"),
        (np.array([], dtype=int), "i4"),
        (list(range(20)), "i4"),
        ([0.5] * 20, "f4"),
    ],
)
def test_numbers_cross_the_wire_as_bytes(values, dtype):
    packed = pack({"z": values})["z"]
    assert packed["dtype"] == dtype
    np.testing.assert_allclose(unpacked(packed), values, rtol=1e-7)


def test_what_is_no_array_of_numbers_stays_json():
    day = np.array(["2021-06-17"], dtype="datetime64[D]")
    node = {"range": [0, 1], "text": np.array(["a", "b"]), "x": day, "on": [True] * 20, "n": np.int64(3)}
    assert pack(node) == {"range": [0, 1], "text": ["a", "b"], "x": ["2021-06-17"], "on": [True] * 20, "n": 3}


def test_both_forms_that_plotly_writes_are_read():
    z = np.arange(12, dtype=np.int16).reshape(3, 4)
    coded = {"dtype": "i2", "bdata": base64.b64encode(z.tobytes()).decode(), "shape": "3, 4"}
    np.testing.assert_array_equal(array(coded), z)
    np.testing.assert_array_equal(unpacked(pack([coded])[0]), z)
    np.testing.assert_array_equal(array([1, 2]), [1, 2])


def test_a_figure_arrives_whole():
    wire = PlotlyView(HEAT).wire
    np.testing.assert_array_equal(unpacked(wire["data"])[0]["z"], np.asarray(HEAT.data[0].z, dtype="f4"))
    assert len(wire["data"][0]["z"]["bytes"]) == 64 * 64 * 4


# ---- the view -------------------------------------------------------------------------------------------


def spoken(view, monkeypatch):
    """The messages a view sends from now on."""
    messages = []
    monkeypatch.setattr(view, "_send", lambda message, buffers=None: messages.append((message, buffers)))
    return messages


@pytest.mark.skipif(
    int(ipywidgets.__version__.split(".")[0]) < 8, reason="ipywidgets 7 sends nothing where there is no kernel"
)
def test_an_update_is_one_redraw(monkeypatch):
    view = PlotlyView(HEAT)
    messages = spoken(view, monkeypatch)
    view.update(plots.spectrum([3, 2, 1]))
    view.figure.data[0].y = [3, 2, 0.5]
    view.update(view.figure)
    view.update(view.figure)
    states = [set(message["state"]) for message, _ in messages]
    assert states[0] == {"wire", "alt"}, "what is drawn and what is said of it arrive together"
    assert states[1] == {"still"}
    assert "wire" in states[2], "the same figure with other numbers is sent again"
    assert len(states) == 4, "the same numbers are not"
    assert sum(map(len, messages[0][1])) + len(str(messages[0][0])) < 20_000


def test_a_page_that_draws_for_itself_gets_its_still_when_it_rests():
    view = PlotlyView(HEAT)
    view.update(plots.spectrum([3, 2, 1], kept=1))
    assert "1 of 3" in view.still, "nobody draws yet: the still is all there is to see"
    view._hear(view, {"rests": True}, [])
    view.update(plots.spectrum([3, 2, 1], kept=2))
    assert "1 of 3" in view.still
    view._hear(view, {"rests": True}, [])
    assert "2 of 3" in view.still


def test_the_name_for_screen_readers_follows_the_figure():
    view = PlotlyView(HEAT)
    assert view.alt == plots.alt_text(HEAT)
    view.update(plots.spectrum([3, 2, 1], kept=1))
    assert "1 of 3" in view.alt
    view.update(HEAT, alt="mine")
    assert view.alt == "mine"
    assert 'aria-label="mine"' in view.still
    assert "meta" not in view.wire["layout"], "plotly would draw everything anew"


def test_plotly_is_sent_once_a_page(monkeypatch):
    one, other = PlotlyView(HEAT), PlotlyView(HEAT)
    sent = []
    for view in (one, other):
        monkeypatch.setattr(view, "send", lambda content, buffers: sent.append((content, buffers)))
    for view, page in [(one, "page a"), (other, "page a"), (other, "page b"), (one, "page b")]:
        view._hear(view, {"page": page}, [])
    one._hear(one, {"something": "else"}, [])
    assert [content for content, _ in sent] == [{"library": "page a"}, {"library": "page b"}]
    assert b"plotly.js" in zlib.decompress(sent[0][1][0], 31)[:200]


def test_a_page_that_asks_again_did_not_get_the_answer(monkeypatch):
    one, sent, now = PlotlyView(HEAT), [], [100.0]
    monkeypatch.setattr(one, "send", lambda content, buffers: sent.append(now[0]))
    monkeypatch.setattr("lorakit.widgets.view.monotonic", lambda: now[0])
    for now[0] in (100.0, 100.1, 105.0, 105.1, 115.0):  # the page's own times: after 5 s, and after 10 s more
        one._hear(one, {"page": "a page whose host lost a message"}, [])
    assert sent == [100.0, 105.0, 115.0]


def test_where_no_kernel_answers_there_is_a_picture():
    view = PlotlyView(HEAT)
    bundle, _ = view._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    assert bundle["image/svg+xml"] == view.still
    assert bundle["text/plain"] == plots.alt_text(HEAT)
    assert not view._ipython_display_


# ---- the still picture ----------------------------------------------------------------------------------


def drawn(figure):
    return ElementTree.fromstring(still(figure.to_plotly_json(), plots.alt_text(figure)))


def pixel(svg, tag, *names):
    return [tuple(float(element.get(name)) for name in names) for element in svg.iter(SVG + tag)]


def test_a_still_has_the_proportions_of_its_bars():
    heights = [h for (h,) in pixel(drawn(plots.spectrum([4.0, 2.0, 1.0])), "rect", "height")]
    assert heights[0] / heights[1] == pytest.approx(2, rel=1e-2)
    assert heights[0] / heights[2] == pytest.approx(4, rel=1e-2)


def test_a_still_puts_lying_bars_beside_their_names():
    svg = drawn(plots.prediction(["no", "yes"], [0.25, 0.75], base=[0.5, 0.5]))
    bars = pixel(svg, "rect", "width", "y", "height")
    assert bars[1][0] / bars[0][0] == pytest.approx(3, rel=1e-2)
    place = {text.text: float(text.get("y")) for text in svg.iter(SVG + "text")}
    assert bars[0][1] < place["no"] < bars[0][1] + bars[0][2]


def test_a_still_draws_every_point_of_a_line():
    (line,) = drawn(go.Figure(go.Scatter(y=[0, 1, 4], x=[0, 1, 2]))).iter(SVG + "polyline")
    points = np.array([point.split(",") for point in line.get("points").split()], dtype=float)
    assert np.ptp(points[:, 1]) / (points[0, 1] - points[1, 1]) == pytest.approx(4, rel=1e-2)
    assert (np.diff(points[:, 0]) > 0).all()


def test_a_still_shows_a_gap_where_there_is_no_number():
    (line,) = drawn(go.Figure(go.Scatter(y=[0, np.nan, 4], x=[0, 1, 2]))).iter(SVG + "polyline")
    assert "nan" not in line.get("points")


def test_the_pixels_of_a_heatmap_are_its_colours():
    pixels = painted(np.array([[-1.0, 0.0], [1.0, np.nan]]), -1, 1, [(0, "#ff0000"), (1, "rgba(0, 0, 255, 0.5)")])
    assert pixels[0, 0].tolist() == [255, 0, 0, 255]
    assert pixels[1, 0].tolist() == [0, 0, 255, 128]
    assert pixels[0, 1].tolist() == [128, 0, 128, 191]
    assert pixels[1, 1].tolist() == [0, 0, 0, 0]


def test_a_png_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    png = base64.b64decode(data_uri(pixels).removeprefix("data:image/png;base64,"))
    rest, chunks = png[8:], {}
    while rest:
        size, end = int.from_bytes(rest[:4]), 8 + int.from_bytes(rest[:4])
        assert int.from_bytes(rest[end : end + 4]) == zlib.crc32(rest[4:end])
        chunks[rest[4:8]], rest = rest[8 : 8 + size], rest[end + 4 :]
    assert chunks[b"IHDR"] == bytes([0, 0, 0, 7, 0, 0, 0, 5, 8, 6, 0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 1 + 7 * 4)
    np.testing.assert_array_equal(rows[:, 1:].reshape(pixels.shape), pixels)


def test_a_still_turns_a_heatmap_as_plotly_does():
    z, colours = np.array([[1.0, 1.0], [-1.0, -1.0]]), plots.style.DIVERGING
    first_row_on_top = drawn(plots.heatmap(z))
    first_row_below = drawn(go.Figure(go.Heatmap(z=z, zmin=-1, zmax=1, colorscale=colours)))
    for svg, rows in [(first_row_on_top, z), (first_row_below, z[::-1])]:
        assert next(svg.iter(SVG + "image")).get("href") == data_uri(painted(rows, -1, 1, colours))


def test_a_still_frames_the_cell_that_is_marked():
    names = {"h.0.q": 1.0, "h.1.q": 2.0, "h.0.v": 3.0, "h.1.v": 4.0}
    picture = still(plots.layer_map(names, mark="h.1.q").to_plotly_json(), "")
    box = re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="none"', picture)
    image = re.search(r'<image x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', picture)
    (left, top, width, height), (x, y, w, h) = (np.array(found.groups(), dtype=float) for found in (box, image))
    np.testing.assert_allclose((left, top, width, height), (x + w / 2, y, w / 2, h / 2), atol=0.2)


def test_a_still_names_its_panels_where_they_stand():
    heat = {"z": [[0.0, 1.0]]}
    figure = go.Figure([go.Heatmap(**heat), go.Heatmap(**heat, xaxis="x2", yaxis="y2")])
    name = {"xref": "paper", "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
    texts = [{**name, "text": "φ", "x": 0}, {**name, "text": "by <i>chance</i>", "x": 0.5}]
    figure.update_layout(annotations=texts, xaxis_domain=[0, 0.4], xaxis2={"domain": [0.5, 0.9], "anchor": "y2"})
    svg = drawn(figure)
    places = {text.text: (float(text.get("x")), float(text.get("y"))) for text in svg.iter(SVG + "text")}
    panels = [(float(image.get("x")), float(image.get("y"))) for image in svg.iter(SVG + "image")]
    assert [places["φ"][0], places["by chance"][0]] == pytest.approx([x for x, _ in panels], abs=1)
    assert places["φ"][1] == places["by chance"][1] < min(y for _, y in panels)


def test_a_still_names_what_it_shows_and_leaves_the_rest_out():
    svg = drawn(
        plots.training_curve(SimpleNamespace(loss=[2.0, 1.0]), references={"W<sub>0</sub>": 0.5}, about="r = 8")
    )
    words = {"".join(text.itertext()) for text in svg.iter(SVG + "text")}
    assert {"Training", "r = 8", "loss", "step", "accuracy", "W0 50.0%"} <= words
    assert drawn(go.Figure(go.Scatter3d(x=[1], y=[1], z=[1]))).get("role") == "img"


ODD = {
    "log": go.Figure(go.Scatter(x=[1, 10, 100], y=[1, 2, 0]), {"xaxis": {"type": "log"}, "yaxis": {"type": "log"}}),
    "words": go.Figure(go.Heatmap(z=[[1, 2]], x=["a", "b"], y=["c"], colorscale="Viridis")),
    "placed": go.Figure(go.Heatmap(z=[[1, None], [2, 3]], x=[1, 2], y=[8, 64], colorscale=[[0, "red"], [1, "blue"]])),
    "sizes": go.Figure(go.Scatter(y=[1, 2], mode="markers", marker={"size": [4, 9], "color": [0.1, 0.9]}, name="a")),
    "dates": go.Figure(go.Bar(x=np.array(["2021-06-17", "2021-06-18"], dtype="datetime64[D]"), y=[1, 2])),
    "empty": go.Figure(go.Scatter(x=[], y=[])),
    "no data": go.Figure(),
    "other": go.Figure([go.Pie(values=[1, 2]), go.Histogram(x=[1, 2, 2])]),
    "note": go.Figure(go.Scatter(y=[1]), {"annotations": [{"text": "hi", "xref": "paper", "yref": "paper", "y": 1}]}),
    "spans": go.Figure(go.Scatter(y=[1, 2]), {"shapes": [{"type": "rect", "x0": 0, "x1": 1, "y0": 0, "y1": 1}]}),
}


@pytest.mark.parametrize("figure", ODD.values(), ids=ODD)
def test_a_still_of_any_figure_is_a_picture(figure):
    text = still(figure.to_plotly_json(), "odd")
    assert ElementTree.fromstring(text).get("aria-label") == "odd"
    marks = re.sub('href="[^"]*"', "", text)
    assert not re.search(r'[" ,]-?\d{5}|nan|inf', marks), "a mark is off the page"


def test_cells_stand_where_they_are_placed():
    words = {text.text for text in drawn(ODD["placed"]).iter(SVG + "text")}
    assert "80" in words
    assert {"a", "b", "c"} <= {text.text for text in drawn(ODD["words"]).iter(SVG + "text")}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.5, 63.5), (0.78, 0.84), (3, 3.0001), (-1e6, 2e7), (1, 0)])
def test_ticks_are_few_and_within(low, high):
    ticks = round_numbers(low, high)
    assert 2 <= len(ticks) <= 7
    assert (ticks >= min(low, high) - 1e-9).all()
    assert (ticks <= max(low, high) + 1e-9).all()


def test_an_axis_maps_its_ends_to_its_pixels():
    axis = Axis({"range": [2, 4]}, [], 100, 0)
    np.testing.assert_allclose(axis([2, 3, 4]), [100, 50, 0])
    words = Axis({}, [np.array(["a", "b"])], 0, 100)
    np.testing.assert_allclose(words(["a", "b"]), [25, 75])


# ---- α --------------------------------------------------------------------------------------------------


@pytest.fixture
def alpha(model):
    return AlphaExplorer(model, tokenizer, labels=["no", "yes"], text="good", about="tiny")


def test_the_slider_moves_the_models_answer(alpha, model):
    adapted, base = alpha.view.figure.data
    np.testing.assert_array_equal(adapted.x, answer(model, "good"))
    alpha.alpha.value = 12.0
    moved, same = alpha.view.figure.data
    with scaled(model, 1.5):
        np.testing.assert_array_equal(moved.x, answer(model, "good"))
    assert not np.array_equal(moved.x, adapted.x)
    np.testing.assert_array_equal(same.x, base.x)
    assert "α = 12" in alpha.view.figure.layout.title.subtitle.text


def test_at_zero_it_is_the_base_model_to_the_bit(alpha, model):
    alpha.alpha.value = 0.0
    adapted, base = alpha.view.figure.data
    with disabled(model):
        np.testing.assert_array_equal(base.x, answer(model, "good"))
    np.testing.assert_array_equal(adapted.x, base.x)


def test_the_slider_reaches_from_nothing_to_twice_the_trained_alpha(alpha):
    assert (alpha.alpha.min, alpha.alpha.value, alpha.alpha.max) == (0, 8, 16)
    assert (alpha.alpha.value / alpha.alpha.step) == pytest.approx(32), "the trained α lies on a step"


def test_another_sentence_asks_both_models(alpha, model):
    alpha.text.value = "bad"
    adapted, base = alpha.view.figure.data
    np.testing.assert_array_equal(adapted.x, answer(model, "bad"))
    with disabled(model):
        np.testing.assert_array_equal(base.x, answer(model, "bad"))
    alpha.text.value = ""
    assert np.isfinite(alpha.view.figure.data[0].x).all()


def test_training_on_is_noticed(alpha, model):
    with torch.no_grad():
        model.classifier.bias.add_(torch.tensor([1.0, -1.0]))
    alpha.alpha.value = 4.0
    with disabled(model):
        np.testing.assert_array_equal(alpha.view.figure.data[1].x, answer(model, "good"))


def test_the_explorer_leaves_the_model_as_it_was(alpha, model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    alpha.alpha.value = 15.0
    assert {adapter.alpha for adapter in adapters(model).values()} == {8.0}
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_error_leaves_the_model_as_it_was(model):
    def fail_within():
        with scaled(model, 0.5):
            assert {adapter.alpha for adapter in adapters(model).values()} == {4.0}
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail_within()
    assert {adapter.alpha for adapter in adapters(model).values()} == {8.0}


def test_adapters_of_several_alphas_keep_their_proportion(model):
    first, second, *_ = adapters(model).values()
    second.alpha = 2.0
    with scaled(model, 2):
        assert (first.alpha, second.alpha) == (16.0, 4.0)
    assert (first.alpha, second.alpha) == (8.0, 2.0)


def test_without_an_alpha_there_is_nothing_to_slide(tiny):
    with pytest.raises(ValueError, match=r"no adapter of this model has an alpha to slide: adapt\(model, LoRA"):
        AlphaExplorer(tiny.bert(), tokenizer, labels=["no", "yes"], text="good")


def test_once_merged_it_says_so(alpha, model):
    from lorakit import merge, unmerge

    merge(model)
    alpha.alpha.value = 3.0
    assert "unmerge" in alpha.view.figure.layout.title.subtitle.text
    unmerge(model)
    alpha.alpha.value = 4.0
    assert "α = 4" in alpha.view.figure.layout.title.subtitle.text


# ---- rank -----------------------------------------------------------------------------------------------


def energy(model):
    """A stand-in for accuracy that says which ΔW the model computes with: a linear reading of its first query."""
    layer = next(iter(adapters(model).values()))
    with torch.no_grad():
        return float((layer(torch.eye(16)) - layer.base(torch.eye(16))).norm())


def test_every_rank_is_the_svd_cut(model):
    explorer = RankExplorer(model, energy)
    first = next(iter(deltas(model).values()))
    values = torch.linalg.svdvals(dense(first).double())
    expected = [float(values[:k].square().sum().sqrt()) for k in range(5)]
    np.testing.assert_allclose(explorer.accuracy, expected, atol=1e-4)
    np.testing.assert_allclose(explorer.views[0].figure.data[0].y, values[:4], rtol=1e-4)
    assert all(adapter.instead is None for adapter in adapters(model).values())


def test_the_rank_slider_moves_both_pictures(model):
    calls = []
    explorer = RankExplorer(model, lambda _model: calls.append(1) or 0.5 + len(calls) / 100, about="tiny")
    assert len(calls) == 5
    assert explorer.rank.value == 4
    explorer.rank.value = 1
    bars, (*_, now) = explorer.views[0].figure.data[0], explorer.views[1].figure.data
    assert list(bars.marker.color) == [plots.style.BLUE] + [plots.style.CLEAR] * 3
    assert (now.x[0], now.y[0]) == (1, explorer.accuracy[1])
    assert len(calls) == 5, "the slider answers from memory"


def test_another_matrix_shows_its_own_spectrum(model):
    explorer = RankExplorer(model, lambda _model: 0.5, ranks=[0, 2, 4])
    name = list(deltas(model))[-1]
    explorer.matrix.value = name
    np.testing.assert_allclose(explorer.views[0].figure.data[0].y, svd(deltas(model)[name]).S, rtol=1e-5)
    assert explorer.views[0].figure.layout.title.subtitle.text == name
    assert list(explorer.rank.options) == [0, 2, 4]


def test_an_evaluation_brings_its_interval(model):
    explorer = RankExplorer(model, lambda _model: SimpleNamespace(accuracy=0.8, interval=(0.7, 0.9)))
    band = explorer.views[1].figure.data[0]
    assert (min(band.y), max(band.y)) == (0.7, 0.9)


def test_without_a_low_rank_change_there_is_nothing_to_cut(tiny):
    with pytest.raises(ValueError, match="no low-rank ΔW in this model"):
        RankExplorer(tiny.bert(), energy)


def test_an_explorer_leaves_one_picture_of_all_its_views(model):
    explorer = RankExplorer(model, lambda _model: 0.5)
    bundle, _ = explorer._repr_mimebundle_()
    svg = ElementTree.fromstring(bundle["image/svg+xml"])
    assert len(list(svg.iter(SVG + "svg"))) == 3
    assert float(svg.get("height")) == sum(h for (h,) in pixel(svg, "svg", "height")) / 2
    assert bundle["text/plain"].count(";") >= 1
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id


def test_a_hosted_notebook_is_told_with_every_output_who_draws_views(model, monkeypatch):
    told = {"colab": {"custom_widget_manager": {"url": "https://host/manager.js"}}}
    output = SimpleNamespace(
        enable_custom_widget_manager=lambda: None,
        _widgets=SimpleNamespace(_installed_url=told["colab"]["custom_widget_manager"]["url"]),
    )
    explorer = RankExplorer(model, lambda _model: 0.5)
    assert explorer._repr_mimebundle_()[1] == {}
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    for shown in (explorer, *explorer.views):
        assert shown._repr_mimebundle_()[1] == {"application/vnd.jupyter.widget-view+json": told}


def test_no_description_is_cut(model, alpha):
    controls = [*RankExplorer(model, lambda _model: 0.5).controls, *alpha.controls]
    assert {control.style.description_width for control in controls} == {"initial"}
    assert all(control.description for control in controls)


# ---- a live curve ---------------------------------------------------------------------------------------


def test_a_live_curve_takes_in_every_step_and_draws_the_last(monkeypatch):
    curve = LiveCurve(steps=50, about="tiny")
    drawn = []
    monkeypatch.setattr(curve.view, "update", lambda figure: drawn.append(len(figure.data[0].y)))
    for number in range(1, 51):
        assert curve(SimpleNamespace(step=number, loss=1 / number)) is None, "False would end the training"
    assert curve.loss == [1 / number for number in range(1, 51)]
    assert drawn[0] == 1
    assert drawn[-1] == 50
    assert len(drawn) < 25, "fifty steps in no time need few redraws"


def test_a_slow_picture_is_drawn_less_often(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    curve = LiveCurve(steps=1000)
    drawn = []

    def draw(_figure):
        clock.now += 0.05
        drawn.append(clock.now)

    monkeypatch.setattr(curve.view, "update", draw)
    for number in range(1, 100):
        clock.now += 0.1
        curve(SimpleNamespace(step=number, loss=1.0))
    assert (np.diff(drawn) >= 1).all(), "drawing may take a twentieth of the time"
