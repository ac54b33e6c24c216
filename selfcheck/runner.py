"""Takes the score: a clean run, then every fault in turn, in forks of a process that has computed nothing with torch."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import NamedTuple

from embcheck.core.ledger import Ledger
from embcheck.engine.evaluate import named
from embcheck.subject.collect import load_families
from selfcheck import tracing
from selfcheck.candidates import Candidate
from selfcheck.drawn import Fault, always
from selfcheck.judging import CORE as KERNELS
from selfcheck.judging import UNJUDGED, DrawnResult, Judging, Record, deck
from selfcheck.planting import Sites
from selfcheck.sites import SITES
from selfcheck.traced_sites import TRACED_SITES

#: Parts of the deck, and faults that a worker takes at a time; about how many calls of a site are to raise.
_PARTS, _FAULTS, _SEEN = 16, 8, 40


class Task(NamedTuple):
    """A fault to plant, with the cases that it hits and those that it changes."""

    fault: Fault
    met: Sequence[int]
    changed: Sequence[int]


@dataclass
class Score:
    """What came of all faults; ``wrong`` is what a clean run must not show, and there is then nothing else."""

    cases: int
    wrong: list[str]
    results: list[DrawnResult] = field(default_factory=list)
    left_out: int = 0


# -- in the forks -------------------------------------------------------------------------------------------------------

#: The deck and the names of the sites, which forks inherit, and what judges it in them.
_deck: list[tuple[list[Candidate], Ledger]] = []
_sites: list[str] = []
_judging: list[Judging] = []


def _worker() -> Judging:
    """What judges in this process, with kernels and functions that stay as long as it lives."""
    if not _judging:
        warnings.simplefilter("ignore")
        traced = not TRACED_SITES.keys().isdisjoint(_sites)
        sites = tracing.TracedSites(_sites) if traced else Sites(_sites)
        sites.install()
        _judging.append((tracing.TracedJudging if traced else Judging)(*_deck[0], sites))
    return _judging[0]


def _silenced() -> None:
    """What a spoiled torch warns of says nothing of the laws."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)


def _record(faults: Sequence[Fault], chosen: range) -> Record:
    return _worker().record(faults, chosen)


def _run(tasks: Sequence[Task]) -> list[DrawnResult]:
    return [_one(task) for task in tasks]


def _one(task: Task) -> DrawnResult:
    """The result of a fault; what embcheck's own code raises costs this one alone, and is told."""
    try:
        return _worker().result(*task)
    except Exception as error:
        return DrawnResult(
            str(task.fault), "unknown", len(task.met), len(task.changed), told=f"embcheck raised {named(error)}"
        )


# -- in the process that forks ------------------------------------------------------------------------------------------


def forks(jobs: int) -> ProcessPoolExecutor:
    """Processes that are forks of this one, which must have computed nothing with torch by several threads."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"), initializer=_silenced)


def score(
    faults: Sequence[Fault],
    profile: str,
    seed: int,
    jobs: int,
    progress: Callable[[str, int, int], None] = lambda doing, done, total: None,
    families: Iterable[str] = (),
) -> Score:
    """Plants faults on the cases of a profile and a seed.

    First a clean run has to pass, and each site's fault that raises at every call has to be killed.
    """
    # Some spellings need it, and each fork would import it anew.
    import torch._dynamo

    # What is computed here must start no threads of OpenMP: forks would wait for them.
    torch.set_num_threads(1)
    _sites[:] = sorted({fault.site for fault in faults})
    if _sites[0] in TRACED_SITES:
        _deck[:] = [tracing.deck(profile, seed, _sites)]
    else:
        _deck[:] = [deck(profile, seed, tuple(families) or families_of(faults, jobs))]
    count = len(_deck[0][0])
    everywhere = list(enumerate(always(_sites), len(faults)))
    found = _recorded([*faults, *(fault for _, fault in everywhere)], count, jobs, progress)
    tasks = [Task(fault, found.met.get(k, ()), found.changed.get(k, ())) for k, fault in enumerate(faults)]
    wrong = [f"the clean run breaks {words}" for words in found.wrong]
    seen = {k: found.changed.get(k, []) if fault.site in SITES else found.met.get(k, []) for k, fault in everywhere}
    wrong += [
        f"{fault.site}: {'no case calls it' if k not in found.met else 'nothing that it gives is seen to change'}"
        for k, fault in everywhere
        if not seen[k] and fault.site in SITES
    ]
    if wrong:
        return Score(count, wrong)
    # Of the first cases some have to be refused, and are by any exception.
    raising = [Task(fault, found.met[k], seen[k][:: 1 + len(seen[k]) // _SEEN]) for k, fault in everywhere if seen[k]]
    results = _run_all([*raising, *tasks], jobs, progress)
    first, rest = results[: len(raising)], results[len(raising) :]
    wrong = [f"{each.fault}: an exception at every call is not seen" for each in first if each.told == UNJUDGED]
    return Score(count, wrong, rest, found.left_out)


def families_of(faults: Sequence[Fault], jobs: int) -> tuple[str, ...]:
    """The families that judge faults: of kernels those whose cases call them, of others each that calls one of the sites in some
    of its cases of *quick*."""
    if all(fault.site in SITES for fault in faults):
        return KERNELS
    every = tuple(name for name, family in load_families().items() if not family.forks)
    _deck[:] = [deck("quick", 0, every)]
    cases = _deck[0][0]
    found = _recorded(list(always(_sites)), len(cases), jobs, lambda doing, done, total: None)
    called = {cases[position].family.name for positions in found.met.values() for position in positions}
    return tuple(name for name in every if name in called)


def _recorded(faults: Sequence[Fault], count: int, jobs: int, progress: Callable[[str, int, int], None]) -> Record:
    found = Record()
    with forks(jobs) as pool:
        parts = [pool.submit(_record, faults, range(part, count, _PARTS)) for part in range(_PARTS)]
        for done, part in enumerate(as_completed(parts), 1):
            found.add(part.result())
            progress("clean run", done, _PARTS)
    for cases in (*found.met.values(), *found.changed.values()):
        cases.sort()
    return found


def _run_all(tasks: Sequence[Task], jobs: int, progress: Callable[[str, int, int], None]) -> list[DrawnResult]:
    """The result of each fault; one that ends its process is planted once more alone, and is then *unknown*."""
    chunks = [tasks[start : start + _FAULTS] for start in range(0, len(tasks), _FAULTS)]
    found: dict[int, list[DrawnResult]] = {}
    with forks(jobs) as pool:
        waiting: dict[Future[list[DrawnResult]], int] = {pool.submit(_run, chunk): k for k, chunk in enumerate(chunks)}
        for done, future in enumerate(as_completed(waiting), 1):
            try:
                found[waiting[future]] = future.result()
            except BrokenProcessPool:
                continue
            progress("faults", done * _FAULTS, len(tasks))
    return [each for k, chunk in enumerate(chunks) for each in found.get(k) or [_alone(task) for task in chunk]]


def _alone(task: Task) -> DrawnResult:
    with forks(1) as pool:
        try:
            return pool.submit(_run, [task]).result()[0]
        except BrokenProcessPool:
            return DrawnResult(str(task.fault), "unknown", len(task.met), len(task.changed), told="it ends the process")
