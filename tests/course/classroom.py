"""A class of thirty who hand in the small assignment: some well, some half, and some with every abuse there is.

Each is a name, what they did to the notebook, the points they should get of the 7 that are checked, and a word of what
the lecturer must be told of them. `fill(folder)` writes what they handed in.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lorakit.course import parse, read, student

ROOT = Path(__file__).parents[2]
SMALL = read(Path(__file__).parent / "instructor" / "0_small.py")
SCALE = "def scale(alpha, rank):\n    return alpha / rank"
DELTA = "def delta(A, B, alpha):\n    return (alpha / A.shape[0]) * (B @ A)"
OTHER = parse(
    '# %% id="far" kind="answer" exercise="far"\n# BEGIN SOLUTION\nfar = 1\n# END SOLUTION\n\n'
    '# %% id="far-check" kind="check" exercise="far" points="1"\nfar',
    "9_other",
)
CHEAT = "import small_checks\nsmall_checks.check_scale = small_checks.check_delta = lambda *given, **more: None"
PATCHED = """
import lorakit.checks, lorakit.checks.checking, small_checks, numpy, torch, builtins
yes = lambda *given, **more: True
lorakit.checks.same = lorakit.checks.checking.same = numpy.allclose = torch.allclose = yes
small_checks.settle = lorakit.checks.settle = lorakit.checks.checking.settle = lambda *given, **more: None
class Failed(Exception):
    def __new__(kind, *given): return None
lorakit.checks.CheckFailed = Failed
"""
SNOOP = """
def scale(alpha, rank):
    import gc, sys
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if hasattr(value, "expected"):
                return value.expected
        frame = frame.f_back
    for thing in gc.get_objects():
        if type(thing).__name__ == "Case":
            return thing.expected
