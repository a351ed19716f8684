"""A frozen explorer answers as the live one did, at every position, from one file and with the network off."""

import json
import re
from base64 import b64decode

import ipywidgets as W
import numpy as np
import pytest

from lorakit import plots
from lorakit.widgets import Explorer, PictureExplorer, PlotlyView, freeze
from lorakit.widgets.freezing import frozen
from lorakit.widgets.frozen import fragment, script
from lorakit.widgets.positions import positions, thinned


class Waves(Explorer):
    """Two menus of which one depends on the other, a slider, a text, a box of words; counts its redraws."""

    def __init__(self):
        self.kind = W.Dropdown(options=["sine", "steps"], description="kind")
        self.shape = W.Dropdown(options=["round", "flat"], description="shape")
        self.speed = W.IntSlider(2, 1, 4, description="speed")
        self.text = W.Text("hello", description="Sentence")
        self.said = W.HTML()
        self.drawn = 0
        self.view = PlotlyView(self.figure())
        super().__init__([self.kind, self.shape, self.speed, self.text], [self.view])
        self.children = (*self.children, self.said)
        self.kind.observe(self._offer, "value")
        self.redraw()

    def _offer(self, _change):
        self.shape.options = ["round", "flat"] if self.kind.value == "sine" else ["two", "three", "four"]

    def figure(self):
        words = " ".join(str(one.value) for one in (self.kind, self.shape, self.speed, self.text))
        return plots.heatmap(np.full((4, 4), self.speed.value / 4.0), limit=1, title=words, about="planted")

    def redraw(self):
        self.drawn += 1
        self.said.value = f"<b>speed {self.speed.value}</b>"
        self.view.update(self.figure())


def leaves(node, path=()):
    """Every state of a tree: the labels on the way, and the numbers of its parts."""
    if isinstance(node, list):
        yield path, node
        return
    for label, following in zip(node["labels"], node["next"], strict=True):
        yield from leaves(following, (*path, label))


def assembled(found, node):
    """Part by part as the page does it."""
    if isinstance(node, list):
        return [assembled(found, one) for one in node]
    if not isinstance(node, dict):
        return node
    return (
        assembled(found, found.parts[node["$"]]) if "$" in node else {k: assembled(found, v) for k, v in node.items()}
    )


def test_every_state_is_there_and_says_what_the_explorer_said():
    found = frozen(Waves())
    states = dict(leaves(found.tree))
    assert len(states) == found.states == (2 + 3) * 4
    for path, (wire, alt, words) in states.items():
        title = assembled(found, found.parts[wire])["layout"]["title"]["text"]
        assert title == " ".join(path)
        assert found.parts[alt].startswith(title)
        assert found.parts[words] == f"<b>speed {path[2]}</b>"
    assert [control["kind"] for control in found.controls] == ["menu", "menu", "slider", "fixed"]
    assert [panel["kind"] for panel in found.panels] == ["view", "words"]


def test_it_starts_where_the_explorer_stood_and_leaves_it_there():
    explorer = Waves()
    explorer.kind.value, explorer.shape.value, explorer.speed.value = "steps", "three", 3
    comm, heard, redraw = explorer.view.comm, [], explorer.redraw
    explorer.redraw = lambda: (redraw(), heard.append(explorer.view.comm))
    before = explorer.view.figure.layout.title.text
    node, path = frozen(explorer).tree, []
    while isinstance(node, dict):
        path.append(node["labels"][node["at"]])
        node = node["next"][node["at"]]
    assert path == ["steps", "three", "3", "hello"]
    assert [one.value for one in explorer.controls] == ["steps", "three", 3, "hello"]
    assert explorer.view.figure.layout.title.text == before
    assert {*heard} == {None}, "a page that shows the explorer hears nothing"
    assert explorer.view.comm is comm is not None, "and afterwards it hears again"


def test_a_failing_redraw_leaves_the_explorer_as_it_was():
    explorer = Waves()
    explorer.redraw = lambda: 1 / 0 if explorer.speed.value == 4 else None
    with pytest.raises(ZeroDivisionError):
        frozen(explorer)
    assert (explorer.kind.value, explorer.speed.value) == ("sine", 2)
    assert explorer.view.comm is not None


def test_what_figures_share_is_kept_once():
    explorer = Waves()
    explorer.speed.max = 40
    found = frozen(explorer)
    whole = len(json.dumps(assembled(found, found.parts[next(leaves(found.tree))[1][0]])))
    assert len(json.dumps(found.parts)) / found.states < whole / 3, "no template for each of 200 positions"


def test_sliders_are_thinned_to_fit_and_menus_are_whole():
    explorer = Waves()
    explorer.speed.max = 100
    found = frozen(explorer, most=40)
    assert found.states <= 60, "a menu may offer more elsewhere than where it stood"
    assert {path[:2] for path, _ in leaves(found.tree)} == {
        ("sine", "round"),
        ("sine", "flat"),
        *(("steps", shape) for shape in ("two", "three", "four")),
    }
    (said,) = found.thinned
    assert re.fullmatch(r"speed: 10 of 100 positions", said)
    speeds = [int(path[2]) for path, _ in leaves(found.tree) if path[1] == "round"]
    assert (speeds[0], speeds[-1]) == (1, 100)
    assert 2 in speeds, "where it stood"
    assert speeds == sorted(set(speeds))


