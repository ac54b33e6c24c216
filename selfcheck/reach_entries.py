"""The cases that *gate* runs beside its deck for faults at Python's entries: of *full*'s those that faults change which too few of
*gate*'s cases reach; and those that *full* runs beside its own: for faults at the formulas of optimizers cases that are built, for
the conditions of other faults of extended random ones.  Of *gate*'s, *quick* runs what adds most to its own."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.deck import Choice, aimed_at, chosen
from embcheck.core.law import Family
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.families.param_groups.cases import groups_of
from selfcheck import reach_steps, runner
from selfcheck.calls import Wanted, drawn, met, recorded
from selfcheck.candidates import Candidate, Candidates
from selfcheck.conditions import PYTHON_WEIGHTS, WEIGHTS
from selfcheck.drawn import faults
from selfcheck.greedy import Hits, add, counted
from selfcheck.judging import deck
from selfcheck.python_sites import ENTRIES, EXTENDED, STEPS
from selfcheck.reach import TIMED, WORTH, Aimed, seconds


class Part(NamedTuple):
    """Faults of sets, of each so many, at some sites, and the families whose cases call many of these.

    Of each family about so many of *full*'s cases are ``looked_at``; what is chosen may cost ``budget`` lookups together,
    beside what *gate* runs.  Others are ``built`` for the faults of formulas.
    """

    drawn: Mapping[str, int]
    sites: frozenset[str]
    families: tuple[str, ...]
    looked_at: int
    budget: float
    tier: str = "gate"
    built: bool = False


_FORMULAS = frozenset(site.name for site in STEPS)
#: Of families that make layers and fill tables few judge what these hold.
_FILLING = frozenset(("Linear.__init__", "nn.init.normal_"))
#: So many other faults ask for the parameters of further groups of a case that is built for one.
_OTHERS = 2

PARTS = (
    Part({"core": 3000}, frozenset(ENTRIES) - _FORMULAS, ("module_traversal", "construction", "parameter"), 300, 600.0),
    Part({"core": 30000}, _FILLING, ("initializers",), 2000, 150.0),
    Part({"core": 20000, "extended": 6000}, _FORMULAS, ("param_groups", "tied_training"), 0, 22000.0, built=True),
    Part(
        {"extended": 3000},
        frozenset(EXTENDED) - _FORMULAS,
        (
            *("tied_training", "optimizer_state_dict", "lr_scheduler", "clip_average_scale"),
            *("initializers", "parametrizations", "func_transforms", "tied_head_loss"),
        ),
        1500,
        2000.0,
    ),
    Part({"extended": 8000}, _FORMULAS, ("param_groups",), 0, 13500.0, "full", built=True),
)


class Drawn(NamedTuple):
    """Random cases beside those of a tier, for conditions of faults of a set apart from formulas.

    Of each family so many are looked at, in which any values of their axes meet, and one of ``share`` that the tier runs; they may
    cost ``budget`` lookups together.
    """

    of: str
    tier: str
    families: Mapping[str, int]
    share: int
    budget: float

    @property
    def names(self) -> list[str]:
        return sorted(set(PYTHON_WEIGHTS[self.of]) - _FORMULAS)


DRAWN = (
    Drawn(
        "core",
        "gate",
        {
            **dict.fromkeys(("initializers", "conversion", "embedding_bag"), 3000),
            **dict.fromkeys(("construction", "tie_preservation", "lookup", "module_traversal"), 2000),
            **dict.fromkeys(("tied_training", "load_state_dict"), 800),
            "parameter": 4000,
        },
        4,
        3500.0,
    ),
    # Of others that make tables few judge what they hold.
    Drawn("core", "gate", {"construction": 6000}, 1, 200.0),
    Drawn(
        "extended",
        "full",
        {
            **dict.fromkeys(("clip_average_scale", "func_transforms", "param_groups"), 4000),
            **dict.fromkeys(("tied_head_loss", "parametrizations", "initializers"), 2000),
            **dict.fromkeys(("lr_scheduler", "module_traversal"), 400),
        },
        8,
        20000.0,
    ),
)

#: For each site so many conditions by its weight.
_TIMES = 150


class Early(NamedTuple):
    """Of what is aimed in *gate*, cases of some families that *quick* runs, too: for conditions of faults of core at some sites,
    of each as many as its weight says.

    They may cost ``budget`` lookups together.
    """

    sites: Collection[str]
    families: tuple[str, ...]
    budget: float
    times: int = _TIMES


EARLY = (
    Early(
        frozenset(ENTRIES) - _FORMULAS - _FILLING,
        (
            *("module_traversal", "construction", "parameter", "tie_preservation", "load_state_dict"),
            *("conversion", "lookup", "embedding_bag"),
        ),
        1900.0,
    ),
    Early(_FILLING, ("initializers",), 150.0),
    Early(frozenset(ENTRIES) & _FORMULAS, ("param_groups", "tied_training"), 3000.0),
    Early(WEIGHTS, tuple(TIMED), 1000.0, times=4000),
)
_COSTS = {"module_traversal": 40.0, "initializers": 1.5, "construction": 1.5, "parameter": 3.0, "load_state_dict": 1.5}
#: What optimizers cost beside what all do.
_DEAR = {"Adafactor": 28.0, "Muon": 9.0}
#: Seconds that a lookup takes.
_LOOKUP = 0.0006
#: The seed of the faults that are drawn.
_SEED = 20261125


def _cost(candidate: Candidate) -> float:
    """In lookups; families tell too little of modules with parts, and too much of small tensors."""
    name, case = candidate.family.name, candidate.case
    if name in TIMED:
        return seconds(name, case) / _LOOKUP
    if name == "param_groups":
        groups = groups_of(case.mix)
        members = [math.prod(each.shape) for group in groups for each in group]
        steps = case.steps * (0.3 * len(groups) + 0.7 * len(members) + 0.001 * sum(members))
        beside = _DEAR.get(case.optimizer, 0.0) + 4.0 * (case.path == "foreach") + 14.0 * case.sparse
        return float(2.0 + 2.0 * len(members) + steps + beside)
    return float(_COSTS.get(name, candidate.family.cost))


def more(jobs: int, ledger: Ledger, say: Any) -> Aimed:
    """For *gate* and for *full* the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    taken: Aimed = defaultdict(list)
    for part in PARTS:
        for each in _of_part(part, jobs, ledger, say):
            taken[each.family.name, each.mode.name, part.tier].append(each.case)
    for of in DRAWN:
        for each in _random(of, jobs, ledger, say):
            taken[each.family.name, each.mode.name, of.tier].append(each.case)
    return taken


