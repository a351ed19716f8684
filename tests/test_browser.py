"""What only a real browser shows: a slider moves, a picture moves with it, and the page has nothing to complain of."""

import shutil
from pathlib import Path
from statistics import median
from textwrap import dedent

import browser
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
CHROMIUM = browser.chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser found: none of {', '.join(browser.NAMES)}"),
]

SMALL = [
    """
    from types import SimpleNamespace
    import ipywidgets as W, numpy as np
    from lorakit import plots
    from lorakit.widgets import PlotlyView
    U, S, Vh = np.linalg.svd(np.random.default_rng(0).standard_normal((64, 64)))
    """,
    """
    picture = lambda k: plots.heatmap((U[:, :k] * S[:k]) @ Vh[:k], limit=3, about=f"rank {k}")
    heat, rank = PlotlyView(picture(1)), W.IntSlider(1, 1, 64, description="rank")
    rank.observe(lambda change: heat.update(picture(change.new)), "value")
    W.VBox([rank, heat])
    """,
    """
    wave = lambda k: SimpleNamespace(loss=np.sin(np.linspace(0, 10, 500) * k) + k)
    line, speed = PlotlyView(plots.training_curve(wave(1))), W.IntSlider(1, 1, 64, description="speed")
    speed.observe(lambda change: line.update(plots.training_curve(wave(change.new))), "value")
    W.VBox([speed, line])
    """,
    """
    names = [f"layer.{n}.query" for n in range(8)]
    long = "Longer than a narrow page is wide, so that it has to go on in the next line: layer "
    framed = lambda k: plots.layer_map(dict.fromkeys(names, 1.0), mark=names[k], title=f"{long}{k}", about=long * 2)
    cells, place = PlotlyView(framed(0)), W.IntSlider(0, 0, 7, description="layer")
    place.observe(lambda change: cells.update(framed(change.new)), "value")
    W.VBox([place, cells])
    """,
    """
    import time
    busy = PlotlyView(plots.training_curve(wave(1)))
    display(busy)
    for k in range(2, 7):
        time.sleep(0.8)
        busy.update(plots.training_curve(wave(k)))
    """,
]
BROKEN = ["1 / 0", "import sys; print('beware', file=sys.stderr)"]


def write(cells, path):
    cells = [nbformat.v4.new_code_cell(dedent(cell).strip()) for cell in cells]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    for name in ("small.ipynb", "saved.ipynb"):  # the second meets a kernel that has run nothing yet
        write(SMALL, folder / name)
    write(BROKEN[:1], folder / "broken.ipynb")
    write(BROKEN[1:], folder / "warns.ipynb")
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns("figures", ".*"))
    with browser.jupyterlab(folder) as lab:
        yield lab


def move_every_slider(notebook, presses=1):
    """Press an arrow key on each slider: the picture and the numbers beside it must have changed."""
    sliders = notebook.sliders()
    for slider in sliders:
        picture, words = notebook.shown(slider)
        taken = [notebook.press(slider) for _ in range(presses)]
        print(f"{notebook.name(slider)}: {median(taken):.0f} ms from key to plot, median of {presses}")
        assert notebook.shown(slider)[0] != picture, f"{notebook.name(slider)} moved no picture"
        assert notebook.shown(slider)[1] != words, f"{notebook.name(slider)} changed no number"
    return sliders


def test_a_slider_moves_its_picture(lab):
    with lab.open("small.ipynb") as notebook:
        assert notebook.run_all() == []
        first = [size for size in notebook.wire.values() if size > 3000]
        assert len(move_every_slider(notebook, presses=7)) == 3
        assert notebook.complaints == []
    libraries = [size for size in first if size > 1_000_000]
    assert len(libraries) == 1, "plotly.js is sent once a page"
    assert all(size < 200_000 for size in first if size not in libraries)


def test_where_only_a_frame_moves_the_cells_are_left_alone(lab):
    with lab.open("small.ipynb") as notebook:
        notebook.run_all()
        heat, _, layer = notebook.sliders()
        assert notebook.page.evaluate(COUNT) == 2
        notebook.press(layer)
        assert notebook.page.evaluate("() => window.cellsDrawn") == [0, 0]
        notebook.press(heat)
        assert notebook.page.evaluate("() => window.cellsDrawn[0] > 0")