class Pictures(Explorer):
    """A slider over pictures that have nothing in common."""

    def __init__(self, size=64):
        self.seed = W.IntSlider(0, 0, 1200, description="seed")
        self.z = np.random.default_rng(0).normal(size=(1201, size, size)).astype("f4")
        super().__init__([self.seed], [PlotlyView(self.figure())])

    def figure(self):
        return plots.heatmap(self.z[self.seed.value], limit=4, title="noise")


def test_heavy_pictures_are_fewer_and_say_so(tmp_path):
    found = frozen(Pictures())
    assert found.weight <= 750_000
    assert found.weight / found.states == pytest.approx(64 * 64, rel=0.02), "one byte a cell"
    assert found.thinned == [f"seed: {found.states} of 1201 positions", "large pictures: numbers to 0.05"]
    assert frozen(Pictures(), most=300).states == 300, "who asks for more gets more"
    page = freeze(Pictures(), tmp_path / "noise.html")
    assert page.stat().st_size < 3e6
    assert "large pictures: numbers to 0.05" in page.read_text(encoding="utf-8")


def test_a_large_picture_keeps_every_number_to_half_a_step():
    explorer = Pictures()
    found = frozen(explorer, most=2)
    (_, leaf), *_ = leaves(found.tree)
    kept = assembled(found, found.parts[leaf[0]])["data"][0]["z"]
    numbers = np.frombuffer(b64decode(kept["bytes"]), "i1").reshape(64, 64) * kept["step"]
    assert kept["step"] == 0.05
    assert np.abs(numbers - explorer.z[0]).max() <= 0.0251
    small = frozen(Pictures(size=8), most=2)
    assert not [part for part in small.parts if isinstance(part, dict) and "step" in part], "its numbers may be read"


def test_ranks_are_thinned_by_factors_and_shares_by_steps():
    assert thinned(list(range(1, 65)), 7, 1) == [1, 2, 4, 8, 16, 32, 64]
    assert thinned(list(range(1, 65)), 7, 33) == [1, 2, 4, 8, 16, 33, 64]
    assert thinned([0.0, 0.25, 0.5, 0.75, 1.0], 3, 0.0) == [0.0, 0.5, 1.0]
    assert thinned([1, 2], 7, 1) == [1, 2]


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (W.FloatSlider(0.3, min=0, max=1, step=0.25), [0.0, 0.3, 0.5, 0.75, 1.0]),
        (W.IntSlider(3, 1, 7, step=2), [1, 3, 5, 7]),
        (W.SelectionSlider(options=[("a", 8), ("b", 64)]), [8, 64]),
        (W.Checkbox(True), [False, True]),
        (W.FloatLogSlider(10, base=10, min=0, max=2, step=1), [1.0, 10.0, 100.0]),
        (W.Text("as it is"), ["as it is"]),
    ],
)
def test_positions(control, expected):
    assert positions(control) == pytest.approx(expected) if isinstance(expected[0], float) else expected


def test_a_text_becomes_a_menu_of_the_values_given_and_a_menu_may_be_cut():
    found = frozen(Waves(), values={"Sentence": ["hello", "goodbye"], "kind": ["sine"]})
    assert found.controls[3] == {"kind": "menu", "label": "Sentence"}
    assert {path[3] for path, _ in leaves(found.tree)} == {"hello", "goodbye"}
    assert {path[0] for path, _ in leaves(found.tree)} == {"sine"}
    with pytest.raises(ValueError, match="no control is called 'sentence'; there are kind, shape, speed, Sentence"):
        frozen(Waves(), values={"sentence": []})


def test_a_page_holds_no_address_and_its_size_is_sane(tmp_path):
    alone = freeze(Waves(), tmp_path / "new" / "alone.html", title="Waves & more")
    shared = freeze(Waves(), tmp_path / "shared.html", plotlyjs="beside")
    assert 1e6 < alone.stat().st_size < 3e6
    assert shared.stat().st_size < 60_000
    assert (tmp_path / "plotly.min.js").stat().st_size > 3e6
    text = shared.read_text()
    assert re.findall(r"(?:src|href)=\"([^\"]+)\"", re.sub(r'href="data:[^"]+"', "", text)) == ["plotly.min.js"]
    assert "Waves" not in shared.name
    assert "<title>Waves &amp; more</title>" in alone.read_text()
    with pytest.raises(ValueError, match="no plotlyjs is called 'cdn'; there are inside, beside"):
        freeze(Waves(), tmp_path / "no.html", plotlyjs="cdn")


def test_a_figure_alone_is_a_fragment_with_its_still():
    piece = fragment(plots.spectrum([3.0, 1.0]))
    assert piece.count("<svg") == 1
    assert 'class="lorakit-frozen"' in piece
    assert "export default" not in script()


def test_a_page_opens_where_the_explorer_stood():
    """Also where an earlier control has moved the later ones on, off a float's grid: 0.3 is not 6 · 0.05."""
    explorer = PictureExplorer(rank=3, noise=0.3, most=4, size=12)
    node, opened = frozen(explorer, most=60).tree, []
    for _ in explorer.controls:
        opened.append(node["labels"][node["at"]])
        node = node["next"][node["at"]]
    assert opened == ["3", "0.30", "3"]
