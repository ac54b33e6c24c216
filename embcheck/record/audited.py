"""How an audit is written into a record, and read from it again, model by model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from embcheck.core.facts import grouped
from embcheck.core.verdict import Counterexample, Status, Verdict

#: The family of an audit's verdicts; its law that only says whether there is a model, the last verdict of each.
FAMILY, BUILT = "audit", "a_model_is_built"

#: The mode of verdicts about a model as its factory builds it; any other is a variant of it.
AS_BUILT = "as built"

#: What came of a finding's script.
CONFIRMED = {True: "run: it exits 1", False: "run alone it exits 0", None: "not confirmed"}

_NOTE, _EFFECT, _FIX = "note: ", ".  Effect: ", ".  Fix: "


def noted(words: str) -> str:
    """A note, as it stands among a verdict's reasons."""
    return _NOTE + words


def told(what: str, effect: str, fix: str) -> str:
    """What an author needs to know of a finding, as a counterexample's words; `Advice` reads it again."""
    return f"{what}{_EFFECT}{effect}{_FIX}{fix}."


@dataclass(frozen=True)
class Advice:
    """What is wrong, what it does to training or use, how it is repaired."""

    what: str
    effect: str
    fix: str

    @classmethod
    def of(cls, example: Counterexample) -> Advice:
        what = example.got if example.got and example.words.startswith(example.got) else ""
        rest = example.words[len(what) :]
        before, _, rest = rest.partition(_EFFECT)
        effect, _, fix = rest.rpartition(_FIX)
        return cls(what or before, effect, fix.removesuffix("."))


@dataclass(frozen=True)
class Model:
    """All that a record says of one audited model."""

    subject: str
    verdicts: tuple[Verdict, ...]

    @property
    def built(self) -> Verdict | None:
        """Whether there is a model; None if its audit was cut off."""
        return next((verdict for verdict in self.verdicts if verdict.law == BUILT), None)

    @cached_property
    def judged(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.law != BUILT]

    @property
    def status(self) -> Status:
        """The worst of all laws; where there is no model not applicable, and unknown if nobody knows whether there is one."""
        if self.unbuilt and self.built is not None:
            return self.built.status
        return max((verdict.status for verdict in self.judged), default=Status.NOT_APPLICABLE)

    @property
    def unbuilt(self) -> str:
        """Why there is no model; empty if there is one."""
        last = self.built
        return "; ".join(last.reasons) if last is not None and last.status != Status.HOLDS else ""

    @property
    def description(self) -> str:
        """What the model is: its class, its table, its head."""
        return "; ".join(self.built.reasons) if self.built is not None and not self.unbuilt else ""

    @property
    def seconds(self) -> float:
        """Of CPU, for the whole audit."""
        return self.built.seconds if self.built is not None else sum(verdict.seconds for verdict in self.judged)

    @cached_property
    def findings(self) -> list[Counterexample]:
        """The root causes, in the order of the laws."""
        return [example for verdict in self.judged for example in verdict.counterexamples]

    @property
    def notes(self) -> list[str]:
        """The notes of all laws, each once."""
        found = [r.removeprefix(_NOTE) for v in self.judged for r in v.reasons if r.startswith(_NOTE)]
        return list(dict.fromkeys(found))

    def reasons(self, status: Status) -> dict[str, list[Verdict]]:
        """The laws that stand so without a finding of their own, by the reason."""
        alike = [verdict for verdict in self.judged if verdict.status == status and not verdict.counterexamples]
        return grouped(alike, lambda v: "; ".join(reason for reason in v.reasons if not reason.startswith(_NOTE)))


def models(verdicts: Iterable[Verdict]) -> list[Model]:
    found = grouped((verdict for verdict in verdicts if verdict.family == FAMILY), lambda verdict: verdict.subject)
    return [Model(subject, tuple(mine)) for subject, mine in found.items()]
