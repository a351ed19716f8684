"""A real JupyterLab in a real Chromium, for the tests that must see a picture move.

    with jupyterlab(folder) as lab, lab.open("lesson.ipynb") as notebook:
        notebook.run_all()
        milliseconds = notebook.press(notebook.sliders()[0])

Everything is of the test's own: server, port, token, configuration, kernels and browser profile.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, TimeoutError, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 180_000  # ms that a page may take on a machine shared by many
MOVED = 120_000  # ms that a control, which may train a small model, may take there
LESSON = 1_200_000  # ms that a notebook, which may train a model, may take there

# Every cell on the page, whether in sight or not; no questions about news. All else is as `make lab` has it.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false"},
}


def chromium() -> str | None:
    """The browser to drive, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Lab]:
    """A JupyterLab that serves `folder` and shares nothing with the user's own; ended on leaving."""
    private = folder / ".jupyter"
    for name, settings in SETTINGS.items():
        file = private / "config" / "lab" / "user-settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    lab = Lab(folder, _free_port(), secrets.token_hex(8))
    with open(folder / "jupyterlab.log", "w") as log:
        server = subprocess.Popen(lab.command, stdout=log, stderr=log, env=_environment(private), cwd=folder)
        try:
            lab.wait_until_up(server)
            yield lab
        finally:
            server.terminate()
            server.wait(30)


