"""The cases that *gate* runs beside its deck for faults at Python's entries: of *full*'s those that faults change which too few of
*gate*'s cases reach; and those that *full* runs beside its own: for faults at the formulas of optimizers cases that are built, for
the conditions of other faults of extended random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.deck import aimed_at
from embcheck.core.law import Family
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from selfcheck import reach_steps, runner
from selfcheck.calls import Calls, calls_of, counted, drawn, met
from selfcheck.candidates import Candidate, Candidates
from selfcheck.conditions import PYTHON_WEIGHTS
from selfcheck.drawn import Fault, faults
from selfcheck.judging import deck
from selfcheck.python_sites import ENTRIES, EXTENDED, STEPS
from selfcheck.reach import add


class Part(NamedTuple):
    """The faults of a set at some sites, and the families whose cases call many of these.

    Of each family about so many of *full*'s cases are ``looked_at``, and so many ``random`` ones; what is chosen may cost
    ``budget`` together beside what *gate* runs, in lookups.  Others are ``built`` for the faults, of which there are so many.
    """

    of: str
    sites: frozenset[str]
    families: tuple[str, ...]
    looked_at: int
    budget: float
    tier: str = "gate"
    drawn: int = 3000
    random: int = 0
    built: Callable[[Sequence[Fault]], Sequence[tuple[str, Any]]] = lambda faults: ()


_FORMULAS = frozenset(site.name for site in STEPS)


def _built_steps(faults: Sequence[Fault]) -> Sequence[tuple[str, Any]]:
    return [("param_groups", case) for case in reach_steps.built(faults)]


PARTS = (
    Part(
        "core",
        frozenset(ENTRIES) - _FORMULAS,
        (
            *("module_traversal", "construction", "parameter", "initializers", "tie_preservation", "load_state_dict"),
            *("conversion", "lookup", "embedding_bag", "max_norm", "tied_training"),
        ),
        400,
        1500.0,
        drawn=8000,
        random=1000,
    ),
    Part("core", _FORMULAS, ("param_groups",), 0, 1500.0, drawn=20000, built=_built_steps),
    Part(
        "extended",
        frozenset(EXTENDED),
        (
            *("param_groups", "tied_training", "optimizer_state_dict", "lr_scheduler", "clip_average_scale"),
            *("initializers", "parametrizations", "func_transforms", "tied_head_loss"),
        ),
        1500,
        4000.0,
    ),
    Part(
        "extended",
        _FORMULAS,
        ("param_groups",),
        0,
        8000.0,
        "full",
        8000,
        built=_built_steps,
    ),
)
#: Of each of these families so many random cases are looked at, in which any values of their axes meet, and one of so many that
#: *full* runs; for each site so many conditions by its weight, and what the cases may cost together.
RANDOM = {
    **dict.fromkeys(("clip_average_scale", "func_transforms", "param_groups"), 4000),
    **dict.fromkeys(("tied_head_loss", "parametrizations", "initializers"), 2000),
    **dict.fromkeys(("lr_scheduler", "module_traversal"), 400),
}
_SHARE, _TIMES, _BUDGET = 8, 150, 20000.0
_NAMES = sorted(set(EXTENDED) - {site.name for site in STEPS})
_COSTS = {"module_traversal": 34.0, "initializers": 1.5, "construction": 1.5, "parameter": 2.0, "load_state_dict": 1.5}
#: The seed of the faults that are drawn.
_SEED = 20261125


class _Case(NamedTuple):
    candidate: Candidate

    @property
    def cost(self) -> float:
        """In lookups; that of modules with parts is told too low, and that of small tensors too high."""
        return _COSTS.get(self.candidate.family.name, self.candidate.family.cost)


def more(jobs: int, ledger: Ledger, say: Any) -> dict[str, dict[str, list[Any]]]:
    """For *gate*, for *full* and each family the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    chosen: dict[str, dict[str, list[Any]]] = {}
    for part in PARTS:
        for each in _of_part(part, jobs, ledger, say):
            chosen.setdefault(part.tier, {}).setdefault(each.family.name, []).append(each.case)
    for each in _random(jobs, ledger, say):
        chosen.setdefault("full", {}).setdefault(each.family.name, []).append(each.case)
    return chosen


def _calls(part: range) -> list[Calls]:
    return [calls_of(runner._deck[0][0][place], _NAMES) for place in part]


def _random(jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    """Random cases whose calls meet conditions of faults, apart from formulas, that too few of *full*'s cases meet."""
    wanted = drawn(_SEED, _TIMES, "extended", {name: PYTHON_WEIGHTS["extended"][name] for name in _NAMES})
    made = Candidates(ledger)
    built = (
        (name, _random_case(made.families[name], number)) for name, many in RANDOM.items() for number in range(many)
    )
    others = [each for name, case in built if case is not None and (each := made.fitted(name, case)) is not None]
    base = deck("full", 0, RANDOM)[0][::_SHARE]
    runner._deck[:] = [([*base, *others], ledger)]
    count = len(base) + len(others)
    with runner.forks(jobs) as pool:
        parts = pool.map(_calls, [range(start, min(start + 64, count)) for start in range(0, count, 64)])
        hits = met([each for part in parts for each in part], wanted)
    had = _SHARE * counted(hits[: len(base)], len(wanted))
    say(f"{np.mean(had > 0):.1%} of {len(wanted)} conditions are met; {len(others)} random cases are looked at")
    taken: list[int] = []
    add(taken, [_Case(each) for each in others], hits[len(base) :], had, _BUDGET)
    say(f"with {len(taken)} of them {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    return [others[each] for each in taken]


def _random_case(family: Family, number: int) -> Any:
    """A random case of a family; of one that can aim, every other one aimed at thresholds."""
    if number % 2 and family.space.aim is not None:
        return aimed_at(family.space, family.name, number, _SEED)
    return family.space.random(Stream(stream.derive("entries", family.name, number), 64))


def _of_part(part: Part, jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    wanted = [fault for fault in faults(part.drawn, _SEED, of=part.of) if fault.site in part.sites]
    base, others = deck("gate", 0, part.families)[0], list[Candidate]()
    made = Candidates(ledger)
    others += [each for each in (made.fitted(*built) for built in part.built(wanted)) if each is not None]
    for name in part.families if part.looked_at else ():
        every = deck("full", 0, (name,))[0]
        others += [
            each for each in every[:: 1 + len(every) // part.looked_at] if each.mode.name == each.family.modes[0]
        ]
        random = (made.fitted(name, case) for k in range(part.random) if (case := _random_case(made.families[name], k)))
        others += filter(None, random)
    runner._deck[:] = [([*base, *others], ledger)]
    runner._sites[:] = sorted({fault.site for fault in wanted})
    found = runner._recorded(
        wanted, len(base) + len(others), jobs, lambda doing, done, total: say(f"{done} of {total}")
    )
    had, hits = np.zeros(len(wanted), np.int64), [list[int]() for _ in others]
    for fault, positions in found.changed.items():
        for position in positions:
            if position < len(base):
                had[fault] += 1
            else:
                hits[position - len(base)].append(fault)
    say(f"{np.mean(had > 0):.1%} of {len(wanted)} faults change a case of gate; {len(others)} more are looked at")
    taken: list[int] = []
    add(taken, [_Case(each) for each in others], [np.array(each, np.int32) for each in hits], had, part.budget)
    say(f"with {len(taken)} more {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    return [others[each] for each in taken]
