"""Which drawn conditions the calls of a case meet, and the aimed cases that are chosen for the decks by what they add to that.

A call meets a conjunction if it meets each of its texts, so every call is written as one bit for each text of its site's table.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from random import Random
from typing import Any

import numpy as np

from embcheck.core.deck import aimed_at
from embcheck.core.facts import holds
from embcheck.core.format import Array
from embcheck.core.ledger import Ledger
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from selfcheck import conditions
from selfcheck.conditions import TABLE
from selfcheck.contradictions import contradictory
from selfcheck.judging import Candidate, Candidates, deck
from selfcheck.planting import Kernels
from selfcheck.runner import forks
from selfcheck.sites import SITES

#: The texts of each site, in the order of their bits.
TEXTS: Mapping[str, tuple[str, ...]] = {
    site: tuple(dict.fromkeys(text for term in terms for text in term.texts)) for site, terms in TABLE.items()
}
#: Conditions of two and three facts by which cases are chosen, a site's weight times so many.
_DRAWN = 4000
#: How many aimed cases of each family are looked at: positions in its stream.
LOOKED_AT = {
    "gradient": 18000,
    "lookup": 5000,
    "embedding_bag": 20000,
    "max_norm": 10000,
    "one_hot": 6000,
    "conversion": 10000,
}
#: Seconds of CPU time that the aimed cases of each tier may cost, those of the tier before included.
AIMED = {"quick": 3.0, "gate": 12.0}
#: What the first, second, third and fourth case that meets a condition is worth.
_WORTH = (1.0, 0.6, 0.4, 0.3)
#: Parts that are recorded at a time; no case is cheaper than this, seconds.
_PARTS, _LEAST = 64, 0.0003

Calls = tuple[tuple[str, bytes], ...]


class _Recorder(Kernels):
    """Kernels that write down the calls of every site."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, bytes]] = []

    def begin(self, *, recording: bool) -> None:
        """Begins a case whose calls are written down, or not."""
        self.forget()
        self.calls = []
        self._watched = {site: [(0, None)] for site in SITES} if recording else {}  # type: ignore[list-item]

    def _record(self, site: Any, told: Any, result: Any, again: Any) -> None:
        bits = np.array([holds(text, told.facts) for text in TEXTS[site.name]], dtype=bool)
        self.calls.append((site.name, np.packbits(bits).tobytes()))


_recorders: list[_Recorder] = []


def record(chosen: Sequence[Candidate]) -> list[tuple[float, Calls]]:
    """What each case costs in seconds of CPU time, and its calls; for a fork, where kernels stay."""
    if not _recorders:
        _recorders.append(_Recorder())
        _recorders[0].install()
    recorder, found = _recorders[0], []
    for candidate in chosen:
        recorder.begin(recording=False)
        started = time.process_time()
        _run(candidate)
        spent = time.process_time() - started
        recorder.begin(recording=True)
        _run(candidate)
        found.append((spent, tuple(dict.fromkeys(recorder.calls))))
    return found


def _run(candidate: Candidate) -> None:
    evaluate(candidate.family, candidate.mode, candidate.fresh, candidate.laws, Execution())


def drawn(seed: int) -> list[tuple[str, tuple[int, ...]]]:
    """Conditions that take part in the choice: the site, and the bits of their texts."""
    draws = Random(f"conditions of decks {seed}")
    found = []
    for site, weight in conditions.WEIGHTS.items():
        for turn in range(weight * _DRAWN):
            condition = conditions.drawn(site, 2 + (turn % 4 > 0), draws)
            if condition is not None and not contradictory([condition], site):
                found.append((site, tuple(TEXTS[site].index(text) for text in _texts(site, condition))))
    return found


def _texts(site: str, condition: str) -> list[str]:
    """The texts of the table that a condition was drawn from; a text may be a conjunction of its own."""
    left, found = condition, []
    for text in sorted(TEXTS[site], key=len, reverse=True):
        whole = f" & {left} & "
        if f" & {text} & " in whole:
            left = whole.replace(f" & {text} & ", " & ", 1).strip(" &")
            found.append(text)
    if left:
        raise ValueError(f"{condition!r} is not of the table of {site}")
    return found


