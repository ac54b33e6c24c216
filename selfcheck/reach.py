"""The aimed cases that are chosen for the decks by the drawn faults that hit them and change something there.

Cases are built for faults that change too few others, several at a time where their conditions fit each other.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np

from embcheck.core.facts import grouped
from embcheck.core.ledger import Ledger
from selfcheck.aiming import attempted
from selfcheck.calls import Counts, Recorder, Seen, add, counted, drawn, recorded, seen
from selfcheck.candidates import Candidate, Candidates
from selfcheck.contradictions import implied
from selfcheck.drawn import Fault
from selfcheck.judging import deck

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
#: Who is told in words what is done.
Say = Callable[[str], None]


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


def striped(tasks: Sequence[Any], stripes: int) -> list[Any]:
    """Every so many tasks behind each other, for those of a site cost alike."""
    return [task for first in range(stripes) for task in tasks[first::stripes]]


def best(
    cases: Sequence[Seen], costs: Sequence[float], had: Counts, budget: float, worths: Sequence[float], say: Say
) -> list[Seen]:
    """Those of some cases that add most for their cost to faults of which each was had so often."""
    say(f"{np.mean(had > 0):.1%} of {len(had)} are met; {len(cases)} more cases are looked at")
    taken = [cases[each] for each in add(costs, [each.hits for each in cases], had, budget, worths)]
    say(f"with {len(taken)} of them {np.mean(had > 0):.1%}: {Counter(each.family for each in taken)}")
    return taken


# -- what is built for kernels ------------------------------------------------------------------------------------------


def built(made: Candidates, task: tuple[str, Sequence[Sequence[str]], int]) -> Candidate | None:
    """A case for the first of some faults of a site and for as many others as fit, or else for that alone."""
    site, wanted, seed = task
    texts, merged = list(wanted[0]), 1
    for others in wanted[1:]:
        if merged < _MERGED and implied([*texts, *others], site) is not None:
            texts, merged = [*texts, *others], merged + 1
    for some in [texts, list(wanted[0])][merged == 1 :]:
        wished = implied(some, site)
        found = None if wished is None else attempted(site, wished, "reach", site, seed)
        if found is not None:
            case = made.fitted(*found)
            # Several conditions together can ask for a table that does not fit into memory.
            return None if case is None or seconds(case.family.name, case.case) > _LARGEST else case
    return None


def _tasks(
    wanted: Sequence[Fault], due: Sequence[int], number: int
) -> Iterator[tuple[str, Sequence[Sequence[str]], int]]:
    """What is to be built for faults that are due, those of a site together."""
    step = max(1, len(due) // _BUILT)
    for site, some in grouped((wanted[position] for position in due), lambda each: each.site).items():
        for place in range(0, len(some), step):
            yield site, [each.needs for each in some[place : place + _OTHERS]], number * len(due) + place


def _rounds(wanted: Sequence[Fault], base: Counts, made: Candidates, jobs: int, say: Say) -> list[Seen]:
    """The cases that are built in all rounds, beside a base that has each fault change so many."""
    recorder, draws = Recorder(wanted), Random("the order in which conditions are due")
    cases, had = list[Seen](), base
    for number in range(2 * _ROUNDS):
        due = [int(position) for position in np.flatnonzero(had < (_DUE if number < _ROUNDS else len(_WORTH)))]
        draws.shuffle(due)
        due = sorted(due[: _BUILT * _MERGED], key=lambda position: int(had[position]))
        tasks = striped(list(_tasks(wanted, due, number)), 24)
        new = seen(tasks, partial(built, made), recorder.hits, jobs)
        cases += new
        if number < _ROUNDS - 1:
            had = had + counted(new, len(wanted))
        else:
            had = base.copy()
            _add(cases, "gate", had)
        say(f"round {number}: {len(new)} of {len(tasks)} built; {_said(had)}")
    return cases


def _add(cases: Sequence[Seen], tier: str, had: Counts, taken: Collection[int] = ()) -> list[int]:
    costs = [seconds(each.family, each.case) for each in cases]
    return add(costs, [each.hits for each in cases], had, AIMED[tier], WORTH[tier], taken)


def _said(had: Counts) -> str:
    return f"{100 * np.mean(had > 0):.2f} % of faults change a case, {100 * np.mean(had >= len(_WORTH)):.2f} % enough of them"


def aimed(jobs: int, ledger: Ledger, say: Say) -> Aimed:
    """For each tier the aimed cases that add most for their cost to what the tier runs anyway.

    To be called in a process that has computed nothing with torch by several threads.
    """
    wanted = drawn(_SEED, _DRAWN)
    bases = {
        tier: share * counted(recorded(deck(tier, 0)[0][::share], wanted, jobs), len(wanted))
        for tier, share in _SHARE.items()
    }
    say("the cases of the decks are recorded")
    cases = _rounds(wanted, bases["gate"], Candidates(ledger), jobs, say)
    taken, found = list[int](), defaultdict[tuple[str, str, str], list[Any]](list)
    for tier, base in bases.items():
        had = base + counted([cases[each] for each in taken], len(wanted))
        added = _add(cases, tier, had, taken)
        taken += added
        for each in (cases[position] for position in added):
            found[each.family, each.mode, tier].append(each.case)
        say(f"{tier}: {len(taken)} aimed cases; {_said(had)}")
    return found
