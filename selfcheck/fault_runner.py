"""Shows a planted fault to the laws: first cases on which it was seen, else those of a run until one breaks a law.

On which cases a run of *full* with seed 0 saw each fault are data beside this module.  Nothing of it is believed: each case is
executed again, without the fault and with it.  ``python -m selfcheck.by_hand [FAMILY …]`` writes it anew.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.axes import parse
from embcheck.core.files import write_whole
from embcheck.core.item import PROFILES, Item, Profile
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import NotApplicable, Unreachable
from embcheck.engine.crashes.patience import processor_time
from embcheck.engine.execution import Execution
from embcheck.engine.tally import named
from embcheck.modes.mode import MODES, Mode
from selfcheck.candidates import Candidate, Candidates, Found, every_case, killers
from selfcheck.fault import Fault
from selfcheck.traced import forget_graphs

#: For how many cases a run goes on after the kill, to see which other laws the fault violates.
_AFTER_KILL = 64
#: How many cases a control has to survive.
_CONTROL = 2000
#: How many of the cases that a law is asked of each part of a second look has.
_SHARES = (60, 240, 700, 3000)
KEPT = Path(__file__).with_name("hits.json")
#: The run whose cases they are.
PROFILE, SEED = "full", 0


class Hit(NamedTuple):
    """A case, as a line, on which laws broke because of a fault."""

    family: str
    mode: str
    engine: str
    case: str
    laws: tuple[str, ...] = ()

    def candidate(self, family: Family) -> tuple[Item, Any] | None:
        """The item and the case; None if there is no such case any more, or this torch has not the mode."""
        try:
            case = family.space.repair(parse(self.case))
        except ValueError:
            return None
        if case is None or self.mode not in MODES or MODES[self.mode].lacking() is not None:
            return None
        return Item(self.family, "torch", self.mode, self.engine), case


def load_hits() -> dict[str, list[Hit]]:
    """The hits of each fault."""
    found = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return {fault: [Hit(*each) for each in hits] for fault, hits in found.items()}


def keep_hits(found: Mapping[str, Sequence[Hit]]) -> None:
    """Writes the hits of some faults; those of others stay."""
    every = load_hits() | dict(found)
    lines = [
        f"{json.dumps(fault)}: {json.dumps([each[:4] for each in hits], ensure_ascii=False)}"
        for fault, hits in sorted(every.items())
        if hits
    ]
    write_whole(KEPT, "{\n" + ",\n".join(lines) + "\n}\n")


@dataclass(frozen=True)
class FaultResult:
    """The result of a fault: ``status`` is killed, survived, not applicable, or what went wrong.

    ``hits`` are the cases on which laws were seen to break that none had broken before, the killer first; ``cases`` were judged
    before the kill.
    """

    fault: str
    family: str
    status: str
    control: bool = False
    hits: tuple[Hit, ...] = ()
    cases: int = 0
    seconds: float = 0.0
    example: str = ""

    @property
    def good(self) -> bool:
        """Whether this is as it should be: a fault is killed, a control survives."""
        if self.status == "not applicable":
            return True
        return self.status == ("survived" if self.control else "killed")

    @property
    def laws(self) -> tuple[str, ...]:
        """All the laws that were seen violated, the killer first."""
        return tuple(law for hit in self.hits for law in hit.laws)


def used() -> float:
    """Seconds of CPU time that this process and what it started have used: how long a run lasts is no matter of the load."""
    return processor_time(os.getpid())


class Planted:
    """A fault while it is planted; `lifted` takes it out for a moment."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._stack, self.planted = ExitStack(), False

    def __enter__(self) -> Planted:
        if self.fault.modes:  # graphs that are kept were made without it
            forget_graphs()
            self._stack.callback(forget_graphs)
        self._stack.enter_context(self.fault.plant())
        self.planted = True
        return self

    def __exit__(self, *reason: object) -> None:
        self.planted = False
        self._stack.close()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Without the fault; then it is planted anew, its memory of earlier calls lost."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def execute(self, family: Family, mode: Mode, case: Any) -> Outcome | NotApplicable | Unreachable:
        """Executes a case with the fault, in whichever process, while it is planted."""
        setup = (("selfcheck.fault:planting", self.fault.name),) if self.planted else ()
        return Execution(setup=setup)(family, mode, case)


