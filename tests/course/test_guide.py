"""The lecturer's guide: its minutes are those of the exercises and lessons it names, and its sums add up."""

import json
import re
from pathlib import Path

import pytest

from lorakit.assets import manifest, named
from lorakit.course import source

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
GUIDE = (NOTEBOOKS / "assignments" / "README.md").read_text(encoding="utf-8")
WORDS = {"twenty": 20, "half an hour": 30, "thirty": 30, "forty": 40}
SOURCES = [source.read(path) for path in sorted((NOTEBOOKS / "assignments" / "instructor").glob("*.py"))]


def table(heading):
    """The rows below a heading, each a list of cells."""
    rows = re.split(rf"^#+ {heading}\n", GUIDE, flags=re.M)[1].split("\n#")[0].splitlines()
    rows = [row for row in rows if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def exercises(assignment):
    """{number: minutes} as the assignment itself says them."""
    texts = (cell.text for cell in SOURCES[assignment - 1].cells)
    found = (re.search(r"^## (\d+) · .*?\*Difficulty .*? (\d+) minutes", text, re.S | re.M) for text in texts)
    return {int(one[1]): int(one[2]) for one in found if one}


def asked(cell):
    """The minutes of a selection such as "3: 3–9; 4: 1–4"."""
    minutes = 0
    for part in cell.split(";"):
        assignment, _, numbers = part.partition(":")
        for some in numbers.split(","):
            first, _, last = some.strip().partition("–")
            own = exercises(int(assignment))
            minutes += sum(own[number] for number in range(int(first), int(last or first) + 1))
    return minutes


def lesson(path):
    """How long a lesson says it takes."""
    cells = json.loads((NOTEBOOKS / "assignments" / path).resolve().read_text(encoding="utf-8"))["cells"]
    said = "".join(cells[0]["source"])
    return WORDS[re.search(rf"\bin ({'|'.join(WORDS)})\b", said, re.I)[1].lower()]


def shown(cell):
    return sum(lesson(path) for path in re.findall(r"\]\(([^)]+)\)", cell))


@pytest.mark.parametrize("course", ["Four weeks", "One day", "One lecture"])
def test_a_course_takes_the_minutes_that_it_says(course):
    rows = table(course)
    total = next((row for row in rows if row[0] == "all"), None)
    rows = [row for row in rows if row[0] != "all"]
    for _, lessons, watching, selection, working in rows:
        assert shown(lessons) == int(watching), lessons
        assert asked(selection) == int(working), selection
    if total is not None:
        assert [sum(int(row[at]) for row in rows) for at in (2, 4)] == [int(total[2]), int(total[4])]


def test_the_table_of_assignments_is_what_they_are():
    rows = table("A course on LoRA")
    assert len(rows) == len(SOURCES)
    for number, (row, own) in enumerate(zip(rows, SOURCES), 1):
        by_checks = sum(cell.points for cell in own.of("check", "hidden"))
        by_person = sum(cell.points for cell in own.of("manual"))
        assert f"({own.name}.ipynb)" in row[0]
        assert [int(cell) for cell in row[1:3]] == [len(exercises(number)), sum(exercises(number).values())]
        assert [float(cell) for cell in row[3:5]] == [by_checks, by_person]
    total, by_person = (sum(float(row[at]) for row in rows) for at in (3, 4))
    assert f"{by_person:.0f} of the {total + by_person:.0f} points are for words" in GUIDE
    assert f"with {sum(int(row[1]) for row in rows)} exercises" in GUIDE


def test_the_lecture_and_the_day_fit():
    (lecture,) = table("One lecture")
    assert int(lecture[2]) + int(lecture[4]) <= 90 - 20
    day = [row for row in table("One day") if row[0] != "all"]
    assert sum(int(row[2]) + int(row[4]) for row in day) + 60 + 45 <= 8 * 60


def test_what_the_guide_says_of_the_repository_is_so():
    assert "derive.check_scale(scale, seed=4711)" in "\n".join(cell.text for cell in SOURCES[0].of("hidden"))
    assert any('value = "bert.encoder.layer.3' in cell.text for cell in SOURCES[2].cells)
    targets = set(re.findall(r"^(\S+):", (NOTEBOOKS.parent / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z][a-z-]*)", GUIDE)) <= targets
    for path in re.findall(r"`((?:lorakit|tests|instructor)/[\w./]+)`", GUIDE):
        assert (NOTEBOOKS.parent / path).exists() or (NOTEBOOKS / "assignments" / path).exists()


def test_the_megabytes_that_are_fetched_are_those_of_the_manifest():
    size = {name: named(name).bytes / 1e6 for name in manifest()}
    assert round(size["minilm"] + size["corpora"]) == 86
    assert round(size["minilm-sre"]) == 84
    assert abs(sum(size.values()) - 300) < 2
    assert "86 MB, and 84 more" in GUIDE
    assert "300 MB for everything" in GUIDE
