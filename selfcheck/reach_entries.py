"""The cases that *gate* runs beside its deck for faults at Python's entries in core: of *full*'s those that faults change which
too few of *gate*'s cases reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.ledger import Ledger
from selfcheck import runner
from selfcheck.candidates import Candidate
from selfcheck.drawn import faults
from selfcheck.judging import deck
from selfcheck.python_sites import ENTRIES
from selfcheck.reach import add

#: Families whose cases call many of the entries.
FAMILIES = ("module_traversal", "param_groups", "construction", "parameter")
#: Faults that are drawn, and their seed; of each family about so many of *full*'s cases are looked at.
_DRAWN, _SEED, _LOOKED_AT = 3000, 20261125, 300
#: What the chosen cases may cost together, by what families tell that a case costs.
_BUDGET = 900.0


class _Case(NamedTuple):
    candidate: Candidate

    @property
    def cost(self) -> float:
        return self.candidate.family.cost


def more(jobs: int, ledger: Ledger, say: Any, names: Sequence[str] = FAMILIES) -> dict[str, dict[str, list[Any]]]:
    """For *gate* and each family the cases that add most for their cost.

    To be called in a process that has computed nothing with torch by several threads.
    """
    wanted = [fault for fault in faults(_DRAWN, _SEED, of="core") if fault.site in ENTRIES]
    base, others = deck("gate", 0, names)[0], list[Candidate]()
    for name in names:
        every = deck("full", 0, (name,))[0]
        others += [each for each in every[:: 1 + len(every) // _LOOKED_AT] if each.mode.name == each.family.modes[0]]
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
    add(taken, [_Case(each) for each in others], [np.array(each, np.int32) for each in hits], had, _BUDGET)
    say(f"with {len(taken)} more {np.mean(had > 0):.1%}: {Counter(others[each].family.name for each in taken)}")
    chosen: dict[str, list[Any]] = {}
    for each in taken:
        chosen.setdefault(others[each].family.name, []).append(others[each].case)
    return {"gate": chosen}
