"""One source an assignment: a percent file whose cell heads say what each cell is for.

    # %% id="scale" kind="answer" exercise="scale"
    # %% id="scale-check" kind="check" exercise="scale" points="1"

answer   the student writes it; what stands between `# BEGIN SOLUTION` and `# END SOLUTION` is the solution
check    one or two lines that call `lorakit.checks`; the student sees and runs it
hidden   the same check with other seeds; the student's copy has none of it
manual   a text that a person marks; its solution stands between the same two comments, `<!-- … -->` in Markdown

Any other cell is everybody's. Jupytext reads and writes the same file.
"""

from __future__ import annotations

import ast
import builtins
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

KINDS = ("answer", "check", "hidden", "manual")
HEAD = re.compile(r"# %%(?P<markdown> \[markdown\])?(?P<keys>(?: [a-z]+=\"[^\"]*\")*) *")
BEGIN = re.compile(r"^(?P<indent> *)(?:# BEGIN SOLUTION|<!-- BEGIN SOLUTION -->) *$")
END = re.compile(r"^ *(?:# END SOLUTION|<!-- END SOLUTION -->) *$")


@dataclass(frozen=True)
class Cell:
    """One cell: its stable name, what it is for ("" is everybody's), whose exercise it is, and its text."""

    id: str
    text: str
    markdown: bool = False
    kind: str = ""
    exercise: str = ""
    points: float = 0.0

    def stubbed(self, stub: str) -> str:
        """The text with `stub` in the place of each solution, indented as the solution was."""
        return "\n".join(line if isinstance(line, str) else line.indent + stub for line in _folded(self.text))

    def solved(self) -> str:
        """The text with its solution, without the comments around it."""
        return "\n".join(line if isinstance(line, str) else "\n".join(line.lines) for line in _folded(self.text))


@dataclass(frozen=True)
class Source:
    """An assignment: its name, its cells in their order, and the folder of its pictures."""

    name: str
    cells: tuple[Cell, ...]
    pictures: Path | None = None

    def of(self, *kinds: str) -> list[Cell]:
        """The cells of these kinds."""
        return [cell for cell in self.cells if cell.kind in kinds]

    @property
    def exercises(self) -> list[str]:
        """Exercises in the order in which they are met."""
        return list(dict.fromkeys(cell.exercise for cell in self.cells if cell.exercise))

    def points(self, exercise: str, *kinds: str) -> float:
        """What an exercise is worth, all of it or its cells of these kinds."""
        return sum(cell.points for cell in self.of(*(kinds or KINDS)) if cell.exercise == exercise)

    @property
    def title(self) -> str:
        """The assignment's first heading."""
        return next((_heading(cell.text) for cell in self.cells if cell.markdown and _heading(cell.text)), self.name)

    def heading(self, exercise: str) -> str:
        """The last heading before an exercise's first cell, or in it; what follows two spaces or a ● is left out."""
        first = next(number for number, cell in enumerate(self.cells) if cell.exercise == exercise)
        found = [_heading(cell.text) for cell in self.cells[: first + 1] if cell.markdown and _heading(cell.text)]
        return found[-1] if found else exercise

    @property
    def answers(self) -> frozenset[str]:
        """The names that the answers define: what a check is given comes from the student, and nothing else does."""
        trees = (ast.parse(unmagic(cell.solved())) for cell in self.of("answer"))
        return frozenset(name for tree in trees for node in tree.body for name in _bound(node))

    def check(self, cell: Cell) -> tuple[list[str], list[str]]:
        """A check as it can run anywhere: the student's names in it, and its lines after the imports that it needs.

        ValueError where it names what is neither the student's nor imported by the assignment's own cells.
        """
        tree = ast.parse(cell.text)
        stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - stored - vars(builtins).keys()
        own = [node for other in self.of("") if not other.markdown for node in ast.parse(unmagic(other.text)).body]
        imports = [node for node in own if isinstance(node, ast.Import | ast.ImportFrom)]
        bound = {alias.asname or alias.name.partition(".")[0]: node for node in imports for alias in node.names}
        if strange := used - self.answers - bound.keys():
            raise ValueError(
                f"{self.name}.py: {cell.id} names {sorted(strange)}, which no answer defines and no cell imports"
            )
        needed = [ast.unparse(node) for node in imports if node in [bound[name] for name in used - self.answers]]
        return sorted(used & self.answers), [*needed, cell.text]

    def __repr__(self) -> str:
        total = sum(cell.points for cell in self.cells)
        return f"Source({self.name}: {len(self.exercises)} exercises, {total:g} points)"


