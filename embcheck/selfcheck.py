"""Plants every fault and lets the laws hunt it: a fault that survives, or a law that kills nothing, is a failure.

A kill counts only if the same case obeys the law whenever the fault is lifted and breaks it again when it is back, so
that what torch itself gets wrong, every time or now and then, kills nothing.  Each fault runs in a worker process of its own slot; a fault that ends or blocks its worker costs
no other fault anything.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from embcheck.engine import Judge, Tally, cases, decks, feed, judge_once
from embcheck.fault import Fault, load_faults
from embcheck.item import PROFILES, Item, Profile, all_items
from embcheck.law import Difference, Family, Law
from embcheck.ledger import SHIPPED, Ledger, load
from embcheck.mode import MODES

#: Seconds after which a fault is given up, and for how many more cases the killing item goes on collecting laws.
LIMIT, FURTHER = 120, 64
#: How often a case must obey a law without the fault: what torch does with uninitialised memory differs each time.
_INNOCENT = 3


@dataclass(frozen=True)
class Result:
    """How a fault fared: ``status`` is killed, survived, not applicable, or what went wrong.

    ``laws`` are all the laws that the killing item saw violated, the first one first; ``cases`` were judged and
    ``seconds`` spent until the first of them.
    """

    fault: str
    family: str
    status: str
    control: bool = False
    laws: tuple[str, ...] = ()
    killers: str = ""
    engine: str = ""
    mode: str = ""
    cases: int = 0
    seconds: float = 0.0
    example: str = ""

    @property
    def good(self) -> bool:
        """Whether this is as it should be: a fault is killed, a control survives."""
        if self.status == "not applicable":
            return True
        return self.status == ("survived" if self.control else "killed")


class Planted:
    """A fault while it is planted; `lifted` takes it out for a moment."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._context: AbstractContextManager[None] | None = None

    def __enter__(self) -> Planted:
        self._context = self.fault.plant()
        self._context.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Without the fault; then it is planted anew, its memory of earlier calls lost."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


class Hunt(Judge):
    """Judges cases until some law is violated by a fault, and a few more, to see which others are."""

    def __init__(self, family: Family, mode: str, ledger: Ledger, planted: Planted) -> None:
        super().__init__(family, MODES[mode], ledger)
        self.planted = planted
        self.laws: dict[str, str] = {}
        self.killed_after = 0

    def __call__(self, case: Any) -> None:
        """Executes and judges one case."""
        super().__call__(case)
        self.done = bool(self.laws) and self.cases >= self.killed_after + FURTHER

    def _violated(self, tally: Tally, case: Any, found: Difference) -> None:
        name = tally.law.name
        if name in self.laws or self.ledger.find(name, self.mode.name, self.device, found.kind, case.facts()):
            return
        with self.planted.lifted():
            if any(self._violates(tally.law, case) for _ in range(_INNOCENT)):
                return
        if not self._violates(tally.law, case):
            return
        if not self.laws:
            self.killed_after = self.cases
        self.laws[name] = f"{case!r}: {found.words}"

    def _violates(self, law: Law, case: Any) -> bool:
        return isinstance(judge_once(self.family, self.mode, law, case), Difference)


def hunting_order(family: Family, profile: Profile) -> list[Item]:
    """The items of a run, the first part of every mode and engine before the second of any."""
    engines = ("product", "scope", "random")
    return sorted(all_items(family, profile), key=lambda item: (item.part, engines.index(item.engine)))


def hunt(fault: Fault, families: dict[str, Family], profile: Profile, seed: int, ledger: Ledger) -> Result:
    """Plants one fault and lets its own family's laws meet it first, then the others'."""
    started = time.perf_counter()

    def result(status: str, **more: Any) -> Result:
        return Result(fault.name, fault.family, status, fault.control, seconds=time.perf_counter() - started, **more)

    if not fault.applies():
        return result("not applicable")
    if not fault.control and fault.witness():
        return result("witness true without the fault")
    if not fault.control:
        with Planted(fault):
            shown = fault.witness()
        if not shown:
            return result("witness false with the fault")
    own = [families[fault.family]] if fault.family in families else []
    order = own + [family for family in families.values() if family.name != fault.family]
    total = 0
    found = None
    for item in (item for family in order for item in hunting_order(family, profile)):
        found = _meet(fault, families[item.family], item, profile, seed, ledger)
        if found.laws:
            where = {"killers": item.family, "engine": item.engine, "mode": item.mode}
            example = next(iter(found.laws.values()))
            count = total + found.killed_after
            ending = result("killed", laws=tuple(found.laws), cases=count, example=example, **where)
            break
        total += found.cases
    else:
        ending = result("survived", cases=total)
    if not fault.control and fault.witness():
        return result("witness true after the fault was lifted")
    return ending


def _meet(fault: Fault, family: Family, item: Item, profile: Profile, seed: int, ledger: Ledger) -> Hunt:
    with Planted(fault) as planted:
        judge = Hunt(family, item.mode, ledger, planted)
        if item.engine == "random":
            decks(family, item, profile, seed, judge, None)
        else:
            feed(judge, cases(family, item, profile, seed), None)
    return judge


