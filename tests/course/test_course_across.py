"""A check says the same of an answer that is called across: of every right one, and of every wrong one."""

import socket
import sys
import threading
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from lorakit.course import answering, judging
from lorakit.course.talking import Peer

sys.path.append(str(Path(__file__).parents[1] / "checks"))
ASSIGNMENTS = ("derive", "train", "inside_delta_w", "intrinsic_rank", "serve", "project")


@pytest.fixture
def ends():
    """A judge's end of a connection, and a dict of what the student defined."""
    near, far = (Connection(end.detach()) for end in socket.socketpair())
    student, defined = answering.answerer(far), {}
    student.answers["get"] = lambda name: defined[name]
    threading.Thread(target=student.serve, daemon=True).start()
    judge = Peer(near, {"call": lambda *asked: judging._called_back(judge, *asked)}, guarded=True)
    yield judge, defined
    near.close()


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