def read(path: Path | str) -> Source:
    """The assignment in a percent file; its name is the file's, its pictures are in images/ beside it.

    ValueError, with file and line, where it is not one.
    """
    path = Path(path)
    return replace(parse(path.read_text(encoding="utf-8"), path.stem), pictures=path.parent / "images")


def parse(text: str, name: str) -> Source:
    """The assignment in the text of a percent file. ValueError, with name and line, where it is not one."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")]
    cells: list[Cell] = []
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        try:
            cell = _cell(lines[start], lines[start + 1 : end])
            _fits(cell, cells)
        except ValueError as error:
            raise ValueError(f"{name}.py, line {start + 1}: {error}") from None
        cells.append(cell)
    for exercise in Source(name, tuple(cells)).exercises:
        if not any(cell.points for cell in cells if cell.exercise == exercise):
            raise ValueError(
                f"{name}.py: nothing gives points for exercise {exercise!r}: it needs a check or a manual cell"
            )
    return Source(name, tuple(cells))


def _cell(head: str, lines: list[str]) -> Cell:
    found = HEAD.fullmatch(head)
    if not found:
        raise ValueError(f'a cell\'s head is # %% [markdown] id="…" kind="…" exercise="…" points="…", not {head!r}')
    keys = dict(re.findall(r"([a-z]+)=\"([^\"]*)\"", found["keys"]))
    if unknown := keys.keys() - {"id", "kind", "exercise", "points"}:
        raise ValueError(f"a cell has id, kind, exercise and points, not {sorted(unknown)}")
    markdown = bool(found["markdown"])
    body = [re.sub(r"^# ?", "", line) if markdown else re.sub(r"^( *)# (?=%\w)", r"\1", line) for line in lines]
    try:
        points = float(keys.get("points", 0))
    except ValueError:
        raise ValueError(f"points are a number, not {keys['points']!r}") from None
    text = "\n".join(body).strip("\n")
    return Cell(keys.get("id", ""), text, markdown, keys.get("kind", ""), keys.get("exercise", ""), points)


def _fits(cell: Cell, before: list[Cell]) -> None:
    """ValueError where a cell is incomplete, or does not fit those before it."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", cell.id):
        raise ValueError(f"an id is of small letters, digits and hyphens, not {cell.id!r}")
    if cell.id in {other.id for other in before}:
        raise ValueError(f"the id {cell.id!r} stands twice")
    if cell.kind and cell.kind not in KINDS:
        raise ValueError(f"a kind is one of {', '.join(KINDS)}, not {cell.kind!r}")
    if bool(cell.kind) != bool(cell.exercise):
        raise ValueError(f"{cell.id}: a kind and an exercise go together")
    if bool(cell.points) != (cell.kind in ("check", "hidden", "manual")) or cell.points < 0:
        raise ValueError(f"{cell.id}: check, hidden and manual cells have points above 0, and no other cell has any")
    solutions = sum(not isinstance(line, str) for line in _folded(cell.text))
    if bool(solutions) != (cell.kind in ("answer", "manual")):
        raise ValueError(f"{cell.id}: answer and manual cells hold a solution, and no other cell does")
    answered = {other.exercise for other in before if other.kind == "answer"}
    if cell.kind in ("check", "hidden") and cell.exercise not in answered:
        raise ValueError(f"{cell.id}: no answer cell of exercise {cell.exercise!r} stands before its check")


class _Solution(NamedTuple):
    indent: str
    lines: list[str]


def _folded(text: str) -> list[str | _Solution]:
    """The lines of a cell, with each solution folded into one entry. ValueError where its comments do not pair."""
    folded: list[str | _Solution] = []
    inside: _Solution | None = None
    for line in text.split("\n"):
        begins, ends = BEGIN.match(line), END.match(line)
        if (begins and inside) or (ends and not inside):
            raise ValueError("BEGIN SOLUTION and END SOLUTION do not take turns")
        if begins:
            inside = _Solution(begins["indent"], [])
            folded.append(inside)
        elif ends:
            inside = None
        elif inside:
            inside.lines.append(line)
        else:
            folded.append(line)
    if inside:
        raise ValueError("BEGIN SOLUTION has no END SOLUTION")
    return folded


def unmagic(text: str) -> str:
    """A cell as plain Python: a line of IPython's own, % or !, becomes `pass`."""
    return re.sub(r"^( *)[%!].*$", r"\1pass", text, flags=re.MULTILINE)


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a cell defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return [target.id for target in targets]


def _heading(text: str) -> str:
    found = re.search(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    return re.split(r" *(?:●|  )", found[1].strip())[0].rstrip(" ·") if found else ""