# -- in worker processes -----------------------------------------------------------------------------------------

_kept: dict[str, Any] = {}


def _in_worker(name: str, profile_name: str, seed: int, limit: float, only: tuple[str, ...]) -> Result:
    """Runs in a worker: hunts one fault.  A fault that takes longer than ``limit`` takes the worker with it."""
    faulthandler.dump_traceback_later(limit, exit=True, file=open(os.devnull, "w"))  # noqa: SIM115
    try:
        if not _kept:
            _prepare(only)
        fault = _kept["faults"][name]
        return hunt(fault, _kept["families"], PROFILES[profile_name], seed, _kept["ledger"])
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Result(name, "?", f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})")
    finally:
        faulthandler.cancel_dump_traceback_later()


def _prepare(only: tuple[str, ...]) -> None:
    import warnings

    import torch

    from embcheck.collect import load_families

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    families = {name: family for name, family in load_families().items() if not only or name in only}
    ledger = load(SHIPPED, torch.__version__, date.today()) if SHIPPED.exists() else Ledger()
    _kept.update(families=families, ledger=ledger, faults=load_faults())


def selfcheck(
    profile_name: str,
    seed: int,
    jobs: int,
    names: Iterable[str],
    progress: Callable[[int, int, Result], None] = lambda done, total, result: None,
    *,
    limit: float = LIMIT,
    families: tuple[str, ...] = (),
) -> list[Result]:
    """Hunts the faults of these names in ``jobs`` worker processes; results come in the order of the names.

    ``progress`` is told (done, total, result) as they finish, from one thread at a time.
    """
    wanted = list(names)
    waiting = iter(wanted)
    results: dict[str, Result] = {}
    lock = threading.Lock()

    def slot() -> None:
        pool = _pool()
        try:
            while True:
                with lock:
                    name = next(waiting, None)
                if name is None:
                    return
                started = time.perf_counter()
                try:
                    result = pool.submit(_in_worker, name, profile_name, seed, limit, families).result()
                except BrokenProcessPool:
                    # Only this fault was in this pool, so it is the one that ended the worker.
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = _pool()
                    spent = time.perf_counter() - started
                    status = f"hung for {spent:.0f} s" if spent >= limit else "ended the process"
                    result = Result(name, "?", status, seconds=spent)
                with lock:
                    results[name] = result
                    progress(len(results), len(wanted), result)
        finally:
            pool.shutdown()

    threads = [threading.Thread(target=slot) for _ in range(max(1, min(jobs, len(wanted))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[name] for name in wanted]


def _pool() -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


# -- the report --------------------------------------------------------------------------------------------------


def decorations(results: list[Result], families: dict[str, Family]) -> list[str]:
    """Laws that killed nothing, among the families that some fault belongs to; advisory laws are left out."""
    covered = {result.family for result in results if not result.control}
    useful = {law for result in results for law in result.laws}
    return [
        law.name
        for name, family in families.items()
        if name in covered
        for law in family.laws
        if law.name not in useful and not law.advisory
    ]


def table_of(results: list[Result]) -> str:
    """A plain table: who killed each fault, with which engine and mode, after how many cases and seconds."""
    head = ("fault", "family", "killed by", "engine", "cases", "seconds")
    rows = [
        (
            result.fault + (" (control)" if result.control else ""),
            result.family,
            result.laws[0] if result.status == "killed" else result.status,
            f"{result.engine} {result.mode}".strip(),
            str(result.cases),
            f"{result.seconds:.1f}",
        )
        for result in results
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    ruled = [head, tuple("-" * width for width in widths), *rows]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in ruled)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def main_selfcheck(
    profile_name: str, seed: int, jobs: int, keyword: str | None, report: Callable[[str], None]
) -> int:
    """Runs the self-check, reports it as text, and returns the exit code.

    0 when every fault is killed, every control survives and, unless ``keyword`` narrows the faults, no law of the
    families that have faults is decoration; else 1.
    """
    from embcheck.collect import load_families

    faults = load_faults()
    chosen = [name for name, fault in faults.items() if keyword is None or keyword in name or keyword == fault.family]
    if not chosen:
        report(f"no fault matches {keyword!r}; there are {', '.join(faults)}")
        return 1
    started = time.perf_counter()
    results = selfcheck(profile_name, seed, jobs, chosen)
    report(table_of(results))
    bad = [result for result in results if not result.good]
    planted = [result for result in results if not result.control and result.status != "not applicable"]
    killed = sum(result.good for result in planted)
    seconds = time.perf_counter() - started
    report(f"\n{killed} of {len(planted)} faults killed in {seconds:.0f} s ({profile_name}, {jobs} jobs, seed {seed})")
    for result in bad:
        what = "a control was killed" if result.control else result.status
        report(f"{what}: {result.fault} - {faults[result.fault].sentence} {result.example}")
    idle = decorations(results, load_families()) if keyword is None else []
    for name in idle:
        report(f"decoration: {name} kills nothing")
    return 1 if bad or idle else 0
