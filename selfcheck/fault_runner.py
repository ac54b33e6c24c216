"""Shows a planted fault to the laws: the cases of a run in another order, until one breaks a law.

A kill counts only if the same case obeys the law whenever the fault is lifted and breaks it again when it is back, so
that what torch itself gets wrong, every time or now and then, kills nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

from embcheck.core import stream
from embcheck.core.item import PROFILES, Item, Profile, all_items
from embcheck.core.law import Family, Law
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, OracleFailed, Result, Unreachable, Violated
from embcheck.engine.crashes.patience import processor_time
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.engine.run_item import batches
from embcheck.engine.selection import cases
from embcheck.engine.tally import Tallies, named
from embcheck.modes.mode import MODES, Mode
from selfcheck.fault import Fault

#: For how many cases a run goes on after the kill, to see which other laws the fault violates.
_AFTER_KILL = 64
#: How often a case must obey a law without the fault: what torch does with uninitialised memory differs each time.
_REPEATS = 3
#: How many cases a control has to survive.
_CONTROL = 2000
#: Where the cases that a law is asked of are parted for a second look.
_SHARES = (0, 60, 300, 1000, 4000)


@dataclass(frozen=True)
class FaultResult:
    """The result of a fault: ``status`` is killed, survived, not applicable, or what went wrong.

    ``laws`` are all the laws that were seen violated, the killer first; ``cases`` were judged before the kill.
    """

    fault: str
    family: str
    status: str
    control: bool = False
    laws: tuple[str, ...] = ()
    engine: str = ""
    mode: str = ""
    cases: int = 0
    seconds: float = 0.0
    example: str = ""

    @property
    def good(self) -> bool:
        """Whether this is as it should be: a fault is killed, a control survives."""
        if self.status == "not applicable":
            return True
        return self.status == ("survived" if self.control else "killed")


def used() -> float:
    """Seconds of CPU time that this process and what it started have used: how long a run lasts is no matter of the load."""
    return processor_time(os.getpid())


class Planted:
    """A fault while it is planted; `lifted` takes it out for a moment."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._context: AbstractContextManager[None] | None = None

    def __enter__(self) -> Planted:
        self._context = self.fault.plant()
        self._context.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(None, None, None)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Without the fault; then it is planted anew, its memory of earlier calls lost."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def execute(self, family: Family, mode: Mode, case: Any) -> Outcome | Unreachable:
        """Executes a case with the fault, in whichever process, while it is planted."""
        setup = (("selfcheck.fault:planting", self.fault.name),) if self._context is not None else ()
        return Execution(setup=setup)(family, mode, case)


class PlantedTallies:
    """Judges cases in one mode while a fault is planted; ``laws`` are those that it violates, with an example."""

    def __init__(self, family: Family, mode: str, ledger: Ledger, planted: Planted) -> None:
        self.family, self.mode, self.planted = family, MODES[mode], planted
        self.laws: dict[str, str] = {}
        self.tallies = Tallies(family, self.mode, ledger, execute=planted.execute, confirm=self._confirmed)

    def __call__(self, case: Any) -> None:
        """Judges a case."""
        self.tallies(case)

    def _confirmed(self, law: Law, case: Any, found: Difference) -> bool:
        """Whether a violation is the fault's: it goes whenever the fault is lifted, and comes back with it."""
        if law.name in self.laws:
            return False
        with self.planted.lifted():
            without = [self._result(law, case) for _ in range(_REPEATS)]
        if any(isinstance(result, (Violated, OracleFailed, Unreachable)) for result in without):
            return False
        if isinstance(self._result(law, case), Violated):
            self.laws[law.name] = f"{case!r}: {found.words}"
        return False  # how often is not counted

    def _result(self, law: Law, case: Any) -> Result:
        return evaluate(self.family, self.mode, case, [law], self.planted.execute)[0]


class _Collector:
    """Takes the cases of an item without executing them."""

    def __init__(self) -> None:
        self.cases: list[Any] = []

    def __call__(self, case: Any) -> None:
        self.cases.append(case)


