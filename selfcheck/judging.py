"""Judges the cases of a run with kernels of ours: a clean run, which records what each fault would hit, and runs with a fault."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import torch

from embcheck.core.item import PROFILES
from embcheck.core.law import Family, Law
from embcheck.core.ledger import SHIPPED, Ledger, load
from embcheck.core.machine import here
from embcheck.core.result import OracleFailed, Result, Unreachable, Violated
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.engine.reduce import size
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES, Mode
from embcheck.subject.collect import load_families
from selfcheck.aiming import ENOUGH, HOPELESS, Aimed, built
from selfcheck.drawn import Fault
from selfcheck.fault_runner import FaultRunner
from selfcheck.planting import Kernels
from selfcheck.sites import SITES

#: The families whose cases call the kernels.
CORE = (
    *("lookup", "one_hot", "gradient", "gradient_routes", "padding", "conversion"),
    *("tied_training", "embedding_bag", "max_norm"),
)
#: How often a case must obey a law without the fault.
_REPEATS = 3
#: Seconds for one fault, and the most cases in which a fault raises before it counts as not judged.
_LIMIT, _RAISED = 20.0, 64


class Candidate:
    """A case of the deck with the family and the mode in which a run judges it."""

    __slots__ = ("case", "family", "laws", "mode")

    def __init__(self, family: Family, mode: Mode, laws: Sequence[Law], case: Any) -> None:
        self.family, self.mode, self.laws, self.case = family, mode, laws, case

    @property
    def fresh(self) -> Any:
        """A copy of the case, which keeps nothing that it once expanded to."""
        return type(self.case)(*self.case)


@dataclass
class Record:
    """What a clean run found: for each fault the cases with a call that it hits, and those with one that it changes.

    Cases are ``left_out`` that can't have functions of ours in the place of torch's, as one that counts what is computed.
    """

    met: dict[int, list[int]] = field(default_factory=dict)
    changed: dict[int, list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    left_out: int = 0

    def add(self, other: Record) -> None:
        """Takes in what was found elsewhere."""
        for mine, theirs in ((self.met, other.met), (self.changed, other.changed)):
            for position, cases in theirs.items():
                mine.setdefault(position, []).extend(cases)
        self.wrong += other.wrong
        self.left_out += other.left_out


@dataclass(frozen=True)
class DrawnResult:
    """The result of a fault.

    ``status`` is killed, survived, not reached, inert (it changes nothing, or no changed call is judged), equivalent,
    time-out or unknown; ``met`` and ``changed`` count cases, ``judged`` those that were judged with it.  ``laws`` broke on
    ``case``, which killed it; ``told`` says why it is inert, or what of embcheck's own failed under it.  Of one that was
    not killed ``aimed`` is what cases showed that were built for it.
    """

    fault: str
    status: str
    met: int = 0
    changed: int = 0
    judged: int = 0
    laws: tuple[str, ...] = ()
    case: str = ""
    seconds: float = 0.0
    told: str = ""
    aimed: Aimed | None = None


class Candidates:
    """The laws that are asked in each mode of the families, and what the ledger forbids to execute."""

    def __init__(self, ledger: Ledger) -> None:
        self.families, self.ledger = load_families(), ledger
        self._tallies: dict[tuple[str, str], Tallies] = {}

    def candidate(self, name: str, mode: str, case: Any) -> Candidate | None:
        """The case with the laws that are asked of it; None of one that must not be executed."""
        if (name, mode) not in self._tallies:
            self._tallies[name, mode] = Tallies(self.families[name], MODES[mode], self.ledger)
        tallies = self._tallies[name, mode]
        if tallies.excluded and tallies.excuse(case) is not None:
            return None
        return Candidate(self.families[name], MODES[mode], [each.law for each in tallies.each], case)


def deck(profile: str, seed: int, families: Iterable[str] = CORE) -> tuple[list[Candidate], Ledger]:
    """The cases that a run with a profile and a seed judges, but for those that the ledger forbids to execute."""
    ledger = load(SHIPPED, torch.__version__, date.today()).on(here()) if SHIPPED.exists() else Ledger()
    made = Candidates(ledger)
    runner = FaultRunner(made.families, PROFILES[profile], seed, ledger)
    found = (
        made.candidate(name, item.mode, case)
        for name in families
        for item, case in runner.every(made.families[name], (), PROFILES[profile])
    )
    return [each for each in found if each is not None], ledger


class Judging:
    """Judges cases of a deck while `Kernels` are installed."""

    def __init__(self, candidates: Sequence[Candidate], ledger: Ledger, kernels: Kernels) -> None:
        self.candidates, self.ledger, self.kernels = candidates, ledger, kernels
        self._made = Candidates(ledger)

    def record(self, faults: Sequence[Fault], chosen: Iterable[int]) -> Record:
        """A clean run of some cases, by their positions."""
        self.kernels.plant(None)
        self.kernels.watch(faults)
        found = Record()
        for position in chosen:
            candidate = self.candidates[position]
            broken, failed = self._judged(candidate)
            if broken or failed:
                with self.kernels.lifted():
                    broken, failed = self._judged(candidate)
                found.wrong += [f"{law} on {candidate.case!r}" for law in broken] + failed
                found.left_out += not (broken or failed)
                continue
            for kept, seen in ((found.met, self.kernels.met), (found.changed, self.kernels.changed)):
                for fault in seen:
                    kept.setdefault(fault, []).append(position)
        self.kernels.watch(())
        return found

    def run(self, fault: Fault, met: Sequence[int], changed: Sequence[int]) -> DrawnResult:
        """Plants a fault and judges the cases that it changes, the smallest first, until a law sees it."""
        if not met:
            return DrawnResult(str(fault), "not reached")
        started = time.process_time()
        found = DrawnResult(str(fault), "survived", len(met), len(changed))
        order = sorted(changed, key=lambda position: (size(self.candidates[position].case), position))
        if not order or not self._raising(fault, order):
            return replace(found, status="inert", told="no changed call is judged" if order else "nothing changes")
        for judged, position in enumerate(order, 1):
            candidate = self.candidates[position]
            laws, failed = self._killers(fault, candidate)
            spent = time.process_time() - started
            found = replace(found, judged=judged, seconds=spent, told=found.told or "; ".join(failed[:1]))
            if laws:
                return replace(found, status="killed", laws=tuple(laws), case=repr(candidate.case))
            if spent > _LIMIT:
                return replace(found, status="time-out")
        return replace(found, status="unknown") if found.told else found

    def result(self, fault: Fault, met: Sequence[int], changed: Sequence[int]) -> DrawnResult:
        """The result of a fault on the deck, and if that does not kill it, on cases that are aimed at it."""
        found = self.run(fault, met, changed)
        if found.status == "killed" or fault.site not in SITES:
            return found
        aimed = self.aim(fault)
        if aimed.equivalent(fault) and not found.changed:
            return replace(found, status="equivalent", aimed=aimed)
        return replace(found, aimed=aimed)

    def aim(self, fault: Fault) -> Aimed:
        """Judges cases that are built for a fault until one kills it or enough have met its condition."""
        started = time.process_time()
        met = changed = 0
        self.kernels.watch([fault])
        try:
            for tried, (name, case) in enumerate(built(fault)):
                if met >= ENOUGH or (tried >= HOPELESS and not met) or time.process_time() - started > _LIMIT:
                    break
                family = self._made.families[name]
                fitted = family.space.repair(case)
                candidate = None if fitted is None else self._made.candidate(name, family.modes[0], fitted)
                if candidate is None:
                    continue
                self.kernels.plant(fault)
                broken, _ = self._judged(candidate)
                met, changed = met + bool(self.kernels.met), changed + bool(self.kernels.changed)
                laws = self._killers(fault, candidate)[0] if broken and self.kernels.changed else []
                if laws:
                    return Aimed(met, changed, tuple(laws), repr(candidate.case))
        finally:
            self.kernels.plant(None)
            self.kernels.watch(())
        return Aimed(met, changed)

    def _raising(self, fault: Fault, order: Sequence[int]) -> bool:
        """Whether some case that the fault changes is judged where it does: with an exception there, a law is broken."""
        try:
            self.kernels.plant(fault, raises=True)
            return any(self._judged(self.candidates[position])[0] for position in order[:_RAISED])
        finally:
            self.kernels.plant(None)

    def _killers(self, fault: Fault, candidate: Candidate) -> tuple[list[str], list[str]]:
        """The laws that see a fault on a case, confirmed, and what of embcheck's own failed."""
        try:
            self.kernels.plant(fault)
            broken, failed = self._judged(candidate)
            if not broken:
                return [], failed
            self.kernels.plant(None)
            for _ in range(_REPEATS):
                without, failed_again = self._judged(candidate)
                broken = [] if failed_again else [law for law in broken if law not in without]
            if not broken:
                return [], failed
            self.kernels.plant(fault)
            again, _ = self._judged(candidate)
            return [law for law in broken if law in again], failed
        finally:
            self.kernels.plant(None)

    def _judged(self, candidate: Candidate) -> tuple[list[str], list[str]]:
        """The laws that are broken outside of the ledger, and what of embcheck's own failed."""
        self.kernels.forget()
        case = candidate.fresh
        results = evaluate(candidate.family, candidate.mode, case, candidate.laws, Execution())
        broken, failed = [], []
        for law, result in zip(candidate.laws, results, strict=True):
            if isinstance(result, Violated):
                if not self._known(candidate, law, case, result):
                    broken.append(law.name)
            elif isinstance(result, (OracleFailed, Unreachable)):
                failed.append(_words(law, result))
        return broken, failed

    def _known(self, candidate: Candidate, law: Law, case: Any, result: Violated) -> bool:
        told = self.ledger.excuses(law.name, candidate.mode.name, "cpu", result.difference, case)
        return all(entry is not None for _, entry in told)


def _words(law: Law, result: Result) -> str:
    return f"{law.name}: {result.error if isinstance(result, OracleFailed) else result}"
