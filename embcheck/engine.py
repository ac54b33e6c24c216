"""Runs an item: its cases, one after the other, and the verdict on each law of the family."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any

from embcheck import selection, stream
from embcheck.comparison import Difference
from embcheck.item import DECK, Item, Profile
from embcheck.judge import Judge, Probe, Tally
from embcheck.law import Family, Law
from embcheck.ledger import Ledger
from embcheck.mode import MODES
from embcheck.records.store import failure_id
from embcheck.reduce import reduce_case, size
from embcheck.script import script
from embcheck.space import Histories
from embcheck.verdict import Counterexample, Status, Verdict


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
        tried = []
        for case in chunk:
            if judge.excuse(case.facts()) is None:
                tried.append(case)
            else:
                judge(case)  # which counts it and does not execute it
        for case, symptom in zip(tried, probe(tried), strict=False):
            if symptom is None:
                judge(case)
            else:
                judge.died(case, symptom)
        if judge.hung:
            return  # the rest may hang as well, each for as long


def decks(family: Family, item: Item, profile: Profile, seed: int, judge: Judge, probe: Probe | None) -> None:
    """Random cases, in decks of 64 that one Hypothesis example carries: drawing tensors would cost more than
    running them.  In *deep* Hypothesis steers towards the worst error/bound ratio."""
    import hypothesis

    from embcheck.drawn import SEEDS

    share, size = selection.decks(family, item, profile)
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
    @hypothesis.given(SEEDS)
    def deck(deck_seed: int) -> None:
        draws = stream.Stream(stream.derive(seed, item.label, deck_seed))
        drawn = (family.space.random(draws) for _ in range(size))
        feed(judge, (case for case in drawn if case is not None), probe)
        if profile.name == "deep" and judge.worst is not None:
            hypothesis.target(judge.worst)

    deck()
    if family.space.histories is not None and item.mode in family.modes:
        walks(family.space.histories, item, profile, seed, judge, probe)


#: Histories after which a walk looks whether it is over.
_LEG = 64


def walks(histories: Histories, item: Item, profile: Profile, seed: int, judge: Judge, probe: Probe | None) -> None:
    """The histories of a family's state machine; slow operations are left to the longer profiles."""
    left = round(profile.histories / item.parts)
    while left > 0 and not judge.done:
        drawn: list[Any] = []
        count = min(_LEG, left)
        histories(drawn.append, count, stream.derive(seed, item.label, "walk", left), profile.name != "quick")
        feed(judge, drawn[:count], probe)
        left -= count


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
        feed(judge, selection.cases(family, item, profile, seed), probe)
    seconds = time.perf_counter() - started
    near: list[Any] = []
    verdicts = [_verdict(judge, tally, item, seconds, near, reduce) for tally in judge.tallies]
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


def _verdict(judge: Judge, tally: Tally, item: Item, seconds: float, near: list[Any], reduce: bool) -> Verdict:
    examples = tuple(
        counterexample(judge, tally.law, case, found, item, near, reduce=reduce) for case, found in tally.kinds.values()
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
    judge: Judge, law: Law, case: Any, found: Difference, item: Item, near: list[Any], *, reduce: bool = True
) -> Counterexample:
    """The smallest case that fails in the same way, with the difference in words and the script.

    ``near`` are the cases to which others of this item were reduced: what has the same cause fails on them as well, and
    is reduced from there.  The one that is found is added.
    """
    first = case
    also: tuple[str, ...] = ()
    # What takes the process down is not run here: the controlling process has reduced it elsewhere.
    if reduce and not found.kind.startswith(("crash", "hang")):
        kind = found.kind

        def alike(smaller: Any) -> bool:
            return judge.fails(law, smaller, kind) is not None

        case = next((held for held in near if size(held) < size(case) and alike(held)), case)
        case, _ = reduce_case(case, judge.family.space, alike)
        found = judge.fails(law, case, kind) or found
        others = [other for other in judge.family.laws if other.name != law.name]
        differences = judge.each(others, case)
        also = tuple(o.name for o, d in zip(others, differences, strict=True) if isinstance(d, Difference))
        if case not in near:
            near.append(case)
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
