"""Faults planted one at a time, and whether the tests see them: a check must be seen to fail.

    python tests/mutants.py            all of them
    python tests/mutants.py dropout    those whose name, file or tests hold the word

Each fault of faults.txt replaces one passage, which must stand in its file exactly once, in a copy of the
package; then the tests named beside it must go red. Append a block there to plant another.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


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


def planted(fault: Fault, folder: Path) -> None:
    """A copy of the package and its tests in `folder`, with the fault."""
    for part in ("lorakit", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    file = folder / "lorakit" / fault.file
    file.write_text(file.read_text().replace(fault.old, fault.new))


def passes(folder: Path, tests: str) -> bool:
    """Whether the tests pass on the package in `folder`; raises where they run none, or another package."""
    where = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    file, *rest = tests.split(" -k ")
    chosen = ["-k", rest[0].strip("'")] if rest else []
    command = [sys.executable, "-m", "pytest", f"tests/{file}", *chosen, "-x", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True, timeout=600)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {tests}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return run.returncode == 0


def verdict(fault: Fault) -> str:
    """ "caught", "survived", or what is wrong with the fault itself."""
    found = (ROOT / "lorakit" / fault.file).read_text().count(fault.old)
    if found != 1:
        return f"stands {found} times"
    with tempfile.TemporaryDirectory() as folder:
        planted(fault, Path(folder))
        return "survived" if passes(Path(folder), fault.tests) else "caught"


def sound(tests: set[str]) -> bool:
    """Whether all the tests pass where no fault is planted: else a red test would tell nothing."""
    red = [chosen for chosen in sorted(tests) if not passes(ROOT, chosen)]
    print(*(f"red without any fault: {chosen}" for chosen in red), sep="\n", end="\n" if red else "")
    return not red


def main(word: str = "") -> int:
    """Plant them, two at a time; 0 where all were caught."""
    known = faults(Path(__file__).with_name("faults.txt").read_text())
    chosen = [fault for fault in known if word in f"{fault.name} {fault.file} {fault.tests}"]
    if not sound({fault.tests.split(" -k ")[0] for fault in chosen}):
        return 1
    caught = 0
    with ThreadPoolExecutor(2) as pool:
        for fault, said in zip(chosen, pool.map(verdict, chosen), strict=True):
            print(f"{said:>16}  {fault.file:<20} {fault.name}", flush=True)
            caught += said == "caught"
    print(f"{caught} of {len(chosen)} caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