def early(jobs: int, ledger: Ledger, say: Any) -> Aimed:
    """For *quick*, of what is aimed in *gate*, what adds most to its own cases for its cost."""
    taken: Aimed = defaultdict(list)
    made = Candidates(ledger)
    for of in EARLY:
        weights = {site: weight for site, weight in {**WEIGHTS, **PYTHON_WEIGHTS["core"]}.items() if site in of.sites}
        wanted, base = drawn(_SEED, of.times, "core", weights), deck("quick", 0, of.families)[0]
        others = [each for name in of.families for each in _aimed_in_gate(made, name)]
        for each in _best(others, *_met(base, others, wanted, jobs, sorted(of.sites)), of.budget, say):
            taken[each.family.name, each.mode.name, "quick"].append(each.case)
    return taken


def _aimed_in_gate(made: Candidates, name: str) -> Iterator[Candidate]:
    """What is aimed in *gate* of a family in its first mode, and not in *quick*."""
    family = made.families[name]
    cases = {tier: chosen(family, family.modes[0], tier) or Choice() for tier in ("quick", "gate")}
    known = set(cases["quick"].aimed_cases(family.space))
    for case in cases["gate"].aimed_cases(family.space):
        each = made.fitted(name, case) if case not in known else None
        if each is not None:
            yield each


def _random(of: Drawn, jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    """Random cases whose calls meet conditions of faults, apart from formulas, that too few of a tier's cases meet."""
    weights = PYTHON_WEIGHTS[of.of]
    wanted = drawn(_SEED, _TIMES, of.of, {name: weights[name] for name in of.names})
    made = Candidates(ledger)
    built = (
        (name, _random_case(made.families[name], number))
        for name, many in of.families.items()
        for number in range(many)
    )
    others = [each for name, case in built if case is not None and (each := made.fitted(name, case)) is not None]
    base = deck(of.tier, 0, of.families)[0][:: of.share]
    hits, had = _met(base, others, wanted, jobs, of.names)
    return _best(others, hits, of.share * had, of.budget, say)


def _met(
    base: Sequence[Candidate], others: Sequence[Candidate], wanted: Sequence[Wanted], jobs: int, sites: Sequence[str]
) -> tuple[Hits, Any]:
    """The conditions that each of the others meets, and how many cases of a base meet each."""
    hits = met(recorded([*base, *others], jobs, sites), wanted)
    return hits[len(base) :], counted(hits[: len(base)], len(wanted))


def _random_case(family: Family, number: int) -> Any:
    """A random case of a family; of one that can aim, every other one aimed at thresholds."""
    if number % 2 and family.space.aim is not None:
        return aimed_at(family.space, family.name, number, _SEED)
    return family.space.random(Stream(stream.derive("entries", family.name, number), 64))


def _of_part(part: Part, jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    wanted = [
        fault for of, count in part.drawn.items() for fault in faults(count, _SEED, of=of) if fault.site in part.sites
    ]
    base, made = deck("gate", 0, part.families)[0], Candidates(ledger)
    built = reach_steps.built(wanted, others=_OTHERS) if part.built else ()
    others = [each for each in (made.fitted("param_groups", case) for case in built) if each is not None]
    for name in part.families if part.looked_at else ():
        every = deck("full", 0, (name,))[0]
        others += [
            each for each in every[:: 1 + len(every) // part.looked_at] if each.mode.name == each.family.modes[0]
        ]
    found = runner.clean_run(
        wanted, ([*base, *others], ledger), jobs, lambda doing, done, total: say(f"{done} of {total}")
    )
    had, hits = np.zeros(len(wanted), np.int64), [list[int]() for _ in others]
    for fault, positions in found.changed.items():
        for position in positions:
            if position < len(base):
                had[fault] += 1
            else:
                hits[position - len(base)].append(fault)
    return _best(others, [np.array(each, np.int32) for each in hits], had, part.budget, say)


def _best(others: Sequence[Candidate], hits: Hits, had: Any, budget: float, say: Any) -> Sequence[Candidate]:
    """What adds most for its cost to what was had."""
    taken: list[int] = []
    say(f"{np.mean(had > 0):.1%} of {len(had)} are met; {len(others)} more cases are looked at")
    add(taken, [_cost(each) for each in others], hits, had, budget, WORTH)
    say(f"with {len(taken)} of them {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    return [others[each] for each in taken]