@dataclass(frozen=True)
class Lab:
    """A running server."""

    folder: Path
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
            *(f"--port={self.port}", f"--IdentityProvider.token={self.token}"),
            *(f"--ServerApp.root_dir={self.folder}", "--LabApp.expose_app_in_browser=True"),
            *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        ]

    def wait_until_up(self, server: subprocess.Popen) -> None:
        address = f"{self.url}/api?token={self.token}"
        deadline = time.monotonic() + PATIENCE / 1000
        while server.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(address, timeout=2).close()
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not come up; see {self.folder / 'jupyterlab.log'}")

    @contextmanager
    def open(self, name: str, *, width: int = 1200, height: int = 1000) -> Iterator[Notebook]:
        """The notebook `name` in a fresh browser, its kernel ready."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE)
            notebook = Notebook(page)
            page.goto(f"{self.url}/lab/tree/{name}?token={self.token}&reset")
            notebook.wait_for_kernel()
            yield notebook
            browser.close()


@dataclass
class Notebook:
    """An open notebook: what a reader can do to it, and what the page said meanwhile.

    complaints  errors of the page and its console
    wire        bytes the kernel sent, by comm (one a widget)
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    wire: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._weigh))

    def _hear(self, message) -> None:
        # JupyterLab lets the browser ask for a picture attached to a cell before it puts the picture there.
        url = message.location.get("url", "")
        if message.type == "error" and not url.startswith("attachment:"):
            self.complaints.append(f"{message.text} ({url})")

    def _weigh(self, frame: bytes | str) -> None:
        """Count the bytes of a message of jupyter's kernel protocol v1 towards the comm it is for."""
        if isinstance(frame, str):
            return
        count = int.from_bytes(frame[:8], "little")
        cuts = [int.from_bytes(frame[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
        content = json.loads(frame[cuts[4] : cuts[5]])
        if "comm_id" in content:
            self.wire[content["comm_id"]] += len(frame)

    def wait_for_kernel(self) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("() => jupyterapp.shell.currentWidget?.sessionContext?.isReady")
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.info")

    def start(self) -> None:
        """Have every cell run, and do not wait."""
        self.page.evaluate(
            """() => { window.finished = false;
                jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true; }); }"""
        )

    def run_all(self) -> list[str]:
        """Run every cell, wait for the last, and return the errors and warnings found in outputs."""
        self.start()
        self.page.wait_for_function("() => window.finished", timeout=LESSON)
        self.page.wait_for_function(DRAWN)
        return self.page.eval_on_selector_all(
            ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error'], "
            ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']",
            "found => found.map(one => one.textContent)",
        )

    def save(self) -> None:
        """Save the notebook as it is, outputs and widgets included."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def shut_down(self) -> None:
        """End the kernel: whoever opens the notebook next meets another one."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def sliders(self) -> list[str]:
        """The name of every slider on the page, as its handle is marked for `press`."""
        return self.page.eval_on_selector_all(
            ".jp-OutputArea-output .noUi-handle",
            """handles => handles.map((handle, i) => {
                handle.dataset.slider = i;
                return `[data-slider="${i}"]`;
            })""",
        )

    def name(self, slider: str) -> str:
        """What is written beside a slider."""
        return self.page.locator(slider).evaluate(
            "handle => handle.closest('.jupyter-widgets').querySelector('.widget-label').textContent"
        )

    def press(self, slider: str, key: str | None = None) -> float:
        """Press an arrow key on a slider and wait until a plot in its cell is drawn anew: milliseconds."""
        handle = self.page.locator(slider)
        handle.scroll_into_view_if_needed()
        handle.evaluate(ARM)
        handle.press(key or self._free_direction(slider))
        self.page.wait_for_function("() => window.redrawn !== null", polling=5)
        return self.page.evaluate("() => window.redrawn")

    def _free_direction(self, slider: str) -> str:
        now, most = (self.page.get_attribute(slider, f"aria-value{end}") for end in ("now", "max"))
        return "ArrowLeft" if float(now) >= float(most) else "ArrowRight"

    def controls(self) -> list[str]:
        """Everything in outputs that a reader can move or press, marked for `move`, in the order of the page."""
        return self.page.evaluate(CONTROLS)

    def called(self, control: str) -> str:
        """What is written beside or on a control."""
        return self.page.locator(control).evaluate(CALLED).strip()

    def move(self, control: str) -> float | None:
        """Move it to another position and wait for a picture (or, where its cell has none, for words) to change.

        Milliseconds from the key to the plot drawn anew; None where nothing changed in `MOVED` ms.
        """
        handle = self.page.locator(control)
        handle.scroll_into_view_if_needed()
        kind = handle.evaluate(WATCH)
        if kind == "slider":
            handle.press(self._free_direction(control))
        elif kind == "menu":
            chosen, count = handle.evaluate("menu => [menu.selectedIndex, menu.length]")
            handle.select_option(index=(chosen + 1) % count)
        elif kind == "text":
            handle.fill("Two hours I want back.")
            handle.press("Enter")
        else:
            self._say_something_new(control)
            handle.click()
        try:
            return self.page.wait_for_function(CHANGED, timeout=MOVED, polling=5).json_value()
        except TimeoutError:
            return None

    def _say_something_new(self, button: str) -> None:
        """Fill the box that a button works on, where its cell has one: on the same words it would draw the same."""
        box = self.page.locator(f".jp-OutputArea-output:has({button}) textarea")
        if box.count():
            box.first.fill("def area(width, height):")

    def shown(self, slider: str) -> tuple[str, str]:
        """The pictures in a slider's cell, and the words: their names for screen readers and the controls' text."""
        return tuple(self.page.locator(slider).evaluate(SHOWN))

    def theme(self, name: str) -> None:
        """Change to "JupyterLab Dark" or "JupyterLab Light"."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=name)


CONTROLS = """() => {
    const kinds = '.noUi-handle, .widget-dropdown select, .widget-text input, .widget-checkbox input, '
        + '.widget-toggle-buttons button:not(.mod-active), .widget-toggle-button:not(.widget-toggle-buttons *), '
        + 'button.widget-button';
    const seen = [...document.querySelectorAll('.jp-OutputArea-output')].flatMap(
        output => [...output.querySelectorAll(kinds)]);
    return seen.filter(one => !one.disabled && one.offsetParent && !(one.length < 2 && one.tagName === 'SELECT'))
        .map((one, i) => { one.dataset.control = i; return `[data-control="${i}"]`; });
}"""
CALLED = """control => control.closest('.jupyter-widgets')?.querySelector('.widget-label')?.textContent
    || control.innerText || '?'"""
WATCH = """control => {
    const views = [...document.querySelectorAll('.lorakit-view')];
    const output = control.closest('.jp-OutputArea-output');
    const look = () => views.map(view => view.getAttribute('aria-label') + view.innerHTML).join()
        + (output.querySelector('.lorakit-view') ? '' : output.innerText);
    const before = look();
    let begun = null;
    let drawn = null;
    for (const event of ['keydown', 'input', 'change', 'click'])
        control.addEventListener(event, () => { begun ??= performance.now(); }, { once: true, capture: true });
    for (const plot of document.querySelectorAll('.js-plotly-plot'))
        plot.once('plotly_afterplot', () => { drawn ??= performance.now(); });
    window.changed = () => begun !== null && look() !== before && (drawn ?? performance.now()) - begun;
    if (control.matches('.noUi-handle')) return 'slider';
    if (control.tagName === 'SELECT') return 'menu';
    return control.type === 'text' ? 'text' : 'button';
}"""
CHANGED = "() => window.changed()"
DRAWN = """() => [...document.querySelectorAll('.lorakit-view')].every(view => view.querySelector('.main-svg'))"""
ARM = """handle => {
    const plots = handle.closest('.jp-Cell').querySelectorAll('.js-plotly-plot');
    let pressed = null;
    window.redrawn = null;
    handle.addEventListener('keydown', () => { pressed = performance.now(); }, { once: true, capture: true });
    for (const plot of plots) plot.once('plotly_afterplot', () => { window.redrawn ??= performance.now() - pressed; });
}"""
SHOWN = """handle => {
    const views = [...handle.closest('.jp-Cell').querySelectorAll('.lorakit-view')];
    const pictures = views.map(view => view.innerHTML).join();
    const names = views.map(view => view.getAttribute('aria-label')).join();
    return [pictures, names + handle.closest('.jp-OutputArea-output').innerText];
}"""


def _environment(private: Path) -> dict[str, str]:
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    own = {name: str(private / folder) for name, folder in folders.items()}
    root = Path(__file__).parents[1]
    return {**os.environ, **own, "PYTHONPATH": str(root), "JUPYTER_CONFIG_PATH": str(root / "tools" / "jupyter")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
