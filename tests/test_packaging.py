"""What users install, what a hosted notebook brings, and what CI pins agree."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
HOSTED = {  # a Colab runtime of August 2026
    "torch": "2.11",
    "transformers": "5.15",
    "numpy": "2.1.3",
    "plotly": "5.24.1",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
    "scipy": "1.16.3",
}


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_requirements_are_the_package_s_and_the_lab_s():
    assert lines("requirements.txt") == project()["dependencies"] + project()["optional-dependencies"]["lab"]


def test_a_hosted_notebook_satisfies_the_floors():
    floors = {r.name: r.specifier for r in map(Requirement, lines("requirements.txt"))}
    assert [name for name, version in HOSTED.items() if not floors[name].contains(version)] == []


def test_the_constraints_pin_everything_that_is_asked_for_within_its_floor():
    pins = dict(line.split("==") for line in lines("constraints.txt"))
    extras = [r for extra in project()["optional-dependencies"].values() for r in extra]
    wanted = list(map(Requirement, lines("requirements.txt") + extras))
    assert [r.name for r in wanted if r.name not in pins or not r.specifier.contains(pins[r.name])] == []


def test_the_makefile_reads_torch_from_the_first_pin():
    assert re.fullmatch(r"torch==[\d.]+", lines("constraints.txt")[0])
