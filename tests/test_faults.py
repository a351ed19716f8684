"""The planted faults fit the package as it is now: each has one place to stand, and tests to be caught by."""

from pathlib import Path

import pytest
from mutants import ROOT, faults

KNOWN = faults(Path(__file__).with_name("faults.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("fault", KNOWN, ids=[f"{fault.file}: {fault.name}" for fault in KNOWN])
def test_a_fault_stands_exactly_once(fault):
    assert (ROOT / "lorakit" / fault.file).read_text(encoding="utf-8").count(fault.old) == 1
    assert all((ROOT / "tests" / file).is_file() for file in fault.tests.split(" -k ")[0].split())
    assert fault.new != fault.old


def test_no_fault_twice():
    assert len({(fault.file, fault.old, fault.new) for fault in KNOWN}) == len(KNOWN)
