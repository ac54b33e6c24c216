"""Judges outcomes: a case is executed once, and every law of the family is asked about what came out."""

from __future__ import annotations

import builtins
import hashlib
import marshal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embcheck.axes import holds
from embcheck.comparison import Difference, Finding, Loose, missing
from embcheck.crashes.isolate import confined, elsewhere
from embcheck.execute import read, run, unpacked
from embcheck.fault import PLANTED
from embcheck.law import Family, Law, accepts
from embcheck.ledger import Entry, Ledger
from embcheck.mode import Mode
from embcheck.outcome import Missing, Outcome

#: Kinds of difference that one law reports, and violations after which an item stops judging it.
_KINDS, _ENOUGH = 5, 500
#: The first cases of an item, whose facts are all told while an obligation is open; later every eighth one's are,
#: and those of refusals, which are few.
_ALL_TOLD = 400

#: Tells how each of some cases would end the process: a symptom, or None.
Probe = Callable[[list[Any]], list[str | None]]


@dataclass
class Tally:
    """What one law has seen in an item."""

    law: Law
    missing: set[str]
    met: set[str] = field(default_factory=set)
    cases: int = 0
    known: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    worst: float | None = None
    violations: int = 0
    kinds: dict[str, tuple[Any, Difference]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    not_applicable: dict[str, int] = field(default_factory=dict)
    #: whether the last finding was under a bound that checks nothing
    loose: bool = False

    def meet(self, facts: Mapping[str, Any]) -> None:
        """Notes the obligations that a case with these facts meets."""
        newly = {condition for condition in self.missing if holds(condition, facts)}
        self.missing -= newly
        self.met |= newly


class Judge:
    """Judges the cases of an item and keeps a tally for each law.

    ``before`` is told the bytes of each case before it is executed (the crash slot), ``stop_early`` ends the item at
    its first violation.
    """

    def __init__(
        self,
        family: Family,
        mode: Mode,
        ledger: Ledger,
        *,
        device: str = "cpu",
        before: Callable[[bytes], None] | None = None,
        probe: Probe | None = None,
        stop_early: bool = False,
    ) -> None:
        self.family, self.mode, self.ledger, self.device = family, mode, ledger, device
        self.tallies = [Tally(law, set(law.obliges)) for law in family.laws if mode.unasked(law) is None]
        self.regular = [tally for tally in self.tallies if not tally.law.refusal]
        self.refusals = [tally for tally in self.tallies if tally.law.refusal]
        self.accept = next(tally for tally in self.tallies if tally.law.judge is accepts)
        self.excluded = ledger.excludes([t.law.name for t in self.tallies], mode.name, device)
        self.before, self.probe, self.stop_early = before, probe, stop_early
        self.cases = 0
        self.digest = 0
        self.done = False
        self.hung = False
        self.worst: float | None = None

    def __call__(self, case: Any) -> None:
        """Executes one case and judges it."""
        if self.done:
            return
        name = named(case)
        self.digest += int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
        facts = case.facts() if self.excluded else None
        entry = self.excuse(facts) if facts else None
        if entry is not None:
            self.accept.known += 1
            self.accept.entries[entry.name] = self.accept.entries.get(entry.name, 0) + 1
            return
        reason = self.mode.reason(case, self.family)
        if reason is not None:
            self._inapplicable(reason)
            return
        if self.before is not None:
            self.before(name)
        self.cases += 1
        refused = self.family.refused(case)
        out = executed(self.family, self.mode, case, self.device)
        if refused and out.settings:
            self._judge(self.accept, case, out)
        reason = self.family.untaken(out) or (None if refused else self.family.not_applicable(case, out))
        if reason is not None:
            self._inapplicable(reason)
            return
        exact: set[str] = set()
        for tally in self.refusals if refused else self.regular:
            if out.error is not None and not refused and tally is not self.accept:
                continue
            law = tally.law
            if law.when(case):
                if law.implied_by in exact:
                    tally.cases += 1
                elif self._judge(tally, case, out):
                    exact.add(law.name)
                told = refused or self.cases < _ALL_TOLD or self.cases % 8 == 0
                if tally.missing and not tally.loose and told:
                    facts = facts or case.facts()
                    tally.meet(facts)

    def excuse(self, facts: Mapping[str, Any]) -> Entry | None:
        """The ledger's entry for which a case with these facts must not be executed at all, if there is one."""
        return next((entry for entry in self.excluded if entry.covers(facts)), None)

    def _inapplicable(self, reason: str) -> None:
        self.accept.not_applicable[reason] = self.accept.not_applicable.get(reason, 0) + 1

    def _judge(self, tally: Tally, case: Any, out: Any) -> bool:
        """Whether a law holds exactly; anything else goes into its tally."""
        if tally.violations >= _ENOUGH:
            return False
        tally.cases += 1
        tally.loose = False
        try:
            finding = found_by(tally.law, case, out)
        except Exception as error:
            tally.unknown[f"the oracle raised {type(error).__name__}: {error} on {case!r}"[:300]] = None
            return False
        if finding is None:
            return True
        if isinstance(finding, Difference):
            self._violated(tally, case, finding)
        else:
            tally.loose = isinstance(finding, Loose)
            tally.worst = float(finding if tally.worst is None else max(tally.worst, finding))
            self.worst = tally.worst
        return False

    def _violated(self, tally: Tally, case: Any, found: Difference) -> None:
        entry = self.ledger.find(tally.law.name, self.mode.name, self.device, found.kind, case.facts())
        if entry is not None:
            tally.known += 1
            tally.entries[entry.name] = tally.entries.get(entry.name, 0) + 1
            return
        tally.violations += 1
        if len(tally.kinds) < _KINDS:
            tally.kinds.setdefault(found.kind, (case, found))
        self.done = self.stop_early

    def died(self, case: Any, symptom: str) -> None:
        """Notes a case that was not executed here because it takes the process down."""
        self.cases += 1
        self.accept.cases += 1
        self.hung = symptom == "hang"
        words = "no end" if symptom == "hang" else f"the process died: {symptom}"
        self._violated(self.accept, case, Difference(symptom, "error", words, None, words))

    def fails(self, law: Law, case: Any, kind: str) -> Difference | None:
        """How a law fails on a case, if it does so in this way and outside the ledger's regions."""
        found = self.once(law, case)
        if found is None or found.kind != kind:
            return None
        known = self.ledger.find(law.name, self.mode.name, self.device, kind, case.facts())
        return None if known else found

    def once(self, law: Law, case: Any) -> Difference | None:
        """How a law fails on one case."""
        found = self.each([law], case)[0]
        return found if isinstance(found, Difference) else None

    def each(self, laws: Sequence[Law], case: Any) -> list[Any]:
        """What each of some laws finds on one case.  It is noted before it runs, for a smaller case may crash where a
        larger one did not; after a crash it is tried elsewhere first."""
        if self.excuse(case.facts()) is not None:
            return [None] * len(laws)
        if self.before is not None:
            self.before(named(case))
        if self.probe is not None and self.probe([case])[0] is not None:
            return [None] * len(laws)
        return judge_each(self.family, self.mode, laws, case, self.device)


def named(case: Any) -> bytes:
    """A case in bytes, the same in every process, as a crash slot holds it."""
    return marshal.dumps((type(case).__name__, tuple(case)), 2)


def executed(family: Family, mode: Mode, case: Any, device: str) -> Outcome:
    """The outcome of a case; what forks is executed by a process that has run nothing, and on a device a case that must
    be refused in a process of its own, for what a device asserts leaves its process unable to use it."""
    if family.forks and device == "cpu":
        try:
            sent = elsewhere(family.name, mode.name, repr(case), PLANTED)
        except RuntimeError as error:
            return _nothing(mode, device, error)
        return unpacked(sent, mode)
    if device == "cpu" or not family.refused(case):
        return run(family.plan(case), mode, device)
    answer = confined(family.name, mode.name, repr(case), device)
    kind = getattr(builtins, answer["error"] or "", RuntimeError)
    return _nothing(mode, device, kind(answer["message"]) if answer["error"] else None, answer["written"])


def _nothing(mode: Mode, device: str, error: Exception | None, written: Mapping[str, str] | None = None) -> Outcome:
    """The outcome of a case of which nothing came back but how it ended, and what it wrote."""
    changed = dict(written or {})
    return Outcome({}, read, mode=mode.name, makes_graph=mode.grad, device=device, error=error, written=lambda: changed)


def judge_once(family: Family, mode: Mode, law: Law, case: Any, device: str = "cpu") -> Any:
    """What one law finds on one case; None where it does not apply."""
    return judge_each(family, mode, [law], case, device)[0]


def judge_apart(family: Family, mode: Mode, law: Law, case: Any) -> Any:
    """What one law finds on a case that a process executes which has run nothing before; None if that gives no answer."""
    try:
        out = unpacked(elsewhere(family.name, mode.name, repr(case), PLANTED), mode)
    except RuntimeError:
        return None
    return _finding(family, law, case, out)


def judge_each(family: Family, mode: Mode, laws: Sequence[Law], case: Any, device: str = "cpu") -> list[Any]:
    """What each of some laws finds on one case, which is executed once; None where it does not apply."""
    if mode.reason(case, family) is not None:
        return [None] * len(laws)
    out = executed(family, mode, case, device)
    return [_finding(family, law, case, out) for law in laws]


def _finding(family: Family, law: Law, case: Any, out: Outcome) -> Any:
    refused = family.refused(case)
    if law.judge is accepts and out.settings:
        return accepts(case, out)
    if law.refusal != refused or not law.when(case):
        return None
    if out.error is not None and not refused and law.judge is not accepts:
        return None
    if family.untaken(out) or (not refused and family.not_applicable(case, out) is not None):
        return None
    try:
        return found_by(law, case, out)
    except Exception:
        return None


def found_by(law: Law, case: Any, out: Outcome) -> Finding:
    """What a law finds; that nothing came out where it looks is a difference."""
    try:
        return law.judge(case, out)
    except Missing as error:
        return missing(error)