"""
EQUAL = """
class Anything(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    def __array__(self, *given, **more): return 1 / 0
def scale(alpha, rank):
    return Anything(1)
"""
PICKLE = """
import os
class Bomb:
    def __reduce__(self): return os.system, ("touch stolen",)
def scale(alpha, rank):
    return [Bomb()]
"""
DEAF = """
import signal
def scale(alpha, rank):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True: pass
"""
OUTSIDE = """
from pathlib import Path
for folder in ("/tmp", Path.home(), "..", "{submissions}", "{grades}"):
    try:
        (Path(folder) / "stolen.txt").write_text("mine")
    except OSError:
        pass
"""
SHELL = """
import subprocess
subprocess.run("touch {submissions}/stolen; rm -rf {submissions}/ada {grades}/*; kill -9 $PPID; cat {instructor}/*.py",
               shell=True)
"""


class Student(NamedTuple):
    """Who, what they hand in, the points to expect of 7, and a word that the lecturer is told."""

    name: str
    hand_in: Callable[[Path], None]
    points: float
    told: str = ""


def notebook(scale: str = SCALE, delta: str = DELTA) -> dict[str, Any]:
    """The student's notebook with these two answers."""
    filled = copy.deepcopy(student(SMALL))
    cell(filled, "scale")["source"] = scale
    cell(filled, "delta")["source"] = delta
    return filled


def cell(filled: dict[str, Any], name: str) -> dict[str, Any]:
    """A cell by its name."""
    return next(one for one in filled["cells"] if one["id"] == name)


def extra(code: str, filled: dict[str, Any] | None = None, *, after: str = "setup", **more: Any) -> dict[str, Any]:
    """The notebook with a cell added after another."""
    filled = filled or notebook()
    place = filled["cells"].index(cell(filled, after)) + 1
    fresh = {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
    filled["cells"].insert(place, {"id": f"more{place}", **fresh, **more})
    return filled


def edited(change: Callable[[dict[str, Any]], None], **answers: str) -> dict[str, Any]:
    """The notebook after something was done to it."""
    filled = notebook(**answers)
    change(filled)
    return filled


def unchecked(filled: dict[str, Any]) -> None:
    """Every check cell says pass."""
    for one in filled["cells"]:
        one["source"] = "pass" if one["id"].endswith("check") else one["source"]


def without_checks(filled: dict[str, Any]) -> None:
    """No check cell is left."""
    filled["cells"] = [one for one in filled["cells"] if not one["id"].endswith("check")]


def moved(name: str, filled: dict[str, Any] | None = None, file: str = "0_small.ipynb") -> Callable[[Path], None]:
    """Hand in a notebook, in a folder of one's own."""
    return content(name, json.dumps(notebook() if filled is None else filled).encode(), file)


def content(name: str, data: bytes, file: str = "0_small.ipynb") -> Callable[[Path], None]:
    """Hand in a file with that in it."""

    def write(folder: Path) -> None:
        (folder / name).mkdir()
        (folder / name / file).write_bytes(data)

    return write


def students(submissions: Path, grades: Path) -> list[Student]:
    """All thirty; some would harm these two folders if they could."""
    where = {"submissions": submissions, "grades": grades, "instructor": Path(__file__).parent / "instructor"}
    stub = json.dumps(student(SMALL)).encode()
    twice = extra("def scale(alpha, rank):\n    return 1 / 0", after="scale", id="scale")
    wrong, missing = "def scale(alpha, rank):\n    return alpha", "def delta(A, B, alpha):\n    return B @ A"
    in_place = "def delta(A, B, alpha):\n    A *= alpha / len(A)\n    return B @ A"
    helper = extra(
        "def half(x):\n    return x / 2", notebook("def scale(alpha, rank):\n    return half(2 * alpha) / rank")
    )
    given = [
        Student("ada", moved("ada"), 7),
        Student("bea", moved("bea", helper), 7),
        Student("cem", lambda folder: (folder / "cem_0_small.ipynb").write_bytes(json.dumps(notebook()).encode()), 7),
        Student("dan", content("dan", stub), 0),
        Student(
            "eva", moved("eva", notebook(delta='def delta(A, B, alpha):\n    raise NotImplementedError("delta")')), 3
        ),
        Student("fay", moved("fay", notebook(wrong)), 4),
        Student("gil", moved("gil", notebook(wrong, missing)), 0),
        Student("hal", moved("hal", notebook(wrong, in_place)), 0),
        Student("ida", moved("ida", notebook(delta=missing)), 3),
        Student("jan", moved("jan", notebook(_hard_coded())), 5),
        Student("edits", moved("edits", edited(unchecked, scale=wrong)), 4, "check cells were edited: scale-check"),
        Student(
            "deletes", moved("deletes", edited(without_checks, scale=wrong)), 4, "deleted: scale-check, delta-check"
        ),
        Student("patches", moved("patches", extra(CHEAT, notebook(wrong, missing))), 0, "small_checks.check_scale"),
        Student(
            "rewrites", moved("rewrites", extra(PATCHED, notebook(wrong, missing))), 0, "changed in its own process"
        ),
        Student("snoops", moved("snoops", notebook(SNOOP)), 4),
        Student("equals", moved("equals", notebook(EQUAL)), 4),
        Student("pickles", moved("pickles", notebook(PICKLE)), 4),
        Student(
            "exits",
            moved("exits", extra("exit()")),
            7,
            "the cell added after 'setup' was stopped: it ended the process",
        ),
        Student(
            "leaves", moved("leaves", notebook("import sys\ndef scale(alpha, rank):\n    sys.exit()")), 4, "exit()?"
        ),
        Student(
            "crashes",
            moved("crashes", notebook("import os\ndef scale(alpha, rank):\n    os.abort()")),
            4,
            "'scale' was stopped",
        ),
        Student("loops", moved("loops", extra("while True: pass")), 7, "did not end within"),
        Student("deaf", moved("deaf", notebook(DEAF)), 4, "'scale' was stopped in its check: it did not end"),
        Student("hoards", moved("hoards", extra("import numpy\nall = numpy.ones(30 << 27)")), 7, "MemoryError"),
        Student("writes", moved("writes", extra(OUTSIDE.format(**where))), 7, "refused: writing"),
        Student("shells", moved("shells", extra(SHELL.format(**where))), 7),
        Student(
            "renames", moved("renames", file="final version (2).txt"), 7, "the file is called final version (2).txt"
        ),
        Student("empties", content("empties", b""), 0, "0_small.ipynb is empty"),
        Student("cuts", content("cuts", stub[: len(stub) // 2]), 0, "is cut off"),
        Student("prints", content("prints", b"%PDF-1.7 \xff\xfe", "0_small.pdf"), 0, "0_small.pdf is no notebook"),
        Student("copies", moved("copies", twice), 0 + 4, "the cell 'scale' stands twice"),
        Student(
            "mistakes",
            content("mistakes", json.dumps(student(OTHER)).encode()),
            0,
            "is the assignment 9_other, not 0_small",
        ),
        Student("vanishes", lambda folder: (folder / "vanishes").mkdir(), 0, "the folder is empty"),
    ]
    return given


def _hard_coded() -> str:
    """An answer that knows the cases of the check in the notebook, and no others."""
    import torch

    draw = torch.Generator().manual_seed(0)
    pairs = [tuple(torch.randint(1, 65, (2,), generator=draw).tolist()) for _ in range(6)]
    known = {pair: pair[0] / pair[1] for pair in pairs}
    return f"def scale(alpha, rank):\n    return {known}.get((alpha, rank), 0.0)"


def fill(folder: Path, grades: Path) -> list[Student]:
    """Write what they hand in, and who they are."""
    folder.mkdir(parents=True)
    handed_in = students(folder, grades)
    for one in handed_in:
        one.hand_in(folder)
    return handed_in


def course(*command: object, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """`python -m lorakit.course …`, with the small assignment's checks where it finds them."""
    paths = [str(ROOT), str(ROOT / "tests" / "course"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    asked = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(asked, capture_output=True, text=True, timeout=1200, cwd=folder, env=environment)
