"""Two ends of a connection, as a judge and a student's process have them: `ends = pytest.fixture(two_ends)`."""

import socket
import threading
from multiprocessing.connection import Connection

from lorakit.course import answering, judging
from lorakit.course.talking import Peer


def two_ends():
    """A judge's end of a connection, and a dict of what the student defined."""
    near, far = (Connection(end.detach()) for end in socket.socketpair())
    student, defined = answering.answerer(far), {}
    student.answers["get"] = lambda name: defined[name]
    threading.Thread(target=student.serve, daemon=True).start()
    judge = Peer(near, {"call": lambda *asked: judging._called_back(judge, *asked)}, guarded=True)
    yield judge, defined
    near.close()
