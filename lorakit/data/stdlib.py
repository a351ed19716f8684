"""def f(x): → what f does. The standard library documents itself, wherever Python is installed.

A row is a function's signature and the first paragraph of its docstring. The sources are parsed and never
imported. The rows are those of the running Python: another minor version has a few per cent other ones.
"""

import ast
import platform
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lorakit.data.splits import divide, normalised, side
from lorakit.data.task import Completion

LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}


def docstrings() -> Completion:
    """Signature → first paragraph, one row a paragraph, from the standard library of the running Python."""
    placed = ((row, side(normalised(row[1]))) for row in _rows())
    source = f"the standard library of Python {platform.python_version()}, parsed and not imported"
    return Completion("docstrings", *divide(placed), (), "PSF-2.0", "docs.python.org", source)


@cache
def _rows():
    """(signature, paragraph) in the order of the files, the first of those that share a paragraph or a signature."""
    rows, seen = [], set()
    for path in _sources(Path(sysconfig.get_path("stdlib"))):
        for signature, paragraph in documented(path.read_text(encoding="utf-8", errors="replace")):
            keys = {normalised(signature), normalised(paragraph)}
            if not keys & seen:
                seen |= keys
                rows.append((signature, paragraph))
    return rows


def _sources(library):
    tops = (top for top in sorted(library.iterdir()) if top.name not in LEFT_OUT)  # site-packages is not even entered
    files = (path for top in tops for path in ([top] if top.suffix == ".py" else sorted(top.rglob("*.py"))))
    return [path for path in files if not LEFT_OUT & set(path.relative_to(library).parts)]


def documented(source: str) -> Iterator[tuple[str, str]]:
    """(signature, first paragraph on one line) of each function and method in Python source that has both."""
    for function in _functions(ast.parse(source)):
        paragraph = " ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split())
        if paragraph:
            yield f"def {function.name}({ast.unparse(function.args)}):\n", paragraph


def _functions(scope):
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node)
