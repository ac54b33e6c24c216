"""Which drawn faults hit the calls of a case and change something there.

A fault does so if a call meets each text of its condition and its damage would change something, so every call is written as one
bit for each text of its site's table and for each damage of a kernel.  In Python only damages that depend on values or memory have
a bit, for to plan them all takes longer than the call; of the others the texts that they need are asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import repeat
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core.facts import conditions
from embcheck.engine.execution import Execution
from selfcheck import drawn as faults
from selfcheck.candidates import Candidate
from selfcheck.conditions import PYTHON_TABLES, TABLE, WEIGHTS
from selfcheck.damages import Damage
from selfcheck.drawn import damages, site_of
from selfcheck.greedy import Hits
from selfcheck.planting import Sites, changes
from selfcheck.runner import forks
from selfcheck.sites import SITES

#: The texts of each site, in the order of their bits.
TEXTS: Mapping[str, tuple[str, ...]] = {
    site: tuple(dict.fromkeys(text for term in terms for text in term.texts))
    for site, terms in {**PYTHON_TABLES["core"], **TABLE, **PYTHON_TABLES["extended"]}.items()
}
#: How the names of damages in Python begin, or end, that depend on values, shapes or memory.
_OF_VALUES, _OF_MEMORY = ("cast(", "stale", "spill(memory)", "tie", "give(max_norm="), "=memory)"
_DAMAGES: Mapping[str, Sequence[Damage]] = {
    site: [
        each
        for each in damages(site)
        if site in SITES or each.name.startswith(_OF_VALUES) or each.name.endswith(_OF_MEMORY)
    ]
    for site in TEXTS
}
#: For each site the bits of a call.
Calls = tuple[tuple[str, bytes], ...]


class Wanted(NamedTuple):
    """A drawn fault: its site, the bits of the texts of its condition and of its damage, or of what that needs, and what a call
    needs that it changes."""

    site: str
    bits: tuple[int, ...]
    needs: tuple[str, ...] = ()


class _Recorder(Sites):
    """Kernels, or functions of Python's, that write down the calls of every site."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.calls: list[tuple[str, bytes]] = []
        self._watched = {site: [(0, None)] for site in names or SITES}  # type: ignore[list-item]

    def _written_down(self, site: Any, told: Any, result: Any, again: Any) -> None:
        found = 0
        for fact in _facts(site.name):
            found |= _bits(site.name, fact, told.facts[fact])
        for place, damage in enumerate(_DAMAGES[site.name], len(TEXTS[site.name])):
            found |= changes(damage, site, told, result, again) << place
        self.calls.append((site.name, found.to_bytes(-(-_count(site.name) // 8), "little")))


def _count(site: str) -> int:
    return len(TEXTS[site]) + len(_DAMAGES[site])


@cache
def _facts(site: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(conditions(text)[0].fact for text in TEXTS[site]))


@cache
def _bits(site: str, fact: str, value: Any) -> int:
    """The bits of the texts that a fact's value meets."""
    return sum(
        1 << place
        for place, text in enumerate(TEXTS[site])
        if conditions(text)[0].fact == fact and all(each.holds({fact: value}) for each in conditions(text))
    )


_recorders: list[_Recorder] = []


def calls_of(candidate: Candidate, names: Sequence[str] = ()) -> Calls:
    """The calls of a case that are judged, of kernels or of the sites of these names, which are the same in all calls of a process:
    after a history, which is not judged, the last call of each."""
    if not _recorders:
        _recorders.append(_Recorder(names))
        _recorders[0].install()
    recorder = _recorders[0]
    recorder.forget()
    recorder.calls = []
    Execution()(candidate.family, candidate.mode, candidate.fresh)
    if candidate.case.axes.get("history", "fresh") in ("fresh", "several"):
        return tuple(dict.fromkeys(recorder.calls))
    return tuple(dict(recorder.calls).items())


#: The cases whose calls forks of this process record.
_recorded: list[Candidate] = []


def _calls_at(place: int, names: Sequence[str]) -> Calls:
    return calls_of(_recorded[place], names)


def recorded(found: Sequence[Candidate], jobs: int, names: Sequence[str] = ()) -> list[Calls]:
    """The calls of each case, as `calls_of` tells them in forks of this process."""
    _recorded[:] = found
    with forks(jobs) as pool:
        return list(pool.map(_calls_at, range(len(found)), repeat(names), chunksize=64))


# -- conditions ---------------------------------------------------------------------------------------------------------


def drawn(seed: int, times: int, of: str = "core", weights: Mapping[str, int] = WEIGHTS) -> list[Wanted]:
    """Drawn faults of a set."""
    draws, found = Random(f"conditions of decks {seed}"), []
    for site, weight in weights.items():
        for turn in range(weight * times):
            drawn_fault = faults.drawn(draws, 2 + (turn % 4 > 0), site, of)
            if drawn_fault is not None:
                found.append(_wanted(site, *drawn_fault))
    return found


def _wanted(site: str, texts: Sequence[str], damage: Damage) -> Wanted:
    needs = (*texts, *damage.conditions(site_of(site)))
    if damage in _DAMAGES[site]:
        changed = len(TEXTS[site]) + _DAMAGES[site].index(damage)
        return Wanted(site, (*map(TEXTS[site].index, texts), changed), needs)
    bits = (TEXTS[site].index(text) for text in dict.fromkeys(needs) if text in TEXTS[site])
    return Wanted(site, tuple(bits), needs)


def met(found: Sequence[Calls], wanted: Sequence[Wanted]) -> Hits:
    """For each case the faults, by position, that hit one of its calls and change it."""
    pairs: list[npt.NDArray[np.int64]] = []
    for site in TEXTS:
        rows = [(case, bits) for case, made in enumerate(found) for name, bits in made if name == site]
        if not rows:
            continue
        cases = np.array([case for case, _ in rows])
        packed = np.frombuffer(b"".join(bits for _, bits in rows), dtype=np.uint8).reshape(len(rows), -1)
        columns = np.packbits(np.unpackbits(packed, axis=1, bitorder="little")[:, : _count(site)], axis=0)
        for position, each in enumerate(wanted):
            if each.site == site:
                every = np.bitwise_and.reduce(columns[:, list(each.bits)], axis=1)
                hit = np.unique(cases[np.flatnonzero(np.unpackbits(every, count=len(cases)))])
                pairs.append(np.stack([hit, np.full(len(hit), position)]))
    if not pairs:
        return [np.zeros(0, np.int32) for _ in found]
    case, position = np.concatenate(pairs, axis=1)
    order = np.argsort(case, kind="stable")
    ends = np.searchsorted(case[order], np.arange(1, len(found)))
    return np.split(position[order].astype(np.int32), ends)
