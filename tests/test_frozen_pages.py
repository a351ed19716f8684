"""A frozen page in a real browser, from a file and with the network off: controls, pictures, light and dark."""

from contextlib import contextmanager

import browser
import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from test_frozen import Pictures, Waves

from lorakit.widgets import freeze

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason=f"no browser found: none of {', '.join(browser.NAMES)}"),
]


@contextmanager
def opened(path, *, scheme="light", width=900):
    """The page at `path` in a browser without network: the page, what it asked for, what it complained of."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser.chromium(), args=list(browser.ARGUMENTS))
        context = chrome.new_context(color_scheme=scheme, viewport={"width": width, "height": 700})
        context.set_offline(True)
        page, asked, complaints = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(path.as_uri())
        yield page, asked, complaints
        chrome.close()


@pytest.fixture(scope="module", params=["inside", "beside"])
def written(request, tmp_path_factory):
    explorer = Waves()
    explorer.kind.value = "steps"
    folder = tmp_path_factory.mktemp("frozen")
    return freeze(explorer, folder / "waves.html", plotlyjs=request.param, values={"Sentence": ["hello", "bye"]})


def test_controls_move_pictures_by_the_keyboard_alone(written):
    with opened(written) as (page, asked, complaints):
        page.wait_for_selector(".main-svg")
        said = "document.querySelector('.lorakit-view').getAttribute('aria-label')"
        assert page.evaluate(said).startswith("steps two 2 hello")
        for _ in ("kind", "shape", "speed"):
            page.keyboard.press("Tab")
        picture = page.inner_html(".lorakit-view")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"() => {said}.startsWith('steps two 3 hello')")
        page.wait_for_function("before => document.querySelector('.lorakit-view').innerHTML !== before", arg=picture)
        assert page.inner_text("output") == "3"
        assert page.inner_text(".lorakit-panels b") == "speed 3"
        page.select_option("select >> nth=1", "four")
        page.select_option("select >> nth=2", "bye")
        page.select_option("select >> nth=0", "sine")
        page.wait_for_function(f"() => {said}.startsWith('sine round 3 bye')")
        assert page.locator("select >> nth=1").locator("option").all_inner_texts() == ["round", "flat"]
        assert complaints == []
        assert {url.split(":")[0] for url in asked} <= {"file", "blob", "data"}
        assert all(url.startswith(written.parent.as_uri()) for url in asked if url.startswith("file"))


def test_the_page_is_dark_where_the_reader_s_is(written):
    inks = []
    for scheme in ("light", "dark"):
        with opened(written, scheme=scheme) as (page, _, _):
            page.wait_for_selector(".main-svg")
            inks.append(page.evaluate("() => getComputedStyle(document.querySelector('.gtitle')).fill"))
    assert inks[0] != inks[1]


def test_without_a_script_the_still_picture_stands_there(written, tmp_path):
    mute = tmp_path / "mute.html"
    mute.write_text(written.read_text().replace("<script>", '<script type="text/plain">'))
    with opened(mute) as (page, _, _):
        assert page.locator(".lorakit-frozen > svg").count() == 1
        assert "steps two 2" in page.inner_text(".lorakit-frozen")


def test_nothing_hangs_over_on_a_narrow_page(written):
    with opened(written, width=360) as (page, _, _):
        page.wait_for_selector(".main-svg")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_a_large_picture_is_thawed_to_round_numbers(tmp_path):
    explorer = Pictures()
    with opened(freeze(explorer, tmp_path / "noise.html", most=3)) as (page, _, complaints):
        page.wait_for_selector(".main-svg")
        shown = page.evaluate("() => document.querySelector('.js-plotly-plot').data[0].z.map(row => [...row])")
        assert np.abs(np.array(shown) - explorer.z[0]).max() <= 0.0251
        assert np.abs(np.array(shown) * 20 - np.rint(np.array(shown) * 20)).max() < 1e-4
        assert complaints == []
