"""Which drawn faults hit the calls of a case and change something there, and which cases add most of them for their cost.

A fault does so if a call meets each text of its condition and its damage would change something.  In Python only damages that
depend on values or memory are planned, for to plan them all takes longer than the call; of the others the texts that they need
are asked.
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core.ledger import Ledger
from embcheck.engine.execution import Execution
from selfcheck import drawn as faults
from selfcheck.candidates import Candidate
from selfcheck.conditions import TABLES, WEIGHTS
from selfcheck.drawn import Fault
from selfcheck.kernels import SITES
from selfcheck.planting import Sites
from selfcheck.runner import Progress, clean_run, forks

#: The positions of the faults that change a case, or of what else it meets; and how many cases meet each.
Hits = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
#: The conditions of each site.
TEXTS: Mapping[str, frozenset[str]] = {
    site: frozenset(each for term in terms for text in term.texts for each in text.split(" & "))
    for site, terms in {**TABLES["core"], **TABLES["extended"]}.items()
}
#: How the names of damages in Python begin, or end, that depend on values, shapes or memory.
_OF_VALUES, _OF_MEMORY = ("cast(", "stale", "spill(memory)", "tie", "give(max_norm="), "=memory)"


class Seen(NamedTuple):
    """A case of a family in a mode, with the faults, by position, that hit one of its calls and change it."""

    family: str
    mode: str
    case: Any
    hits: Hits


class Recorder(Sites):
    """Kernels, or functions of Python's, that tell which of some faults hit and change a case.

    They are installed in the first process that asks, which should be a fork.
    """

    def __init__(self, wanted: Sequence[Fault]) -> None:
        super().__init__(each.site for each in wanted)
        self.calls: dict[str, list[set[int]]] = {}
        self.watch(wanted)

    def _asked(self, fault: Fault) -> tuple[Sequence[str], str]:
        if fault.site in SITES or fault.damage.startswith(_OF_VALUES) or fault.damage.endswith(_OF_MEMORY):
            return super()._asked(fault)
        return [text for text in " & ".join(fault.needs).split(" & ") if text in TEXTS[fault.site]], ""

    def _written_down(self, site: Any, told: Any, result: Any, again: Any) -> None:
        self.changed = set()
        super()._written_down(site, told, result, again)
        self.calls.setdefault(site.name, []).append(self.changed)

    def hits(self, candidate: Candidate) -> Hits:
        """The faults, by position, that hit and change one of a case's calls that are judged: after a history, which is not, the
        last call of each site."""
        if self._library is None:
            self.install()
        self.forget()
        self.calls = {}
        Execution()(candidate.family, candidate.mode, candidate.fresh)
        every = candidate.case.axes.get("history", "fresh") in ("fresh", "several")
        found = (set().union(*(calls if every else calls[-1:])) for calls in map(self.calls.get, TEXTS) if calls)
        return np.array([*chain.from_iterable(map(sorted, found))], np.int32)


# -- in forks -----------------------------------------------------------------------------------------------------------

#: What makes a case of a task in forks of this process, which inherit it, and what tells the faults that change one.
_looking: list[tuple[Callable[[Any], Candidate | None], Callable[[Candidate], Hits]]] = []


def _seen(task: Any) -> Seen | None:
    make, hits = _looking[0]
    made = make(task)
    return None if made is None else Seen(made.family.name, made.mode.name, made.fresh, hits(made))


def seen(
    tasks: Iterable[Any],
    make: Callable[[Any], Candidate | None],
    hits: Callable[[Candidate], Hits],
    jobs: int,
) -> list[Seen]:
    """The cases that are made of some tasks, with the faults that change each, as forks of this process tell them."""
    _looking[:] = [(make, hits)]
    with forks(jobs) as pool:
        return [each for each in pool.map(_seen, tasks, chunksize=64) if each is not None]


def recorded(found: Sequence[Candidate], wanted: Sequence[Fault], jobs: int) -> list[Seen]:
    """Some cases with the faults that change each."""
    return seen(range(len(found)), found.__getitem__, Recorder(wanted).hits, jobs)


def changed(
    found: list[Candidate], wanted: Sequence[Fault], ledger: Ledger, jobs: int, progress: Progress = lambda *told: None
) -> list[Seen]:
    """The same by a clean run, which knows what any damage would change."""
    hits = [list[int]() for _ in found]
    for fault, positions in clean_run(wanted, (found, ledger), jobs, progress).changed.items():
        for position in positions:
            hits[position].append(fault)
    return [
        Seen(each.family.name, each.mode.name, each.case, np.array(some, np.int32))
        for each, some in zip(found, hits, strict=True)
    ]


def counted(cases: Iterable[Seen], size: int) -> Counts:
    """How many cases each of so many faults changes."""
    return np.bincount(np.concatenate([np.zeros(0, np.int32), *(each.hits for each in cases)]), minlength=size)


def add(
    costs: Sequence[float],
    hits: Sequence[Hits],
    had: Counts,
    budget: float,
    worths: npt.ArrayLike,
    taken: Collection[int] = (),
    most: float = math.inf,
) -> list[int]:
    """The cases, by position, that are added to those taken: always what adds most for its cost, until a budget is spent, with
    what was taken, or so many are added.

    What a case meets is worth less each time that it is met again: ``worths`` are those of the first, second … time, in a row for
    each if they differ.  ``had`` is how often each was met, and then is.  What a case adds only falls as others are taken, so that
    it is looked at again only once it comes up.
    """
    given = np.asarray(worths, np.float64)
    worth = np.append(given, np.zeros((*given.shape[:-1], 1)), axis=-1)
    worth = np.broadcast_to(worth, (len(had), worth.shape[-1]))

    def rank(position: int) -> float:
        met = hits[position]
        return -float(worth[met, np.minimum(had[met], worth.shape[-1] - 1)].sum()) / costs[position]

    spent, added = sum(costs[position] for position in taken), list[int]()
    heap = [(rank(position), position) for position in set(range(len(costs))).difference(taken)]
    heapq.heapify(heap)
    while heap and spent < budget and len(added) < most:
        _, position = heapq.heappop(heap)
        now = rank(position)
        if heap and now > heap[0][0]:
            heapq.heappush(heap, (now, position))
        elif now < 0:
            added.append(position)
            np.add.at(had, hits[position], 1)
            spent += costs[position]
    return added


def drawn(seed: int, times: int, of: str = "core", weights: Mapping[str, int] = WEIGHTS["kernels"]) -> list[Fault]:
    """Drawn faults of a set, of each site its weight times so many."""
    draws = Random(f"conditions of decks {seed}")
    turns = ((site, turn) for site, weight in weights.items() for turn in range(weight * times))
    found = (faults.drawn(draws, 2 + (turn % 4 > 0), site, of) for site, turn in turns)
    return [fault for fault in found if fault is not None]
