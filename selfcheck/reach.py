"""The aimed cases that are chosen for the decks by the conditions of drawn faults that they add.

Cases are built for conditions that too few others meet, several at a time where they fit each other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.facts import Condition
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from selfcheck.aiming import BUILDERS, renamed
from selfcheck.calls import TEXTS, Calls, Hits, Wanted, calls_of, counted, drawn, met
from selfcheck.candidates import Candidate, Candidates
from selfcheck.contradictions import implied
from selfcheck.judging import deck
from selfcheck.runner import forks

#: Faults by whose conditions cases are chosen, a site's weight times so many, and the seed that draws them.
_DRAWN, _SEED = 8000, 1
#: So many cases are built in a round, each for the first of some conditions and as many of the others as fit, for conditions
#: that fewer than ``_DUE`` cases meet; so many rounds.
_BUILT, _OTHERS, _MERGED, _DUE, _ROUNDS = 6000, 12, 4, 12, 5
#: What the first, second … case that meets a condition is worth; with fewer a kill is thin.
WORTH = (1.0, 0.8, 0.7, 0.6)
#: Seconds of CPU time that the aimed cases of each tier may cost, those of the tier before included.
AIMED = {"quick": 3.7, "gate": 22.5}
#: Seconds that a case may cost which is executed to see which conditions it meets.
_LARGEST = 0.1
#: One case in so many of what a tier runs anyway is looked at.
_SHARE = {"quick": 3, "gate": 12}
#: Seconds that a case of a family costs, what several calls add, and what each element does that it reads and writes.  They are
#: told, and not measured, so that the same cases are chosen everywhere.
_COSTS = {
    "one_hot": (0.0004, 0.0008, 5e-8),
    "lookup": (0.0006, 0.0, 7e-9),
    "gradient": (0.0010, 0.0029, 1e-8),
    "embedding_bag": (0.0013, 0.0034, 1e-8),
    "max_norm": (0.0017, 0.0022, 2e-8),
    "conversion": (0.0015, 0.0026, 4e-8),
}


class Built(NamedTuple):
    """A case of a family with the calls in which it can be judged."""

    family: str
    case: Any
    calls: Calls

    @property
    def cost(self) -> float:
        """About how many seconds of CPU time it takes."""
        each, several, element = _COSTS[self.family]
        return each + several * ("several" in self.case) + element * _elements(self.case.axes)


def _elements(axes: Mapping[str, Any]) -> float:
    names = ("num_embeddings", "num_classes", "in_features", "rows")
    rows = next((axes[name] for name in names if name in axes), 1)
    shape = axes.get("shape", (axes.get("numel", 1),))
    width = axes.get("embedding_dim", axes.get("out_features", 1))
    return float((rows + np.prod(shape)) * width * 3)


# -- in the forks -------------------------------------------------------------------------------------------------------

#: What forks record, and what says which cases a ledger lets be executed.
_recording: list[Candidate] = []
_candidates: list[Candidates] = []


def _recorded(part: range) -> list[Built]:
    some = [_recording[place] for place in part]
    return [Built(each.family.name, tuple(each.case), calls_of(each)) for each in some]


def _built(tasks: Sequence[tuple[str, Sequence[Sequence[str]], int]]) -> list[Built]:
    found = []
    for site, wanted, seed in tasks:
        made = _case(site, wanted, seed)
        # Several conditions together can ask for a table that does not fit into memory.
        if made is not None and Built(made.family.name, made.case, ()).cost <= _LARGEST:
            found.append(Built(made.family.name, tuple(made.case), calls_of(made)))
    return found


def _case(site: str, wanted: Sequence[Sequence[str]], seed: int) -> Candidate | None:
    """A case for the first of some conditions and for as many others as fit, or else for that alone."""
    texts, merged = list(wanted[0]), 1
    for others in wanted[1:]:
        if merged < _MERGED and implied([*texts, *others], site) is not None:
            texts, merged = [*texts, *others], merged + 1
    for some in [texts, list(wanted[0])][merged == 1 :]:
        wished: list[Condition] | None = implied(some, site)
        if wished is None:
            continue
        built = attempts(Wish(Stream(stream.derive("reach", site, seed)), renamed(site, wished)), BUILDERS[site])
        if built is not None:
            return _candidates[0].fitted(*built)
    return None


# -- in the process that forks ------------------------------------------------------------------------------------------


def _tasks(wanted: Sequence[Wanted], due: Sequence[int], number: int) -> Iterator[tuple[str, list[list[str]], int]]:
    """What is to be built for conditions that are due, those of a site together."""
    by_site: dict[str, list[list[str]]] = {}
    for position in due:
        site, bits = wanted[position]
        by_site.setdefault(site, []).append([TEXTS[site][bit] for bit in bits])
    step = max(1, len(due) // _BUILT)
    for site, some in by_site.items():
        for place in range(0, len(some), step):
            yield site, some[place : place + _OTHERS], number * len(due) + place


def candidates(jobs: int, ledger: Ledger, say: Any) -> tuple[dict[str, Hits], list[Built], Hits, Sequence[Any]]:
    """What the tiers run anyway and the cases that are built, with the conditions that each meets; and the conditions.

    To be called in a process that has computed nothing with torch by several threads.
    """
    wanted, draws = drawn(_SEED, _DRAWN), Random("the order in which conditions are due")
    bases = {tier: deck(tier, 0)[0][::share] for tier, share in _SHARE.items()}
    _recording[:] = [each for base in bases.values() for each in base]
    _candidates[:] = [Candidates(ledger)]
    cases: list[Built] = []
    hits: Hits = []
    with forks(jobs) as pool:
        parts = [range(start, min(start + 256, len(_recording))) for start in range(0, len(_recording), 256)]
        recorded = [each for some in pool.map(_recorded, parts) for each in some]
        found, start = {}, 0
        for tier, base in bases.items():
            found[tier] = met([each.calls for each in recorded[start : start + len(base)]], wanted)
            start += len(base)
        say(f"{len(recorded)} cases of the decks are recorded")
        had = _SHARE["gate"] * counted(found["gate"], len(wanted))
        for number in range(_ROUNDS):
            due = [int(position) for position in np.flatnonzero(had < _DUE)]
            draws.shuffle(due)
            due = sorted(due[: _BUILT * _MERGED], key=lambda position: int(had[position]))
            tasks = list(_tasks(wanted, due, number))
            made = [each for some in pool.map(_built, [tasks[k::24] for k in range(24)]) for each in some]
            cases += [
                each._replace(case=_candidates[0].families[each.family].space.case_type(*each.case)) for each in made
            ]
            new = met([each.calls for each in made], wanted)
            hits += new
            had = had + counted(new, len(wanted))
            say(f"round {number}: {len(made)} of {len(tasks)} built; {_said(had)}")
    return found, cases, hits, wanted


def _said(had: npt.NDArray[np.int64]) -> str:
    return (
        f"{100 * np.mean(had > 0):.2f} % of conditions are met, {100 * np.mean(had >= len(WORTH)):.2f} % often enough"
    )


def aimed(jobs: int, ledger: Ledger, say: Any) -> dict[str, dict[str, list[Any]]]:
    """For each tier and family the aimed cases that add most for their cost to what the tier runs anyway."""
    bases, cases, hits, wanted = candidates(jobs, ledger, say)
    taken: list[int] = []
    found: dict[str, dict[str, list[Any]]] = {}
    for tier, base in bases.items():
        had = _SHARE[tier] * counted(base, len(wanted)) + counted([hits[each] for each in taken], len(wanted))
        before = len(taken)
        add(taken, cases, hits, had, AIMED[tier])
        found[tier] = {}
        for each in taken[before:]:
            found[tier].setdefault(cases[each].family, []).append(cases[each].case)
        say(f"{tier}: {len(taken)} aimed cases; {_said(had)}")
    return found


def add(
    taken: list[int],
    cases: Sequence[Any],
    hits: Hits,
    had: npt.NDArray[np.int64],
    budget: float,
    worths: Sequence[float] = WORTH,
) -> None:
    """Adds to what is taken, always what adds most for its cost, until a budget is spent."""
    worth = np.array([*worths, 0.0])
    costs: list[float] = [each.cost for each in cases]

    def gain(position: int) -> float:
        return -float(worth[np.minimum(had[hits[position]], len(worths))].sum()) / costs[position]

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
            had[hits[position]] += 1
            spent += costs[position]
