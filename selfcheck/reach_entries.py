"""The cases that *gate* runs beside its deck for faults at Python's entries: of *full*'s those that faults change which too few of
*gate*'s cases reach; and those that *full* runs beside its own: for faults at the formulas of optimizers cases that are built, for
the other faults of extended random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.ledger import Ledger
from embcheck.core.stream import Stream
from embcheck.subject.collect import load_families
from selfcheck import reach_steps, runner
from selfcheck.candidates import Candidate, Candidates
from selfcheck.drawn import Fault, faults
from selfcheck.judging import deck
from selfcheck.python_sites import ENTRIES, EXTENDED, STEPS
from selfcheck.reach import add


class Part(NamedTuple):
    """The faults of a set at some sites, and the families whose cases call many of these.

    Of each family about so many of *full*'s cases are ``looked_at``; what is chosen may cost ``budget`` together, in what
    families tell that a case costs, ``beside`` what a tier runs.  Others are ``built`` for the faults, of which there are so many.
    """

    of: str
    sites: frozenset[str]
    families: tuple[str, ...]
    looked_at: int
    budget: float
    tier: str = "gate"
    drawn: int = 3000
    built: Callable[[Sequence[Fault]], Sequence[tuple[str, Any]]] = lambda faults: ()
    beside: str = "gate"


#: Families of whose random cases so many each are looked at.
RANDOM = ("clip_average_scale",)
_RANDOM = 1500


def random_cases(faults: Sequence[Fault]) -> list[tuple[str, Any]]:
    """Random cases of families, in which any values of their axes meet."""
    every = load_families()
    draws = [(name, Stream(stream.derive("entries", name, number), 64)) for name in RANDOM for number in range(_RANDOM)]
    found = [(name, every[name].space.random(each)) for name, each in draws]
    return [(name, case) for name, case in found if case is not None]


PARTS = (
    Part("core", frozenset(ENTRIES), ("module_traversal", "param_groups", "construction", "parameter"), 300, 900.0),
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
        frozenset(site.name for site in STEPS),
        ("param_groups",),
        0,
        8000.0,
        "full",
        8000,
        lambda faults: [("param_groups", case) for case in reach_steps.built(faults)],
    ),
    Part(
        "extended",
        frozenset(EXTENDED) - {site.name for site in STEPS},
        RANDOM,
        0,
        1500.0,
        "full",
        6000,
        random_cases,
        "full",
    ),
)
#: The seed of the faults that are drawn.
_SEED = 20261125


class _Case(NamedTuple):
    candidate: Candidate

    @property
    def cost(self) -> float:
        return self.candidate.family.cost


def more(jobs: int, ledger: Ledger, say: Any) -> dict[str, dict[str, list[Any]]]:
    """For *gate*, for *full* and each family the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    chosen: dict[str, dict[str, list[Any]]] = {}
    for part in PARTS:
        for each in _of_part(part, jobs, ledger, say):
            chosen.setdefault(part.tier, {}).setdefault(each.family.name, []).append(each.case)
    return chosen


def _of_part(part: Part, jobs: int, ledger: Ledger, say: Any) -> Sequence[Candidate]:
    wanted = [fault for fault in faults(part.drawn, _SEED, of=part.of) if fault.site in part.sites]
    base, others = deck(part.beside, 0, part.families)[0], list[Candidate]()
    made = Candidates(ledger)
    others += [each for each in (made.fitted(*built) for built in part.built(wanted)) if each is not None]
    for name in part.families if part.looked_at else ():
        every = deck("full", 0, (name,))[0]
        others += [
            each for each in every[:: 1 + len(every) // part.looked_at] if each.mode.name == each.family.modes[0]
        ]
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
    say(
        f"{np.mean(had > 0):.1%} of {len(wanted)} faults change a case of {part.beside}; {len(others)} more are looked at"
    )
    taken: list[int] = []
    add(taken, [_Case(each) for each in others], [np.array(each, np.int32) for each in hits], had, part.budget)
    say(f"with {len(taken)} more {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    return [others[each] for each in taken]