def met(calls: Sequence[Iterable[tuple[str, bytes]]], wanted: Sequence[tuple[str, tuple[int, ...]]]) -> list[list[int]]:
    """For each case the conditions, by position, that one of its calls meets."""
    found: list[list[int]] = [[] for _ in calls]
    for site, texts in TEXTS.items():
        rows = [(case, bits) for case, made in enumerate(calls) for name, bits in made if name == site]
        if not rows:
            continue
        cases = np.array([case for case, _ in rows])
        packed = np.frombuffer(b"".join(bits for _, bits in rows), dtype=np.uint8).reshape(len(rows), -1)
        columns = np.packbits(np.unpackbits(packed, axis=1)[:, : len(texts)], axis=0)
        for position, (name, bits) in enumerate(wanted):
            if name == site:
                for case in _cases(columns, bits, cases):
                    found[case].append(position)
    return found


def _cases(columns: Array, bits: Sequence[int], cases: Array) -> list[int]:
    every = np.bitwise_and.reduce(columns[:, list(bits)], axis=1)
    hit = np.flatnonzero(np.unpackbits(every, count=len(cases)))
    return [int(case) for case in np.unique(cases[hit])]


# -- what is chosen -----------------------------------------------------------------------------------------------------

#: What forks record.
_recording: list[Candidate] = []


def _part(part: int) -> tuple[int, list[tuple[float, Calls]]]:
    return part, record(_recording[part::_PARTS])


def recorded(found: Sequence[Candidate], jobs: int) -> list[tuple[float, Calls]]:
    """What `record` says of each case, by forks of this process."""
    _recording[:] = found
    made: list[Any] = [None] * len(found)
    with forks(jobs) as pool:
        for done in as_completed([pool.submit(_part, part) for part in range(_PARTS)]):
            part, told = done.result()
            made[part::_PARTS] = told
    return made


def aimed(jobs: int, ledger: Ledger) -> dict[str, dict[str, tuple[int, ...]]]:
    """For each tier and family the positions of the aimed cases that add most for their cost to what the tier runs anyway.

    To be called in a process that has computed nothing with torch by several threads.
    """
    made, keys, cases = Candidates(ledger), list[tuple[str, int]](), list[Candidate]()
    for name, count in LOOKED_AT.items():
        family = made.families[name]
        for position in range(count):
            case = aimed_at(family.space, name, position)
            candidate = None if case is None else made.candidate(name, family.modes[0], case)
            if candidate is not None:
                keys.append((name, position))
                cases.append(candidate)
    bases = {tier: deck(tier, 0)[0] for tier in AIMED}
    told = recorded([*cases, *(each for base in bases.values() for each in base)], jobs)
    hits = met([calls for _, calls in told], drawn(1))
    costs = [max(_LEAST, seconds) for seconds, _ in told[: len(keys)]]
    taken: list[int] = []
    found, end = {}, len(keys)
    for tier, base in bases.items():
        start, end = end, end + len(base)
        had = Counter(position for each in (*hits[start:end], *map(hits.__getitem__, taken)) for position in each)
        before = len(taken)
        _add(taken, hits[: len(keys)], costs, had, AIMED[tier])
        chosen = sorted(keys[each] for each in taken[before:])
        found[tier] = {name: tuple(place for family, place in chosen if family == name) for name in LOOKED_AT}
    return found


def _add(
    taken: list[int], hits: Sequence[Sequence[int]], costs: Sequence[float], had: Counter[int], budget: float
) -> None:
    """Adds to what is taken, always what adds most for its cost, until a budget is spent."""

    def gain(position: int) -> float:
        worth = sum(_WORTH[had[each]] for each in hits[position] if had[each] < len(_WORTH))
        return -worth / costs[position]

    spent = sum(costs[each] for each in taken)
    heap = [(gain(position), position) for position in set(range(len(hits))).difference(taken)]
    heapq.heapify(heap)
    while heap and spent < budget:
        _, position = heapq.heappop(heap)
        now = gain(position)
        if heap and now > heap[0][0]:  # what a case adds only falls as others are taken
            heapq.heappush(heap, (now, position))
        elif now < 0:
            taken.append(position)
            had.update(hits[position])
            spent += costs[position]
