"""Laws: one sentence of mathematics each, and a pure function that tells whether an outcome obeys it.

    @padding.law("Padding rows get zero gradient.", source="nn.Embedding: padding_idx", must_cover={"padding_hit"})
    def padding_row_gets_no_gradient(case, out):
        return same(out.weight_grad[case.padding_row], 0)

A law returns what the comparisons of `embcheck.core.comparison` return, and nothing else: that it holds, exactly or with a
ratio of error to bound, a `Difference`, or that it is not applicable and why.  A `Family` groups the laws that are judged
on one execution: it says which cases there are and which program runs.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from embcheck.core.axes import Axes, Input
from embcheck.core.claim_record import Claimed
from embcheck.core.declaration import subject_of
from embcheck.core.facts import named, require
from embcheck.core.outcome import Outcome, ProcessDied
from embcheck.core.result import HOLDS, Difference, Finding, cut
from embcheck.core.space import Space

Judgement = Callable[[Any, Outcome], Finding]
Condition = Callable[[Any], bool]
#: What a law may read.
Reads = Literal["values", "metadata", "memory"]


def _always(case: Any) -> bool:
    return True


@dataclass(frozen=True)
class Law:
    """A sentence, its source, its judgement, and when it applies.

    ``must_cover`` are facts that must have been met by some judged case, or the verdict is *unknown*.  ``modes`` limits
    the law to some modes.  A ``refusal`` law speaks of cases whose execution must raise.  Where the law that
    ``implied_by`` names holds exactly, this one follows and is not evaluated.  ``of`` is what it reads: "values";
    "metadata", in modes without elements too; or "memory", where tensors lie and what was written.  What is not of values is
    asked of a layer of which two equal calls differ, too.  ``claim`` is what a tutorial says, where the
    law says what becomes of it.
    """

    name: str
    family: str
    sentence: str
    judge: Judgement
    source: str = ""
    must_cover: frozenset[str] = frozenset()
    when: Condition = _always
    modes: frozenset[str] | None = None
    refusal: bool = False
    advisory: bool = False
    implied_by: str = ""
    of: Reads = "values"
    claim: Claimed | None = None

    @property
    def conditional(self) -> bool:
        return self.when is not _always


class Plan(NamedTuple):
    """What is executed for a case: ``program(**inputs as tensors, **options)``.

    The program and any function among the options import nothing but torch, since their source becomes the
    counterexample's script.
    """

    program: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, Input]
    options: Mapping[str, Any] = {}
    threads: int = 1


FAMILIES: dict[str, Family] = {}


@dataclass
class Family:
    """Laws that are judged on the same execution.

    ``space`` enumerates and draws the cases, ``plan`` says what is executed for one, ``modes`` in which modes,
    ``call`` which kind of call the program's ``build`` gives (empty: none), which decides what further modes there are,
    ``refused`` which cases must raise, ``not_applicable`` the reason why an outcome can't be judged (a documented
    refusal), ``cost`` what a case costs relative to a lookup: budgets are divided by it.
    ``further`` are plain modes in which it runs only if they are asked for.
    ``typical`` are conditions, the strictest first.  Of the cases that meet an obligation one is chosen that also meets the
    first condition that any meets: the first of all cases is the smallest, and shows least.
    ``untaken`` is the reason why a mode does not take the subject at all, which the outcome of any case shows.
    ``absent`` is the reason why a subject has none of its cases, ``outside`` why it has not a case, or a mode's cases;
    ``lives`` are modes in which a part of its cases is asked again by default.  Of what is enumerated every ``stride``-th
    case is run, but in *deep* all are.  A program that ``forks`` is executed in a fork of a process that has run nothing:
    what a worker has done before, such as starting the threads of autograd, would be missing in its forks.  ``only_cpu`` is the
    reason why no other device can run its cases.  ``of`` is torch's family of which a subject's was made, and ``bring`` gives
    what becomes of its cases.
    """

    name: str
    space: Space
    plan: Callable[[Any], Plan]
    modes: tuple[str, ...] = ("eager",)
    call: str = ""
    further: tuple[str, ...] = ()
    refused: Condition = lambda case: False
    cost: float = 1.0
    stride: int = 1
    laws: list[Law] = field(default_factory=list)
    not_applicable: Callable[[Any, Outcome], str | None] = lambda case, out: None
    untaken: Callable[[Outcome], str | None] = lambda out: None
    absent: str = ""
    outside: Callable[[Any, str], str | None] = lambda case, mode: None
    lives: tuple[str, ...] = ()
    forks: bool = False
    only_cpu: str = ""
    of: Family | None = None
    bring: Callable[[Iterable[Any]], Iterator[Any]] = iter
    typical: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        FAMILIES[self.name] = self
        require(named(self.typical), self.space.facts, f"family {self.name}")
        says = "A valid case is accepted: nothing is raised; and torch's settings (grad mode, default dtype, threads …) stay."
        self.law(says, source="the documentation of what is called", of="metadata")(accepts)

    def law_of_crashes(self, case: Any) -> Law:
        """The law that a case breaks which ends its process: that it is refused if it must be, else that it is accepted."""
        refusals = (law for law in self.laws if law.refusal and law.when(case)) if self.refused(case) else ()
        return next(itertools.chain(refusals, (law for law in self.laws if law.judge is accepts)))

    def law(
        self,
        sentence: str,
        *,
        source: str = "",
        must_cover: Iterable[str] = (),
        when: Condition = _always,
        modes: Iterable[str] | None = None,
        refusal: bool = False,
        advisory: bool = False,
        implied_by: str = "",
        of: Reads = "values",
        claim: Claimed | None = None,
    ) -> Callable[[Judgement], Judgement]:
        """Adds the decorated judgement to the family, named after it.

        Raises:
            UnknownFact: for an obligation that speaks of a fact that no case of the family has.
        """

        def add(judge: Judgement) -> Judgement:
            name = judge.__name__ if judge is not accepts else f"{self.name}_is_accepted"
            allowed = frozenset(modes) if modes is not None else None
            obligations = frozenset(must_cover)
            require(named(obligations), self.space.facts, f"law {name}")
            law = Law(
                name, self.name, sentence, judge, source, obligations, when, allowed, refusal, advisory, implied_by,
                of, claim,
            )  # fmt: skip
            self.laws = [known for known in self.laws if known.name != name] + [law]
            return judge

        return add

    def tests(self) -> tuple[Callable[..., None], ...]:
        """One pytest function for each engine; the plug-in parametrises them by subject, mode and part."""

        def of(engine: str) -> Callable[..., None]:
            def test(judged: Callable[[], None]) -> None:
                judged()

            test.__name__, test.__doc__ = f"test_{engine}", f"The laws of {self.name}, by {engine}."
            test.family, test.engine = self, engine  # type: ignore[attr-defined]
            return test

        return tuple(map(of, ("scope", "product", "random")))


def ended(symptom: str, words: str = "") -> Difference:
    """How a case departs from being accepted that ends its process, by a symptom such as ``crash SIGSEGV`` or ``hang``."""
    words = words or ("no end" if symptom == "hang" else f"the process died: {symptom}")
    return Difference(symptom, "error", words, None, words)


#: What is said of the kind of a difference that a subject raised itself.
OF_SUBJECT = " in the subject"


def accepts(case: Axes, out: Outcome) -> Finding:
    """Nothing is raised, and no setting is left changed; the latter holds where something must be raised, too."""
    for name, (now, before) in out.settings.items():
        return Difference("setting", name, now, before, f"{name} is {now} afterwards, and was {before}")
    if out.error is None:
        return HOLDS
    if isinstance(out.error, ProcessDied):
        return ended(str(out.error))
    text = " ".join(str(out.error).split())
    if text.startswith("does not compile: "):  # as the modes that compile tell it
        return Difference("does not compile", "error", text[:240], None, cut(text, 240))
    text = str(out.error).strip().splitlines()[0] if text else ""
    # A script looks for the first letters in what is raised, where no mark stands behind them.
    raised = f"raised {type(out.error).__name__}: {text[:160]}"
    words = f"raised {type(out.error).__name__}: {cut(text, 160)}"
    if subject_of(case) and (meaning := _of_what_was_returned(out.error, text)):
        words = f"{meaning} ({words})"
    # What the ledger knows of torch excuses nothing that a subject raises itself.
    module = str(vars(out.error).get("raised_in", "")).partition(".")[0]
    own = OF_SUBJECT if subject_of(case) and module not in ("", "torch", "embcheck") else ""
    return Difference(f"raised {type(out.error).__name__}{own}", "error", raised, None, words)


def _of_what_was_returned(error: BaseException, text: str) -> str:
    """What an error says of what a layer returned, if it came from what embcheck did with that; empty if it says nothing."""
    if "optimizer got an empty parameter list" in text:
        return "your model's weight is no longer the Parameter that its optimizer was given"
    if "does not require grad and does not have a grad_fn" in text:
        return "your layer's table got no gradient: what the layer returned does not require grad"
    in_place = "modified inplace" in text or "in-place operation" in text
    if in_place and str(vars(error).get("raised_in", "")).startswith("embcheck."):
        return "what your layer returned can't be changed in place, which this case does"
    return ""


def source_of(law: Law) -> str:
    """The file of a law's judgement, for `embcheck laws`."""
    return inspect.getsourcefile(inspect.unwrap(law.judge)) or "?"
