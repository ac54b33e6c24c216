"""The cases of a run, and which laws break on one: as torch is, and because of a planted fault."""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import date
from functools import cache
from typing import Any, NamedTuple

import torch

from embcheck.core.item import Item, Profile, all_items
from embcheck.core.law import Family, Law
from embcheck.core.ledger import SHIPPED, Ledger, load
from embcheck.core.machine import here
from embcheck.core.result import OracleFailed, Unreachable, Violated
from embcheck.engine.evaluate import Execute, evaluate
from embcheck.engine.execution import Execution
from embcheck.engine.run_item import batches
from embcheck.engine.selection import cases
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES, Mode
from embcheck.subject.collect import load_families

#: How often a case must obey a law without the fault: what torch does with uninitialised memory differs each time.
_REPEATS = 3
#: The laws that break on a case, each with an example in words, and those that could not be judged, with the reason.
Found = tuple[dict[str, str], dict[str, str]]


def shipped() -> Ledger:
    """The ledger of this torch and this machine."""
    return load(SHIPPED, torch.__version__, date.today()).on(here()) if SHIPPED.exists() else Ledger()


class Candidate(NamedTuple):
    """A case with the family, the mode and the laws with which a run judges it."""

    family: Family
    mode: Mode
    laws: list[Law]
    case: Any

    @property
    def fresh(self) -> Any:
        """A copy of the case, which keeps nothing that it once expanded to."""
        return type(self.case)(*self.case)


class Candidates:
    """The laws that are asked in each mode of the families, and what the ledger forbids to execute."""

    def __init__(self, ledger: Ledger) -> None:
        self.families: Mapping[str, Family] = load_families()
        self.ledger = ledger
        self._tallies: dict[tuple[str, str], Tallies] = {}

    def candidate(self, name: str, mode: str, case: Any) -> Candidate | None:
        """The case with the laws that are asked of it; None of one that must not be executed."""
        if (name, mode) not in self._tallies:
            self._tallies[name, mode] = Tallies(self.families[name], MODES[mode], self.ledger)
        tallies = self._tallies[name, mode]
        if tallies.excluded and tallies.excuse(case) is not None:
            return None
        return Candidate(self.families[name], MODES[mode], [each.law for each in tallies.each], case)

    def fitted(self, name: str, case: Any, mode: str = "") -> Candidate | None:
        """A case that was built for a family, made fit for its first mode, or for another if that can run it."""
        family = self.families[name]
        fitted = family.space.repair(case)
        if fitted is None or (mode and MODES[mode].reason(fitted, family) is not None):
            return None
        return self.candidate(name, mode or family.modes[0], fitted)

    def judged(self, candidate: Candidate, execute: Execute | None = None) -> Found:
        """Which laws break on a case outside of the ledger, and what can't be judged."""
        case, mode = candidate.fresh, candidate.mode
        results = evaluate(candidate.family, mode, case, candidate.laws, execute or Execution())
        broken: dict[str, str] = {}
        failed: dict[str, str] = {}
        for law, result in zip(candidate.laws, results, strict=True):
            if isinstance(result, Violated):
                told = self.ledger.excuses(law.name, mode.name, "cpu", result.difference, case)
                new = [difference for difference, entry in told if entry is None]
                broken |= {law.name: f"{case!r}: {new[0].words}"} if new else {}
            elif isinstance(result, (OracleFailed, Unreachable)):
                failed[law.name] = f"{law.name}: {result.error if isinstance(result, OracleFailed) else result}"
        return broken, failed


@cache
def of_this_process() -> Candidates:
    """What judges in a process that has one thread, and says nothing of what a spoiled torch warns of."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    return Candidates(shipped())


def killers(
    judge: Callable[[], Found], lifted: Callable[[], AbstractContextManager[None]], known: Collection[str] = ()
) -> Found:
    """The laws that break on a case because of the fault that is planted, but for those known, and what can't be judged.

    A kill counts only if the same case obeys the law whenever the fault is lifted and breaks it again when it is back, so
    that what torch itself gets wrong, every time or now and then, kills nothing.
    """
    found, failed = judge()
    broken = {law: words for law, words in found.items() if law not in known}
    if broken:
        with lifted():
            for _ in range(_REPEATS):
                without, unclear = judge()
                broken = {law: words for law, words in broken.items() if law not in without and law not in unclear}
    again = judge()[0] if broken else {}
    return {law: words for law, words in broken.items() if law in again}, failed


class Collected(list[Any]):
    """Takes the cases of an item without executing them."""

    worst: float | None = None
    __call__ = list.append


def every_case(family: Family, profile: Profile, seed: int, modes: tuple[str, ...] = ()) -> Iterable[tuple[Item, Any]]:
    """Every case of the family's items in these modes, by default its own, in the order of a run."""
    for item in all_items(family, profile, modes):
        mode, found = MODES[item.mode], Collected()
        if mode.lacking() is not None or item.engine not in mode.engines:
            continue
        if item.engine != "random" or mode.cases is not None:
            found.extend(cases(family, item, profile, seed))
        else:
            batches(family, item, profile, seed, found, None)  # type: ignore[arg-type]
        yield from ((item, case) for case in found)
