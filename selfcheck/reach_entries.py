"""The cases that *gate* runs beside its deck for faults at Python's entries: of *full*'s those that faults change which too few of
*gate*'s cases reach; and those that *full* runs beside its own: for faults at the formulas of optimizers cases that are built, for
the conditions of other faults of extended random ones.  Of *gate*'s, *quick* runs what adds most to its own."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.deck import Choice, aimed_at, chosen
from embcheck.core.facts import Condition, conditions
from embcheck.core.law import Family
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.param_groups.aimed import step_case
from embcheck.families.param_groups.mixes import groups_of
from embcheck.families.param_groups.space import OPTIMIZERS
from selfcheck import runner
from selfcheck.calls import drawn, met, recorded
from selfcheck.candidates import Candidate, Candidates
from selfcheck.conditions import PYTHON_WEIGHTS, WEIGHTS
from selfcheck.drawn import Fault, damage_of, faults
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
    Part({"core": 20000, "extended": 6000}, _FORMULAS, ("param_groups", "tied_training"), 0, 7000.0, built=True),
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


#: For each site so many conditions by its weight.
_TIMES = 600


class Drawn(NamedTuple):
    """Cases beside those of a tier, for conditions of faults of a set at some sites, of each as many as its weight says.

    Of each family so many random cases are looked at, in which any values of their axes meet, or if none are, what is aimed in
    *gate*, or so many that are ``built`` for faults of each site; and one of ``share`` that the tier runs.  They may cost
    ``budget`` lookups together.
    """

    of: str
    tier: str
    sites: Mapping[str, int]
    families: Mapping[str, int]
    budget: float
    share: int = 1
    times: int = _TIMES
    built: int = 0


def _apart_from_formulas(of: str) -> Mapping[str, int]:
    """The sites of a set with their weights."""
    return {site: PYTHON_WEIGHTS[of][site] for site in sorted(set(PYTHON_WEIGHTS[of]) - _FORMULAS)}


def _of_core(sites: Collection[str]) -> Mapping[str, int]:
    """Some sites of core with their weights."""
    return {site: weight for site, weight in {**WEIGHTS, **PYTHON_WEIGHTS["core"]}.items() if site in sites}


DRAWN = (
    Drawn(
        "core",
        "gate",
        _apart_from_formulas("core"),
        {
            **dict.fromkeys(("initializers", "conversion", "embedding_bag", "lookup"), 6000),
            **dict.fromkeys(("construction", "parameter", "max_norm"), 6000),
            **dict.fromkeys(("tie_preservation", "module_traversal"), 3000),
            **dict.fromkeys(("tied_training", "load_state_dict"), 800),
        },
        7000.0,
        share=4,
    ),
    # Of others that make tables few judge what they hold.
    Drawn("core", "gate", _apart_from_formulas("core"), {"construction": 6000}, 200.0),
    Drawn(
        "extended",
        "full",
        _apart_from_formulas("extended"),
        {
            **dict.fromkeys(("clip_average_scale", "func_transforms", "param_groups"), 4000),
            **dict.fromkeys(("tied_head_loss", "parametrizations", "initializers"), 2000),
            **dict.fromkeys(("lr_scheduler", "module_traversal"), 400),
        },
        20000.0,
        share=8,
    ),
)
_STEPPING, _CORE = ("param_groups", "tied_training"), frozenset(ENTRIES)
#: Steps that *gate* runs beside those.
STEPPED = (
    Drawn("core", "gate", _of_core(_CORE & _FORMULAS), dict.fromkeys(_STEPPING, 0), 5500.0, times=1500, built=800),
)
#: Of what is aimed in *gate*, cases that *quick* runs, too.
EARLY = tuple(
    Drawn("core", "quick", _of_core(sites), dict.fromkeys(families, 0), budget, times=times)
    for sites, families, budget, times in (
        (
            _CORE - _FORMULAS - _FILLING,
            (
                *("module_traversal", "construction", "parameter", "tie_preservation", "load_state_dict"),
                *("conversion", "lookup", "embedding_bag", "max_norm"),
            ),
            1100.0,
            _TIMES,
        ),
        (_FILLING, ("initializers",), 150.0, _TIMES),
        (_CORE & _FORMULAS, _STEPPING, 2400.0, _TIMES),
        (WEIGHTS, TIMED, 1800.0, 4000),
    )
)
_COSTS = {
    **dict.fromkeys(("initializers", "construction", "load_state_dict"), 1.5),
    "parameter": 3.0,
    "tie_preservation": 8.0,
    "func_transforms": 12.0,
    "module_traversal": 50.0,
}
#: What optimizers cost beside what all do.
_DEAR = {"Adafactor": 12.0, "Muon": 4.0}
#: Seconds that a lookup takes.
_LOOKUP = 0.0006
#: The seed of the faults that are drawn.
_SEED = 20261125
#: The optimizers whose steps call a formula, where these have not its name.
_CALLERS = {"adam": ("Adam", "Adam", "AdamW"), "sparse_adam": ("SparseAdam",)}
_NAMED = {name.lower(): (name,) for name in OPTIMIZERS}
#: What a damage needs beside what it says: values of more digits than those to which it rounds.
_NEEDED = {"cast(float32)": ("params_dtype=float64",)}


def _cost(candidate: Candidate) -> float:
    """In lookups; families tell too little of modules with parts, and too much of small tensors."""
    name, case = candidate.family.name, candidate.case
    if name in TIMED:
        return seconds(name, case) / _LOOKUP
    if name == "param_groups":
        groups = groups_of(case.mix)
        members = [math.prod(each.shape) for group in groups for each in group]
        steps = case.steps * (0.25 * len(groups) + 0.25 * len(members) + 0.0004 * sum(members))
        beside = _DEAR.get(case.optimizer, 0.0) + (case.path == "foreach") + 4.0 * case.sparse
        return float(1.0 + 0.7 * len(members) + steps + beside)
    return float(_COSTS.get(name, candidate.family.cost))


def more(jobs: int, ledger: Ledger, say: Any) -> Aimed:
    """For *gate* and for *full* the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    taken: Aimed = defaultdict(list)
    for part in PARTS:
        _take(taken, part.tier, _of_part(part, jobs, ledger, say))
    return _drawn(DRAWN, jobs, ledger, say, taken)


