"""What a killed run leaves: no process, and no folder once the next run has begun."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from pathlib import Path

import pytest
from warm import ON_LINUX, eventually, python

from embcheck.core.machine import seen
from embcheck.core.processes import RunFolder, keep_few_kernels, temporary_files_in
from embcheck.engine.crashes.patience import Hangs
from selfcheck import by_hand
from selfcheck.by_hand import Worker


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that nobody else uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_of_a_killed_run_is_gone_when_the_next_one_begins(temporary: Path) -> None:
    program = "from embcheck.core.processes import RunFolder as R; import time; r = R(); (r.path / 'a').mkdir(); "
    other = subprocess.Popen(
        [sys.executable, "-c", program + "print(r.path, flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())
    assert left.parent == temporary
    first = RunFolder()
    assert left.is_dir(), "it lives"
    other.kill()
    other.wait()
    second = RunFolder()
    assert not left.exists()
    assert first.path.is_dir()
    for held in (first, second):
        held.remove()
    assert list(temporary.iterdir()) == []


def test_what_only_looks_like_one_stays(temporary: Path) -> None:
    (temporary / "embcheck-notes-of-mine").mkdir()
    (temporary / "embcheck-999999999").mkdir()
    (temporary / "home").mkdir()
    (temporary / "embcheck-999999999-link").symlink_to(temporary / "home")
    (temporary / "embcheck-999999999-file").write_text("")
    before = sorted(temporary.iterdir())
    held = RunFolder()
    held.remove()
    assert sorted(temporary.iterdir()) == before


def test_a_folder_that_is_locked_stays(temporary: Path) -> None:
    """Of a container, in which processes have other numbers."""
    held = RunFolder()
    renamed = held.path.rename(temporary / "embcheck-999999999-elsewhere")
    RunFolder().remove()
    assert renamed.is_dir()
    held.remove()
    RunFolder().remove()
    assert not renamed.exists()


def test_temporary_files_lie_in_the_run_s_folder_for_a_while(temporary: Path) -> None:
    former = dict(os.environ)
    with temporary_files_in(temporary / "run"):
        told = subprocess.run([sys.executable, "-c", "import os; print(os.environ['TMPDIR'])"], capture_output=True)
        assert (tempfile.gettempdir(), told.stdout.decode().strip()) == (str(temporary / "run"),) * 2
        assert not os.environ["TORCHINDUCTOR_CACHE_DIR"].startswith(str(temporary / "run"))
    assert (dict(os.environ), tempfile.gettempdir()) == (former, str(temporary))


def test_how_many_kernels_are_kept_says_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = seen()
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "2")
    keep_few_kernels()
    assert (os.environ["LRU_CACHE_CAPACITY"], os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY")) == ("2", "64")
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    assert seen() == before


#: Says how many megabytes a process has in memory.
RESIDENT = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
"""


def test_kernels_for_many_shapes_take_no_memory_for_ever() -> None:
    """Where oneDNN makes kernels of bfloat16 products, those of 150 shapes would take fifty megabytes."""
    program = f"""{RESIDENT}
import torch
from embcheck.core.processes import keep_few_kernels
keep_few_kernels()
def multiply(first):
    for size in range(first, first + 150):
        torch.zeros(size, 40, dtype=torch.bfloat16) @ torch.zeros(40, 30, dtype=torch.bfloat16)
torch.set_num_threads(1)
multiply(1)
before = resident()
multiply(151)
print(resident() - before)
"""
    assert float(python("-c", program).stdout) < 20.0


def descendants(pid: int) -> set[int]:
    """A process' children, their children, and so on."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@ON_LINUX
def test_a_script_ends_with_the_process_that_tries_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import time\ntime.sleep(600)\n")
    program = f"from embcheck.engine.crashes.alone import status; status({str(tmp_path / 'script.py')!r}, 600.0)"
    trying = subprocess.Popen([sys.executable, "-c", program])
    try:
        assert eventually(lambda: bool(descendants(trying.pid)), 60)
        started = descendants(trying.pid)
    finally:
        trying.kill()
        trying.wait()
    assert eventually(lambda: not any(map(alive, started)), 5)


@ON_LINUX
def test_of_a_killed_run_nothing_is_left(temporary: Path) -> None:
    """Its workers, and the processes in which they try cases; and after the next start its folder is gone, too."""
    # The family sharded executes its cases in forks of another process.
    words = ("run", "--profile", "full", "-n", "2", "-k", "(sharded or gradient) and scope")
    run = subprocess.Popen([sys.executable, "-m", "embcheck.cli.main", *words], stdout=subprocess.PIPE, cwd=temporary)
    try:
        assert eventually(lambda: len(list(temporary.glob("embcheck-*/slot-*"))) == 2)
        assert eventually(lambda: len(descendants(run.pid)) >= 3), "two workers, and one that forks"
        started = descendants(run.pid)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    # One that was only beginning to import torch ends when it has.
    assert eventually(lambda: not any(map(alive, started)), 30), [pid for pid in started if alive(pid)]
    assert list(temporary.glob("embcheck-*"))
    RunFolder().remove()
    assert list(temporary.glob("embcheck-*")) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone keeps it")
def test_free_memory_among_what_is_in_use_is_given_back() -> None:
    """Of many pieces every hundredth stays; without it the others would stay with it."""
    program = f"""{RESIDENT}
import gc
from embcheck.core.processes import give_back_memory
pieces = [bytes(2000) for _ in range(100_000)]
pieces = pieces[::100]
gc.collect()
before = resident()
give_back_memory()
print(before - resident())
"""
    assert float(python("-c", program).stdout) > 50.0


HUNTING = """
import os
from selfcheck.by_hand import Worker

if __name__ == "__main__":
    worker = Worker()
    print(worker.asked(60.0, os.getpid), flush=True)
    worker.asked(60.0, max, iter(int, 1))
"""


@ON_LINUX
def test_workers_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "hunting.py"
    script.write_text(HUNTING, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        command.kill()
    assert eventually(lambda: not alive(pid), 20), "the worker goes on"


def test_a_law_that_a_fault_breaks_is_not_idle() -> None:
    program = (
        "from embcheck.subject.collect import load_families; from selfcheck.by_hand import rechecked\n"
        "print(*rechecked(['padding_is_accepted'], load_families(), 'quick', 0))"
    )
    done = python("-c", program, "selfcheck")
    assert done.stdout == "padding_is_accepted\n", done.stderr


def test_a_worker_that_hangs_is_ended_and_another_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fork of this process, which is there at once."""
    forking = multiprocessing.get_context("fork")
    monkeypatch.setattr(by_hand, "_pool", lambda: ProcessPoolExecutor(1, mp_context=forking))
    worker = Worker()
    try:
        with pytest.raises(Hangs):
            worker.asked(0.5, time.sleep, 3600)
        with pytest.raises(BrokenProcessPool):
            worker.asked(60.0, os._exit, 1)
        assert worker.asked(60.0, abs, -3) == 3
    finally:
        worker.close()
