"""Which drawn faults hit the calls of a case and change something there.

A fault does so if a call meets each text of its condition and its damage would change something, so every call is asked once for
each text of its site's table and for each damage of a kernel.  In Python only damages that depend on values or memory are asked,
for to plan them all takes longer than the call; of the others the texts that they need are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core.facts import conditions
from embcheck.core.ledger import Ledger
from embcheck.engine.execution import Execution
from selfcheck import drawn as faults
from selfcheck.candidates import Candidate
from selfcheck.conditions import PYTHON_TABLES, TABLE, WEIGHTS
from selfcheck.damages import Damage
from selfcheck.drawn import Fault, damage_of, damages
from selfcheck.greedy import Counts, Hits
from selfcheck.planting import Sites, changes
from selfcheck.runner import Progress, clean_run, forks
from selfcheck.sites import SITES

#: The conditions of each site, in the order of their places.
TEXTS: Mapping[str, tuple[str, ...]] = {
    site: tuple(dict.fromkeys(each for term in terms for text in term.texts for each in text.split(" & ")))
    for site, terms in {**PYTHON_TABLES["core"], **TABLE, **PYTHON_TABLES["extended"]}.items()
}
#: How the names of damages in Python begin, or end, that depend on values, shapes or memory.
_OF_VALUES, _OF_MEMORY = ("cast(", "stale", "spill(memory)", "tie", "give(max_norm="), "=memory)"
#: Damages have places behind the texts.
_DAMAGES: Mapping[str, Sequence[Damage]] = {
    site: [
        each
        for each in damages(site)
        if site in SITES or each.name.startswith(_OF_VALUES) or each.name.endswith(_OF_MEMORY)
    ]
    for site in TEXTS
}


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
        of_site: dict[str, list[int]] = {}
        for position, each in enumerate(wanted):
            of_site.setdefault(each.site, []).append(position)
        super().__init__(of_site)
        self.calls: dict[str, list[tuple[int, ...]]] = {}
        self._watched = {site: [(0, None)] for site in of_site}  # type: ignore[list-item]
        #: For each site the positions of its faults, and for each of these the places, the last again where it has fewer.
        self._asked: dict[str, tuple[Hits, npt.NDArray[np.int32]]] = {}
        for site in [site for site in TEXTS if site in of_site]:
            places = [_asked(wanted[position]) for position in of_site[site]]
            longest = max(map(len, places))
            filled = [(*each, *each[-1:] * (longest - len(each))) for each in places]
            self._asked[site] = np.array(of_site[site], np.int32), np.array(filled, np.int32)

    def _written_down(self, site: Any, told: Any, result: Any, again: Any) -> None:
        found = [place for fact in _facts(site.name) for place in _places(site.name, fact, told.facts[fact])]
        for place, damage in enumerate(_DAMAGES[site.name], len(TEXTS[site.name])):
            if changes(damage, site, told, result, again):
                found.append(place)
        self.calls.setdefault(site.name, []).append(tuple(found))

    def hits(self, candidate: Candidate) -> Hits:
        """The faults, by position, that hit and change one of a case's calls that are judged: after a history, which is not, the
        last call of each site."""
        if self._library is None:
            self.install()
        self.forget()
        self.calls = {}
        Execution()(candidate.family, candidate.mode, candidate.fresh)
        every = candidate.case.axes.get("history", "fresh") in ("fresh", "several")
        found = [np.zeros(0, np.int32)]
        for site, (positions, places) in self._asked.items():
            calls = self.calls.get(site, [])
            hit = np.zeros(len(positions), bool)
            for met in dict.fromkeys(calls if every else calls[-1:]):
                holds = np.zeros(len(TEXTS[site]) + len(_DAMAGES[site]), bool)
                holds[list(met)] = True
                hit |= holds[places].all(axis=1)
            found.append(positions[hit])
        return np.concatenate(found)


def _asked(fault: Fault) -> tuple[int, ...]:
    """The places of the texts of a fault's condition and of its damage, or of what that needs."""
    texts, damage = TEXTS[fault.site], damage_of(fault.site, fault.damage)
    if damage in _DAMAGES[fault.site]:
        condition = map(texts.index, fault.condition.split(" & "))
        return (*condition, len(texts) + _DAMAGES[fault.site].index(damage))
    needs = dict.fromkeys(" & ".join(fault.needs).split(" & "))
    return tuple(texts.index(text) for text in needs if text in texts)


@cache
def _facts(site: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(conditions(text)[0].fact for text in TEXTS[site]))


@cache
def _places(site: str, fact: str, value: Any) -> tuple[int, ...]:
    """The places of the texts that a fact's value meets."""
    return tuple(
        place
        for place, text in enumerate(TEXTS[site])
        for condition in conditions(text)
        if condition.fact == fact and condition.holds({fact: value})
    )


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


# -- conditions ---------------------------------------------------------------------------------------------------------


def drawn(seed: int, times: int, of: str = "core", weights: Mapping[str, int] = WEIGHTS) -> list[Fault]:
    """Drawn faults of a set, of each site its weight times so many."""
    draws, found = Random(f"conditions of decks {seed}"), []
    for site, weight in weights.items():
        for turn in range(weight * times):
            drawn_fault = faults.drawn(draws, 2 + (turn % 4 > 0), site, of)
            if drawn_fault is not None:
                found.append(Fault(site, " & ".join(drawn_fault[0]), drawn_fault[1].name))
    return found
