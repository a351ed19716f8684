"""The view of the notebooks on pages of other hosts: no notebook and no kernel, a model that answers from the page."""

import json
from contextlib import contextmanager
from pathlib import Path

import browser
import numpy as np
import pytest
import torch
from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs

from lorakit import plots
from lorakit.analysis import similarity
from lorakit.delta import LowRank
from lorakit.plots.panels import legend_above
from lorakit.plots.style import LEGEND_TOP, drawn
from lorakit.widgets import PlotlyView, view

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason=f"no browser found: none of {', '.join(browser.NAMES)}"),
]

# Renders a view of `wire` in an element that is put on the page only afterwards, as some hosts do.
RENDER = """async ([source, wire, early]) => {
    const { default: view } = await import('data:text/javascript,' + encodeURIComponent(source));
    const state = { wire, alt: 'a line', still: '<svg></svg>' };
    const model = { get: name => state[name], on() {}, send() {} };
    globalThis.lorakitPage.Plotly = globalThis.Plotly;
    const el = document.createElement('div');
    if (early) document.body.firstElementChild.append(el);
    view.render({ model, el });
    await new Promise(requestAnimationFrame);
    document.body.firstElementChild.append(el);
}"""
GAPS = """() => {
    const seen = [...document.querySelectorAll('.heatmap-label text')].map(text => text.getBoundingClientRect())
        .filter(box => box.width).sort((one, other) => one.top - other.top || one.left - other.left);
    return seen.slice(1).flatMap((box, i) => Math.abs(box.top - seen[i].top) < 1 ? [box.left - seen[i].right] : []);
}"""
INK = "() => document.querySelector('.gtitle') && getComputedStyle(document.querySelector('.gtitle')).fill"


def listed(node):
    """A wire whose bytes are lists: what crosses to this page is JSON."""
    if isinstance(node, dict):
        if isinstance(node.get("bytes"), bytes):
            return array_of(node)
        return {key: listed(value) for key, value in node.items()}
    return [listed(item) for item in node] if isinstance(node, list) else node


def array_of(node):
    return np.frombuffer(node["bytes"], f"<{node['dtype']}").reshape(node["shape"]).tolist()


@contextmanager
def host(html):
    """A page of `html` with plotly.js and nothing else."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser.chromium(), args=list(browser.ARGUMENTS))
        page = chrome.new_page()
        page.set_content(html)
        page.add_script_tag(content=get_plotlyjs())
        yield page
        chrome.close()


def figure():
    return drawn([{"type": "scatter", "y": [1.0, 2.0]}], "A title", "", "a line")


def ink(html, *, early=False):
    """The colour of the title of a view on that page, once it rests."""
    wire = PlotlyView(figure()).wire
    source = Path(view.__file__).with_name("view.js").read_text(encoding="utf-8")
    with host(html) as page:
        page.evaluate(RENDER, [source, json.loads(json.dumps(wire)), early])
        page.wait_for_selector(".gtitle")
        page.wait_for_timeout(300)
        return page.evaluate(INK)


@pytest.mark.parametrize("early", [True, False])
def test_a_view_takes_the_ink_of_the_page_whenever_it_is_put_there(early):
    assert ink("<body style='background: #1f1f1f'><div style='color: rgb(204, 204, 200)'></div>", early=early) == (
        "rgb(204, 204, 200)"
    )


@pytest.mark.parametrize(
    ("page", "output", "lightest"),
    [("#1f1f1f; color: #ccc", "background: white", False), ("white; color: #333", "background: #1f1f1f", True)],
)
def test_ink_that_the_ground_would_swallow_gives_way(page, output, lightest):
    red = int(ink(f"<body style='background: {page}'><div style='{output}'></div>", early=True)[4:].split(",")[0])
    assert (red > 200) if lightest else (red < 60)


def test_a_ground_that_nobody_paints_decides_nothing():
    assert ink("<body style='color: rgb(250, 250, 250)'><div></div>", early=True) == "rgb(250, 250, 250)"


def boxes(width, names, **layout):
    """Where title, subtitle, legend and plot of a view `width` pixels wide begin and end: {name: (top, bottom)}."""
    lines = [{"type": "scatter", "name": name, "y": [1.0, 2.0]} for name in names]
    wire = PlotlyView(drawn(lines, "A title", "what it was computed for", "lines", **layout)).wire
    source = Path(view.__file__).with_name("view.js").read_text(encoding="utf-8")
    with host(f"<body><div style='width: {width}px'></div>") as page:
        page.evaluate(RENDER, [source, json.loads(json.dumps(wire)), True])
        page.wait_for_selector(".legend .traces")
        page.wait_for_timeout(300)
        return page.evaluate(
            """() => Object.fromEntries(['.gtitle-subtitle', '.legend', '.nsewdrag'].map(name => {
                const { top, bottom } = document.querySelector(name).getBoundingClientRect();
                return [name, [top, bottom]];
            }))"""
        )


NAMES = ["s = α/r, α = 8", "s = α/√r, α = √8", "s = 1", "s = 1/r, decaying", "left, random ΔW"]


@pytest.mark.parametrize("layout", [{"margin": {"t": LEGEND_TOP}}, {**legend_above(320), "height": 320}])
@pytest.mark.parametrize("width", [340, 900])
def test_a_legend_of_many_rows_stays_between_title_and_plot(width, layout):
    found = boxes(width, NAMES, **layout)
    rows = found[".legend"][1] - found[".legend"][0]
    assert rows > 60 if width == 340 else rows < 40, "the page is narrow enough for several rows"
    assert found[".gtitle-subtitle"][1] <= found[".legend"][0] + 6
    assert found[".legend"][1] <= found[".nsewdrag"][0] + 6


@pytest.mark.parametrize(("width", "seen"), [(350, False), (1000, True)])
def test_numbers_stand_in_cells_that_have_room_for_them(width, seen):
    generator = torch.Generator().manual_seed(0)
    one, other = (
        LowRank(torch.randn(64, 8, generator=generator), torch.randn(8, 64, generator=generator)) for _ in "12"
    )
    wire = PlotlyView(plots.phi_map(similarity(one, other))).wire
    with host(f"<body><div style='width: {width}px'></div>") as page:
        page.evaluate(
            RENDER, [Path(view.__file__).with_name("view.js").read_text(encoding="utf-8"), listed(wire), True]
        )
        page.wait_for_selector(".heatmap-label", state="attached")
        page.wait_for_timeout(300)
        gaps = page.evaluate(GAPS)
        assert (len(gaps) > 0) is seen
        assert min(gaps, default=1) > 0, "no number runs into the next"