@dataclass
class FaultRunner:
    """Runs faults: the families, and the cases of a run with a profile and a seed."""

    families: Mapping[str, Family]
    profile: Profile
    seed: int
    ledger: Ledger
    _kept: dict[tuple[str, tuple[str, ...], str], list[tuple[Item, Any]]] = field(default_factory=dict)

    def candidates(self, family: Family, modes: tuple[str, ...] = ()) -> Iterator[tuple[Item, Any]]:
        """Every case of the family's items: first those that *quick* runs, for they were chosen for what they tell, and only
        if more are asked for the profile's others."""
        quick = self._shuffled(family, modes, PROFILES["quick"])
        yield from quick
        met = {(item.mode, named(case)) for item, case in quick}
        for item, case in self._shuffled(family, modes, self.profile):
            if (item.mode, named(case)) not in met:
                yield item, case

    def _shuffled(self, family: Family, modes: tuple[str, ...], profile: Profile) -> list[tuple[Item, Any]]:
        """Cases in an order by which a fault meets each engine and mode early on."""
        key = family.name, modes, profile.name
        if key not in self._kept:
            every = self.every(family, modes, profile)
            self._kept[key] = stream.shuffled(stream.derive(self.seed, "quarry", family.name), every)
        return self._kept[key]

    def every(self, family: Family, modes: tuple[str, ...], profile: Profile) -> list[tuple[Item, Any]]:
        """Every case of the family's items in these modes, by default its own, in the order of a run."""
        items = all_items(family, profile, modes)
        return [(item, case) for item in items for case in self._cases(family, item, profile)]

    def _cases(self, family: Family, item: Item, profile: Profile) -> list[Any]:
        mode = MODES[item.mode]
        if mode.lacking() is not None or item.engine not in mode.engines:
            return []
        if item.engine != "random" or mode.cases is not None:
            return list(cases(family, item, profile, self.seed))
        collector: Any = _Collector()
        batches(family, item, profile, self.seed, collector, None)
        return list(collector.cases)

    def run(self, fault: Fault, seconds: float) -> FaultResult:
        """Plants a fault and lets the laws of each of its families meet it, for so many seconds of CPU time in all."""
        started, end = time.perf_counter(), used() + seconds
        if not fault.applies():
            return FaultResult(fault.name, fault.family, "not applicable", fault.control)
        result = FaultResult(fault.name, fault.family, "survived", fault.control)
        for name in (fault.family, *fault.also):
            family = self.families[name]
            candidates = islice(self.candidates(family, fault.modes), _CONTROL if fault.control else None)
            with Planted(fault) as planted:
                found, judged = self._meet(family, candidates, planted, end)
            if found is None:
                words = "" if fault.control else f"no law of {name} sees it"
                result = replace(result, status="survived", cases=result.cases + judged, example=words)
                break
            result = _killed(result, *found, judged)
        return replace(result, seconds=time.perf_counter() - started)

    def violates(self, faults: Sequence[Fault], law: str, end: float) -> bool:
        """Whether one of some faults is seen to violate a law of their family, before `used` tells ``end``.

        Each meets the first cases of which the law is asked, then each meets more: a fault that never shows costs the others
        no time.
        """
        family, asked = next(
            (family, each) for family in self.families.values() for each in family.laws if each.name == law
        )
        cases = (
            (item, case)
            for item, case in self.candidates(family)
            if asked.when(case) and family.refused(case) == asked.refusal
        )
        for start, stop in pairwise(_SHARES):
            share = list(
                islice(cases, stop - start)
            )  # those that only a longer profile has are made if this is reached
            for fault in faults if share else ():
                if used() > end:
                    return False
                if self._violated(fault, family, law, share):
                    return True
        return False

    def _violated(self, fault: Fault, family: Family, law: str, cases: Sequence[tuple[Item, Any]]) -> bool:
        with Planted(fault) as planted:
            by_mode = {mode: PlantedTallies(family, mode, self.ledger, planted) for mode in family.modes}
            for item, case in cases:
                by_mode[item.mode](type(case)(*case))
                if law in by_mode[item.mode].laws:
                    return True
        return False

    def _meet(
        self, family: Family, candidates: Iterator[tuple[Item, Any]], planted: Planted, end: float
    ) -> tuple[tuple[Item, dict[str, str]] | None, int]:
        """Has cases judged until a law is violated, and a few more: the killing item with all laws, and the count."""
        by_mode: dict[str, PlantedTallies] = {}
        killer: Item | None = None
        count = killed_after = 0
        for count, (item, case) in enumerate(candidates, 1):
            if item.mode not in by_mode:
                by_mode[item.mode] = PlantedTallies(family, item.mode, self.ledger, planted)
            # A copy, since a case keeps what it once expanded to.
            by_mode[item.mode](type(case)(*case))
            if killer is None and by_mode[item.mode].laws:
                killer, killed_after = item, count
            if killer is not None and count == killed_after + _AFTER_KILL:
                break
            if killer is None and count % 64 == 0 and used() > end:
                break
        if killer is None:
            return None, count
        laws = dict(by_mode[killer.mode].laws)
        for planted_tallies in by_mode.values():
            laws |= planted_tallies.laws
        return (killer, laws), killed_after


def _killed(before: FaultResult, item: Item, laws: dict[str, str], judged: int) -> FaultResult:
    return replace(
        before,
        status="killed",
        laws=(*before.laws, *laws),
        engine=item.engine,
        mode=item.mode,
        cases=before.cases + judged,
        example=next(iter(laws.values())),
    )
