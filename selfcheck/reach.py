"""The aimed cases that are chosen for the decks by the drawn faults that hit them and change something there.

Cases are built for faults that change too few others, several at a time where their conditions fit each other.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core.ledger import Ledger
from selfcheck.aiming import attempted
from selfcheck.calls import Calls, Wanted, calls_of, drawn, met, recorded
from selfcheck.candidates import Candidate, Candidates
from selfcheck.contradictions import implied
from selfcheck.greedy import Hits, add, counted
from selfcheck.judging import deck
from selfcheck.runner import forks

#: Faults by which cases are chosen, a site's weight times so many, and the seed that draws them.
_DRAWN, _SEED = 8000, 1
#: So many cases are built in a round, each for the first of some faults and as many of the others as fit, for those that change
#: fewer than ``_DUE`` cases.  After so many rounds as many more follow, for those that change too few of the cases which *gate*
#: would choose by then.
_BUILT, _OTHERS, _MERGED, _DUE, _ROUNDS = 6000, 24, 8, 12, 3
#: What the first, second … case that a fault changes is worth, by tier.  A kill with fewer than four is thin; *quick* has no time
#: for that, and has more faults change one.
_WORTH = (1.0, 0.8, 0.7, 0.6)
WORTH = {"quick": (1.0, 0.5, 0.2), "gate": _WORTH, "full": _WORTH}
#: Seconds of CPU time that the aimed cases of each tier may cost, those of the tier before included.
AIMED = {"quick": 4.2, "gate": 29.0}
#: Seconds that a case may cost which is executed to see which faults change it.
_LARGEST = 0.1
#: One case in so many of what a tier runs anyway is looked at.
_SHARE = {"quick": 1, "gate": 3}
#: Seconds that a case of a family costs, what each earlier call, several calls, and each element add that it reads and writes.
#: They are told, and not measured, so that the same cases are chosen everywhere.
TIMED = {
    "one_hot": (0.00045, 0.0, 0.0008, 3e-8),
    "lookup": (0.00030, 0.0002, 0.0002, 4e-9),
    "gradient": (0.00065, 0.00025, 0.0034, 1e-8),
    "embedding_bag": (0.0012, 0.0003, 0.0041, 1.2e-8),
    "max_norm": (0.0014, 0.0004, 0.0034, 2e-8),
    "conversion": (0.0016, 0.0, 0.0031, 3e-8),
}
#: What a row costs beside its elements, in elements.
_BESIDE = 4
#: How many earlier calls a history makes, by the first word of its name; others make about one.
_CALLS = {"fresh": 0, "several": 0, "twice": 2, "thrice": 3, "third": 2}


#: The cases that are chosen, by family, mode and tier.
Aimed = dict[tuple[str, str, str], list[Any]]


class Built(NamedTuple):
    """A case of a family with the calls in which it can be judged."""

    family: str
    case: Any
    calls: Calls

    @property
    def cost(self) -> float:
        """About how many seconds of CPU time it takes."""
        return seconds(self.family, self.case)


def seconds(family: str, case: Any) -> float:
    """About how many seconds of CPU time a case of one of `TIMED` takes."""
    each, earlier, several, element = TIMED[family]
    axes, names = case.axes, ("num_embeddings", "num_classes", "in_features", "rows")
    rows = next((axes[name] for name in names if name in axes), 1)
    rows += np.prod(axes.get("shape", (axes.get("numel", 1),)))
    if isinstance(axes.get("bags"), tuple):
        rows += len(axes["bags"])
    width = axes.get("embedding_dim", axes.get("out_features", 1)) + _BESIDE
    calls = _CALLS.get(axes.get("history", "fresh").partition("_")[0], 1)
    elements = float(rows * width * 3)
    if "several" in case:
        return each + earlier * calls + several + 4 * element * elements
    return each + earlier * calls + element * elements


# -- in the forks -------------------------------------------------------------------------------------------------------

#: What says in forks which cases a ledger lets be executed.
_candidates: list[Candidates] = []


def _built(task: tuple[str, Sequence[Sequence[str]], int]) -> Built | None:
    made = _case(*task)
    # Several conditions together can ask for a table that does not fit into memory.
    if made is None or Built(made.family.name, made.case, ()).cost > _LARGEST:
        return None
    return Built(made.family.name, made.fresh, calls_of(made))


def _case(site: str, wanted: Sequence[Sequence[str]], seed: int) -> Candidate | None:
    """A case for the first of some faults and for as many others as fit, or else for that alone."""
    texts, merged = list(wanted[0]), 1
    for others in wanted[1:]:
        if merged < _MERGED and implied([*texts, *others], site) is not None:
            texts, merged = [*texts, *others], merged + 1
    for some in [texts, list(wanted[0])][merged == 1 :]:
        wished = implied(some, site)
        built = None if wished is None else attempted(site, wished, "reach", site, seed)
        if built is not None:
            return _candidates[0].fitted(*built)
    return None


# -- in the process that forks ------------------------------------------------------------------------------------------


def _tasks(
    wanted: Sequence[Wanted], due: Sequence[int], number: int
) -> Iterator[tuple[str, Sequence[Sequence[str]], int]]:
    """What is to be built for faults that are due, those of a site together."""
    by_site: dict[str, list[tuple[str, ...]]] = {}
    for each in (wanted[position] for position in due):
        by_site.setdefault(each.site, []).append(each.needs)
    step = max(1, len(due) // _BUILT)
    for site, some in by_site.items():
        for place in range(0, len(some), step):
            yield site, some[place : place + _OTHERS], number * len(due) + place


def striped(tasks: Sequence[Any], stripes: int) -> list[Any]:
    """Every so many tasks behind each other, for those of a site cost alike."""
    return [task for first in range(stripes) for task in tasks[first::stripes]]


def candidates(jobs: int, ledger: Ledger, say: Any) -> tuple[dict[str, Hits], list[Built], Hits, Sequence[Any]]:
    """What the tiers run anyway and the cases that are built, with the faults that change each; and the faults.

    To be called in a process that has computed nothing with torch by several threads.
    """
    wanted, draws = drawn(_SEED, _DRAWN), Random("the order in which conditions are due")
    found = {tier: met(recorded(deck(tier, 0)[0][::share], jobs), wanted) for tier, share in _SHARE.items()}
    say(f"{sum(map(len, found.values()))} cases of the decks are recorded")
    _candidates[:] = [Candidates(ledger)]
    cases: list[Built] = []
    hits: list[Any] = []
    base = _SHARE["gate"] * counted(found["gate"], len(wanted))
    had = base
    with forks(jobs) as pool:
        for number in range(2 * _ROUNDS):
            due = [int(position) for position in np.flatnonzero(had < (_DUE if number < _ROUNDS else len(_WORTH)))]
            draws.shuffle(due)
            due = sorted(due[: _BUILT * _MERGED], key=lambda position: int(had[position]))
            tasks = striped(list(_tasks(wanted, due, number)), 24)
            made = [each for each in pool.map(_built, tasks, chunksize=64) if each is not None]
            cases += made
            new = met([each.calls for each in made], wanted)
            hits += new
            if number < _ROUNDS - 1:
                had = had + counted(new, len(wanted))
            else:
                had = base.copy()
                add([], [each.cost for each in cases], hits, had, AIMED["gate"], WORTH["gate"])
            say(f"round {number}: {len(made)} of {len(tasks)} built; {_said(had)}")
    return found, cases, hits, wanted


def _said(had: npt.NDArray[np.int64]) -> str:
    return f"{100 * np.mean(had > 0):.2f} % of faults change a case, {100 * np.mean(had >= len(_WORTH)):.2f} % enough of them"


def aimed(jobs: int, ledger: Ledger, say: Any) -> Aimed:
    """For each tier the aimed cases that add most for their cost to what the tier runs anyway."""
    bases, cases, hits, wanted = candidates(jobs, ledger, say)
    taken: list[int] = []
    found: Aimed = defaultdict(list)
    for tier in AIMED:
        had = _SHARE[tier] * counted(bases[tier], len(wanted)) + counted([hits[each] for each in taken], len(wanted))
        before = len(taken)
        add(taken, [each.cost for each in cases], hits, had, AIMED[tier], WORTH[tier])
        for each in taken[before:]:
            name = cases[each].family
            found[name, _candidates[0].families[name].modes[0], tier].append(cases[each].case)
        say(f"{tier}: {len(taken)} aimed cases; {_said(had)}")
    return found
