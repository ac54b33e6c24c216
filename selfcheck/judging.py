"""Judges the cases of a run with kernels of ours: a clean run, which records what each fault would hit, and runs with a fault."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from embcheck.core.item import PROFILES
from embcheck.core.ledger import Ledger
from embcheck.engine.reduce import size
from selfcheck.aiming import ENOUGH, HOPELESS, Aimed, built
from selfcheck.candidates import Candidate, Candidates, Found, every_case, killers, shipped
from selfcheck.drawn import Fault
from selfcheck.kernels import SITES
from selfcheck.planting import Sites

#: The families whose cases call the kernels.
CORE = (
    *("lookup", "one_hot", "gradient", "gradient_routes", "padding", "conversion"),
    *("tied_training", "embedding_bag", "max_norm"),
)
#: Seconds for one fault, and the most cases in which a fault raises before it counts as not judged.
LIMIT, _RAISED = 20.0, 64
#: Why a fault is inert that changes calls.
UNJUDGED = "no changed call is judged"


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


def deck(profile: str, seed: int, families: Iterable[str] = CORE) -> tuple[list[Candidate], Ledger]:
    """The cases that a run with a profile and a seed judges, but for those that the ledger forbids to execute."""
    made = Candidates(shipped())
    found = (
        made.candidate(name, item.mode, case)
        for name in families
        for item, case in every_case(made.families[name], PROFILES[profile], seed)
    )
    return [each for each in found if each is not None], made.ledger


class Judging:
    """Judges cases of a deck while `Sites` are installed; ``clock`` tells seconds of CPU time."""

    clock = staticmethod(time.process_time)

    def __init__(self, candidates: Sequence[Candidate], ledger: Ledger, sites: Sites) -> None:
        self.candidates, self.sites, self.made = candidates, sites, Candidates(ledger)

    def record(self, faults: Sequence[Fault], chosen: Iterable[int]) -> Record:
        """A clean run of some cases, by their positions."""
        self.sites.plant(None)
        self.sites.watch(faults)
        found = Record()
        for position in chosen:
            candidate = self.candidates[position]
            broken, failed = self._judged(candidate)
            if broken or failed:
                with self.sites.lifted():
                    broken, failed = self._judged(candidate)
                found.wrong += [*(f"{law} on {words}" for law, words in broken.items()), *failed.values()]
                found.left_out += not (broken or failed)
                continue
            for kept, seen in ((found.met, self.sites.met), (found.changed, self.sites.changed)):
                for fault in seen:
                    kept.setdefault(fault, []).append(position)
        self.sites.watch(())
        return found

    def run(self, fault: Fault, met: Sequence[int], changed: Sequence[int]) -> DrawnResult:
        """Plants a fault and judges the cases that it changes, the smallest first, until a law sees it."""
        if not met:
            return DrawnResult(str(fault), "not reached")
        order = sorted(changed, key=lambda position: (size(self.candidates[position].case), position))
        begun = found = DrawnResult(str(fault), "survived", len(met), len(changed))
        if not order or not self._raising(fault, order):
            return replace(found, status="inert", told=UNJUDGED if order else "nothing changes")
        for found in self._in_turn(fault, order, begun):
            if found.laws:
                return replace(found, status="killed")
            if found.seconds > LIMIT:
                return replace(found, status="time-out")
        return replace(found, status="unknown") if found.told else found

    def _in_turn(self, fault: Fault, order: Sequence[int], found: DrawnResult) -> Iterator[DrawnResult]:
        """What is known of a fault after each case that is judged with it, until a law sees it."""
        started = self.clock()
        for judged, position in enumerate(order, 1):
            candidate = self.candidates[position]
            laws, failed = self._killers(fault, candidate)
            told, case = found.told or next(iter(failed.values()), ""), self._words(candidate) if laws else ""
            seconds = self.clock() - started
            found = replace(found, judged=judged, seconds=seconds, told=told, laws=tuple(laws), case=case)
            yield found
            if laws:
                return

    def _words(self, candidate: Candidate) -> str:
        return repr(candidate.case)

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
        self.sites.watch([fault])
        try:
            for tried, (name, case) in enumerate(built(fault)):
                if met >= ENOUGH or (tried >= HOPELESS and not met) or time.process_time() - started > LIMIT:
                    break
                candidate = self.made.fitted(name, case)
                if candidate is None:
                    continue
                with self.sites.planting(fault):
                    broken, _ = self._judged(candidate)
                met, changed = met + bool(self.sites.met), changed + bool(self.sites.changed)
                laws = self._killers(fault, candidate)[0] if broken and self.sites.changed else {}
                if laws:
                    return Aimed(met, changed, tuple(laws), repr(candidate.case))
        finally:
            self.sites.watch(())
        return Aimed(met, changed)

    def _raising(self, fault: Fault, order: Sequence[int]) -> bool:
        """Whether some case that the fault changes is judged where it does: with an exception there, a law is broken."""
        with self.sites.planting(fault, raises=True):
            return any(self._judged(self.candidates[position])[0] for position in order[:_RAISED])

    def _killers(self, fault: Fault, candidate: Candidate) -> Found:
        """The laws that see a fault on a case, confirmed, and what of embcheck's own failed."""
        with self.sites.planting(fault):
            return killers(partial(self._judged, candidate), partial(self.sites.planting, None))

    def _judged(self, candidate: Candidate) -> Found:
        """The laws that are broken outside of the ledger, and what of embcheck's own failed."""
        self.sites.forget()
        return self.made.judged(candidate)
