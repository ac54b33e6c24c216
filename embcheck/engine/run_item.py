"""Runs an item: its cases, one after the other, and the verdict on each law of the family."""

import itertools
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from embcheck.core import stream
from embcheck.core.axes import parse
from embcheck.core.declaration import unimportable
from embcheck.core.item import DECK, Item, Profile
from embcheck.core.law import Family, Law
from embcheck.core.ledger import Ledger
from embcheck.core.result import Difference, Violated
from embcheck.core.verdict import APPLIES, Counterexample, Status, Verdict
from embcheck.engine import selection
from embcheck.engine.evaluate import named
from embcheck.engine.reduce import reduce_case, size
from embcheck.engine.script import script
from embcheck.engine.tally import Probe, Tallies, Tally
from embcheck.engine.violation_context import elsewhere, nearest
from embcheck.families.lookup.received import meant, to_tell_apart
from embcheck.modes.mode import MODES
from embcheck.record.store import example_of
from embcheck.record.totals import counted


@contextmanager
def without_warnings() -> Iterator[None]:
    """Most cases are nothing that anybody would compute; and what a filter such as ``-W error`` raises is no error of torch's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def feed(tallies: Tallies, drawn: Iterable[Any], probe: Probe | None) -> None:
    """Has cases judged; with a ``probe``, only those that leave the process alive."""
    if probe is None:
        for case in drawn:
            tallies(case)
        return
    left = iter(drawn)
    while chunk := list(itertools.islice(left, DECK)):
        excused = [tallies.excuse(case) is not None for case in chunk]
        symptoms = iter(probe([case for case, known in zip(chunk, excused, strict=True) if not known]))
        for case, known in zip(chunk, excused, strict=True):
            symptom = None if known else next(symptoms, "not tried")
            if symptom is None:
                tallies(case)  # an excused one is counted and not executed
            elif symptom != "not tried":
                tallies.died(case, symptom)
        if tallies.hung:
            return  # the rest may hang as well, each for as long


def batches(family: Family, item: Item, profile: Profile, seed: int, tallies: Tallies, probe: Probe | None) -> None:
    """Random cases, in decks of 64 that one Hypothesis example carries: drawing tensors would cost more than
    running them.  In *deep* Hypothesis steers towards the worst error/bound ratio."""
    import hypothesis
    from hypothesis.strategies import booleans, tuples

    # Numbers below 2³⁰ made of booleans: into integers Hypothesis mixes those that stand in loaded modules, so that an edit
    # would change the cases.
    seeds = tuples(*[booleans()] * 30).map(lambda bits: sum(bit << place for place, bit in enumerate(bits)))
    share, size = selection.batches(family, item, profile)
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
    @hypothesis.given(seeds)
    def deck(deck_seed: int) -> None:
        draws = stream.Stream(stream.derive(seed, item.label, deck_seed))
        drawn = (family.space.random(draws) for _ in range(size))
        feed(tallies, (case for case in drawn if case is not None), probe)
        if profile.name == "deep" and tallies.worst is not None:
            hypothesis.target(tallies.worst)

    deck()
    feed(tallies, selection.aimed(family, item, profile, seed), probe)


def run_item(
    family: Family, item: Item, profile: Profile, seed: int, ledger: Ledger, *, reduce: bool = True, **more: Any
) -> list[Verdict]:
    """Runs an item and returns a verdict for each law of its family; ``more`` is handed to `Tallies`.

    A ``probe`` is given when a worker has died of a case of this family: then every case is first tried elsewhere.
    """
    mode = MODES[item.mode]
    tallies = Tallies(family, mode, ledger, **more)
    started = time.perf_counter()
    try:
        if lacking := family.absent or mode.lacking():
            tallies.accept.skip(lacking)
        elif item.engine == "random" and mode.cases is None:
            batches(family, item, profile, seed, tallies, tallies.probe)
        elif item.engine in mode.engines:
            feed(tallies, selection.cases(family, item, profile, seed), tallies.probe)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what was judged stays judged, and no law is decided
        for tally in tallies.each:
            tally.unknown[f"the item ended in {named(error)}"] = None
    seconds = time.perf_counter() - started
    near: list[Any] = []
    verdicts = [_verdict(tallies, tally, item, seconds, near, reduce) for tally in tallies.each]
    return verdicts + (_unasked(tallies, item) if item.mode not in family.modes else [])


def _unasked(tallies: Tallies, item: Item) -> list[Verdict]:
    """The laws that are not asked in a further mode, each with the reason."""
    reasons = {law.name: tallies.mode.unasked(law) for law in tallies.family.laws}
    blank = Verdict("", *item[:4], Status.NOT_APPLICABLE, tallies.device, digest=_hexadecimal(tallies.digest))
    return [
        replace(blank, law=law, reasons=(f"not applicable: {why}",)) for law, why in reasons.items() if why is not None
    ]


def _hexadecimal(digest: int) -> str:
    return f"{digest % (1 << 64):016x}"


def _verdict(tallies: Tallies, tally: Tally, item: Item, seconds: float, near: list[Any], reduce: bool) -> Verdict:
    skipped = (f"not applicable: {text} ({counted(n, 'case')})" for text, n in tally.not_applicable.items())
    reasons = [*tally.unknown, *skipped]
    if tally.violations:
        status = Status.VIOLATED
    elif tally.unknown:
        status = Status.UNKNOWN
    elif tally.known:
        status = Status.KNOWN
    else:
        status = Status.HOLDS if tally.cases else Status.NOT_APPLICABLE
    return Verdict(
        tally.law.name,
        *item[:4],
        status,
        tallies.device,
        *(tally.cases, tally.known, tally.implied, tally.entries),
        worst=tally.worst,
        seconds=seconds / max(1, len(tallies.each)),
        reasons=tuple(reasons),
        must_cover=tuple(sorted({APPLIES, *tally.law.must_cover} - tally.absent)),
        met=tuple(sorted(tally.met)),
        digest=_hexadecimal(tallies.digest),
        part=f"{item.part}/{item.parts}",
        failing={kind: f"{places:x}" for kind, places in tally.failing.items()},
        counterexamples=tuple(_examples(tallies, tally, item, near, reduce)),
        shared={kind: told for (law, kind), told in tallies.shared.items() if law == tally.law.name},
    )


def _examples(tallies: Tallies, tally: Tally, item: Item, near: list[Any], reduce: bool) -> Iterator[Counterexample]:
    """Of each kind of difference a counterexample, and one more where cases fail that failed in the baseline.

    A new one is not reduced to a case that the baseline shows: it is another that fails now and did not then.  Of those
    that failed then the baseline's smallest is shown, or if it is right now, the first that was met.
    """
    law, shown = tally.law, tallies.baseline.smallest
    for case, found in tally.kinds.values():
        example = counterexample(tallies, law, case, found, item, near, reduce=reduce)
        if example.case == shown.get((law.name, found.kind)):
            example = counterexample(tallies, law, case, found, item, near, reduce=False)
        yield example
    for case, found in tally.old.values():
        with suppress(KeyError, ValueError):  # of an older embcheck, perhaps
            smallest = parse(shown[law.name, found.kind])
            now = tallies.fails(law, smallest, found.kind)
            case, found = (smallest, now) if now is not None else (case, found)
        example = counterexample(tallies, law, case, found, item, near, reduce=False)
        yield replace(example, in_baseline=True)


def counterexample(
    tallies: Tallies, law: Law, case: Any, found: Difference, item: Item, near: list[Any], *, reduce: bool = True
) -> Counterexample:
    """The smallest case that fails in the same way, with the difference in words and the script.

    ``near`` are the cases to which others of this item were reduced: what has the same cause fails on them as well, and
    is reduced from there.  The one that is found is added.  An exception of embcheck's own costs the reduction or the
    script, and is told in the words.
    """
    first, words, program = case, "", ""
    also: tuple[str, ...] = ()
    others: dict[str, str] = {}
    # What takes the process down is not run here: the controlling process has reduced it elsewhere.
    if reduce and not found.kind.startswith(("crash", "hang")):
        try:
            case, found, also = _reduced(tallies, law, case, found, near)
            if tallies.learns:
                tallies.learn(law, case, found)
            others = elsewhere(tallies, law, case)
        except Exception as error:
            words += f"; not reduced, for embcheck raised {named(error)}"
    try:
        program = (
            "" if unimportable(item.subject) else script(tallies.family, tallies.mode, law, case, found, tallies.device)
        )
    except Exception as error:
        words += f"; no script, for embcheck raised {named(error)}"
    where = law.name, item.family, item.subject, item.mode, tallies.device
    example = example_of(*where, repr(case), found, script=program, also=also, elsewhere=others)
    return replace(
        example,
        words=found.words + words,
        first=repr(first) if repr(first) != repr(case) else "",
        resembles=nearest(tallies.ledger, law.name, item.mode, tallies.device, found, case),
    )


def _reduced(
    tallies: Tallies, law: Law, case: Any, found: Difference, near: list[Any]
) -> tuple[Any, Difference, tuple[str, ...]]:
    """The smallest case found, how it differs, and the other laws that it violates."""
    kind = found.kind
    accept, mode = tallies.accept.law.name, tallies.mode.name
    speaking = (
        each
        for each in tallies.ledger.entries
        for name in (accept, law.name)
        if each.concerns(name, mode, tallies.device)
    )
    known = [each for each in speaking if not each.covers_case(case)]

    def alike(smaller: Any) -> bool:
        # A case on which torch is known to raise, or to break this law, could not show that this failure is fixed.
        return not any(each.covers_case(smaller) for each in known) and tallies.fails(law, smaller, kind) is not None

    case = next((held for held in near if size(held) < size(case) and alike(held)), case)
    case, _ = reduce_case(case, tallies.family.space, alike)
    found = tallies.fails(law, case, kind) or found
    larger = to_tell_apart(case, found.words)
    told = tallies.fails(law, larger, kind) if larger is not None else None
    if told is not None:
        found = replace(found, words=found.words + meant(told.words))
    others = [other for other in tallies.family.laws if other.name != law.name]
    results = tallies.evaluate(others, case)
    if case not in near:
        near.append(case)
    also = (other.name for other, result in zip(others, results, strict=True) if isinstance(result, Violated))
    return case, found, tuple(also)
