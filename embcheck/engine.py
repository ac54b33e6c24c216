"""Runs the cases of one item through its mode and judges every outcome by every law of the family."""

from __future__ import annotations

import builtins
import hashlib
import itertools
import marshal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from embcheck import stream
from embcheck.case import holds
from embcheck.crashes.isolate import confined
from embcheck.execute import read, run
from embcheck.item import DECK, ENGINES, Item, Profile
from embcheck.law import FAMILIES, Difference, Family, Law, Loose, accepts
from embcheck.ledger import Ledger
from embcheck.mode import MODES, Mode
from embcheck.outcome import Outcome
from embcheck.records.store import failure_id
from embcheck.reduce import reduce_case
from embcheck.script import script
from embcheck.verdict import Counterexample, Status, Verdict

#: Kinds of difference that one law reports, and violations after which an item stops judging it.
_KINDS, _ENOUGH = 5, 500
#: The first cases of an item, whose facts are all told while an obligation is open; later every eighth one's are,
#: and those of refusals, which are few.
_ALL_TOLD = 400

#: A mode beyond the family's own takes one of so many cases (of its cost): they run the same kernels behind another call.
FURTHER = 40

#: How much coarser than the gate any profile samples them.
_COARSEST = 3

#: Tells how each of some cases would end the process: a symptom, or None.
Probe = Callable[[list[Any]], list[str | None]]


