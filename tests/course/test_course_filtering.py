"""What a submission's programs, in whatever language, cannot do to the machine: multiply, connect, hide, or be root."""

import os
import socket
import sys
import tempfile
import time
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from lorakit.course import filtering, sweeping
from lorakit.course.running import Limits, Process

pytestmark = pytest.mark.skipif(not filtering.available(), reason="Linux 5.5, and a system that lets itself be asked")
FORKS = "import os\nfor _ in range(11):\n    try: os.fork()\n    except OSError: pass\nimport time\ntime.sleep(20)"
SHELL = "f() { [ $1 -gt 0 ] && { f $(($1 - 1)) & f $(($1 - 1)) & }; sleep 20; }; f 11"
SHELLS = f"import subprocess\nsubprocess.run(['bash', '-c', {SHELL!r}])"
HIDDEN = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep({seconds})"], {{}})
    os._exit(0)
"""


@pytest.fixture
def process():
    one = Process(Limits(seconds=20.0, memory=3 << 30))
    assert one.wait_until_ready().alive
    yield one
    one.close()


def of(process):
    return sweeping.programs(process.folder.name, process.largest_file)


def printed(shown):
    return shown.outputs[0].get("text", "").strip() if shown.outputs else ""


@pytest.mark.parametrize("bomb", [FORKS, SHELLS], ids=["python", "bash"])
def test_a_fork_bomb_is_ended_at_so_many(process, bomb):
    shown = process.run(bomb)
    assert shown.status in ("many", "large")  # a copy of a Python that has torch counts as if it had its memory
    assert process.census.started > 5
    assert of(process) == []


def test_some_processes_and_many_threads_are_nobody_s_business(process):
    threads = "import threading\nall = [threading.Thread(target=print) for _ in range(300)]\n"
    process.run(threads + "for one in all: one.start()")
    started = process.census.started
    shown = process.run("import subprocess; print(subprocess.run('echo one | cat', shell=True, capture_output=True))")
    assert "one" in printed(shown)
    assert started == 0
    assert 2 <= process.census.started <= 4


def test_who_hides_is_found_when_it_is_over(process):
    """In a session of its own, adopted, with an environment that says nothing."""
    seconds = 1000 + os.getpid() / 1e6
    process.run(HIDDEN.format(seconds=seconds))

    def there():
        return [one for one in psutil.process_iter(["cmdline"]) if str(seconds) in " ".join(one.info["cmdline"] or [])]

    until = time.monotonic() + 10
    while not there() and time.monotonic() < until:
        time.sleep(0.1)
    assert len(there()) == 1
    assert process.process.pid in [one.pid for one in there()[0].parents()]  # so its memory is counted as well
    process.kill()
    assert there() == []


PERL = "use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0) || die $!; connect($s, sockaddr_un($ARGV[0])) || die $!"
ABSTRACT = f"{sys.executable} -c \"import socket; socket.socket(1).connect('\\0lorakit-test-{os.getpid()}')\""


def test_no_program_connects_to_a_unix_socket_or_any_other(process):
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        path = str(Path(tempfile.mkdtemp(prefix="lorakit-test-")) / "socket")
        named.bind(path)
        abstract.bind(f"\0lorakit-test-{os.getpid()}")
        for one in (named, abstract):
            one.listen()
        lines = [f"perl -e '{PERL}' {path}", ABSTRACT, "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9'"]
        lines += [f"{sys.executable} -c 'import socket; socket.socket({kind})'" for kind in ("2, 2", "10, 1", "16, 3")]
        for line in lines:
            shown = process.run(f"import subprocess\nprint(subprocess.run({line!r}, shell=True, capture_output=True))")
            assert "ermitted" in printed(shown), (line, printed(shown))
        socket.socket(socket.AF_UNIX).connect(path)  # who is not filtered can
    code = "import socket\ntry: socket.socketpair(type=socket.SOCK_DGRAM)\nexcept OSError as e: print(e.args)"
    assert "(1, '" in printed(process.run(code))
    assert "(1, '" in printed(process.run("import socket\ntry: socket.socket(1)\nexcept OSError as e: print(e.args)"))


def test_nothing_is_left_of_root(process):
    code = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapPrm', 'CapEff'))])"
    held = {int(one, 16) for one in eval(printed(process.run(code)))}
    assert max(held) <= 0b110
    code = "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))"
    assert process.run(code).outputs[0]["ename"] in ("ValueError", "PermissionError")


OPEN = """
import os
def opened(pid="self"):
    for name in os.listdir(f"/proc/{pid}/fd"):
        try: yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError: pass
print({one for one in opened() if "[" in one})
"""


def test_nothing_of_the_grader_s_is_open(process):
    names: dict = {}
    exec(OPEN.replace("print", "held = "), names)
    theirs = eval(printed(process.run(OPEN)))
    pipe = os.readlink(f"/proc/self/fd/{process._report.fileno()}")
    assert {one for one in names["held"] & theirs if one.startswith(("pipe", "socket"))} == {pipe}


def test_semaphores_work(process):
    code = "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
    shown = process.run(code + "    print(pool.map(abs, [-1, 2]))")
    assert printed(shown) == "[1, 2]", shown.outputs


def test_who_counts_answers_until_nobody_asks():
    near, far = Pipe()
    census = filtering.Census(near, most=3)
    child = os.fork()
    if child == 0:
        near.close()
        filtering.install(far)
        far.close()
        done = 0
        for _ in range(10):
            try:
                if (one := os.fork()) == 0:
                    os._exit(0)
                os.waitpid(one, 0)
                done += 1
            except OSError:
                break
        os._exit(done)
    far.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    census.join(5)
    assert (census.is_alive(), census.started, census.crowded) == (False, 4, True)
