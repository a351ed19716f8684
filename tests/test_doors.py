"""The plan of the house, held: who may import whom, what a bare import loads, and how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lorakit

HOME = Path(lorakit.__file__).parent
FILES = sorted(HOME.rglob("*.py"))

ONE_ROOM = dict.fromkeys(("geometry", "adapter", "lora", "layers"), "layers") | dict.fromkeys(
    ("training", "stepping", "evaluation", "history", "resume"), "training"
)
OPEN_TO = {  # a room and the rooms whose doors are open to it; what those may enter, it may too
    "delta": set(),
    "modes": set(),
    "assets": set(),
    "export": set(),
    "about": set(),
    "layers": {"delta"},
    "methods": {"layers"},
    "bank": {"checkpoints", "merging"},  # a task comes from a file as a load reads it, and is merged as merge does
    "checkpoints": {"methods", "merging"},  # a file names its method, and a merged model is no adapter to save
    "accounting": {"methods", "modes", "architectures"},  # it counts every method on every model of the paper
    "merging": {"layers", "modes"},
    "training": {"modes"},
    "sweeps": {"training"},
    "models": {"assets", "architectures", "smollm2", "modes"},
    "architectures": set(),
    "smollm2": {"assets"},
    "data": {"assets", "delta"},  # a planted task knows its ΔW
    "surface": {"data", "layers"},  # every run of LoRA on a planted task
    "analysis": {"delta", "assets"},  # assets know where a cache is; analysis cannot know where a ΔW came from
    "plots": {"analysis"},
    "generation": {"layers", "modes"},
    "widgets": {"plots", "layers", "modes", "surface", "export", "accounting", "generation"},  # live models and pages
    "inspecting": {"checkpoints", "plots", "models"},  # a report on somebody's file
    "course": {"plots", "checks"},  # sources are text, and a student's function is a name: no room that it grades
    "checks": set(),
    "probing": {"analysis", "layers", "training"},  # the callables that analysis asks for: they hold a model
}
ANYWHERE = {"lorakit", "__main__", "checks"}  # the front door, the command line, and what checks everything


def room(module: str) -> str:
    name = module.split(".")[1] if "." in module else module
    return ONE_ROOM.get(name, name)


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            inside = node.module == "lorakit"  # from lorakit import a room
            found |= {f"lorakit.{alias.name}" for alias in node.names} if inside else {node.module or "."}
    return found


def reach(name: str) -> set[str]:
    return {name}.union(*(reach(behind) for behind in OPEN_TO[name]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_doors(path):
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    here = room(".".join(part for part in parts if part != "__init__"))
    if here in ANYWHERE:
        return
    assert here in OPEN_TO, f"{path.name} is a new room: give it a place in OPEN_TO, with the reason in the commit"
    entered = {room(name) for name in imported(path) if name.startswith(("lorakit.", "."))}
    assert entered <= reach(here), f"{here} may enter {sorted(reach(here))}, and {path.name} enters {sorted(entered)}"


def test_a_closed_door_is_noticed():
    assert "layers" not in reach("analysis")
    assert "layers" not in reach("training")
    assert room("lorakit.lora") == "layers"
    assert imported(HOME / "lora.py") >= {"torch", "lorakit.adapter", "lorakit.delta"}


def test_importing_loads_nothing_heavy():
    heavy = ["plotly", "ipywidgets", "anywidget", "transformers", "peft", "accelerate", "IPython", "matplotlib"]
    code = f"import sys, lorakit; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_front_door_is_small():
    assert len(lorakit.__all__) <= 10
    assert all(hasattr(lorakit, name) for name in lorakit.__all__)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_files_stay_readable(path):
    text = path.read_text()
    tree = ast.parse(text)
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
    undocumented = [node.name for node in public if not ast.get_docstring(node)]
    assert len(text.splitlines()) <= 220, f"{path.name} has {len(text.splitlines())} lines: two stories in one file?"
    assert ast.get_docstring(tree) or not tree.body, f"{path.name} does not open with what it is about"
    assert not undocumented, f"without a docstring: {undocumented}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_functions_stay_short(path):
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    long = {node.name: lines for node in nodes if (lines := _code_lines(node)) > 40}
    assert not long, f"more than 40 lines of code: {long}"


def _code_lines(function: ast.FunctionDef) -> int:
    """Lines of the body, its docstring aside."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0
