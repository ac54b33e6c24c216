"""The cases that *gate* runs beside its deck for faults at Python's entries: of *full*'s those that faults change which too few of
*gate*'s cases reach; and those that *full* runs beside its own: for faults at the formulas of optimizers cases that are built, for
the conditions of other faults of extended random ones.  Of *gate*'s, *quick* runs what adds most to its own."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.deck import Choice, aimed_at, chosen
from embcheck.core.facts import Condition, conditions, grouped
from embcheck.core.law import Family
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.param_groups.aimed import step_case
from embcheck.families.param_groups.mixes import groups_of
from embcheck.families.param_groups.space import OPTIMIZERS
from embcheck.subject.collect import load_families
from selfcheck.calls import changed, counted, drawn, recorded
from selfcheck.candidates import Candidate, Candidates
from selfcheck.conditions import WEIGHTS
from selfcheck.drawn import Fault, damage_of, faults
from selfcheck.judging import deck
from selfcheck.python_sites import ENTRIES, EXTENDED, STEPS
from selfcheck.reach import TIMED, WORTH, Aimed, Say, best, seconds

#: About so many cases of a family.
Source = Callable[[Family, int], Iterable[Any]]


class Part(NamedTuple):
    """Cases beside those of a tier, for faults at some sites.

    Of faults that are ``drawn``, of each set so many, a clean run tells which cases they change.  Else it is told by the calls of
    cases which of the conditions of faults they meet, of each site of the set ``of`` its weight ``times`` so many.  Of each family
    so many cases are looked at, from a ``source``; without one they are ``built``, for the faults that are drawn or for so many of
    each site.  They may cost ``budget`` lookups together, beside one of ``share`` that the tier runs, or a tier ``below``.
    """

    tier: str
    sites: Collection[str]
    families: Mapping[str, int]
    budget: float
    source: Source | None = None
    drawn: Mapping[str, int] = {}
    of: str = "core"
    times: int = 600
    built: int = 0
    share: int = 1
    below: str = ""


# -- which cases are looked at ------------------------------------------------------------------------------------------


def _random(family: Family, many: int) -> Iterator[Any]:
    """Random cases, in which any values of the axes meet; of a family that can aim, every other one aimed at thresholds."""
    for number in range(many):
        if number % 2 and family.space.aim is not None:
            yield aimed_at(family.space, family.name, number, _SEED)
        else:
            yield family.space.random(Stream(stream.derive("entries", family.name, number), 64))


def _of_gate(family: Family, many: int) -> Iterator[Any]:
    """What is aimed in *gate* in the family's first mode, and not in *quick*, however many."""
    of_quick, of_gate = (chosen(family, family.modes[0], tier) or Choice() for tier in ("quick", "gate"))
    known = set(of_quick.aimed_cases(family.space))
    return (case for case in of_gate.aimed_cases(family.space) if case not in known)


