"""`embcheck claims`: puts the claims to the test, experiment by experiment, and keeps what each showed."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from embcheck.claims.case import EXPERIMENTS, ClaimCase, claim_space
from embcheck.claims.claim import CLAIMS, Claim, verdict_of
from embcheck.core import stream
from embcheck.core.facts import grouped
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import Judgement, Law
from embcheck.core.ledger import Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.plot_data import Figure
from embcheck.core.result import Difference, Finding
from embcheck.core.verdict import Status, Verdict, merge_all
from embcheck.engine.run_item import run_item
from embcheck.subject.collect import load_families

FAMILY = "tutorial_claims"
#: All enumerated cases, and a deck of random ones for each experiment.
_PROFILE = replace(PROFILES["full"], random=1)


@dataclass
class Observations:
    """What a claim's cases showed, in words, for each situation and truth value; a plot of the first of each situation."""

    seen: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def note(self, situation: str, true: bool, words: str) -> None:
        self.seen.setdefault((situation, true), []).append(words)

    @property
    def cases(self) -> int:
        return sum(map(len, self.seen.values()))

    @property
    def verdict(self) -> str | None:
        """The verdict that the cases give; None without any."""
        truths = {true for _, true in self.seen}
        return verdict_of(True in truths, False in truths) if truths else None

    @property
    def lines(self) -> tuple[str, ...]:
        """The evidence: a line for each situation and truth value, with the words of the first case."""
        found = []
        for (situation, true), words in self.seen.items():
            place = f"{situation}: " if situation else ""
            found.append(f"{str(true).lower()}: {place}{words[0]} ({len(words)} case{'s' if len(words) > 1 else ''})")
        return tuple(found)


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
        return self.verdict.status == Status.HOLDS and self.shown.verdict == self.claim.told.verdict


def every_claim() -> dict[str, Claim]:
    """All claims by id, tutorial by tutorial."""
    load_families()
    return CLAIMS


def chosen(text: str) -> list[Claim]:
    """The claims whose id, words (English ones too), source, title or verdict contains a text."""

    def said(made: Claim) -> str:
        told = made.told
        words = told.id, told.sentence, told.source, told.quote, told.gloss, told.verdict
        return "\n".join((*words, told.tutorial.title, told.tutorial.gloss)).lower()

    return [made for made in every_claim().values() if text.lower() in said(made)]


def appraise(claims: Iterable[Claim], seed: int, ledger: Ledger) -> Iterator[tuple[list[Appraised], Verdict]]:
    """Runs the experiments that the claims need; for each yields its claims and the verdict that nothing was raised."""
    whole = load_families()[FAMILY]
    laws = {law.name: law for law in whole.laws}
    for name, group in grouped(claims, lambda made: made.experiment).items():
        notes = {made.law: Observations() for made in group}
        family = copy.copy(whole)  # not registered: the family of that name remains the whole one
        family.space = claim_space((name,))
        family.laws = [
            laws[f"{FAMILY}_is_accepted"],
            *(_noting(laws[made.law], made, notes[made.law]) for made in group),
        ]
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


def _noting(law: Law, made: Claim, shown: Observations) -> Law:
    """The law, which notes what it judges."""

    def judge(case: ClaimCase, out: Outcome) -> Finding:
        place = str(case.situation)
        shown.note(place, *made.observed(case, out))
        if made.draws is not None and place not in shown.figures:
            shown.figures[place] = made.draws(case, out)
        return law.judge(case, out)

    return replace(law, judge=judge)


# -- one claim -----------------------------------------------------------------------------------------------------


def story(made: Claim) -> tuple[list[Judgement], list[tuple[ClaimCase, str, str]]]:
    """The functions that check a claim, and for each situation its first case, what it showed, and the script: a standalone
    program that exits 1 where the claim is false, and prints all that it saw where it is true."""
    from embcheck.engine.execute import run
    from embcheck.engine.script import script
    from embcheck.modes.mode import MODES

    family, eager = load_families()[FAMILY], MODES["eager"]
    law = next(replace(law, sentence=made.told.sentence) for law in family.laws if law.name == made.law)
    told: list[tuple[ClaimCase, str, str]] = []
    for case in EXPERIMENTS[made.experiment].firsts():
        if case.situation not in made.where:
            continue
        out = run(family.plan(case), eager)
        found, (true, words) = made.claimed(case, out), made.observed(case, out)
        if isinstance(found, Difference):
            program = script(family, eager, law, case, found)
        else:
            seen = Difference("seen", "seen", None, None, "the claim is true here; the program prints what was seen")
            head, call, rest = script(family, eager, law, case, seen).rpartition("\nseen = ")
            shows = 'for name, value in seen.items():\n    print(name, "=", value)\n'
            program = f"{head}{call}{rest.splitlines()[0]}\n{shows}"
        told.append((case, f"{str(true).lower()}: {words}", program))
    return [check for check in (made.claimed, made.instead) if check is not None], told
