"""Shows a planted fault to the laws: the cases of a run in another order, until one breaks a law."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, pairwise
from typing import Any

from embcheck.core import stream
from embcheck.core.item import PROFILES, Item, Profile
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Unreachable
from embcheck.engine.crashes.patience import processor_time
from embcheck.engine.execution import Execution
from embcheck.engine.tally import named
from embcheck.modes.mode import Mode
from selfcheck.candidates import Candidate, Candidates, every_case, killers
from selfcheck.fault import Fault

#: For how many cases a run goes on after the kill, to see which other laws the fault violates.
_AFTER_KILL = 64
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


@dataclass
class FaultRunner:
    """Runs faults on the cases of a run with a profile and a seed."""

    made: Candidates
    profile: Profile
    seed: int
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
            every = list(every_case(family, profile, self.seed, modes))
            self._kept[key] = stream.shuffled(stream.derive(self.seed, "quarry", family.name), every)
        return self._kept[key]

    def run(self, fault: Fault, seconds: float) -> FaultResult:
        """Plants a fault and lets the laws of each of its families meet it, for so many seconds of CPU time in all."""
        started, end = time.perf_counter(), used() + seconds
        if not fault.applies():
            return FaultResult(fault.name, fault.family, "not applicable", fault.control)
        result = FaultResult(fault.name, fault.family, "survived", fault.control)
        for name in (fault.family, *fault.also):
            cases = self.candidates(self.made.families[name], fault.modes)
            with Planted(fault) as planted:
                killer, laws, judged = self._meet(
                    name, islice(cases, _CONTROL if fault.control else None), planted, end
                )
            result = replace(result, cases=result.cases + judged)
            if killer is None:
                words = "" if fault.control else f"no law of {name} sees it"
                result = replace(result, status="survived", example=words)
                break
            result = replace(
                result,
                status="killed",
                laws=(*result.laws, *laws),
                engine=killer.engine,
                mode=killer.mode,
                example=next(iter(laws.values())),
            )
        return replace(result, seconds=time.perf_counter() - started)

    def _meet(
        self, name: str, cases: Iterable[tuple[Item, Any]], planted: Planted, end: float
    ) -> tuple[Item | None, dict[str, str], int]:
        """Has cases judged until a law is violated, and a few more: the killing item, all laws, and the count."""
        killer: Item | None = None
        laws: dict[str, str] = {}
        count = killed_after = 0
        for count, (item, case) in enumerate(cases, 1):
            candidate = self.made.candidate(name, item.mode, case)
            if candidate is not None:
                laws |= self._killers(candidate, planted, laws)
            if killer is None and laws:
                killer, killed_after = item, count
            if killer is not None and count == killed_after + _AFTER_KILL:
                break
            if killer is None and count % 64 == 0 and used() > end:
                break
        return killer, laws, killed_after or count

    def _killers(self, candidate: Candidate, planted: Planted, known: Iterable[str] = ()) -> dict[str, str]:
        judge = partial(self.made.judged, candidate, planted.execute)
        return killers(judge, planted.lifted, set(known))[0]

    def violates(self, faults: Sequence[Fault], law: str, end: float) -> bool:
        """Whether one of some faults is seen to violate a law of their family, before `used` tells ``end``.

        Each meets the first cases of which the law is asked, then each meets more: a fault that never shows costs the others
        no time.
        """
        family, asked = next(
            (family, each) for family in self.made.families.values() for each in family.laws if each.name == law
        )
        every = (self.made.candidate(family.name, item.mode, case) for item, case in self.candidates(family))
        cases = (
            each._replace(laws=[asked])
            for each in every
            if each is not None and asked in each.laws and asked.when(each.case)
            and family.refused(each.case) == asked.refusal
        )  # fmt: skip
        for start, stop in pairwise(_SHARES):
            share = list(
                islice(cases, stop - start)
            )  # those that only a longer profile has are made if this is reached
            for fault in faults if share else ():
                if used() > end:
                    return False
                with Planted(fault) as planted:
                    if any(self._killers(each, planted) for each in share):
                        return True
        return False
