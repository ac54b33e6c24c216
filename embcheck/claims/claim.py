"""Claims: what a tutorial says of an embedding, and a check that decides whether torch agrees.

    says = Page("token", "token-embedding.md", "Transformer 代码剖析7", "Analysis of the Transformer's code 7")
    says("default_uniform", "125", "The table is drawn from U(−√(1/d), √(1/d)).", "默认采用均匀分布",
         "by default a uniform distribution is used", drawn, lambda case, out: distributed(out.values, by_width(case), case),
         refuted("it is drawn from N(0, 1)", is_normal), where="TokenEmbedding", chance=BETWEEN_TWO)

The check is the claim itself and is judged like a law: it holds where the claim is true of what torch did, and is a
`Difference` where it is not.  In the situations in which it is `refuted` the claim must come out false, and another check
says what is true there.  A claim that comes out otherwise than stated is a violated law.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from embcheck.claims.case import EXPERIMENTS, ClaimCase, Program
from embcheck.core.claim_record import HOLDS, ONLY_IF, REFUTED, Claimed, Tutorial
from embcheck.core.law import Family, Judgement
from embcheck.core.outcome import Outcome
from embcheck.core.plot_data import Figure
from embcheck.core.result import HOLDS as HOLDS_TRUE
from embcheck.core.result import Difference, Finding, Holds
from embcheck.families.initializers.oracle import DELTA

#: How the law of a claim with such a verdict is called.
_SUFFIX = {HOLDS: "holds", ONLY_IF: "holds_conditionally", REFUTED: "is_refuted"}

#: So many characters of an observation are shown.
_SHORT = 40

Telling = Callable[[Any, Outcome], str]
Drawing = Callable[[Any, Outcome], Figure]


class Fails(NamedTuple):
    """Where a claim must come out false: what is said of that, the check of what is true there, and the situations."""

    otherwise: str
    instead: Judgement
    situations: tuple[str, ...] | None


def refuted(otherwise: str, instead: Judgement) -> Fails:
    """It is false in every situation; ``otherwise`` says what is true in its place, and ``instead`` checks it."""
    return Fails(otherwise, instead, None)


def only_if(otherwise: str, instead: Judgement, *fails: str) -> Fails:
    """It is false in the situations ``fails``, where ``instead`` is true; ``otherwise`` is the condition under which it holds."""
    return Fails(otherwise, instead, fails)


class Chance(NamedTuple):
    """A bound on the probability that a right torch is judged wrong on one case, and why it is one."""

    bound: float
    because: str


_DISTANCE = (
    "n values are farther than √(ln(2/δ)/2n) from their distribution with probability δ at most (Dvoretzky, Kiefer, Wolfowitz, "
    "Massart)"
)

#: What is judged would come out for any numbers.
NONE = Chance(0.0, "what is drawn is compared with itself, bit for bit, whatever it is")

#: `embcheck.claims.distributions.distributed` where the claimed distribution is the true one.
BY_DISTANCE = Chance(DELTA, _DISTANCE)

#: And where it is not: both distances are judged, and one event decides both.
BETWEEN_TWO = Chance(DELTA, f"{_DISTANCE}; the claimed distribution is more than twice as far from the true one")


def alike(values: int) -> Chance:
    """Two layers have the same values, so many at least."""
    words = "two layers are alike only if all signs are: each is positive with probability 1/2"
    return Chance(2.0**-values, f"{words}, and there are {values} values or more")


def zero_row(width: int) -> Chance:
    """A row that an initialiser fills is zero, at least so wide.

    Of 24 random bits each pattern has probability 2⁻²⁴, and no more than two give one float32.
    """
    words = f"a row that is drawn is zero only if each of its values is, of which there are {width} or more"
    return Chance(2.0 ** (-23 * width), f"{words}: no float32 is drawn with a probability above 2⁻²³")


def narrow(values: int, share: float) -> Chance:
    """The variance of so many normal values is below this share of theirs: Chernoff's bound for χ² with n - 1 degrees."""
    exponent = (values - 1) / 2 * (math.log(share) + 1 - share)
    words = f"the variance of n normal values is below x of theirs with probability at most (x·e^(1−x))^((n−1)/2): x {share:g}"
    return Chance(math.exp(max(exponent, math.log(1e-300))), f"{words}, n {values:,} or more (Chernoff)")


