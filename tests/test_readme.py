"""The README's example runs as printed, its map is of files that exist, its commands are targets."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def example() -> str:
    return re.search(r"```python\n(.*?)```", README, re.S)[1]


@pytest.mark.model
def test_the_example_runs(capsys):
    source = example().replace("steps=200", "steps=2").replace('batches("test"', 'batches("validation"')
    names: dict = {}
    exec(source, names)
    assert "accuracy" in capsys.readouterr().out
    assert len(names["certificate"].names) == 12


def test_the_example_is_short():
    assert len([line for line in example().splitlines() if line and "import" not in line]) <= 12


def test_the_map_is_of_what_is_there():
    rows = [row for row in README.split("## The map")[1].split("\n\n")[1].splitlines() if row.startswith("| `")]
    named = [path for row in rows for path in re.findall(r"`([^`]+)`", row.split("|")[1])]
    places = [ROOT, ROOT / "lorakit"]
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


def test_every_command_is_a_target_of_the_makefile():
    targets = set(re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", README, re.M)) <= targets


def test_pictures_exist():
    assert [path for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README) if not (ROOT / path).exists()] == []