@pytest.mark.parametrize("width", [1200, 800])
def test_a_title_is_never_cut(lab, width):
    with lab.open("small.ipynb", width=width) as notebook:
        notebook.run_all()
        notebook.press(notebook.sliders()[2])
        right, titles = notebook.page.evaluate(TITLES)
        assert max(titles) <= right
        lines = notebook.page.locator(".lorakit-view >> nth=2 >> .gtitle .line").count()
        assert (lines > 1) == (width == 800)


def test_a_picture_moves_while_its_kernel_is_busy(lab):
    """Its answer with plotly.js would come after the last cell: until then the still pictures move."""
    with lab.open("small.ipynb") as notebook:
        notebook.start()
        name = "document.querySelectorAll('.lorakit-view')[3]?.getAttribute('aria-label')"
        first = notebook.page.wait_for_function(f"() => {name}").json_value()
        how = f"first => window.finished ? 'too late' : {name} !== first && 'in time'"
        assert notebook.page.wait_for_function(how, arg=first).json_value() == "in time"


@pytest.mark.parametrize(("name", "said"), [("broken.ipynb", "ZeroDivisionError"), ("warns.ipynb", "beware")])
def test_an_error_in_a_cell_is_seen(lab, name, said):
    with lab.open(name) as notebook:
        assert said in " ".join(notebook.run_all())


def test_a_picture_follows_the_theme(lab):
    with lab.open("small.ipynb") as notebook:
        notebook.run_all()
        in_light = notebook.page.evaluate(INK)
        notebook.theme("JupyterLab Dark")
        notebook.page.wait_for_function(f"light => ({INK})() !== light", arg=in_light)
        papers = notebook.page.eval_on_selector_all(".main-svg", "all => all.map(svg => svg.style.background)")
    assert set(papers) <= {"rgba(0, 0, 0, 0)", ""}, "a slab of paper on a dark page"


def test_a_saved_notebook_keeps_its_pictures_and_not_plotly(lab):
    with lab.open("saved.ipynb") as notebook:
        notebook.run_all()
        notebook.save()
        notebook.shut_down()
    assert (lab.folder / "saved.ipynb").stat().st_size < 1_000_000
    with lab.open("saved.ipynb") as notebook:  # another kernel, which knows nothing of these widgets
        stills = notebook.page.locator(".lorakit-view > svg[aria-label]")
        stills.nth(3).wait_for()
        notebook.page.wait_for_timeout(3000)
        assert stills.count() == 4
        assert notebook.page.locator(".main-svg").count() == 0


COUNT = """() => {
    const layers = [...document.querySelectorAll('.heatmaplayer')].filter(layer => layer.querySelector('image'));
    window.cellsDrawn = layers.map(() => 0);
    const options = { childList: true, subtree: true, attributes: true };
    layers.forEach((layer, i) => {
        new MutationObserver(changes => { window.cellsDrawn[i] += changes.length; }).observe(layer, options);
    });
    return layers.length;
}"""
TITLES = """() => {
    const view = document.querySelectorAll('.lorakit-view')[2];
    const titles = [...view.querySelectorAll('.gtitle, .gtitle-subtitle')];
    return [view.getBoundingClientRect().right, titles.map(title => title.getBoundingClientRect().right)];
}"""
INK = "() => getComputedStyle(document.querySelector('.lorakit-view .gtitle')).fill"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson(lab, lesson, record_property):
    """Run All, then every control once: pictures change, and neither a cell nor the page complains.

    A second run of the lesson beside that of test_lessons, which keeps what the site is made of: only here do
    messages, JavaScript and a reader's keys take part.
    """
    with lab.open(f"notebooks/{lesson.name}") as notebook:
        assert notebook.run_all() == []
        taken = {}
        for control in notebook.controls():
            name = f"{len(taken)} {notebook.called(control)}"
            taken[name] = notebook.move(control)
        assert notebook.complaints == []
    still = [name for name, milliseconds in taken.items() if milliseconds is None]
    times = ", ".join(
        f"{name} {milliseconds:.0f} ms" for name, milliseconds in taken.items() if milliseconds is not None
    )
    record_property("said", f"{lesson.stem}, from key to picture: {times or 'no control'}")
    assert still == [], "moved no picture"
    assert taken or "Explorer(" not in lesson.read_text(), "an explorer without a control"