@dataclass
class FaultRunner:
    """Runs faults on the cases of a run with a profile and a seed."""

    made: Candidates
    profile: Profile
    seed: int
    known: Mapping[str, Sequence[Hit]] = field(default_factory=dict)
    _kept: dict[tuple[str, tuple[str, ...], str], list[tuple[Item, Any]]] = field(default_factory=dict)
    #: Laws that break on a case with the fault and without it, each with an example.
    _wrong_anyway: dict[str, str] = field(default_factory=dict)

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
            self._wrong_anyway.clear()
            with Planted(fault) as planted:
                hits, words, judged = self._seen(name, planted)
                if not hits:
                    cases = self.candidates(self.made.families[name], fault.modes)
                    cases = islice(cases, _CONTROL if fault.control else None)
                    hits, words, judged = self._meet(name, cases, planted, end)
            result = replace(result, cases=result.cases + judged, hits=(*result.hits, *hits), example=words)
            if not hits:
                words = "" if fault.control else self._survival(name)
                result = replace(result, status="survived", example=words)
                break
            result = replace(result, status="killed")
        return replace(result, seconds=time.perf_counter() - started)

    def _seen(self, name: str, planted: Planted) -> tuple[list[Hit], str, int]:
        """Has the cases judged on which a fault was seen; nothing of them if the first no longer shows it."""
        family, known = self.made.families[name], self.known.get(planted.fault.name, ())
        made = (hit.candidate(family) for hit in known if hit.family == name)
        return self._meet(name, filter(None, made), planted, math.inf)

    def _meet(
        self, name: str, cases: Iterable[tuple[Item, Any]], planted: Planted, end: float
    ) -> tuple[list[Hit], str, int]:
        """Has cases judged until a law is violated, and a few more: all hits, an example, and the count until the first."""
        hits, known, example = list[Hit](), set[str](), ""
        count = killed_after = 0
        for count, (item, case) in enumerate(cases, 1):
            candidate = self.made.candidate(name, item.mode, case)
            laws = {} if candidate is None else self._killers(candidate, planted, known)
            if laws:
                killed_after = killed_after or count
                example = example or next(iter(laws.values()))
                hits.append(Hit(name, item.mode, item.engine, repr(case), tuple(laws)))
                known |= set(laws)
            if hits and count == killed_after + _AFTER_KILL:
                break
            if not hits and count % 64 == 0 and used() > end:
                break
        return hits, example, killed_after or count

    def _killers(self, candidate: Candidate, planted: Planted, known: Iterable[str] = ()) -> dict[str, str]:
        broken = dict[str, str]()

        def judge() -> Found:
            found = self.made.judged(candidate, planted.execute)
            if planted.planted:
                broken.update(found[0])
            else:
                self._wrong_anyway.update((law, words) for law, words in found[0].items() if law in broken)
            return found

        return killers(judge, planted.lifted, set(known))[0]

    def _survival(self, name: str) -> str:
        """Why a fault that no law of a family killed was not: first the laws that can't, for they are violated anyway."""
        if not self._wrong_anyway:
            return f"no law of {name} sees it"
        told = [
            f"{law} is violated without the fault, so it can't kill ({words})"
            for law, words in self._wrong_anyway.items()
        ]
        return "; ".join([*told, f"no other law of {name} sees it"])

    def violates(self, faults: Sequence[Fault], name: str, law: str, end: float) -> tuple[str, Hit] | None:
        """One of some faults that is seen to violate a law of a family of theirs, and where, before `used` tells ``end``.

        Each meets the first cases of which the law is asked, then each meets more: a fault that never shows costs the others
        no time.
        """
        family = self.made.families[name]
        asked = next(each for each in family.laws if each.name == law)
        every = ((item, self.made.candidate(name, item.mode, case)) for item, case in self.candidates(family))
        cases = (
            (item, each._replace(laws=[asked]))
            for item, each in every
            if each is not None and asked in each.laws and asked.when(each.case)
            and family.refused(each.case) == asked.refusal
        )  # fmt: skip
        for count in _SHARES:
            share = list(islice(cases, count))  # those that only a longer profile has are made if this is reached
            for fault in faults if share else ():
                if used() > end:
                    return None
                with Planted(fault) as planted:
                    for item, each in share:
                        if self._killers(each, planted):
                            return fault.name, Hit(name, item.mode, item.engine, repr(each.case), (law,))
        return None
