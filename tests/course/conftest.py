"""What the tests of the course share: a judge and a student, connected."""

import socket
import threading
from multiprocessing.connection import Connection

import pytest

from lorakit.course import answering, judging
from lorakit.course.talking import Peer


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
