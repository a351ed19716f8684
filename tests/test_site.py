"""The pages of lessons are read from a folder, with the network off: nothing leaves, sliders answer, formulas stand."""

import browser
import nbformat
import numpy as np
import pytest
from test_frozen_pages import opened

from gallery.pages import SITE, build
from lorakit.widgets.png import data_uri, painted

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.chromium() is None, reason=f"no browser found: none of {', '.join(browser.NAMES)}"),
]
PICTURE = data_uri(painted(np.eye(8), 0, 1, ((0, "#3b82c4"), (1, "#dd7d1a")))).split(",")[1]
TITLE = r"""# A tiny lesson

![Eight orange cells](attachment:cells.png)

You will see that $\Delta W = \frac{\alpha}{r} B A$, and

$$\varphi(i, j) = \frac{\|U_i^\top V_j\|_F^2}{\min(i, j)} \in [0, 1]$$

<details><summary>Answers</summary>

Because $r \ll d$.

</details>
"""
CELLS = [
    """
import torch
from types import SimpleNamespace as Row
from lorakit import plots
from lorakit.delta import LowRank
from lorakit.widgets import LayerExplorer, LiveCurve
torch.manual_seed(0)
pairs = {f"h.{n}.q": LowRank(torch.randn(9, 2), torch.randn(2, 8)) for n in range(3)}
curve = LiveCurve(steps=3, about="planted")
display(curve.view)
for step in (1, 2, 3):
    curve(Row(step=step, loss=1 / step))
""",
    'LayerExplorer(pairs, about="planted")',
    'plots.spectrum([3.0, 2.0, 1.0], about="planted")',
    'print("said")',
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    room = tmp_path_factory.mktemp("site")
    title = nbformat.v4.new_markdown_cell(TITLE, id="title", attachments={"cells.png": {"image/png": PICTURE}})
    cells = [title, *(nbformat.v4.new_code_cell(source.strip(), id=f"cell-{i}") for i, source in enumerate(CELLS))]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), room / "tiny.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gallery.executing.EXECUTED", room / "executed")
        yield build([room / "tiny.ipynb"], room / "site")


def away(asked, place):
    return [url for url in asked if not url.startswith((place.as_uri(), "data:", "blob:"))]


def test_a_lesson_s_page_works_from_a_folder(site):
    with opened(site.parent / "tiny.html") as (page, asked, complaints):
        page.wait_for_function("() => document.querySelectorAll('.main-svg').length >= 3")
        names = page.eval_on_selector_all(".lorakit-view", "all => all.map(one => one.getAttribute('aria-label'))")
        assert len(names) == 4
        assert names[0].endswith("3 steps"), "the curve as it was at the end"
        picture = page.inner_html(".lorakit-view >> nth=1")
        page.select_option(".lorakit-controls select >> nth=0", "stable rank")
        page.wait_for_function(
            "before => document.querySelectorAll('.lorakit-view')[1].innerHTML !== before", arg=picture
        )
        assert page.locator("math").count() == 3
        assert page.locator("math mfrac").count() == 2
        assert "\\" not in page.inner_text("article"), "TeX is left"
        assert page.evaluate("() => [...document.images].every(image => image.naturalWidth > 0)")
        assert "said" in page.inner_text("article")
        assert complaints == []
        assert away(asked, site.parent) == []
        assert sum("plotly" in url for url in asked) == 1


def test_dark_is_a_button_away_and_pictures_follow(site):
    ink = "() => getComputedStyle(document.querySelector('.gtitle')).fill"
    with opened(site.parent / "tiny.html", scheme="light") as (page, _, _):
        page.wait_for_selector(".gtitle")
        before = page.evaluate(ink)
        page.evaluate("() => { document.body.dataset.theme = 'dark'; }")
        page.wait_for_function(f"before => ({ink})() !== before", arg=before)


def test_the_first_page_leads_to_the_lesson(site):
    with opened(site) as (page, asked, complaints):
        assert page.evaluate("() => [...document.images].every(image => image.naturalWidth > 0)")
        page.click(".lorakit-cards a")
        page.wait_for_selector("h1")
        assert "A tiny lesson" in page.inner_text("h1")
        assert complaints == []
        assert away(asked, site.parent) == []


@pytest.mark.skipif(not (SITE / "index.html").is_file(), reason="`make site` has not been run")
def test_every_page_of_the_site_that_was_built():
    pages = sorted(SITE.glob("[0-9]*.html"))
    assert pages
    for path in pages:
        with opened(path) as (page, asked, complaints):
            page.wait_for_function(
                "() => [...document.querySelectorAll('.lorakit-view')].every(one => one.querySelector('.main-svg'))",
                timeout=120_000,
            )
            assert page.locator(".lorakit-view").count() > 0, path.name
            assert complaints == [], path.name
            assert away(asked, SITE) == [], path.name
            assert "\\frac" not in page.inner_text("article"), path.name
