"""Tallies: what each law of a family has seen in an item, as a fold over the results of its cases."""

import hashlib
import marshal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from typing import Any

from embcheck.core.facts import holds
from embcheck.core.law import Family, Law, accepts, ended
from embcheck.core.ledger import Entry, Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import (
    HOLDS,
    UNASKED,
    Absent,
    Difference,
    Holds,
    NotApplicable,
    OracleFailed,
    Result,
    Unreachable,
    Violated,
)
from embcheck.core.verdict import APPLIES
from embcheck.engine.common_facts import Shared, both, seen
from embcheck.engine.evaluate import Execute, evaluate
from embcheck.engine.execution import Execution
from embcheck.modes.mode import Mode
from embcheck.record.compare import Former

#: Kinds of difference that one law reports, and violations after which an item stops judging it.
_KINDS, _ENOUGH = 5, 10_000
#: The first cases of an item, whose facts are all told while an obligation is open; later every eighth one's are,
#: and those of refusals, which are few.
_ALL_TOLD = 400

#: Tells how each of some cases would end the process: a symptom, or None.
Probe = Callable[[list[Any]], list[str | None]]
#: Asks whether a violation is to be counted.
Confirm = Callable[[Law, Any, Difference], bool]
#: Differences, each with the entry of the ledger that excuses it.
Excuses = list[tuple[Difference, Entry | None]]


