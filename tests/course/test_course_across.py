"""A check says the same of an answer that is called across: of every right one, and of every wrong one."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
from two_ends import two_ends

sys.path.append(str(Path(__file__).parents[1] / "checks"))
ends = pytest.fixture(two_ends)
ASSIGNMENTS = ("derive", "train", "inside_delta_w", "intrinsic_rank", "serve", "project")


class Across:
    """The tests of an assignment's checks, with the answers elsewhere."""

    @pytest.fixture(autouse=True)
    def _elsewhere(self, ends):
        self.judge, self.defined = ends

    def given(self, answer):
        answers = super().given(answer)
        self.defined |= {str(number): one for number, one in enumerate(answers)}
        return tuple(self.judge.ask("get", str(number)) for number in range(len(answers)))


for name in ASSIGNMENTS:
    own = import_module(f"test_{name}")
    kind = next(value for key, value in vars(own).items() if key.startswith("Test"))
    globals()[f"Test{kind.__name__}"] = type(f"Test{kind.__name__}", (Across, kind), {})
del kind
