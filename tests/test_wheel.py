"""A wheel is all that a machine without this tree needs: the package, its tables and its adapters."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lorakit.assets import manifest
from lorakit.data.results import table

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
AWAY = """
import json
import lorakit
from lorakit.assets import manifest
from lorakit.checkpoints import read
from lorakit.data.results import adapter, table
deltas = read(adapter(rank=8, init=0, order=1))
print(json.dumps([lorakit.__file__, len(manifest()), len(table("rank")), len(deltas), len(list(table("targets")))]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this tree, built in a copy of it, so that nothing of an earlier build slips in."""
    room = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "notebooks")
    shutil.copytree(ROOT, room / "source", ignore=left_out)
    command = [*PIP, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", room, room / "source"]
    subprocess.run(command, check=True)
    return next(room.glob("lorakit-*.whl"))


def test_a_wheel_brings_its_tables_and_adapters(wheel, tmp_path):
    subprocess.run([*PIP, "install", "--no-deps", "--target", tmp_path / "clean", wheel], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "clean")}
    said = subprocess.check_output([sys.executable, "-c", AWAY], env=environment, cwd=tmp_path, text=True)
    place, *counts = json.loads(said)
    assert Path(place).is_relative_to(tmp_path), "the installed one, not this tree's"
    assert counts == [len(manifest()), len(table("rank")), 12, len(table("targets"))]


def test_a_wheel_brings_all_of_data_and_nothing_else_s(wheel):
    with zipfile.ZipFile(wheel) as opened:
        found = {name for name in opened.namelist() if "/shipped/" in name}
    tracked = (path.relative_to(ROOT / "data").as_posix() for path in (ROOT / "data").rglob("*") if path.is_file())
    complete = {f"lorakit/shipped/{path}" for path in tracked if "/." not in f"/{path}"}
    assert found == complete
    assert any(name.endswith("adapter_model.safetensors") for name in found)


def test_the_lab_that_make_starts_has_the_defaults_that_the_browser_tests_have():
    dry = subprocess.check_output(["make", "--dry-run", "--always-make", "lab"], cwd=ROOT, text=True)
    (start,) = (line for line in dry.splitlines() if "jupyter lab " in line)
    assert start.startswith(f'JUPYTER_CONFIG_PATH="{ROOT}/tools/jupyter')
    assert json.loads((ROOT / "tools/jupyter/labconfig/default_setting_overrides.json").read_text()) == {
        "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True}
    }