@dataclass
class Tally:
    """What one law has seen in an item; ``cases`` are those that were judged.

    ``absent`` are obligations that cases meet which this release does not have; ``last`` is the entry that excused the
    present case, if one did.
    ``failing`` are the places in the item of the cases that violate it, by the kind of difference, each a bit;
    ``kinds`` has the first of these that did not fail in the former run, ``old`` the first that did.
    """

    law: Law
    missing: set[str]
    met: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    cases: int = 0
    known: int = 0
    last: Entry | None = None
    implied: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    worst: float | None = None
    violations: int = 0
    failing: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, tuple[Any, Difference]] = field(default_factory=dict)
    old: dict[str, tuple[Any, Difference]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    not_applicable: dict[str, int] = field(default_factory=dict)

    def meet(self, obligations: set[str]) -> None:
        """Notes which of some obligations are met by a case that was judged."""
        if newly := self.missing & obligations:
            self.missing -= newly
            self.met |= newly

    def excuse(self, entry: Entry) -> None:
        self.known, self.last = self.known + 1, entry
        self.entries[entry.name] = self.entries.get(entry.name, 0) + 1

    def skip(self, reason: str) -> None:
        self.not_applicable[reason] = self.not_applicable.get(reason, 0) + 1


@dataclass(eq=False, repr=False)
class Tallies:
    """The tallies of all laws of a family in a mode.

    ``execute`` is how cases are executed; ``before`` is told the bytes of each case before that (the crash slot), and
    says why one must be left out;
    ``probe`` tells of cases how they would end the process; ``confirm`` is asked of each violation outside of the
    ledger whether it counts; ``former`` says how the laws failed in the same item of a ``baseline``.
    One that ``learns`` keeps in ``shared`` what all violations of a law of one kind have in common.
    """

    family: Family
    mode: Mode
    ledger: Ledger
    _: KW_ONLY
    device: str = "cpu"
    execute: InitVar[Execute | None] = None
    before: Callable[[bytes], str | None] | None = None
    probe: Probe | None = None
    confirm: Confirm | None = None
    former: Former | None = None
    learns: bool = False

    def __post_init__(self, execute: Execute | None) -> None:
        laws = [law for law in self.family.laws if self.mode.unasked(law) is None]
        self.each = [Tally(law, {APPLIES, *law.must_cover}) for law in laws]
        self.accept = next(tally for tally in self.each if tally.law.judge is accepts)
        self.excluded = self.ledger.excludes([law.name for law in laws], self.mode.name, self.device)
        self.shared: dict[tuple[str, str], Shared] = {}
        self.cases, self.place, self.digest = 0, -1, 0
        self.hung = False
        self.worst: float | None = None
        self.baseline = self.former or Former()
        self._execution = execute or Execution(self.device)
        self._name = b""
        self._ask(self.each)

    def _ask(self, tallies: list[Tally]) -> None:
        """The laws that are asked from now on."""
        self._asked, self._laws = tallies, [tally.law for tally in tallies]

    def __call__(self, case: Any) -> None:
        """Executes one case and counts what comes of every law."""
        self._note(case)
        entry = self.excuse(case)
        if entry is not None:
            self.accept.excuse(entry)
            self._lack_elsewhere(case, entry)
            return
        if not self._laws:
            return
        results = evaluate(self.family, self.mode, case, self._laws, self._execute)
        first = results[0]
        if isinstance(first, (NotApplicable, Unreachable, OracleFailed)) and all(each is first for each in results):
            self._count(self.accept, case, first)  # it is about the case, whichever law is asked
            if isinstance(first, NotApplicable) and isinstance(first.why, Absent):
                self._lack(case)
            return
        self.accept.last, waiting = None, list[Tally]()
        for tally, result in zip(self._asked, results, strict=True):
            if result is HOLDS:  # nearly always: `_count` would take as long as many a law
                tally.cases += 1
            elif result is UNASKED or not self._count(tally, case, result):
                continue
            if tally.missing and not (isinstance(result, Holds) and result.loose):
                waiting.append(tally)
        if waiting:
            self._meet(waiting, case)
        if self.accept.last is not None:
            self._lack_elsewhere(case, self.accept.last)

    def _meet(self, judged: list[Tally], case: Any) -> None:
        """Notes which obligations a case meets of laws that judged it; each is asked of its facts once."""
        told = self.cases < _ALL_TOLD or self.cases % 8 == 0 or self.family.refused(case)
        met = met_by(case.facts(), set().union(*(tally.missing for tally in judged))) if told else {APPLIES}
        for tally in judged:
            tally.meet(met)

    def _lack_elsewhere(self, case: Any, entry: Entry) -> None:
        """Of what is known to raise or to end the process no law need judge a case on another device than the CPU, or in
        another release than those for which the cases that oblige are chosen, if it is known of such alone."""
        if self.device != "cpu" or entry.of_other_releases:
            self._lack(case)

    def _lack(self, case: Any) -> None:
        """Of what this release does not have a law need not judge any case."""
        refused = self.family.refused(case)
        for tally in self._asked:
            if tally.missing and tally.law.refusal == refused and tally.law.when(case):
                tally.absent |= met_by(case.facts(), tally.missing)

    def _note(self, case: Any) -> None:
        """A further case of the item: its place, its name, its share in the fingerprint of all."""
        self.place += 1
        self._name = named(case)
        self.digest += int.from_bytes(hashlib.blake2b(self._name, digest_size=8).digest(), "little")

    def excuse(self, case: Any) -> Entry | None:
        """The ledger's entry for which a case must not be executed at all, if there is one."""
        return next((entry for entry in self.excluded if entry.covers_case(case)), None)

    def _execute(self, family: Family, mode: Mode, case: Any) -> Outcome | NotApplicable | Unreachable:
        why = self.before(self._name) if self.before is not None else None
        if why is not None:
            return Unreachable(f"{why}: {case!r}")
        self.cases += 1
        return self._execution(family, mode, case)

    def _count(self, tally: Tally, case: Any, result: Result) -> bool:
        """Adds a result to a tally; whether the law was judged."""
        match result:
            case Holds(ratio):
                tally.cases += 1
                tally.implied += bool(result.implied_by)
                if ratio is not None:
                    self.worst = tally.worst = ratio if tally.worst is None else max(tally.worst, ratio)
                return True
            case NotApplicable(why, counted):
                if counted:
                    tally.skip(why)
            case Violated(difference):
                tally.cases += 1
                self._violated(tally, case, difference)
                return True
            case OracleFailed(error):
                tally.unknown[error[:300]] = None
            case Unreachable(why):
                tally.unknown[why] = None
        return False

    def _violated(self, tally: Tally, case: Any, found: Difference) -> None:
        """Counts a violation; each of its differences may be excused by an entry of its own."""
        told = self._excuses(tally.law, case, found)
        new = [each for each, entry in told if entry is None]
        first = told[0][1]
        if first is not None and not new:
            tally.excuse(first)
            if _by_numbers_around(told):
                case, new = case.finite, self._calmly(tally.law, case)
        if not new or (self.confirm is not None and not self.confirm(tally.law, case, new[0])):
            return
        tally.violations += 1
        for each in new:
            self._keep(tally, case, each)
        if tally.violations == _ENOUGH:
            tally.unknown[f"after {_ENOUGH:,} violations an item's further cases were not judged"] = None
            self._ask([each for each in self._asked if each is not tally])

    def _keep(self, tally: Tally, case: Any, found: Difference) -> None:
        """Notes where in the item a kind of difference shows, and the first cases that show it."""
        if self.learns:
            self.learn(tally.law, case, found)
        tally.failing[found.kind] = tally.failing.get(found.kind, 0) | 1 << self.place
        examples = tally.old if self.baseline.failed(tally.law.name, found.kind, self.place) else tally.kinds
        if len(examples) < _KINDS:
            examples.setdefault(found.kind, (case, found))

    def learn(self, law: Law, case: Any, found: Difference) -> None:
        """Keeps what one more violation has in common with the others of its kind."""
        key, told = (law.name, found.kind), seen(case, found)
        self.shared[key] = both(self.shared[key], told) if key in self.shared else told

    def _excuses(self, law: Law, case: Any, found: Difference) -> Excuses:
        return self.ledger.excuses(law.name, self.mode.name, self.device, found, case)

    def _calmly(self, law: Law, case: Any) -> list[Difference]:
        """How a law fails on a case in the region of an entry `of_numbers_around` without what triggers that: with finite
        numbers in it and around it."""
        if not isinstance(self._execution, Execution):
            return []
        calm = replace(self._execution, finite=True)
        result = evaluate(self.family, self.mode, case.finite, [law], calm)[0]
        if not isinstance(result, Violated):
            return []
        told = self._excuses(law, case.finite, result.difference)
        return [each for each, entry in told if entry is None or entry.of_numbers_around]

    def died(self, case: Any, symptom: str) -> None:
        """Notes a case that was not executed here because it takes the process down."""
        self._note(case)
        self.cases += 1
        law = self.family.law_of_crashes(case)
        tally = next((each for each in self.each if each.law is law), self.accept)
        tally.cases += 1
        self.hung = symptom == "hang"
        self._violated(tally, case, ended(symptom))

    def fails(self, law: Law, case: Any, kind: str) -> Difference | None:
        """How a law fails on a case, if it does so in this way and outside the ledger's regions."""
        result = self.evaluate([law], case)[0]
        if not isinstance(result, Violated):
            return None
        told = self._excuses(law, case, result.difference)
        new = [each for each, entry in told if entry is None]
        if not new and case.finite == case and _by_numbers_around(told):
            new = self._calmly(law, case)
        return next((each for each in new if each.kind == kind), None)

    def evaluate(self, laws: Sequence[Law], case: Any, mode: Mode | None = None) -> list[Result]:
        """What comes of some laws on one more case, in this mode or another, which is not counted.

        It is noted before it runs, for a smaller case may crash where a larger one did not; after a crash it is tried
        elsewhere first.
        """
        entry = self.excuse(case)
        if entry is not None:
            return [Unreachable(f"the ledger's entry {entry.name} forbids to execute it")] * len(laws)
        why = self.before(named(case)) if self.before is not None else None
        if why is not None:
            return [Unreachable(why)] * len(laws)
        symptom = self.probe([case])[0] if self.probe is not None else None
        if symptom is not None:
            return [Unreachable(f"it ends the process: {symptom}")] * len(laws)
        return evaluate(self.family, mode or self.mode, case, laws, self._execution)


def met_by(facts: Mapping[str, Any], obligations: set[str]) -> set[str]:
    """Those of some obligations that a case with these facts meets."""
    return {each for each in obligations if each == APPLIES or holds(each, facts)}


def _by_numbers_around(told: Excuses) -> bool:
    """Whether an entry of what numbers around a tensor do excuses one of the differences."""
    return any(entry is not None and entry.of_numbers_around for _, entry in told)


def named(case: Any) -> bytes:
    """A case in bytes, the same in every process, as a crash slot holds it."""
    return marshal.dumps((type(case).__name__, tuple(case)), 2)
