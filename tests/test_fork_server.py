"""One start of torch for all processes of a run: the server's forks do what processes of their own would do."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from warm import eventually

from embcheck.runner import fork_client, fork_server
from embcheck.runner.fork_server import ForkServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a run has a fork server on Linux alone")

TOLD = """
import json, os, sys
told = [os.getpid(), os.getppid(), "torch._dynamo" in sys.modules, os.getcwd(), os.environ.get("GIVEN"), sys.stdin.read()]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Ended by the last test that takes it."""
    with ForkServer() as started:
        yield started


def asked(python: Sequence[str], program: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*python, "-u", "-c", program]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **more}, input="read", capture_output=True, text=True, check=False
    )


def test_a_fork_has_torch_and_its_clients_streams_folder_and_environment(server: ForkServer, tmp_path: Path) -> None:
    first, second = (json.loads(asked(server.python, TOLD, tmp_path, GIVEN=name).stdout) for name in "ab")
    assert first[2:] == [True, str(tmp_path), "a", "read"]
    assert second[2:] == [True, str(tmp_path), "b", "read"]
    assert first[0] != second[0]
    assert first[1] == second[1] != os.getpid()


def test_what_ends_a_fork_ends_no_other(server: ForkServer, tmp_path: Path) -> None:
    assert asked(server.python, "import os; os.abort()", tmp_path).stdout == ""
    assert "Traceback" in asked(server.python, "1 / 0", tmp_path).stderr
    assert json.loads(asked(server.python, TOLD, tmp_path).stdout)[2]


def test_a_fork_ends_as_a_process_does(server: ForkServer, tmp_path: Path) -> None:
    program = "import atexit, threading, time\natexit.register(print, 'end')\n"
    program += "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()"
    assert asked(server.python, program, tmp_path).stdout == "thread\nend\n"


def test_a_fork_reads_names_as_its_server_does(tmp_path: Path) -> None:
    program = "import subprocess\nfrom embcheck.runner import fork_server\nfork_server._IMPORTED = ()\n"
    program += "with fork_server.ForkServer() as server: subprocess.run([*server.python, '-c', 'pass'])"
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "NAME": "é"}
    assert asked((sys.executable,), program, tmp_path, **ascii_alone).stderr == ""


def test_without_a_server_the_client_is_the_process_that_was_asked_for(tmp_path: Path) -> None:
    python = (sys.executable, "-I", "-S", fork_client.__file__, str(tmp_path / "none"))
    told = json.loads(asked(python, TOLD, tmp_path, GIVEN="a").stdout)
    assert told[2:] == [False, str(tmp_path), "a", "read"]


#: What is interrupted, though a job in the background is told to ignore it.
INTERRUPTED = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
"""


@pytest.mark.parametrize(
    ("when", "sign"), [("{}", "SIGINT"), *(("atexit.register(lambda: {})", each) for each in ("SIGINT", "SIGTERM"))]
)
def test_a_fork_that_is_interrupted_prints_nothing(server: ForkServer, tmp_path: Path, when: str, sign: str) -> None:
    program = INTERRUPTED + when.format(f"os.kill(os.getpid(), signal.{sign})")
    assert asked(server.python, program, tmp_path).stderr == ""


@pytest.mark.parametrize("answers", [True, False])
def test_a_client_that_is_interrupted_prints_nothing(tmp_path: Path, answers: bool) -> None:
    """Whether it waits for a server that still imports, or for the end of its fork."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "server"))
        listener.listen()
        client = subprocess.Popen(
            [sys.executable, "-I", "-S", fork_client.__file__, str(tmp_path / "server"), "-c", "pass"],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            if answers:
                connection.sendall(b"!")
            client.send_signal(signal.SIGINT)
            assert client.communicate(timeout=60)[1] == b""
    assert client.returncode == -signal.SIGINT


@pytest.mark.parametrize("ended", [True, False])
def test_a_client_without_an_answer_does_the_work_itself_while_the_run_goes_on(tmp_path: Path, ended: bool) -> None:
    path = tmp_path / "server"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-I", "-S", fork_client.__file__, str(path), "-c", "print('done')"]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        connection.recv(1 << 16)
        if ended:
            path.unlink()
        connection.close()
        assert client.communicate(timeout=60)[0] == ("" if ended else "done\n")


def test_a_fork_whose_client_is_gone_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = socket.socketpair()
    request = json.dumps([["-c", "print('run')"], os.getcwd(), dict(os.environ)]).encode()
    ours.sendall(request)
    ours.close()
    fork = os.fork()
    if fork == 0:
        fork_server._become(theirs, [os.dup(number) for number in range(3)], len(request))
    theirs.close()
    os.waitpid(fork, 0)
    assert capfd.readouterr() == ("", "")


def test_forks_end_with_their_server(server: ForkServer) -> None:
    command = [*server.python, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    fork = int(client.stdout.readline())
    os.kill(fork, 0)
    server.__exit__()
    assert client.wait(60) in (0, -signal.SIGPIPE)
    client.stdout.close()
    assert eventually(lambda: not Path(f"/proc/{fork}").exists(), 60)


def test_a_server_ends_that_is_told_to_while_it_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "import os, signal\nos.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
    (tmp_path / "ends_at_a_fork.py").write_text(told)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(fork_server, "_IMPORTED", ("ends_at_a_fork",))
    with ForkServer() as server:
        asked(server.python, "pass", tmp_path)
        assert server._process.wait(60) == 0


def test_a_server_that_is_told_to_end_while_it_imports_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as that of a run whose options are refused."""
    told = "import os, signal\ntry: os.kill(os.getpid(), signal.SIGTERM)\nexcept SystemExit: raise ImportError"
    (tmp_path / "numpy.py").write_text(told)  # which it imports first
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ForkServer() as server:
        server._process.wait(60)
    assert capfd.readouterr() == ("", "")
