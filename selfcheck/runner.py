"""Takes the score: a clean run, then every fault in turn, in forks of a process that has computed nothing with torch."""

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from embcheck.core.ledger import Ledger
from embcheck.engine.crashes.alone import silenced
from embcheck.engine.evaluate import named
from embcheck.subject.collect import load_families
from selfcheck import tracing
from selfcheck.candidates import Candidate
from selfcheck.drawn import Fault, always
from selfcheck.judging import CORE as KERNELS
from selfcheck.judging import UNJUDGED, DrawnResult, Judging, Record, deck
from selfcheck.kernels import SITES
from selfcheck.traced import TRACED_SITES

#: Parts of the deck; about how many calls of a site are to raise.
_PARTS, _SEEN = 16, 40
#: The cases that are judged, with the ledger; and who is told what is done, how much of it and of how much.
Deck = tuple[list[Candidate], Ledger]
Progress = Callable[[str, int, int], None]
#: A fault to plant, with the cases that it hits and those that it changes.
Task = tuple[Fault, Sequence[int], Sequence[int]]


@dataclass
class Score:
    """What came of all faults; ``wrong`` is what a clean run must not show, and there is then nothing else."""

    cases: int
    wrong: list[str]
    results: list[DrawnResult] = field(default_factory=list)
    left_out: int = 0


# -- in the forks -------------------------------------------------------------------------------------------------------

#: The deck and the names of the sites, which forks inherit.
_deck: list[Deck] = []
_sites: list[str] = []


@cache
def _worker() -> Judging:
    """What judges in this process, with kernels and functions that stay as long as it lives."""
    warnings.simplefilter("ignore")
    sites = tracing.sites_of(_sites)
    sites.install()
    return (tracing.TracedJudging if isinstance(sites, tracing.TracedSites) else Judging)(*_deck[0], sites)


def _record(faults: Sequence[Fault], chosen: range) -> Record:
    return _worker().record(faults, chosen)


def _one(fault: Fault, met: Sequence[int], changed: Sequence[int]) -> DrawnResult:
    """The result of a fault; what embcheck's own code raises costs this one alone, and is told."""
    try:
        return _worker().result(fault, met, changed)
    except Exception as error:
        return DrawnResult(str(fault), "unknown", len(met), len(changed), told=f"embcheck raised {named(error)}")


# -- in the process that forks ------------------------------------------------------------------------------------------


def forks(jobs: int) -> ProcessPoolExecutor:
    """Processes that are forks of this one, which must have computed nothing with torch by several threads; what a spoiled torch
    warns of in them says nothing of the laws."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"), initializer=silenced)


def score(
    faults: Sequence[Fault],
    profile: str,
    seed: int,
    jobs: int,
    progress: Progress = lambda *told: None,
) -> Score:
    """Plants faults on the cases of a profile and a seed.

    First a clean run has to pass, and each site's fault that raises at every call has to be killed.
    """
    # Some spellings need it, and each fork would import it anew.
    import torch._dynamo

    # What is computed here must start no threads of OpenMP: forks would wait for them.
    torch.set_num_threads(1)
    sites = sorted({fault.site for fault in faults})
    traced = sites[0] in TRACED_SITES
    judged = tracing.deck(profile, seed, sites) if traced else deck(profile, seed, families_of(sites, jobs))
    count = len(judged[0])
    everywhere = list(enumerate(always(sites), len(faults)))
    found = clean_run([*faults, *(fault for _, fault in everywhere)], judged, jobs, progress)
    tasks = [(fault, found.met.get(k, ()), found.changed.get(k, ())) for k, fault in enumerate(faults)]
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
    raising = [(fault, found.met[k], seen[k][:: 1 + len(seen[k]) // _SEEN]) for k, fault in everywhere if seen[k]]
    results = _run_all([*raising, *tasks], jobs, progress)
    first, rest = results[: len(raising)], results[len(raising) :]
    wrong = [f"{each.fault}: an exception at every call is not seen" for each in first if each.told == UNJUDGED]
    return Score(count, wrong, rest, found.left_out)


def families_of(sites: Sequence[str], jobs: int) -> tuple[str, ...]:
    """The families that judge faults of sites: of kernels those whose cases call them, of others each that calls one in some of its
    cases of *quick*."""
    if SITES.keys() >= set(sites):
        return KERNELS
    every = tuple(name for name, family in load_families().items() if not family.forks)
    judged = deck("quick", 0, every)
    found = clean_run(list(always(sites)), judged, jobs)
    called = {judged[0][position].family.name for positions in found.met.values() for position in positions}
    return tuple(name for name in every if name in called)


def clean_run(faults: Sequence[Fault], judged: Deck, jobs: int, progress: Progress = lambda *told: None) -> Record:
    """What the cases of a deck show without a fault, and which of these faults would hit and change them."""
    _deck[:], _sites[:] = [judged], sorted({fault.site for fault in faults})
    count = len(judged[0])
    found = Record()
    with forks(jobs) as pool:
        parts = [pool.submit(_record, faults, range(part, count, _PARTS)) for part in range(_PARTS)]
        for done, part in enumerate(as_completed(parts), 1):
            found.add(part.result())
            progress("clean run", done, _PARTS)
    for cases in (*found.met.values(), *found.changed.values()):
        cases.sort()
    return found


def _run_all(tasks: Sequence[Task], jobs: int, progress: Progress) -> list[DrawnResult]:
    """The result of each fault; one that ends its process is planted once more alone, and is then *unknown*."""
    found: dict[int, DrawnResult] = {}
    with forks(jobs) as pool:
        waiting = {pool.submit(_one, *task): k for k, task in enumerate(tasks)}
        for done, future in enumerate(as_completed(waiting), 1):
            with suppress(BrokenProcessPool):
                found[waiting[future]] = future.result()
                progress("faults", done, len(tasks))
    for k, (fault, met, changed) in enumerate(tasks):
        if k not in found:
            ended = DrawnResult(str(fault), "unknown", len(met), len(changed), told="it ends the process")
            again = _run_all([tasks[k]], 1, lambda *told: None) if len(tasks) > 1 else [ended]
            found[k] = again[0]
    return [found[k] for k in range(len(tasks))]
