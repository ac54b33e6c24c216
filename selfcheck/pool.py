"""The cases that a deck is chosen from, what each costs, and which planted faults it kills."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.deck import written, written_case
from embcheck.core.law import Family
from embcheck.core.space import covering_rows
from embcheck.engine.obligations import obliging_cases
from embcheck.engine.selection import gaps, thinned
from embcheck.subject.collect import load_families
from selfcheck.candidates import Candidate, of_this_process
from selfcheck.fault import load_faults
from selfcheck.fault_runner import Planted, used

#: One landmark and small case in so many is looked at, and so many cases of the product; a sixth of that in further modes.
_STRIDES, _PRODUCT, _COARSER = {"fixed_cases": 1.0, "small": 6.0}, 1000, 6
#: Covers of two axes that are looked at; seconds of CPU time that a family's cases may cost, and that a fault is run for.
_COVERS, _BUDGET, _PATIENCE = 2, 14.0, 12.0
#: After so many kills no more cases meet a fault.
_ENOUGH = 40


class Place(NamedTuple):
    """A case with what says in `embcheck.core.deck` where it is found; an obliging one is always run."""

    mode: str
    part: str
    where: Any
    case: Any


@dataclass
class Measured:
    """What the cases of a family's pool that may be chosen cost in seconds, by their positions, and the laws that each breaks as
    torch is."""

    seconds: dict[int, float] = field(default_factory=dict)
    broken: dict[int, frozenset[str]] = field(default_factory=dict)


def pool(family: Family) -> list[Place]:
    """The obliging cases of a family, then a share of its fixed_cases, small cases, product and covers."""
    return [
        *(Place(family.modes[0], "obliging", where, case) for where, case in obliging_cases(family).items()),
        *(place for mode in family.modes for place in _enumerated(family, mode)),
    ]


def _enumerated(family: Family, mode: str) -> Iterator[Place]:
    space, coarse = family.space, 1 if mode == family.modes[0] else _COARSER
    obliging = obliging_cases(family) if coarse == 1 else {}
    fixed_cases = sum(1 for each in map(space.repair, space.fixed_cases()) if each)
    for first, end, kind in ((0, fixed_cases, "fixed_cases"), (fixed_cases, None, "small")):
        found = islice(enumerate(space.small()), first, end)
        for where, case in thinned(found, _STRIDES[kind] * coarse, stream.derive(1, family.name, mode, kind)):
            if where not in obliging:
                yield Place(mode, "small", tuple(written_case(case)), case)
    stride = max(1.0, math.prod(len(space.axes[name]) for name in space.flags) / _PRODUCT) * coarse
    for case in space.product(gaps(stride, stream.derive(1, family.name, mode, "product"))):
        yield Place(mode, "product", tuple(written_case(case)), case)
    sizes = tuple(map(len, space.axes.values()))
    for turn in range(_COVERS if coarse == 1 else 1):
        rows = covering_rows(sizes, min(2, space.strength), stream.derive(turn, family.name, mode), 1).tolist()
        for row in rows if coarse == 1 else thinned(rows, 3, stream.derive(turn, family.name, mode)):
            case = space.at(row, stream.derive(0, family.name, written(row)) & 0xFF)
            if case is not None:
                yield Place(mode, "rows", written(row), case)
    if coarse == 1:  # and what a cover loses where no case can have a row of it
        whole = partial(space.cover, min(2, space.strength), stream.derive(0, family.name, mode), 1)
        for case in list(whole(complete=True))[sum(1 for _ in whole()) :]:
            yield Place(mode, "product", tuple(written_case(case)), case)


# -- in worker processes --------------------------------------------------------------------------------------------


@cache
def _pool_of(name: str) -> list[tuple[Place, Candidate | None]]:
    """A family's pool, each with the laws that are asked of it if the ledger lets it be executed."""
    made = of_this_process()
    return [(each, made.candidate(name, each.mode, each.case)) for each in pool(made.families[name])]


def measure(name: str) -> Measured:
    """A clean run of a family's pool, up to a budget of CPU time."""
    found, end = Measured(), used() + _BUDGET
    places = _pool_of(name)
    obliging = sum(place.part == "obliging" for place, _ in places)
    order = [*range(obliging), *stream.shuffled(stream.derive(2, name), list(range(obliging, len(places))))]
    # A case in forks takes processor time in others, and mostly waits: what it costs is told by the clock alone.
    clock = time.perf_counter if load_families()[name].forks else time.process_time
    for count, position in enumerate(order):
        if count >= obliging and count % 32 == 0 and used() > end:
            break
        candidate = places[position][1]
        if candidate is not None:
            started = clock()
            broken = frozenset(of_this_process().judged(candidate)[0])
            found.seconds[position] = clock() - started
            if broken:
                found.broken[position] = broken
    return found


def killers(fault: str, clean: Measured) -> dict[int, frozenset[str]]:
    """The cases of its family's pool that kill a fault, by position, each with the laws that it breaks there and not without."""
    planned = load_faults()[fault]
    if not planned.applies():
        return {}
    places, found, end = _pool_of(planned.family), dict[int, frozenset[str]](), used() + _PATIENCE
    with Planted(planned) as planted:
        for count, position in enumerate(stream.shuffled(stream.derive(3, fault), sorted(clean.seconds))):
            candidate = places[position][1]
            laws = {} if candidate is None else of_this_process().judged(candidate, planted.execute)[0]
            broken = frozenset(laws) - clean.broken.get(position, frozenset())
            if broken:
                found[position] = broken
            if len(found) == _ENOUGH or (count % 32 == 0 and used() > end):
                break
    return found


def candidates(
    names: Sequence[str], measured: Mapping[str, Measured]
) -> dict[tuple[str, int], tuple[Place, Candidate | None]]:
    """Every case that was measured, by its family and its position."""
    return {
        (name, position): each
        for name in names
        for position, each in enumerate(_pool_of(name))
        if position in measured[name].seconds
    }
