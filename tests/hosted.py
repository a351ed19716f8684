"""Lessons as a student meets them elsewhere: out of the bundle, in a folder of their own, lorakit not installed.

    python tests/hosted.py dist/lorakit-lessons.zip 04_inside_delta_w 05_intrinsic_rank

Run by a Python that has no lorakit (`make colab`): the first cell of a lesson has to install it from the wheel
beside it. Ends with 1 where a cell fails, says something on stderr, or finds another lorakit than the wheel's.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbclient import NotebookClient

WHICH = "import lorakit, sys; print(lorakit.__file__.startswith(sys.prefix))"
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def run(lesson: Path) -> float:
    """Execute it where it lies; wall seconds. Raises where a cell fails, AssertionError for a word on stderr."""
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(WHICH))
    began = time.monotonic()
    options = {"timeout": 1200, "kernel_name": "python3", "resources": {"metadata": {"path": lesson.parent}}}
    NotebookClient(notebook, **options).execute()
    outputs = [(cell.get("id"), out) for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    said = [(name, out.text) for name, out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert said == [], f"{lesson.stem} said on stderr: {said}"
    assert outputs[-1][1].text.strip() == "True", "another lorakit than the wheel's was imported"
    return time.monotonic() - began


def main(archive: str, *lessons: str) -> int:
    """Unpack, run each, and take the wheel out again."""
    os.environ.pop("PYTHONPATH", None)
    os.environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "TQDM_DISABLE": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    assert find_spec("lorakit") is None, "this Python has a lorakit already: the set-up cell would install nothing"
    with tempfile.TemporaryDirectory() as empty:
        os.environ["IPYTHONDIR"] = f"{empty}/ipython"
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(empty)
        try:
            for name in lessons:
                (lesson,) = Path(empty).glob(f"*/{name}.ipynb")
                print(f"{name}: {run(lesson):.0f} s", flush=True)
        finally:
            subprocess.run([*PIP, "uninstall", "--yes", "lorakit"], check=True)
    print(f"{len(lessons)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
