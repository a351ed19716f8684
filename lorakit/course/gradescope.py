"""The zip that Gradescope reads: made by otter from the same source, and tried before it is uploaded.

    1_derive.py  →  otter assign, whose own run of the solution must have full marks  →  build/gradescope/1_derive.zip

Then the zip grades the solution and the notebook as it is handed out: all points, and none. What a student uploads is
the notebook that they got. Otter would run it and its checks in one process; a plugin (`judged`) has it marked by the
judge of `make grade` instead, and otter reports what came of it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from lorakit.course.judged import ASSIGNMENT, packed
from lorakit.course.outputs import otter, solution, student
from lorakit.course.source import Source
from lorakit.course.writing import text

ROOT = Path(__file__).parents[2]
FILES = "/autograder/source/files"  # where Gradescope's container has the files of the zip
REQUIREMENTS = """--extra-index-url https://download.pytorch.org/whl/cpu
torch=={torch}
ipykernel
psutil
{wheel}
"""


@dataclass(frozen=True)
class Zip:
    """What was made: the file, and the points that the solution and the blank notebook have by it."""

    path: Path
    solution: float
    blank: float
    possible: float

    def __repr__(self) -> str:
        return f"Zip({self.path}: solution {self.solution:g}, blank {self.blank:g}, of {self.possible:g})"


def pack(source: Source, build: Path, pictures: Path | None = None, wheel: Path | None = None) -> Zip:
    """Make and try the zip of an assignment. RuntimeError: its solution has not all points, or a blank has some."""
    from otter.assign import main as assign

    made = build / "otter" / source.name
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    (made / ASSIGNMENT).write_text(packed(source), encoding="utf-8")
    settings: dict[str, object] = {}
    if wheel is not None:
        shutil.copy(wheel, made / wheel.name)
        (made / "requirements.txt").write_text(requirements(wheel.name), encoding="utf-8")
        settings = {"autograder_files": [ASSIGNMENT, wheel.name], "requirements": "requirements.txt"}
    notebook = made / f"{source.name}.ipynb"
    notebook.write_text(text(otter(source, pictures, **settings)), encoding="utf-8")
    try:
        with _silence():
            assign(str(notebook), str(made / "dist"), no_pdfs=True)
    except Exception as error:
        raise RuntimeError(f"otter assign refused {source.name}: {error}") from error
    path = build / "gradescope" / f"{source.name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(next((made / "dist" / "autograder").glob("*.zip")), path)
    return tried(source, path)


def tried(source: Source, path: Path) -> Zip:
    """The points of the solution and of the blank notebook. RuntimeError where they are not all and none."""
    full, possible = points(solution(source), path)
    blank, _ = points(student(source), path)
    made = Zip(path, full, blank, possible)
    wanted = sum(source.points(exercise, "check", "hidden") for exercise in source.exercises)
    if (full, blank, possible) != (wanted, 0.0, wanted):
        raise RuntimeError(f"{made}: it should be {wanted:g}, 0, of {wanted:g}")
    return made


def points(notebook: dict, path: Path) -> tuple[float, float]:
    """What otter gives a notebook by a zip, and what it could."""
    from otter.api import grade_submission

    with tempfile.TemporaryDirectory() as folder, _silence():
        file = Path(folder) / "submission.ipynb"
        file.write_text(json.dumps(notebook), encoding="utf-8")
        results = grade_submission(str(file), str(path))
    return float(results.total), float(results.possible)


@contextmanager
def _silence() -> Iterator[None]:
    """What otter says, and the kernels that it starts, is not shown: what is wrong, it raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as unread, redirect_stdout(io.StringIO()):
        os.dup2(unread.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def wheel(folder: Path) -> Path:
    """lorakit as one file, for a container that has no checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return max(folder.glob("lorakit-*.whl"), key=lambda path: path.stat().st_mtime)


def requirements(name: str) -> str:
    """What the container installs: torch for a processor, as pinned, and lorakit from the zip."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line.removeprefix("torch==") for line in pins if line.startswith("torch=="))
    return REQUIREMENTS.format(torch=torch, wheel=f"{FILES}/{name}")