@dataclass(frozen=True)
class Claim:
    """What a tutorial says and what becomes of it (``told``), and how that is decided.

    It is judged on the ``experiment`` in the situations ``where``, and comes out false in those of ``fails``, where ``instead``
    is true.  ``tells`` puts what was measured on a case into words, where that is more than the program's short observations;
    ``draws`` makes a plot of it.
    """

    told: Claimed
    experiment: str
    claimed: Judgement
    where: tuple[str, ...]
    fails: tuple[str, ...] = ()
    instead: Judgement | None = None
    tells: Telling | None = None
    draws: Drawing | None = None

    @property
    def law(self) -> str:
        """The name of the law that the verdict is right."""
        return f"{self.told.id.replace('.', '_')}_{_SUFFIX[self.told.verdict]}"

    @property
    def law_sentence(self) -> str:
        """What the law says: the claim, and its verdict if it does not simply hold."""
        said, otherwise = self.told.sentence, self.told.otherwise
        sentences = {ONLY_IF: f"Only if {otherwise}: “{said}”", REFUTED: f"Refuted: “{said}” Instead: {otherwise}."}
        return sentences.get(self.told.verdict, said)

    def judge(self, case: ClaimCase, out: Outcome) -> Finding:
        """That the case comes out as stated, or how it does not."""
        claimed = self.claimed(case, out)
        if self.instead is None or case.situation not in self.fails:
            return claimed
        true = self.instead(case, out)
        if isinstance(claimed, Holds) and isinstance(true, Holds):
            words = f"the claim holds here, though stated as false: {self.told.sentence}"
            return Difference("claim holds", '"the claim"', "holds", "fails", words)
        return claimed if isinstance(true, Holds) and not isinstance(claimed, Difference) else true

    def observed(self, case: ClaimCase, out: Outcome) -> tuple[bool, str]:
        """Whether the claim is true of a case, and what was measured, in words."""
        found = self.claimed(case, out)
        true = isinstance(found, Holds)
        if self.tells is not None:
            return true, self.tells(case, out)
        plain = [(name, value) for name, value in out.seen.items() if isinstance(value, (bool, int, float, str, list))]
        words = [f"{name} {value}" for name, value in plain if len(str(value)) <= _SHORT]
        if not isinstance(found, Holds):
            words.append(found.words if isinstance(found, Difference) else found.why)
        elif found.ratio is not None:
            words.append(f"error at most {found.ratio:.2g} of its bound")
        return true, "; ".join((f"{case.num_embeddings}×{case.embedding_dim}", *words))


def told(true: bool, path: str, words: str) -> Finding:
    """That an expression over what was seen is true; ``words`` say what it means if it is not."""
    return HOLDS_TRUE if true else Difference("untrue", path, False, True, words)


def verdict_of(true_somewhere: bool, false_somewhere: bool) -> str:
    """The verdict on a claim that was seen true in some case, and false in some."""
    if true_somewhere and false_somewhere:
        return ONLY_IF
    return REFUTED if false_somewhere else HOLDS


CLAIMS: dict[str, Claim] = {}
#: The tutorials by their files.
TUTORIALS: dict[str, Tutorial] = {}


class Page:
    """A tutorial, by its file, its title there and what that means; a call registers a claim, whose id begins with ``prefix``."""

    def __init__(self, prefix: str, file: str, title: str, gloss: str) -> None:
        self.prefix, self.tutorial = prefix, TUTORIALS.setdefault(file, Tutorial(file, title, gloss))

    def __call__(
        self, name: str, lines: str, sentence: str, quote: str, gloss: str, experiment: Program, claimed: Judgement,
        fails: Fails | None = None, *, where: str | tuple[str, ...] = (), chance: Chance | None = None, **shown: Any,
    ) -> None:  # fmt: skip
        """Registers what ``lines`` of the tutorial say.

        ``quote`` are the original words and ``gloss`` what they mean in English; ``where`` is by default every situation of the
        experiment.  Where what is observed depends on numbers that the program draws, ``chance`` bounds the probability that a
        right torch is judged wrong.  ``shown`` is ``tells`` and ``draws`` of `Claim`.

        Raises:
            ValueError: if the id is taken, or what the claim says of situations or of its words does not fit.
        """
        id, known = f"{self.prefix}.{name}", EXPERIMENTS[experiment.__name__].situations
        places = (where,) if isinstance(where, str) else where or known
        false = () if fails is None else places if fails.situations is None else fails.situations
        if id in CLAIMS:
            raise ValueError(f"there are two claims {id!r}")
        if not set(false) <= set(places) <= set(known):
            raise ValueError(f"{id}: its situations do not fit those of {experiment.__name__}: {known}")
        if bool(gloss) != any("一" <= sign <= "鿿" for sign in quote):
            raise ValueError(f"{id}: a phrase needs a gloss if it is Chinese, and none if it is English or code")
        verdict = verdict_of(len(false) < len(places), bool(false))
        otherwise, instead = (fails.otherwise, fails.instead) if fails is not None else ("", None)
        told = Claimed(id, sentence, self.tutorial, lines, quote, gloss, verdict, otherwise, *(chance or (None, "")))
        CLAIMS[id] = Claim(told, experiment.__name__, claimed, places, false, instead, **shown)


def add_law(family: Family, made: Claim) -> None:
    """Gives a family the law that a claim comes out as stated."""

    def judge(case: ClaimCase, out: Outcome) -> Finding:
        return made.judge(case, out)

    judge.__name__, judge.__doc__ = made.law, made.law_sentence
    family.law(
        made.law_sentence,
        source=f"{made.told.source} {made.told.quote}",
        must_cover={f"situation={place}" for place in made.where if place},
        when=lambda case: case.experiment == made.experiment and case.situation in made.where,
        claim=made.told,
    )(judge)
