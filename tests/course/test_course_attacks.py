"""What a submission forges in its own process, or reaches for outside, gives no marks and hurts nobody else."""

import os
import time
from pathlib import Path

import pytest
from classroom import SMALL, extra, notebook
from own_judge import own_judge

from lorakit.course import filtering, judging
from lorakit.course.confining import abi
from lorakit.course.marking import mark
from lorakit.course.running import Limits
from lorakit.course.submissions import merge

HERE = Path(__file__).parent
SCALE, DELTA = "def scale(alpha, rank):\n    return alpha", "def delta(A, B, alpha):\n    return B @ A"
FORGER = """
import io, os, pickle, socket, threading, time
from multiprocessing.connection import Connection
import lorakit.checks as checks
from lorakit.course import answering, crossing, talking, unpacking
class Fill:
    def __init__(self, target, state): self.target, self.state = target, state
class Forger(pickle._Pickler):
    def save(self, value, *more, **options):
        if not isinstance(value, Fill): return super().save(value, *more, **options)
        super().save(value.target); super().save(value.state); self.write(pickle.BUILD)
def forged(value):
    stream = io.BytesIO(); Forger(stream, 5).dump(value); return stream.getvalue()
def serve(self):
    for _ in range(40):
        try: {what}
        except OSError: return
    time.sleep(0.5)
talking.Peer.serve = serve
"""
SEND = FORGER.replace("{what}", "self.connection.send_bytes(forged({message}))")
RETURN = "Fill(checks.{target}, (None, {state}))"
ATTACKS = {
    "a class is given another tolerance": SEND.format(
        message='("returned", ' + RETURN.format(target="Case", state='{"room": 1e9}') + ")"
    ),
    "a function is given other defaults": SEND.format(
        message='("returned", ' + RETURN.format(target="same", state='{"__defaults__": (1e9,)}') + ")"
    ),
    "the answer comes before the question": SEND.format(message='("returned", 2.0)'),
    "questions instead of answers": SEND.format(message='("call", 0, (), {}, (None, True, False))'),
    "no message at all": FORGER.replace("{what}", 'self.connection._send(b"\\\\xff" * 64)'),
    "a message that does not end": FORGER.replace("{what}", 'self.connection.send_bytes(b"\\\\x80\\\\x05\\\\x95")'),
    "the channel is given to a child": """
import os, time
from lorakit.course import answering, talking
def answer(key, before=answering.answer):
    if os.fork() == 0:
        before(key)
        os._exit(0)
answering.answer = answer
""",
    "torch is another one": """
import torch
torch.set_default_dtype(torch.float64)
torch.equal = torch.allclose = torch.Tensor.__eq__ = torch.Tensor.allclose = lambda *given, **more: True
torch.Tensor.__sub__ = torch.Tensor.sub = lambda self, other: self * 0
torch.use_deterministic_algorithms(True)
""",
    "what is returned says that it is equal": """
import numpy, torch
class Equal(torch.Tensor):
    def __eq__(self, other): return True
    def __sub__(self, other): return self * 0
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None): return True
class Array:
    shape, dtype, ndim = (), numpy.dtype("float64"), 0
    def __array__(self, *given, **more): return numpy.zeros(())
    def __eq__(self, other): return True
    def __float__(self): return 0.0
""",
}
REACH = """
import ctypes, os
reached = []
for pid in [int(one) for one in os.listdir("/proc") if one.isdigit()]:
    if b"lorakit.course.judging" in open(f"/proc/{pid}/cmdline", "rb").read() or pid == os.getppid():
        for name in ("mem", "environ", "fd/1"):
            try: reached.append(open(f"/proc/{pid}/{name}", "rb").read(1))
            except OSError: pass
        if ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0: reached.append("ptrace")
        if ctypes.CDLL(None).kill(pid, 9) == 0: reached.append("kill")
print("reached", reached)
"""


judge = pytest.fixture(own_judge, scope="module")


def marked(judge, filled):
    return mark(SMALL, merge(SMALL, filled["cells"]).cells, judge, Limits(10.0, 3 << 30))


@pytest.mark.parametrize("code", ATTACKS.values(), ids=ATTACKS)
def test_nothing_is_gained(judge, code):
    equal = "def scale(alpha, rank):\n    return Equal([1.0]) if alpha % 2 else Array()"
    forging = marked(judge, extra(code, notebook(equal if "Equal" in code else SCALE, DELTA)))
    assert forging.earned == 0, forging.marks
    assert not [remark for remark in forging.remarks if "raised" in remark]


def test_who_answers_nothing_does_not_keep_the_judge(judge, monkeypatch):
    monkeypatch.setattr(judging, "HURRY", 0.5)
    began = time.monotonic()
    silent = "from lorakit.course import answering\nanswering.answer = lambda key: None"
    assert marked(judge, extra(silent)).earned == 0
    assert time.monotonic() - began < 45


def test_who_comes_next_has_what_is_due(judge):
    """The same judge, after all of that."""
    assert marked(judge, notebook(SCALE, DELTA)).earned == 0
    assert marked(judge, notebook()).earned == 7


@pytest.mark.skipif(abi() < 6 or not filtering.available(), reason="Landlock 6 keeps processes apart")
def test_neither_judge_nor_grader_can_be_reached(judge):
    marked(judge, notebook())  # now it runs
    shown = marked(judge, extra(REACH)).outputs["setup-extra-0"]
    assert [one["text"] for one in shown] == ["reached []\n"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory here")
def test_shared_memory_is_emptied(judge):
    from lorakit.course import sweeping

    before = sweeping.names()
    lines = (
        "open('/dev/shm/lorakit-test-mine', 'w').write('x' * 1000)\nimport os\nos.makedirs('/dev/shm/lorakit-test/a')"
    )
    assert marked(judge, extra(lines)).remarks == ()
    assert not {name for name in sweeping.names() - before if name.startswith("lorakit-test")}


def test_what_somebody_holds_is_left(tmp_path, monkeypatch):
    from lorakit.course import sweeping

    monkeypatch.setattr(sweeping, "SHARED", tmp_path)
    (tmp_path / "before").touch()
    before = sweeping.names()
    with open(tmp_path / "held", "w"):
        (tmp_path / "left").touch()
        assert sweeping.sweep(before) == ["left"]
    assert sorted(os.listdir(tmp_path)) == ["before", "held"]