def _of_full(family: Family, many: int) -> Iterator[Any]:
    """Some of *full*'s cases, those in the family's first mode."""
    every = deck("full", 0, (family.name,))[0]
    return (each.case for each in every[:: 1 + len(every) // many] if each.mode.name == family.modes[0])


# -- the parts ----------------------------------------------------------------------------------------------------------

_FORMULAS = frozenset(site.name for site in STEPS)
_CORE, _EXTENDED = (tuple(sorted(sites.keys() - _FORMULAS)) for sites in (ENTRIES, EXTENDED))
_CORE_FORMULAS = tuple(site for site in ENTRIES if site in _FORMULAS)
#: Of families that make layers and fill tables few judge what these hold.
_FILLING = ("Linear.__init__", "nn.init.normal_")
#: So many other faults ask for the parameters of further groups of a case that is built for one.
_OTHERS = 2


def _each(names: str, many: int = 0) -> dict[str, int]:
    return dict.fromkeys(names.split(), many)


#: The families that step.
_STEPPING = _each("param_groups tied_training")
_STATES = "tied_training optimizer_state_dict lr_scheduler clip_average_scale"
_VALUES = "initializers parametrizations func_transforms tied_head_loss"
_ENTRY_FAMILIES = {
    **_each("initializers conversion embedding_bag lookup construction parameter max_norm", 6000),
    **_each("tie_preservation module_traversal", 3000),
    **_each("tied_training load_state_dict", 800),
}
_EXTENDED_FAMILIES = {
    **_each("clip_average_scale func_transforms param_groups", 6000),
    **_each("tied_head_loss parametrizations initializers", 4000),
    **_each("lr_scheduler module_traversal", 800),
}
_MAKING = "module_traversal construction parameter"

ENTERED = (
    Part("gate", _CORE, _each(_MAKING, 300), 600.0, _of_full, {"core": 3000}),
    Part("gate", _FILLING, {"initializers": 2000}, 150.0, _of_full, {"core": 30000}),
    Part("gate", _FORMULAS, _STEPPING, 7000.0, drawn={"core": 20000, "extended": 6000}),
    Part("gate", _EXTENDED, _each(f"{_STATES} {_VALUES}", 1500), 2000.0, _of_full, {"extended": 3000}),
    Part("full", _FORMULAS, {"param_groups": 0}, 27000.0, drawn={"extended": 14000}, below="gate"),
    Part("gate", _CORE, _ENTRY_FAMILIES, 7000.0, _random, share=4),
    # Of others that make tables few judge what they hold.
    Part("gate", _CORE, {"construction": 6000}, 200.0, _random),
    Part("full", _EXTENDED, _EXTENDED_FAMILIES, 36000.0, _random, of="extended", share=8),
)
#: Steps that *gate* runs beside those.
STEPPED = (Part("gate", _CORE_FORMULAS, _STEPPING, 12000.0, times=2000, built=900),)
_KEEPING = f"{_MAKING} tie_preservation load_state_dict conversion lookup embedding_bag max_norm"
#: Of what is aimed in *gate*, cases that *quick* runs, too.
EARLY = (
    Part("quick", tuple(s for s in ENTRIES if s not in _FORMULAS.union(_FILLING)), _each(_KEEPING), 1100.0, _of_gate),
    Part("quick", _FILLING, {"initializers": 0}, 150.0, _of_gate),
    Part("quick", _CORE_FORMULAS, _STEPPING, 2400.0, _of_gate),
    Part("quick", tuple(WEIGHTS["kernels"]), dict.fromkeys(TIMED, 0), 1800.0, _of_gate, times=4000),
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


def _cost(name: str, case: Any) -> float:
    """In lookups; families tell too little of modules with parts, and too much of small tensors."""
    if name in TIMED:
        return seconds(name, case) / _LOOKUP
    if name == "param_groups":
        groups = groups_of(case.mix)
        members = [math.prod(each.shape) for group in groups for each in group]
        steps = case.steps * (0.25 * len(groups) + 0.25 * len(members) + 0.0004 * sum(members))
        beside = _DEAR.get(case.optimizer, 0.0) + (case.path == "foreach") + 4.0 * case.sparse
        return float(1.0 + 0.7 * len(members) + steps + beside)
    return float(_COSTS.get(name, load_families()[name].cost))


def aimed(parts: Iterable[Part], jobs: int, ledger: Ledger, say: Say) -> Aimed:
    """For each tier the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    made, found = Candidates(ledger), defaultdict[tuple[str, str, str], list[Any]](list)
    for part in parts:
        wanted = _wanted(part)
        others = list(_looked_at(part, made, wanted))
        base = deck(part.below or part.tier, 0, part.families)[0][:: part.share]
        if part.drawn:
            seen = changed([*base, *others], wanted, ledger, jobs, lambda doing, done, total: say(f"{done} of {total}"))
        else:
            seen = recorded([*base, *others], wanted, jobs)
        had, cases = part.share * counted(seen[: len(base)], len(wanted)), seen[len(base) :]
        costs = [_cost(each.family, each.case) for each in cases]
        for each in best(cases, costs, had, part.budget, WORTH[part.tier], say):
            found[each.family, each.mode, part.tier].append(each.case)
    return found


def _wanted(part: Part) -> list[Fault]:
    """The faults that cases are to change."""
    if part.drawn:
        every = (fault for of, count in part.drawn.items() for fault in faults(count, _SEED, of=of))
        return [fault for fault in every if fault.site in part.sites]
    weights = {**WEIGHTS[part.of], **WEIGHTS["kernels"]}
    return drawn(_SEED, part.times, part.of, {site: weights[site] for site in part.sites})


def _looked_at(part: Part, made: Candidates, wanted: Iterable[Fault]) -> Iterator[Candidate]:
    if part.built:
        wanted = (fault for site in part.sites for fault in faults(part.built, _SEED, site, part.of))
    if part.source is None:
        found = [("param_groups", case) for case in built(wanted, _OTHERS)]
    else:
        found = [
            (name, case) for name, many in part.families.items() for case in part.source(made.families[name], many)
        ]
    for name, case in found:
        each = None if case is None else made.fitted(name, case)
        if each is not None:
            yield each


# -- cases whose steps meet the conditions of faults at the formulas of optimizers --------------------------------------


def built(wanted: Iterable[Fault], others: int = 0) -> list[Any]:
    """For each fault a case that is to meet its condition, as far as there is one, and by other groups what so many others of its
    site ask of parameters; no two alike."""
    found: dict[Any, None] = {}
    for some in grouped(wanted, lambda fault: fault.site).values():
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
