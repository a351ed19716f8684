"""What came in: whose it is, which assignment, and the notebook to grade, put together from two.

    the assignment's own cells (set-up, checks, hidden checks, texts)      as the source has them, whatever came
    the student's answers, and the cells that they added                   as they came, where they came

A folder of submissions holds one folder a student, or one file a student. Whatever is wrong with a file is said, and
never raised: the others are graded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorakit.course.outputs import ANSWER_HERE
from lorakit.course.source import Cell, Source

LARGEST = 20 << 20  # bytes of a notebook that is read


@dataclass(frozen=True, eq=False)
class Submission:
    """A student's file as it came: its cells where it is a notebook, `problem` where nothing can be graded."""

    student: str
    path: Path
    cells: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    remarks: tuple[str, ...] = ()
    content: bytes = b""

    def __repr__(self) -> str:
        return f"Submission({self.student}: {self.path.name}, {self.problem or f'{len(self.cells)} cells'})"


@dataclass(frozen=True)
class Merged:
    """The cells to grade, in order, each the assignment's own or an extra one, and what was noticed."""

    cells: tuple[Cell, ...]
    remarks: tuple[str, ...] = field(default=())


def collect(folder: Path, sources: Sequence[Source]) -> list[Submission]:
    """Every submission in a folder, by student. ValueError where there is no folder, or nothing in it."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of submissions: one folder, or one file, a student")
    found = [_of(entry, sources) for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "_"))]
    if not found:
        raise ValueError(f"nothing was submitted in {folder}")
    return _apart(found)


def which(submission: Submission, sources: Sequence[Source]) -> Source | None:
    """The assignment whose cells these are; None where they are of none."""
    ids = {name(cell) for cell in submission.cells}
    scores = {source.name: len(ids & {cell.id for cell in source.cells if cell.kind}) for source in sources}
    best = max(sources, key=lambda source: scores[source.name])
    return best if scores[best.name] else None


def merge(source: Source, cells: Sequence[dict[str, Any]]) -> Merged:
    """The source's cells with a student's answers and extra cells in them."""
    known, theirs, remarks, anchor = {cell.id: cell for cell in source.cells}, {}, [], ""
    extras: dict[str, list[dict[str, Any]]] = {"": []}
    for cell in cells:
        own = known.get(name(cell))
        if own is not None and own.id not in theirs and _alike(own, cell):
            theirs[own.id] = text(cell)
            anchor = own.id
        else:
            if own is not None:
                remarks.append(
                    f"the cell {own.id!r} stands twice"
                    if own.id in theirs
                    else f"the cell {own.id!r} is of another type"
                )
            extras.setdefault(anchor, []).append(cell)
    merged = _extra(extras[""], "top")
    for own in source.cells:
        merged.append(_answered(own, theirs.get(own.id)))
        if not (own.kind or own.markdown) and theirs.get(own.id, own.text) != own.text:
            extras[own.id] = [{"cell_type": "code", "source": theirs[own.id]}, *extras.get(own.id, [])]
        merged += _extra(extras.get(own.id, []), own.id)
    return Merged(tuple(merged), (*remarks, *_differences(source, theirs)))


def _differences(source: Source, theirs: dict[str, str]) -> list[str]:
    checks = [cell for cell in source.of("check")]
    edited = [cell.id for cell in checks if theirs.get(cell.id, cell.text).strip() != cell.text.strip()]
    lost = [cell.id for cell in checks if cell.id not in theirs]
    unanswered = [cell.id for cell in source.of("answer", "manual") if cell.id not in theirs]
    said = {"check cells were edited": edited, "check cells were deleted": lost, "answer cells are missing": unanswered}
    restored = {"check cells were edited": "; as handed out, they were run"}
    return [f"{what}: {', '.join(ids)}{restored.get(what, '')}" for what, ids in said.items() if ids]


def _answered(own: Cell, theirs: str | None) -> Cell:
    if own.kind not in ("answer", "manual"):
        return own
    stub = own.stubbed(ANSWER_HERE if own.markdown else f'raise NotImplementedError("{own.exercise}")')
    return Cell(own.id, stub if theirs is None else theirs, own.markdown, own.kind, own.exercise, own.points)


def _extra(cells: list[dict[str, Any]], after: str) -> list[Cell]:
    texts = [(text(cell), cell.get("cell_type") == "markdown") for cell in cells if cell.get("cell_type") != "raw"]
    return [
        Cell(f"{after}-extra-{number}", said, markdown) for number, (said, markdown) in enumerate(texts) if said.strip()
    ]


def name(cell: dict[str, Any]) -> str:
    """What a cell was called when it was handed out: nbgrader's name outlives an editor, the notebook's own may not."""
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    named = marks.get("grade_id") if isinstance(marks, dict) else None
    found = named or cell.get("id") or (metadata.get("id") if isinstance(metadata, dict) else "")
    return found if isinstance(found, str) else ""


def text(cell: dict[str, Any]) -> str:
    """The text of a cell, however the file holds it; half a character that UTF-8 does not have becomes a ?."""
    source = cell.get("source", "")
    whole = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return whole.encode("utf-8", "replace").decode("utf-8")


def _alike(own: Cell, cell: dict[str, Any]) -> bool:
    return (cell.get("cell_type") == "markdown") == own.markdown


def _of(entry: Path, sources: Sequence[Source]) -> Submission:
    """The submission in a student's folder, or in a file."""
    if not entry.is_dir() or entry.is_symlink():
        return _read(
            entry, re.sub(rf"[ _-]*({'|'.join(source.name for source in sources)})$", "", entry.stem) or entry.stem
        )
    files = [path for path in sorted(entry.rglob("*")) if _is_file(path) and not _hidden(path, entry)]
    read = [_read(path, entry.name) for path in files]
    if not read:
        return Submission(entry.name, entry, problem="the folder is empty")
    best = max(read, key=lambda one: (bool(one.cells), which(one, sources) is not None, one.path.stat().st_mtime))
    others = [one.path.name for one in read if one is not best and one.cells]
    said = (f"several notebooks; {best.path.name} was graded, and not {', '.join(others)}",) if others else ()
    return Submission(best.student, best.path, best.cells, best.problem, (*best.remarks, *said), best.content)


