"""What a tutorial claims, as a record keeps it: whoever makes a page of the record needs neither tutorial nor torch."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from embcheck.core.facts import grouped

T = TypeVar("T")

HOLDS, ONLY_IF, REFUTED = "holds", "only if", "refuted"
#: What is said of a claim that does not come out as it is stated.
OTHERWISE = "otherwise than stated"
#: In this order a tutorial's claims are shown.
ORDER = (OTHERWISE, REFUTED, ONLY_IF, HOLDS)


@dataclass(frozen=True)
class Tutorial:
    """A tutorial: its file, its title in the words of the file, and the title in English."""

    file: str
    title: str
    gloss: str


@dataclass(frozen=True)
class Claimed:
    """A claim: its ``tutorial`` and the ``lines`` there, the original words (``quote``), these in English (``gloss``, empty
    where they are English or code), and the verdict that is stated.

    ``otherwise`` is the condition under which it holds, or what is true in its place.  Of a program that draws numbers
    ``chance`` bounds the probability that a right torch is judged wrong on one case, and ``bound_by`` says why; it is None
    where nothing is drawn.
    """

    id: str
    sentence: str
    tutorial: Tutorial
    lines: str
    quote: str
    gloss: str
    verdict: str
    otherwise: str = ""
    chance: float | None = None
    bound_by: str = ""

    @property
    def source(self) -> str:
        """The file and the lines, as ``token-embedding.md:125``."""
        return f"{self.tutorial.file}:{self.lines}"

    @property
    def said(self) -> str:
        """The original words, with what they mean in English."""
        return f"“{self.quote}”" + (f" ({self.gloss})" if self.gloss else "")

    @property
    def decided(self) -> str:
        """The condition, or what is true in the place of what is claimed; empty for what holds."""
        return f"{'only if' if self.verdict == ONLY_IF else 'instead'}: {self.otherwise}" if self.otherwise else ""

    def risk(self, cases: int) -> str:
        """How likely a right torch is judged wrong on some of so many cases; empty where nothing is drawn."""
        if self.chance is None:
            return ""
        each = f" ({cases:,} cases, {self.chance:.2g} each)" if self.chance and cases != 1 else ""
        number = f"at most {self.chance * cases:.2g}{each}" if self.chance else "0"
        return f"chance of judging a right torch wrong: {number}: {self.bound_by}"


@dataclass(frozen=True)
class Chapter(Generic[T]):
    """A tutorial with what is shown of its claims, and how many came out how."""

    tutorial: Tutorial
    shown: Sequence[T]
    counts: Mapping[str, int]

    @property
    def counted(self) -> str:
        total = sum(self.counts.values())
        parts = ", ".join(f"{count} {word}" for word, count in self.counts.items())
        return f"{total} claim{'s' if total != 1 else ''}: {parts}"


def chapters(shown: Iterable[T], claim: Callable[[T], Claimed | None], word: Callable[[T], str]) -> list[Chapter[T]]:
    """What is shown, by tutorial, in the order of their files; in each what came out otherwise than stated is first, and
    what holds last.  ``claim`` and ``word`` give the claim of one that is shown, without which it is left out, and what
    came of it."""
    found = grouped(((told.tutorial, one) for one in shown if (told := claim(one)) is not None), lambda pair: pair[0])
    made: list[Chapter[T]] = []
    for tutorial, pairs in sorted(found.items(), key=lambda item: item[0].file):
        own = sorted((one for _, one in pairs), key=lambda one: ORDER.index(word(one)))
        counts = Counter(map(word, own))
        made.append(Chapter(tutorial, own, {word: counts[word] for word in ORDER if counts[word]}))
    return made