def _take(taken: Aimed, tier: str, some: Iterable[Candidate]) -> None:
    for each in some:
        taken[each.family.name, each.mode.name, tier].append(each.case)


def _drawn(every: Iterable[Drawn], jobs: int, ledger: Ledger, say: Any, taken: Aimed | None = None) -> Aimed:
    """The cases whose calls meet conditions that too few of a tier's cases meet, beside those taken."""
    taken, made = defaultdict(list) if taken is None else taken, Candidates(ledger)
    for of in every:
        wanted = drawn(_SEED, of.times, of.of, of.sites)
        if of.built:
            others = _built(made, (fault for site in of.sites for fault in faults(of.built, _SEED, site, of.of)))
        else:
            others = [each for name, many in of.families.items() for each in _looked_at(made, name, many)]
        base = deck(of.tier, 0, of.families)[0][:: of.share]
        hits = met(recorded([*base, *others], jobs, [*of.sites]), wanted)
        had = of.share * counted(hits[: len(base)], len(wanted))
        _take(taken, of.tier, _best(others, hits[len(base) :], had, of, say))
    return taken


#: For *gate* those of the cases built for other faults of formulas that add most for their cost; and for *quick*, of what is
#: aimed in *gate*, what adds most to its own cases for its cost.
steps, early = partial(_drawn, STEPPED), partial(_drawn, EARLY)


def _looked_at(made: Candidates, name: str, many: int) -> Iterator[Candidate]:
    """So many random cases of a family, or what is aimed in *gate* of it in its first mode, and not in *quick*."""
    family = made.families[name]
    cases: Iterable[Any] = (_random_case(family, number) for number in range(many))
    if not many:
        of_quick, of_gate = (chosen(family, family.modes[0], tier) or Choice() for tier in ("quick", "gate"))
        known = set(of_quick.aimed_cases(family.space))
        cases = (case for case in of_gate.aimed_cases(family.space) if case not in known)
    for case in cases:
        each = None if case is None else made.fitted(name, case)
        if each is not None:
            yield each


def _random_case(family: Family, number: int) -> Any:
    """A random case of a family; of one that can aim, every other one aimed at thresholds."""
    if number % 2 and family.space.aim is not None:
        return aimed_at(family.space, family.name, number, _SEED)
    return family.space.random(Stream(stream.derive("entries", family.name, number), 64))


def _built(made: Candidates, wanted: Iterable[Fault]) -> list[Candidate]:
    """Cases that are built for faults of formulas."""
    fitted = (made.fitted("param_groups", case) for case in built(wanted, _OTHERS))
    return [each for each in fitted if each is not None]


def _of_part(part: Part, jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    wanted = [
        fault for of, count in part.drawn.items() for fault in faults(count, _SEED, of=of) if fault.site in part.sites
    ]
    base, made = deck("gate", 0, part.families)[0], Candidates(ledger)
    others = _built(made, wanted) if part.built else []
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
    return _best(others, [np.array(each, np.int32) for each in hits], had, part, say)


def _best(others: Sequence[Candidate], hits: Hits, had: Any, of: Part | Drawn, say: Any) -> Sequence[Candidate]:
    """What adds most for its cost to what was had."""
    taken: list[int] = []
    say(f"{np.mean(had > 0):.1%} of {len(had)} are met; {len(others)} more cases are looked at")
    add(taken, [_cost(each) for each in others], hits, had, of.budget, WORTH[of.tier])
    say(f"with {len(taken)} of them {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    return [others[each] for each in taken]


# -- cases whose steps meet the conditions of faults at the formulas of optimizers --------------------------------------


def built(wanted: Iterable[Fault], others: int = 0) -> list[Any]:
    """For each fault a case that is to meet its condition, as far as there is one, and by other groups what so many others of its
    site ask of parameters; no two alike."""
    of_site: dict[str, list[Fault]] = defaultdict(list)
    for fault in wanted:
        of_site[fault.site].append(fault)
    found: dict[Any, None] = {}
    for some in of_site.values():
        for place, fault in enumerate(some, 1):
            behind = [some[(place + step) % len(some)] for step in range(others)]
            case = _case(fault, behind, Stream(stream.derive("steps", str(fault), 0)))
            if case is not None:
                found[case] = None
    return list(found)


def _case(fault: Fault, others: Sequence[Fault], draws: Stream) -> Any:
    name, form = fault.site.split(".")
    callers, path = _CALLERS.get(name) or _NAMED[name], form if form != "plain" else ""
    wish = Wish(draws, _asked(fault))
    beside = [Wish(draws, [each for each in _asked(other) if each.fact.startswith("params")]) for other in others]
    return attempts(wish, lambda each: step_case(each, callers, path, beside))


def _asked(fault: Fault) -> list[Condition]:
    """What a call is to meet that a fault hits and changes."""
    damage = damage_of(fault.site, fault.damage)
    rows = [f"params_rows>={damage.rows}"] if damage.spoil is not None and damage.rows > 1 else []
    texts = (*fault.needs, *_NEEDED.get(fault.damage, ()), *rows)
    return [condition for text in texts for condition in conditions(text)]
