"""Faults planted one at a time, and whether the tests see them: a check must be seen to fail.

    python tests/mutants.py                    all of them
    python tests/mutants.py lora.py dropout    those whose file or name holds one of the words

Each fault of faults.txt replaces one passage, which must stand in its file exactly once, in a copy of the
package; then the tests named beside it must go red. Append a block there to plant another.
"""

import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "hypothesis", "jaxtyping", "pytest")  # imported once, before each fault forks off


class Fault(NamedTuple):
    """`old` becomes `new` in lorakit/`file`; `tests` are arguments of pytest, run in tests/."""

    name: str
    file: str
    tests: str
    old: str
    new: str


def faults(text: str) -> list[Fault]:
    """The blocks of faults.txt."""
    blocks = re.split(r"\n\s*\n", re.sub(r"^#.*$", "", text, flags=re.MULTILINE).strip())
    return [_fault(*block.splitlines()) for block in blocks]


def _fault(head: str, *lines: str) -> Fault:
    old, new = ("\n".join(line[2:] for line in lines if line[0] == sign) for sign in "-+")
    return Fault(*head.split(" | "), old, new)


def planted(fault: Fault | None, folder: Path) -> Path:
    """A copy of the package and its tests in `folder`, with the fault."""
    for part in ("lorakit", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "data").symlink_to(ROOT / "data")
    if fault is not None:
        file = folder / "lorakit" / fault.file
        file.write_text(file.read_text().replace(fault.old, fault.new))
    return folder


def outcome(folder: Path, tests: str) -> str:
    """ "green" or "red" on the package in `folder`, or how pytest ended without running the tests."""
    import pytest

    files, *words = tests.split(" -k ")
    chosen = [f"tests/{file}" for file in files.split()]
    chosen += ["-k", words[0].strip("'")] if words else []
    os.chdir(folder)
    multiprocessing.current_process().daemon = False  # a test may start processes of its own
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.path[0], sys.dont_write_bytecode = str(folder), True
    assert Path(find_spec("lorakit").origin).is_relative_to(folder)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        code = pytest.main([*chosen, "-x", "-q", "-p", "no:cacheprovider"])
    return {0: "green", 1: "red"}.get(int(code), f"pytest: {int(code)}")


def unharmed(tests: str) -> str:
    """Their outcome where nothing is wrong: unless that is green, red tells nothing."""
    with tempfile.TemporaryDirectory() as folder:
        return outcome(planted(None, Path(folder).resolve()), tests)


def verdict(fault: Fault) -> str:
    """ "caught", "survived", or what is wrong with the fault itself."""
    found = (ROOT / "lorakit" / fault.file).read_text().count(fault.old)
    if found != 1:
        return f"stands {found} times"
    with tempfile.TemporaryDirectory() as folder:
        ended = outcome(planted(fault, Path(folder).resolve()), fault.tests)
        return {"green": "survived", "red": "caught"}.get(ended, ended)


def main(*words: str) -> int:
    """Plant them, two at a time; 0 where all were caught."""
    known = faults(Path(__file__).with_name("faults.txt").read_text())
    chosen = [fault for fault in known if any(word in f"{fault.file}: {fault.name}" for word in words or [""])]
    files = sorted({fault.tests.split(" -k ")[0] for fault in chosen})
    for heavy in HEAVY:
        import_module(heavy)
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:  # every fault meets a fresh lorakit
        said = [*pool.imap(unharmed, files, chunksize=1)]
        print(*(f"{one:>16}  {file}" for one, file in zip(said, files)), sep="\n", flush=True)
        caught = 0
        for fault, one in zip(chosen, pool.imap(verdict, chosen, chunksize=1)):
            print(f"{one:>16}  {fault.file:<20} {fault.name}", flush=True)
            caught += one == "caught"
    print(f"{caught} of {len(chosen)} caught")
    return int(caught < len(chosen) or {*said} != {"green"})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
