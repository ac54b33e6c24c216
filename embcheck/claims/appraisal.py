"""`embcheck claims`: puts the claims to the test, experiment by experiment, and keeps what each showed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embcheck.claims.case import EXPERIMENTS, ClaimCase, claim_space
from embcheck.claims.claim import CLAIMS, Claim, Observations
from embcheck.core.claim_record import Claimed
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import Family, Judgement, Law
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.core.verdict import Status, Verdict, merge_all
from embcheck.engine.run_item import run_item
from embcheck.record.totals import grouped
from embcheck.subject.collect import load_families

#: All enumerated cases, and a deck of random ones for each experiment.
_PROFILE = replace(PROFILES["full"], random=1)


@dataclass(frozen=True)
class Appraised:
    """What became of a claim: the verdict of its law, the cases' observations, and why there are none if so."""

    claim: Claim
    verdict: Verdict
    shown: Observations
    reason: str = ""

    @property
    def as_stated(self) -> bool:
        """Whether the cases decide the claim as it is stated, each of them."""
        return self.verdict.status == Status.HOLDS and self.shown.verdict == self.claim.verdict


def every_claim() -> dict[str, Claim]:
    """All claims by id, tutorial by tutorial."""
    load_families()
    return CLAIMS


def chosen(text: str) -> list[Claim]:
    """The claims whose id, words (English ones too), source, title or verdict contains a text."""
    wanted = text.lower()
    return [made for made in every_claim().values() if any(wanted in part.lower() for part in words_of(made.recorded))]


def words_of(told: Claimed) -> tuple[str, ...]:
    """All that is said of a claim."""
    tutorial = told.tutorial
    return (told.id, told.sentence, told.source, told.quote, told.gloss, told.verdict, tutorial.title, tutorial.gloss)


def appraise(claims: Iterable[Claim], seed: int, ledger: Ledger) -> Iterator[tuple[list[Appraised], Verdict]]:
    """Runs the experiments that the claims need; for each yields its claims and the verdict that nothing was raised."""
    groups = grouped(claims, lambda made: made.experiment)
    whole = load_families()["tutorial_claims"]
    for name, group in groups.items():
        notes = {made.law: Observations() for made in group}
        family = _part(whole, name, {made.law: made for made in group}, notes)
        verdicts: list[Verdict] = []
        for engine in ("scope", "random"):
            item = Item(family.name, "torch", "eager", engine)
            verdicts += run_item(family, item, _PROFILE, stream_seed(seed, name), ledger)
        merged = {verdict.law: verdict for verdict in merge_all(verdicts).values()}
        accepted = merged.pop(f"{family.name}_is_accepted")
        raised = "; ".join(example.words for example in accepted.counterexamples)
        yield [_appraised(made, merged[made.law], notes[made.law], raised) for made in group], accepted


def stream_seed(seed: int, experiment: str) -> int:
    """The seed of an experiment's random cases: another for each."""
    from embcheck.core import stream

    return stream.derive(seed, "tutorial_claims", experiment)


def _appraised(made: Claim, verdict: Verdict, shown: Observations, raised: str) -> Appraised:
    reason = raised or ("no case" if not shown.cases else "")
    if verdict.status == Status.NOT_APPLICABLE:  # the program raised on every case
        verdict = replace(verdict, status=Status.UNKNOWN, reasons=(*verdict.reasons, reason))
    return Appraised(made, replace(verdict, reasons=(*verdict.reasons, *shown.lines)), shown, reason)


def _part(whole: Family, experiment: str, claims: dict[str, Claim], notes: dict[str, Observations]) -> Family:
    """The family with one experiment's cases and laws, each of which notes what it judges."""
    family = copy.copy(whole)  # not registered: the family of that name remains the whole one
    family.space = claim_space((experiment,))
    family.laws = [_noting(law, claims.get(law.name), notes) for law in whole.laws
                   if law.name in claims or law.name == f"{whole.name}_is_accepted"]  # fmt: skip
    return family


def _noting(law: Law, made: Claim | None, notes: dict[str, Observations]) -> Law:
    if made is None:
        return law
    claim = made

    def judge(case: ClaimCase, out: Outcome) -> Finding:
        true, words = claim.observed(case, out)
        shown = notes[law.name]
        shown.note(str(case.situation), true, words)
        if claim.draws is not None and case.situation not in shown.figures:
            shown.figures[str(case.situation)] = claim.draws(case, out)
        return law.judge(case, out)

    return replace(law, judge=judge)


# -- one claim -----------------------------------------------------------------------------------------------------


def story(made: Claim) -> tuple[list[Judgement | Callable[..., Any]], list[tuple[ClaimCase, str, str]]]:
    """The functions that check a claim, and for each situation its first case, what it showed, and the script."""
    from embcheck.engine.execute import run
    from embcheck.modes.mode import MODES

    family = load_families()["tutorial_claims"]
    law = next(law for law in family.laws if law.name == made.law)
    found = []
    for case in EXPERIMENTS[made.experiment].firsts():
        if case.situation in made.where:
            out = run(family.plan(case), MODES["eager"])
            true, words = made.observed(case, out)
            found.append((case, f"{'true' if true else 'false'}: {words}", program_of(made, family, law, case, out)))
    return [check for check in (made.claimed, made.instead) if check is not None], found


def program_of(made: Claim, family: Family, law: Law, case: ClaimCase, out: Outcome) -> str:
    """A standalone program: it exits 1 where the claim is false, and prints all that it saw where it is true."""
    from embcheck.core.result import Difference
    from embcheck.engine.script import script
    from embcheck.modes.mode import MODES

    found = made.claimed(case, out)
    if isinstance(found, Difference):
        return script(family, MODES["eager"], replace(law, sentence=made.sentence), case, found)
    seen = Difference("seen", "seen", None, None, "the claim is true here; the program prints what was seen")
    text = script(family, MODES["eager"], replace(law, sentence=made.sentence), case, seen)
    head, call, rest = text.rpartition("\nseen = ")
    return f'{head}{call}{rest.splitlines()[0]}\nfor name, value in seen.items():\n    print(name, "=", value)\n'
