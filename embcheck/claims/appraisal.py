"""`embcheck claims`: puts the claims to the test, experiment by experiment, and keeps what each showed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embcheck.claims.case import EXPERIMENTS, ClaimCase, claim_space
from embcheck.claims.claim import CLAIMS, Claim, Observations
from embcheck.core import stream
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import Family, Judgement, Law
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, Finding
from embcheck.core.verdict import Status, Verdict, merge_all
from embcheck.engine.run_item import run_item
from embcheck.record.totals import grouped
from embcheck.subject.collect import load_families

FAMILY = "tutorial_claims"
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

    def said(made: Claim) -> str:
        told = made.recorded
        words = told.id, told.sentence, told.source, told.quote, told.gloss, told.verdict
        return "\n".join((*words, told.tutorial.title, told.tutorial.gloss)).lower()

    return [made for made in every_claim().values() if text.lower() in said(made)]


def appraise(claims: Iterable[Claim], seed: int, ledger: Ledger) -> Iterator[tuple[list[Appraised], Verdict]]:
    """Runs the experiments that the claims need; for each yields its claims and the verdict that nothing was raised."""
    whole = load_families()[FAMILY]
    for name, group in grouped(claims, lambda made: made.experiment).items():
        notes = {made.law: Observations() for made in group}
        family = _part(whole, name, {made.law: made for made in group}, notes)
        verdicts: list[Verdict] = []
        for engine in ("scope", "random"):
            item = Item(FAMILY, "torch", "eager", engine)
            verdicts += run_item(family, item, _PROFILE, stream.derive(seed, FAMILY, name), ledger)
        merged = {verdict.law: verdict for verdict in merge_all(verdicts).values()}
        accepted = merged.pop(f"{FAMILY}_is_accepted")
        raised = "; ".join(example.words for example in accepted.counterexamples)
        yield [_appraised(made, merged[made.law], notes[made.law], raised) for made in group], accepted


def _appraised(made: Claim, verdict: Verdict, shown: Observations, raised: str) -> Appraised:
    reason = raised or ("no case" if not shown.cases else "")
    if verdict.status == Status.NOT_APPLICABLE:  # the program raised on every case
        verdict = replace(verdict, status=Status.UNKNOWN, reasons=(*verdict.reasons, reason))
    return Appraised(made, replace(verdict, reasons=(*verdict.reasons, *shown.lines)), shown, reason)


def _part(whole: Family, experiment: str, claims: dict[str, Claim], notes: dict[str, Observations]) -> Family:
    """The family with one experiment's cases and laws, each of which notes what it judges."""
    family = copy.copy(whole)  # not registered: the family of that name remains the whole one
    family.space = claim_space((experiment,))
    accepted = [law for law in whole.laws if law.name == f"{FAMILY}_is_accepted"]
    family.laws = accepted + [_noting(law, claims[law.name], notes) for law in whole.laws if law.name in claims]
    return family


def _noting(law: Law, made: Claim, notes: dict[str, Observations]) -> Law:
    def judge(case: ClaimCase, out: Outcome) -> Finding:
        shown, place = notes[law.name], str(case.situation)
        shown.note(place, *made.observed(case, out))
        if made.draws is not None and place not in shown.figures:
            shown.figures[place] = made.draws(case, out)
        return law.judge(case, out)

    return replace(law, judge=judge)


# -- one claim -----------------------------------------------------------------------------------------------------


def story(made: Claim) -> tuple[list[Judgement | Callable[..., Any]], list[tuple[ClaimCase, str, str]]]:
    """The functions that check a claim, and for each situation its first case, what it showed, and the script."""
    from embcheck.engine.execute import run
    from embcheck.modes.mode import MODES

    family = load_families()[FAMILY]
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
    from embcheck.engine.script import script
    from embcheck.modes.mode import MODES

    found, law = made.claimed(case, out), replace(law, sentence=made.sentence)
    if isinstance(found, Difference):
        return script(family, MODES["eager"], law, case, found)
    seen = Difference("seen", "seen", None, None, "the claim is true here; the program prints what was seen")
    head, call, rest = script(family, MODES["eager"], law, case, seen).rpartition("\nseen = ")
    return f'{head}{call}{rest.splitlines()[0]}\nfor name, value in seen.items():\n    print(name, "=", value)\n'
