"""Plants every fault in turn, to see who kills it: a survivor, or a law that kills nothing, is a failure.

Each fault runs in a worker process of its own slot; a fault that ends or blocks its worker costs no other fault
anything.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from _pytest.mark.expression import Expression  # what pytest's own -k is made of

from embcheck.core.facts import closest
from embcheck.core.item import PROFILES
from embcheck.core.law import Family
from embcheck.core.processes import end_with_parent
from embcheck.engine.crashes.alone import silenced
from embcheck.engine.crashes.patience import Hangs, Patience
from embcheck.subject.collect import load_families
from selfcheck.candidates import of_this_process
from selfcheck.fault import Fault, load_faults
from selfcheck.fault_runner import PROFILE, SEED, FaultResult, FaultRunner, Hit, keep_hits, load_hits, used

T = TypeVar("T")
#: Seconds of CPU time after which a worker is given up, or of next to none; a fault that survives so far is after half of them.
LIMIT = 900.0
#: Such seconds in which a law is looked for that no fault violated, when what shows faults is written anew: some are violated by
#: drawn faults alone.
_LOOK = 30.0


# -- in worker processes -----------------------------------------------------------------------------------------


def _in_worker(name: str, profile_name: str, seed: int, anew: bool) -> FaultResult:
    """Runs in a worker: runs one fault."""
    try:
        return _fault_runner(profile_name, seed, anew).run(load_faults()[name], LIMIT / 2)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return FaultResult(name, "?", f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})")


def _violated_in_worker(law: str, family: str, profile_name: str, seed: int, limit: float) -> tuple[str, Hit] | None:
    """Runs in a worker: some fault of a family that violates a law of it."""
    runner = _fault_runner(profile_name, seed, True)
    candidates = [
        fault
        for fault in load_faults().values()
        if family in (fault.family, *fault.also) and not (fault.control or fault.modes) and fault.applies()
    ]
    return runner.violates(candidates, family, law, used() + limit)


@cache
def _fault_runner(profile_name: str, seed: int, anew: bool) -> FaultRunner:
    """The fault runner of this process, made once for each use; ``anew`` it does not know where faults were seen."""
    known = {} if anew or (profile_name, seed) != (PROFILE, SEED) else load_hits()
    return FaultRunner(of_this_process(), PROFILES[profile_name], seed, known)


def selfcheck(
    profile_name: str,
    seed: int,
    jobs: int,
    names: Iterable[str],
    progress: Callable[[int, int, FaultResult], None] = lambda done, total, result: None,
    *,
    anew: bool = False,
) -> list[FaultResult]:
    """Runs the faults of these names in ``jobs`` worker processes; results come in the order of the names.

    ``progress`` is told (done, total, result) as they finish, from one thread at a time.  ``anew`` they are looked for where no
    run has seen them.
    """
    wanted = list(names)
    results: dict[str, FaultResult] = {}
    lock = threading.Lock()

    def ran(worker: Worker, name: str) -> None:
        started = time.perf_counter()
        try:
            result = worker.asked(LIMIT, _in_worker, name, profile_name, seed, anew)
        except (BrokenProcessPool, Hangs) as error:
            words = f"hung: {error}" if isinstance(error, Hangs) else "ended the process"
            result = FaultResult(name, load_faults()[name].family, words, seconds=time.perf_counter() - started)
        with lock:
            results[name] = result
            progress(len(results), len(wanted), result)

    in_slots(jobs, wanted, ran)
    return [results[name] for name in wanted]


def rechecked(
    laws: Iterable[str],
    families: Mapping[str, Family],
    profile_name: str,
    seed: int,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda law: None,
    *,
    limit: float = 240.0,
) -> dict[str, tuple[str, Hit]]:
    """Those of these laws that a fault of their family does violate, each with one, and where.

    A run ends soon after its first kill, so which other laws it sees broken is chance; a law that none saw is given
    ``limit`` seconds to meet its family's faults itself.  ``progress`` is told each law that has been looked at.
    """
    home = {law.name: name for name, family in families.items() for law in family.laws}
    found: dict[str, tuple[str, Hit]] = {}

    def met(worker: Worker, law: str) -> None:
        with suppress(BrokenProcessPool, Hangs):
            seen = worker.asked(2 * limit + 1, _violated_in_worker, law, home[law], profile_name, seed, limit)
            found.update({law: seen} if seen else {})
        progress(law)

    in_slots(jobs, list(laws), met)
    return found


def in_slots(jobs: int, names: Sequence[str], work: Callable[[Worker, str], None]) -> None:
    """Has work done for each name, in the order of the names, by as many worker processes as there are jobs; what the work raises
    first is raised, and what was not begun is not done then."""
    left = iter([*names])

    def slot() -> None:
        with closing(Worker()) as worker:
            for name in left:
                work(worker, name)

    slots = max(1, min(jobs, len(names)))
    with ThreadPoolExecutor(slots) as threads:
        try:
            for done in concurrent.futures.as_completed([threads.submit(slot) for _ in range(slots)]):
                done.result()
        finally:
            list(left)


class Worker:
    """A process of its own that does one work after the other; another takes its place once it died or was given up."""

    def __init__(self) -> None:
        self._pool = _pool()

    def asked(self, limit: float, work: Callable[..., T], *arguments: Any) -> T:
        """What some work gives; BrokenProcessPool if it ends the process, Hangs if it uses more than ``limit`` seconds of CPU
        time, or next to none for as long, and so was ended."""
        try:
            patience = Patience(self._pool.submit(os.getpid).result(), limit, limit)
            asked = self._pool.submit(work, *arguments)
            while not concurrent.futures.wait([asked], timeout=1.0).done:
                if patience.over:
                    os.kill(patience.pid, signal.SIGKILL)
                    raise Hangs(limit)
            return asked.result()
        except (BrokenProcessPool, Hangs):
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = _pool()
            raise

    def close(self) -> None:
        self._pool.shutdown()


def _pool() -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _silenced)


def _silenced() -> None:
    """A worker's output is that of a broken torch: thousands of warnings that say nothing of the laws.  It ends with whom it
    works for, even if that is killed."""
    end_with_parent()
    silenced()


# -- which faults, and what follows ------------------------------------------------------------------------------


def selected(faults: Mapping[str, Fault], keyword: str) -> list[str]:
    """The faults whose name or family a pytest expression matches; all without one, and a ValueError for what is none."""
    if not keyword:
        return list(faults)
    try:
        expression = Expression.compile(keyword)
    except Exception as error:  # pytest 8 has an error of its own, pytest 9 a SyntaxError
        raise ValueError(str(error)) from error

    def matches(fault: Fault) -> bool:
        names = fault.name.lower()
        return expression.evaluate(lambda word, /, **_: word.lower() in names or word in (fault.family, *fault.also))

    return [name for name, fault in faults.items() if matches(fault)]


def idle_laws(results: Sequence[FaultResult], families: Mapping[str, Family]) -> list[str]:
    """Laws that killed nothing, among the families that some fault belongs to; advisory and implied laws are left out."""
    faults = load_faults()
    covered = {name for each in results if not each.control for name in (each.family, *faults[each.fault].also)}
    useful = {law for result in results for law in result.laws}
    return [
        law.name
        for name, family in families.items()
        if name in covered
        for law in family.laws
        if law.name not in useful and not law.advisory and not law.implied_by
    ]


def _said(done: int, total: int, result: FaultResult) -> None:
    typer.echo(f"{done} of {total}: {result.fault} {result.status}")


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="FAMILY", help="Families; all by default.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Worker processes.")] = 2,
) -> None:
    """Looks anew on which cases the faults of some families are seen, and writes it; that of others stays."""
    every = load_families()
    for name in names or ():
        if name not in every:
            raise typer.BadParameter(f"no family {name!r}; {closest(name, every) or 'see `embcheck laws`'}")
    families = {name: every[name] for name in names or every}
    chosen = [f.name for f in load_faults().values() if families.keys() & {f.family, *f.also} and not f.control]
    results = selfcheck(PROFILE, SEED, jobs, chosen, _said, anew=True)
    found = {result.fault: list(result.hits) for result in results if result.good}
    idle = idle_laws(results, families)
    for fault, hit in rechecked(idle, families, PROFILE, SEED, jobs, typer.echo, limit=_LOOK).values():
        found.setdefault(fault, []).append(hit)
    keep_hits(found)


if __name__ == "__main__":
    typer.run(main)