def _is_file(path: Path) -> bool:
    """A file of one's own: a link could lead to somebody else's."""
    return path.is_file() and not path.is_symlink()


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(below).parts)


def _read(path: Path, student: str) -> Submission:
    """A file as a submission; what is wrong with it is its problem."""
    try:
        if not _is_file(path):
            return Submission(student, path, problem=f"{path.name} is no file: a link, or something else to read from")
        if path.stat().st_size > LARGEST:
            return Submission(
                student, path, problem=f"{path.name} has more than {LARGEST >> 20} MB: are there large outputs in it?"
            )
        content = path.read_bytes()
    except OSError as error:
        return Submission(student, path, problem=f"{path.name} cannot be read: {error.strerror}")
    cells, problem = _cells(content)
    if problem:
        return Submission(student, path, problem=f"{path.name} {problem}", content=content)
    remarks = () if path.suffix == ".ipynb" else (f"the file is called {path.name}",)
    return Submission(student, path, cells, remarks=remarks, content=content)


def _cells(content: bytes) -> tuple[tuple[dict[str, Any], ...], str]:
    """The cells of a notebook file, and what is wrong with it."""
    if not content.strip():
        return (), "is empty"
    try:
        read = json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        cut = content.lstrip().startswith(b"{")
        return (), f"is cut off, or was edited by hand: {error}" if cut else "is no notebook"
    except (UnicodeDecodeError, RecursionError):
        return (), "is no notebook"
    cells = read.get("cells") if isinstance(read, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        return (), "is no notebook of format 4: open it in JupyterLab and save it again"
    return tuple(cells), "" if cells else "has no cells"


def _apart(found: list[Submission]) -> list[Submission]:
    """Names that are safe as file names, each once."""
    taken: dict[str, int] = {}
    apart = []
    for one in found:
        safe = re.sub(r"[^\w.@+-]+", "_", one.student).strip("._") or "nameless"
        taken[safe] = taken.get(safe, 0) + 1
        called = safe if taken[safe] == 1 else f"{safe}_{taken[safe]}"
        apart.append(Submission(called, one.path, one.cells, one.problem, one.remarks, one.content))
    return apart
