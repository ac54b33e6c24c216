"""What takes a worker down: torch's violation only if the case alone, executed and not judged, ends its process too."""

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from command import Patch
from warm import ON_LINUX, SLOW, embcheck, eventually

from embcheck.core.case import LookupCase
from embcheck.core.ledger import SHIPPED
from embcheck.core.verdict import Status
from embcheck.engine.crashes import alone, crash, patience
from embcheck.engine.crashes.crash import verdict_of_crash
from embcheck.engine.crashes.isolate import Forked
from embcheck.engine.crashes.patience import Hangs, Patience, attended, processor_time
from embcheck.engine.crashes.slot import Deaths, Running, Slot, Watch, read_slot
from embcheck.engine.tally import named
from embcheck.record.record import Record, read

CASE = LookupCase(num_embeddings=3, embedding_dim=2, shape=(2,))
RUNNING = Running("properties/core/test_lookup.py::test_scope[eager-0]", "lookup/torch/eager/scope/0", named(CASE), 0.0)


def test_the_time_of_what_a_process_started_is_its_own() -> None:
    """It may wait for a compiler that is hard at work."""
    program = "import os, time; os.fork() or [None for _ in iter(int, 1)]; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program])
    assert eventually(lambda: processor_time(child.pid) >= 0.5)
    subprocess.run(["pkill", "-9", "-P", str(child.pid)], check=False)
    child.kill()
    child.wait()


@ON_LINUX
def test_a_log_of_the_worker_does_not_reach_a_pipe_of_the_fork(tmp_path: Path) -> None:
    """A handler that owns a descriptor still writes to it: were it closed, that would be to what has its number next."""
    with (tmp_path / "log").open("w") as log:
        fork = Forked()
        descriptor = Path(f"/proc/{fork.pid}/fd/{log.fileno()}")
        try:
            assert eventually(lambda: os.readlink(descriptor) == os.devnull)
        finally:
            fork.end()


