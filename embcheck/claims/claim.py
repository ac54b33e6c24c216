"""Claims: what a tutorial says of an embedding, and a check that decides whether torch agrees.

    claim("token.default_uniform", "The table is drawn from U(−√(1/d), √(1/d)).", "token-embedding.md:125",
          "默认采用均匀分布", drawn, lambda case, out: distributed(out.values, uniform(case)),
          gloss="by default a uniform distribution is used", chance=BETWEEN_TWO,
          where=("Embedding",), fails=("Embedding",), otherwise="it is drawn from N(0, 1)", instead=is_normal)

The function is the claim itself and is judged like a law: it holds where the claim is true of what torch did, and is a
`Difference` where it is not.  In the situations that ``fails`` names the claim must come out false, and ``instead`` says
what is true there.  A claim that comes out otherwise than stated is a violated law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from embcheck.claims.case import EXPERIMENTS, ClaimCase, Program
from embcheck.claims.chance import Chance
from embcheck.claims.tutorial import TUTORIALS
from embcheck.core.claim_record import HOLDS, ONLY_IF, REFUTED, Claimed
from embcheck.core.law import Family, Judgement
from embcheck.core.outcome import Outcome
from embcheck.core.plot_data import Figure
from embcheck.core.result import HOLDS as HOLDS_TRUE
from embcheck.core.result import Difference, Finding, Holds

#: How the law of a claim with such a verdict is called.
_SUFFIX = {HOLDS: "holds", ONLY_IF: "holds_conditionally", REFUTED: "is_refuted"}

#: So many characters of an observation are shown.
_SHORT = 40

Telling = Callable[[Any, Outcome], str]
Drawing = Callable[[Any, Outcome], Figure]


@dataclass(frozen=True)
class Claim:
    """What a tutorial says, where, and what becomes of it.

    ``source`` is the file and its lines, ``phrase`` the original words, ``gloss`` what they mean in English.  It is judged
    on the ``experiment`` in the situations ``where``, and comes out false in those of ``fails``; ``otherwise`` is the
    condition under which it holds, or what is true in place of it.  ``tells`` puts what was measured on a case into words, where
    that is more than the program's short observations; ``draws`` makes a plot of it.  Where what is observed depends on numbers
    that the program draws, ``chance`` bounds the probability that a right torch is judged wrong.
    """

    id: str
    sentence: str
    source: str
    phrase: str
    experiment: str
    claimed: Judgement
    where: tuple[str, ...]
    fails: tuple[str, ...] = ()
    otherwise: str = ""
    instead: Judgement | None = None
    tells: Telling | None = None
    draws: Drawing | None = None
    gloss: str = ""
    chance: Chance | None = None

    def __post_init__(self) -> None:
        unknown = {*self.where, *self.fails} - set(EXPERIMENTS[self.experiment].situations)
        if unknown or not set(self.fails) <= set(self.where):
            words = "situations of where and fails do not fit those of"
            raise ValueError(f"{self.id}: {words} {self.experiment}: {unknown}")
        if bool(self.fails) != (self.instead is not None) or bool(self.fails) != bool(self.otherwise):
            raise ValueError(f"{self.id}: what fails somewhere needs the condition and what is true there instead")
        if bool(self.gloss) != any("一" <= sign <= "鿿" for sign in self.phrase):
            raise ValueError(f"{self.id}: a phrase needs a gloss if it is Chinese, and none if it is English or code")

    @property
    def verdict(self) -> str:
        """The verdict that is stated: holds, holds only if, refuted."""
        return verdict_of(len(self.fails) < len(self.where), bool(self.fails))

    @property
    def law(self) -> str:
        """The name of the law that the verdict is right."""
        return f"{self.id.replace('.', '_')}_{_SUFFIX[self.verdict]}"

    @property
    def recorded(self) -> Claimed:
        """The claim as a record keeps it."""
        file, _, lines = self.source.partition(":")
        chance = (self.chance.bound, self.chance.because) if self.chance is not None else (None, "")
        said = (self.phrase, self.gloss, self.verdict, self.otherwise)
        return Claimed(self.id, self.sentence, TUTORIALS[file], lines, *said, *chance)

    @property
    def law_sentence(self) -> str:
        """What the law says: the claim, and its verdict if it does not simply hold."""
        match self.verdict:
            case "holds":
                return self.sentence
            case "refuted":
                return f"Refuted: “{self.sentence}” Instead: {self.otherwise}."
        return f"Only if {self.otherwise}: “{self.sentence}”"

    def judge(self, case: ClaimCase, out: Outcome) -> Finding:
        """That the case comes out as stated, or how it does not."""
        claimed = self.claimed(case, out)
        if self.instead is None or case.situation not in self.fails:
            return claimed
        true = self.instead(case, out)
        if isinstance(claimed, Holds) and isinstance(true, Holds):
            words = f"the claim holds here, though stated as false: {self.sentence}"
            return Difference("claim holds", '"the claim"', "holds", "fails", words)
        return claimed if isinstance(true, Holds) and not isinstance(claimed, Difference) else true

    def observed(self, case: ClaimCase, out: Outcome) -> tuple[bool, str]:
        """Whether the claim is true of a case, and what was measured, in words."""
        found = self.claimed(case, out)
        true = isinstance(found, Holds)
        if self.tells is not None:
            return true, self.tells(case, out)
        why = [found.words] if isinstance(found, Difference) else [] if isinstance(found, Holds) else [found.why]
        if isinstance(found, Holds) and found.ratio is not None:
            why = [f"error at most {found.ratio:.2g} of its bound"]
        return true, "; ".join((f"{case.num_embeddings}×{case.embedding_dim}", *plain(out), *why))


def plain(out: Outcome) -> list[str]:
    """The observations of a program that fit into a line: numbers, names, short lists."""
    shown = [(name, value) for name, value in out.seen.items() if isinstance(value, (bool, int, float, str, list))]
    return [f"{name} {value}" for name, value in shown if len(str(value)) <= _SHORT]


def told(true: bool, path: str, words: str) -> Finding:
    """That an expression over what was seen is true; ``words`` say what it means if it is not."""
    return HOLDS_TRUE if true else Difference("untrue", path, False, True, words)


def verdict_of(true_somewhere: bool, false_somewhere: bool) -> str:
    """The verdict on a claim that was seen true in some case, and false in some."""
    if true_somewhere and false_somewhere:
        return ONLY_IF
    return REFUTED if false_somewhere else HOLDS


CLAIMS: dict[str, Claim] = {}


def claim(
    id: str,
    sentence: str,
    source: str,
    phrase: str,
    experiment: Program,
    claimed: Judgement | None = None,
    *,
    where: tuple[str, ...] = (),
    **facts: Any,
) -> Callable[[Judgement], Judgement]:
    """Registers a claim, with further fields of `Claim`; as a decorator where ``claimed`` is more than an expression.

    ``where`` is by default every situation of the experiment.

    Raises:
        ValueError: if the id is taken, or what the claim says of situations does not fit.
    """
    name = experiment.__name__
    if id in CLAIMS:
        raise ValueError(f"there are two claims {id!r}")

    def register(claimed: Judgement) -> Judgement:
        places = where or EXPERIMENTS[name].situations
        CLAIMS[id] = Claim(id, sentence, source, phrase, name, claimed, places, **facts)
        return claimed

    if claimed is not None:
        register(claimed)
    return register


def add_law(family: Family, made: Claim) -> None:
    """Gives a family the law that a claim comes out as stated."""

    def judge(case: ClaimCase, out: Outcome) -> Finding:
        return made.judge(case, out)

    judge.__name__, judge.__doc__ = made.law, made.law_sentence
    family.law(
        made.law_sentence,
        source=f"{made.source} {made.phrase}",
        must_cover={f"situation={place}" for place in made.where if place},
        when=lambda case: case.experiment == made.experiment and case.situation in made.where,
        claim=made.recorded,
    )(judge)


@dataclass
class Observations:
    """What a claim's cases showed: for each situation and truth value how many, and the first in words; a plot of the
    first of each situation."""

    seen: dict[tuple[str, bool], tuple[int, str]] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)

    def note(self, situation: str, true: bool, words: str) -> None:
        count, first = self.seen.get((situation, true), (0, words))
        self.seen[situation, true] = (count + 1, first)

    @property
    def cases(self) -> int:
        return sum(count for count, _ in self.seen.values())

    @property
    def verdict(self) -> str | None:
        """The verdict that the cases give; None without any."""
        truths = {true for _, true in self.seen}
        return verdict_of(True in truths, False in truths) if truths else None

    @property
    def lines(self) -> tuple[str, ...]:
        """The evidence: a line for each situation and truth value."""
        found = []
        for (situation, true), (count, words) in self.seen.items():
            place = f"{situation}: " if situation else ""
            found.append(f"{'true' if true else 'false'}: {place}{words} ({count} case{'s' if count > 1 else ''})")
        return tuple(found)
