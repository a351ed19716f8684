"""Lessons as a student meets them elsewhere: out of the bundle, in a folder of their own, lorakit not installed.

    python tests/hosted.py dist/lorakit-lessons.zip 04_inside_delta_w 1_derive solved/1_derive

Run by a Python that has no lorakit (`make colab`): the first cell of a lesson has to install it from the wheel
beside it, that of an assignment from the wheel above. An assignment ends at its first answer that is not written, and
has to say so; solved, it runs to its end. Ends with 1 where a cell fails, says something on stderr, or finds another
lorakit than the wheel's.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SOLUTIONS = Path("build/assignments/solution")
WHICH = "import lorakit, sys; print(lorakit.__file__.startswith(sys.prefix))"
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def run(lesson: Path) -> float:
    """Execute it where it lies; wall seconds. Raises where a cell fails, AssertionError for a word on stderr."""
    notebook = nbformat.read(lesson, as_version=4)
    assignment = lesson.parent.name == "assignments"
    if assignment:
        end_at_the_first_check(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell(WHICH))
    began = time.monotonic()
    options = {"timeout": 1200, "kernel_name": "python3", "resources": {"metadata": {"path": lesson.parent}}}
    NotebookClient(notebook, **options).execute()
    outputs = [(cell.get("id"), out) for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    said = [(name, out.text) for name, out in outputs if out.output_type == "stream" and out.name == "stderr"]
    assert said == [], f"{lesson.stem} said on stderr: {said}"
    missing = [out.evalue for _, out in outputs if out.output_type == "error"]
    assert ["not written yet" in text for text in missing] == [True] * assignment, f"{lesson.stem} ended with {missing}"
    assert outputs[-1][1].text.strip() == "True", "another lorakit than the wheel's was imported"
    return time.monotonic() - began


def end_at_the_first_check(notebook: nbformat.NotebookNode) -> None:
    """What *Run All* does of it: everything up to the first check, which raises, and nothing after."""
    first = next(i for i, cell in enumerate(notebook.cells) if cell.get("id", "").endswith("-check"))
    notebook.cells[first].metadata["tags"] = ["raises-exception"]
    del notebook.cells[first + 1 :]


def found(room: Path, name: str) -> Path:
    """A lesson or an assignment of the bundle; a solution, which `make assignments` writes, laid beside the wheel."""
    kind, _, own = name.rpartition("/")
    (path,) = room.rglob(f"{own}.ipynb")
    if not kind:
        return path
    return Path(shutil.copy(SOLUTIONS / path.name, path.parents[1] / f"{own}_solved.ipynb"))


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
                print(f"{name}: {run(found(Path(empty), name)):.0f} s", flush=True)
        finally:
            subprocess.run([*PIP, "uninstall", "--yes", "lorakit"], check=True)
    print(f"{len(lessons)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