@ON_LINUX
def test_what_a_hanging_program_started_ends_with_it(tmp_path: Path) -> None:
    program = f"""
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
    time.sleep(3600)
    """
    with pytest.raises(Hangs):
        attended([sys.executable, "-c", textwrap.dedent(program)], 4.0, idle=2.0)
    state = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    assert eventually(lambda: not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z")


@ON_LINUX
def test_ranks_that_wait_for_ever_are_told_by_their_time_and_end_with_their_parent(tmp_path: Path) -> None:
    program = f"""
    import os, pathlib, threading
    from embcheck.families.dtensor.programs import on_ranks
    def work():
        (pathlib.Path({str(tmp_path)!r}) / str(os.getpid())).touch()
        threading.Event().wait()
    on_ranks(2, work)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)]) as parent:
        try:
            assert eventually(lambda: len(list(tmp_path.iterdir())) == 2 or parent.poll() is not None)
            assert parent.poll() is None
            held = Patience(parent.pid, 600.0, idle=2.0)
            assert eventually(lambda: held.over)
        finally:
            parent.kill()
    ranks = [Path("/proc") / path.name for path in tmp_path.iterdir()]
    assert eventually(lambda: not any(rank.exists() for rank in ranks))


def test_of_a_program_that_ends_is_told_how_and_what_it_wrote() -> None:
    done = attended([sys.executable, "-c", "print('so'); raise SystemExit(7)"], 60.0)
    assert (done.returncode, done.stdout) == (7, "so\n")


@pytest.mark.parametrize(
    ("program", "status"),
    [("[None for _ in iter(int, 1)]", None), ("import threading; threading.Event().wait()", None), (SLOW, 1)],
)
def test_a_script_that_hangs_tells_nothing_a_slow_one_ends(program: str, status: int | None, tmp_path: Path) -> None:
    """Each may use a second of CPU time, and next to none for a second and a half."""
    path = tmp_path / "script.py"
    path.write_text(f"{program}\nraise SystemExit(1)\n")
    assert alone.status(str(path), 1.0, 1.5) == status


class Machine:
    """A clock, and a process that gets a share of one processor."""

    def __init__(self, monkeypatch: Patch, share: float) -> None:
        self.now = 0.0
        monkeypatch.setattr(patience, "processor_time", lambda pid: share * self.now)
        monkeypatch.setattr(patience, "time", self)

    def monotonic(self) -> float:
        return self.now

    def hangs_after(self, limit: float, idle: float) -> float:
        """The time at which patience is over; a day if it never is."""
        held = Patience(1, limit, idle)
        while not held.over and self.now < 86_400:
            self.now += 1.0
        return self.now


@pytest.mark.parametrize(("share", "expected"), [(1, 31), (2, 16), (0.1, 301), (0.02, 1501), (0, 60), (0.001, 60)])
def test_a_loaded_machine_takes_longer_and_hangs_no_sooner(share: float, expected: float, monkeypatch: Patch) -> None:
    assert Machine(monkeypatch, share).hangs_after(limit=30.0, idle=60.0) == expected


def test_the_watch_kills_a_worker_that_hangs_in_one_case_and_no_other(tmp_path: Path) -> None:
    program = """
    import sys, time; from pathlib import Path; from embcheck.engine.crashes.slot import Slot
    slot = Slot(Path(sys.argv[1]), sys.argv[2]); slot.begin("test", "label")
    for case in range(10**9):
        slot.running(b"" if sys.argv[2] == "idle" else b"case" if sys.argv[2] == "hung" else str(case).encode())
        time.sleep(0.05)
        while sys.argv[2] == "hung": pass
    """
    workers = {
        name: subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), str(tmp_path), name])
        for name in ("hung", "busy", "idle")
    }
    looks: list[int] = []
    watch = Watch(tmp_path, limit=1.0, idle=2.0, meanwhile=lambda: looks.append(len(looks)))
    watch.start()
    try:
        assert workers["hung"].wait(timeout=3600) == -9
        time.sleep(4.0)
        assert (workers["busy"].poll(), workers["idle"].poll()) == (None, None)
        assert len(looks) > 2
    finally:
        watch.stop()
        for worker in workers.values():
            worker.kill()
            worker.wait()


def test_a_stranger_with_a_dead_worker_s_number_is_left_alone(tmp_path: Path) -> None:
    slot = Slot(tmp_path, "gw0")  # of this very process, which is not its own child
    slot.begin("test", "label")
    slot.running(b"case")
    watch = Watch(tmp_path, limit=0.0, idle=0.0)
    for _ in range(3):
        watch.look()
    assert read_slot(next(tmp_path.glob("slot-*"))).case == b"case"


def test_deaths_are_told_to_those_that_take_the_place(tmp_path: Path) -> None:
    Deaths(tmp_path).crashes("lookup")
    Deaths(tmp_path).kills(b"\x00case\n")
    assert Deaths(tmp_path).crashing("lookup")
    assert not Deaths(tmp_path).crashing("look")
    assert Deaths(tmp_path).deadly == {b"\x00case\n"}


def test_a_case_that_comes_back_alone_is_unknown() -> None:
    """What the worker died of may be the oracle, embcheck's own code, or what ran before."""
    verdict = verdict_of_crash(RUNNING, "cpu", 30.0, {}, (SHIPPED,))
    assert (verdict.status, verdict.counterexamples) == (Status.UNKNOWN, ())
    assert verdict.reasons == (
        f"the worker that judged a case died, or came to no end; alone that comes back: {CASE!r}",
    )


def test_what_cannot_be_tried_alone_is_unknown(monkeypatch: Patch) -> None:
    monkeypatch.setattr(
        crash, "examine", Mock(side_effect=RuntimeError("the process that isolates crashes died itself"))
    )
    verdict = verdict_of_crash(RUNNING, "cpu", 30.0, {}, (SHIPPED,))
    assert (verdict.law, verdict.status) == ("lookup_is_accepted", Status.UNKNOWN)
    assert repr(CASE) in verdict.reasons[0]


@pytest.mark.parametrize("symptom", ["hang", "crash SIGSEGV"])
def test_what_ends_alone_too_is_a_violation_told_once(symptom: str, monkeypatch: Patch) -> None:
    answer = {"law": "lookup_is_accepted", "first": "", "case": repr(CASE), "words": "no end", "script": "x"}
    monkeypatch.setattr(crash, "examine", lambda *given, **more: {**answer, "symptom": symptom})
    verdict = verdict_of_crash(RUNNING, "cpu", 30.0, {}, (SHIPPED,))
    (example,) = verdict.counterexamples
    assert (verdict.status, example.kind, example.case) == (Status.VIOLATED, symptom, repr(CASE))
    before = replace(example, words="as it was reduced")
    again = verdict_of_crash(RUNNING, "cpu", 30.0, {("lookup", symptom): before}, (SHIPPED,))
    assert again.counterexamples == (before,)


#: Planted into every process of a run by the name that Python imports at start: torch comes to no end at one shape, the
#: oracle ends its process at one case and comes to no end at another.  What is tried alone gets little time.
PLANT = """
import os
import embcheck.engine.crashes.crash
import embcheck.engine.exit_lines
import embcheck.core.item
import embcheck.core.oracle
import torch.nn.functional

quick = embcheck.core.item.PROFILES["quick"]
embcheck.core.item.PROFILES["quick"] = quick.__class__(**{**vars(quick), "limit": 0.5, "deck": "", "stride": 20})
embcheck.engine.crashes.crash._REDUCTION = 1.0
embcheck.engine.exit_lines._CPU = 1
expected, executed = embcheck.core.oracle.lookup, torch.nn.functional.linear

def oracle(case, *more, **flags):
    if case.numel == 4 and case.embedding_dim == 2:
        os.kill(os.getpid(), 9)
    while case.embedding_dim == 8:
        pass
    return expected(case, *more, **flags)

def linear(input, weight, *more, **flags):
    while weight.shape == (3, 3):
        pass
    return executed(input, weight, *more, **flags)

embcheck.core.oracle.lookup, torch.nn.functional.linear = oracle, linear
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Record:
    """What a run leaves in whose processes that goes wrong: each that hangs or dies costs a worker, which takes seconds."""
    if not pytestconfig.getoption("--full"):
        pytest.skip("the verdicts are made above, and test_cli.py restarts a worker: --full")
    folder = tmp_path_factory.mktemp("crash")
    (folder / "sitecustomize.py").write_text(PLANT)
    words = ("run", "--profile", "quick", "-n", "1", "-k", "(test_lookup or test_conversion) and scope and eager")
    embcheck(*words, "--report", folder / "out", ends=1, plant=folder)
    found = read(folder / "out")
    assert found.complete
    return found


def test_what_the_oracle_dies_of_or_hangs_in_is_unknown(record: Record) -> None:
    """The case is left out when the item is taken up again, so that the others are judged."""
    verdicts = [verdict for verdict in record.settled() if verdict.family == "lookup"]
    assert {verdict.status for verdict in verdicts} <= {Status.HOLDS, Status.KNOWN, Status.UNKNOWN}
    unknown = [verdict for verdict in verdicts if verdict.status == Status.UNKNOWN]
    assert [verdict.law for verdict in unknown] == ["lookup_is_accepted"]
    for part in ("embedding_dim=8", "embedding_dim=2"):
        assert any("alone that comes back: LookupCase(" in reason and part in reason for reason in unknown[0].reasons)


def test_what_hangs_alone_is_a_violation(record: Record) -> None:
    """The worker that takes the item up again tries its cases in forks, and what those use is not taken for its own time."""
    violated = [verdict for verdict in record.settled() if verdict.status == Status.VIOLATED]
    assert [verdict.law for verdict in violated] == ["conversion_is_accepted"]
    assert violated[0].counterexamples[0].kind == "hang"