def cases(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """The cases of an enumerating item, in order."""
    enumerated = MODES[item.mode].cases
    if enumerated is not None:
        return enumerated(family, item, profile, seed)
    if item.mode not in family.modes:
        return sampled(family, item, profile, seed)
    space = family.space
    # Other modes run the same kernels behind the same call, so they take fewer of the enumerated cases.
    first = item.mode == family.modes[0]
    stride = profile.stride * (1 if first else 3)
    strength = min(profile.strength, space.strength, 3 if first else 2)
    if profile.name == "gate":
        stride *= family.stride
    match item.engine:
        case "scope":
            landmarks = filter(None, map(space.canon, space.landmarks()))
            found = itertools.chain(landmarks, itertools.islice(space.scope(), 0, None, stride))
        case "product":
            covers = (
                space.cover(strength, stream.derive(seed, family.name, item.mode, turn))
                for turn in range(profile.covers)
            )
            found = itertools.chain(itertools.islice(space.product(), 0, None, stride), *covers)
        case _:
            raise KeyError(f"no engine {item.engine!r}; there are {', '.join(ENGINES)}")
    return itertools.islice(found, item.part, None, item.parts)


def sampled(family: Family, item: Item, profile: Profile, seed: int) -> Iterator[Any]:
    """One of so many cases: at gaps that are drawn, since equal ones would fall in step with an axis."""
    mean = min(profile.stride, _COARSEST) * family.stride * FURTHER * MODES[item.mode].cost
    draws, largest = stream.Stream(stream.derive(seed, item.label)), max(1, round(2 * mean - 1))
    found = _all_cases(family.name, item.engine, seed)
    at = draws.between(0, largest - 1)
    while at < len(found):
        # A copy, since a case keeps what it once expanded to.
        yield type(found[at])(*found[at])
        at += draws.between(1, largest)


@lru_cache(maxsize=16)  # for one mode after the other
def _all_cases(name: str, engine: str, seed: int) -> list[Any]:
    space = FAMILIES[name].space
    if engine == "scope":
        return [*filter(None, map(space.canon, space.landmarks())), *space.scope()]
    return [*space.product(), *space.cover(min(2, space.strength), stream.derive(seed, name))]


def decks(family: Family, item: Item, profile: Profile, seed: int, judge: Judge, probe: Probe | None) -> None:
    """Random cases, in decks of 64 that one Hypothesis example carries: drawing tensors would cost more than
    running them.  In *deep* Hypothesis steers towards the worst error/bound ratio."""
    import hypothesis
    from hypothesis import strategies as st

    budget = profile.random / family.cost / (1 if item.mode == family.modes[0] else 3)
    if item.mode not in family.modes:
        budget = profile.random / family.cost / (FURTHER * MODES[item.mode].cost)
    share = max(1, round(budget / DECK / item.parts))
    size = DECK if item.mode in family.modes else min(DECK, max(4, round(budget)))
    phases = [hypothesis.Phase.generate] + ([hypothesis.Phase.target] if profile.name == "deep" else [])

    @hypothesis.seed(stream.derive(seed, item.label))
    @hypothesis.settings(
        max_examples=share,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=False,
    )
    # Not integers(): it mixes in literals found in local modules, so an edit would change the cases.
    @hypothesis.given(st.sampled_from(range(1 << 30)))
    def deck(deck_seed: int) -> None:
        draws = stream.Stream(stream.derive(seed, item.label, deck_seed))
        drawn = (family.space.random(draws) for _ in range(size))
        feed(judge, (case for case in drawn if case is not None), probe)
        if profile.name == "deep" and judge.worst is not None:
            hypothesis.target(judge.worst)

    deck()


def feed(judge: Judge, drawn: Iterable[Any], probe: Probe | None) -> None:
    """Has cases judged; with a ``probe``, only those that leave the process alive."""
    if probe is None:
        for case in drawn:
            judge(case)
            if judge.done:
                return
        return
    left = iter(drawn)
    while chunk := list(itertools.islice(left, DECK)):
        for case, symptom in zip(chunk, probe(chunk), strict=False):
            if symptom is None:
                judge(case)
            else:
                judge.died(case, symptom)
        if judge.hung:
            return  # the rest may hang as well, each for as long


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
        facts = None
        for entry in self.excluded:
            facts = facts or case.facts()
            if entry.covers(facts):
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
        if not refused:
            reason = self.family.not_applicable(case, out)
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

    def _inapplicable(self, reason: str) -> None:
        self.accept.not_applicable[reason] = self.accept.not_applicable.get(reason, 0) + 1

    def _judge(self, tally: Tally, case: Any, out: Any) -> bool:
        """Whether a law holds exactly; anything else goes into its tally."""
        if tally.violations >= _ENOUGH:
            return False
        tally.cases += 1
        tally.loose = False
        try:
            finding = tally.law.judge(case, out)
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
        """How a law fails on one case.  It is noted before it runs, for a smaller case may crash where a larger
        one did not; after a crash it is tried elsewhere first."""
        if self.before is not None:
            self.before(named(case))
        if self.probe is not None and self.probe([case])[0] is not None:
            return None
        found = judge_once(self.family, self.mode, law, case, self.device)
        return found if isinstance(found, Difference) else None


def named(case: Any) -> bytes:
    """A case in bytes, the same in every process, as a crash slot holds it."""
    return marshal.dumps((type(case).__name__, tuple(case)), 2)


def executed(family: Family, mode: Mode, case: Any, device: str) -> Outcome:
    """The outcome of a case; on a device a case that must be refused is executed in a process of its own, for what
    a device asserts leaves its process unable to use it."""
    if device == "cpu" or not family.refused(case):
        return run(family.plan(case), mode, device)
    answer = confined(family.name, mode.name, repr(case), device)
    kind = getattr(builtins, answer["error"] or "", RuntimeError)
    error = kind(answer["message"]) if answer["error"] else None
    written = answer["written"]
    return Outcome({}, read, mode=mode.name, makes_graph=mode.grad, device=device, error=error, written=lambda: dict(written))


def judge_once(family: Family, mode: Mode, law: Law, case: Any, device: str = "cpu") -> Any:
    """What one law finds on one case; None where it does not apply."""
    if mode.reason(case, family) is not None:
        return None
    refused = family.refused(case)
    out = executed(family, mode, case, device)
    if law.refusal != refused or not law.when(case):
        return None
    if out.error is not None and not refused and law.judge is not accepts:
        return None
    if not refused and family.not_applicable(case, out) is not None:
        return None
    try:
        return law.judge(case, out)
    except Exception:
        return None


def run_item(
    family: Family,
    item: Item,
    profile: Profile,
    seed: int,
    ledger: Ledger,
    *,
    device: str = "cpu",
    before: Callable[[bytes], None] | None = None,
    probe: Probe | None = None,
    stop_early: bool = False,
    reduce: bool = True,
) -> list[Verdict]:
    """Runs an item and returns a verdict for each law of its family.

    ``probe`` is given when a worker has died of a case of this family: then every case is first tried elsewhere.
    """
    judge = Judge(family, MODES[item.mode], ledger, device=device, before=before, probe=probe, stop_early=stop_early)
    started = time.perf_counter()
    lacking = family.absent or MODES[item.mode].lacking()
    if lacking:
        judge._inapplicable(lacking)
    elif item.engine not in MODES[item.mode].engines:
        pass
    elif item.engine == "random" and MODES[item.mode].cases is None:
        decks(family, item, profile, seed, judge, probe)
    else:
        feed(judge, cases(family, item, profile, seed), probe)
    seconds = time.perf_counter() - started
    verdicts = [_verdict(judge, tally, item, seconds, reduce) for tally in judge.tallies]
    return verdicts + (_unasked(judge, item) if item.mode not in family.modes else [])


def _unasked(judge: Judge, item: Item) -> list[Verdict]:
    """The laws that are not asked in a further mode, each with the reason."""
    asked = {tally.law.name for tally in judge.tallies}
    return [
        Verdict(
            law=law.name,
            family=item.family,
            subject=item.subject,
            mode=item.mode,
            engine=item.engine,
            status=Status.NOT_APPLICABLE,
            device=judge.device,
            reasons=(f"not applicable: {judge.mode.unasked(law)}",),
            digest=f"{judge.digest % (1 << 64):016x}",
        )
        for law in judge.family.laws
        if law.name not in asked
    ]


def _verdict(judge: Judge, tally: Tally, item: Item, seconds: float, reduce: bool) -> Verdict:
    examples = tuple(
        counterexample(judge, tally.law, case, found, item, reduce=reduce) for case, found in tally.kinds.values()
    )
    reasons = [*tally.unknown, *(f"not applicable: {text} ({n} cases)" for text, n in tally.not_applicable.items())]
    if tally.violations:
        status = Status.VIOLATED
    elif tally.unknown:
        status = Status.UNKNOWN
    elif tally.known:
        status = Status.KNOWN
    else:
        status = Status.HOLDS if tally.cases else Status.NOT_APPLICABLE
    return Verdict(
        law=tally.law.name,
        family=item.family,
        subject=item.subject,
        mode=item.mode,
        engine=item.engine,
        status=status,
        device=judge.device,
        cases=tally.cases,
        known=tally.known,
        entries=tally.entries,
        worst=tally.worst,
        seconds=seconds / max(1, len(judge.tallies)),
        reasons=tuple(reasons),
        obliges=tuple(sorted(tally.law.obliges)),
        met=tuple(sorted(tally.met)),
        digest=f"{judge.digest % (1 << 64):016x}",
        counterexamples=examples,
    )


def counterexample(
    judge: Judge, law: Law, case: Any, found: Difference, item: Item, *, reduce: bool = True
) -> Counterexample:
    """The smallest case that fails in the same way, with the difference in words and the script."""
    first = case
    # What takes the process down is not run here: the controlling process has reduced it elsewhere.
    reduce = reduce and not found.kind.startswith(("crash", "hang"))
    if reduce:
        kind = found.kind
        case, _ = reduce_case(case, judge.family.space, lambda smaller: judge.fails(law, smaller, kind) is not None)
        found = judge.fails(law, case, found.kind) or found
    also: tuple[str, ...] = ()
    if reduce:
        others = (other for other in judge.family.laws if other.name != law.name)
        also = tuple(other.name for other in others if judge.once(other, case) is not None)
    return Counterexample(
        law=law.name,
        family=item.family,
        subject=item.subject,
        mode=item.mode,
        device=judge.device,
        case=repr(case),
        kind=found.kind,
        words=found.words,
        first=repr(first) if repr(first) != repr(case) else "",
        path=found.path,
        got=repr(found.got),
        expected=repr(found.expected),
        script=script(judge.family, judge.mode, law, case, found),
        also=also,
        id=failure_id(law.name, item.subject, item.mode, judge.device, repr(case)),
    )
