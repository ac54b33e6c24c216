"""An audit of one model: asks for its facts, has every law judged, and makes verdicts of the answers.

Knows no torch: a template process has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from embcheck.audit.causes import Cause, Judged, causes
from embcheck.audit.client import Listed, Lost, Template, Unbuilt
from embcheck.audit.finding import AS_BUILT, FLIPPED, Finding
from embcheck.core.verdict import Counterexample, Statement, Status, Verdict
from embcheck.record.audited import BUILT as BUILT_NAME
from embcheck.record.audited import FAMILY, noted, told
from embcheck.record.store import failure_id

#: The law that only says whether there is something to audit; the last verdict of a subject.
BUILT = Statement(BUILT_NAME, FAMILY, "The factory builds a model.")


@dataclass
class Audit:
    """What came of one model."""

    subject: str
    facts: dict[str, Any] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    roots: list[Cause] = field(default_factory=list)
    unbuilt: str = ""
    #: Whether nobody knows if it could be built: that hangs, or takes the process down.
    lost: bool = False
    cpu: float = 0.0
    #: What builds this very model again, its configuration settled, and what was expected of it.
    source: dict[str, Any] = field(default_factory=dict)
    expect: str = "auto"

    @property
    def description(self) -> str:
        """The model in one line."""
        facts = self.facts
        parts = [facts["cls"], f"{facts['parameters']:,} parameters"]
        if facts["table"]:
            padding = "" if facts["padding"] is None else f", padding_idx {facts['padding']}"
            parts.append(f"table {facts['table']} ({facts['rows']}×{facts['width']}{padding})")
        if facts["head"]:
            parts.append(f"head {facts['head']}" + (" (tied)" if facts["tied"] else ""))
        if facts["said"]:
            parts.append(f"expected {facts['expected']}: {facts['said']}")
        return " · ".join(parts)

    def verdicts(self) -> list[Verdict]:
        """A verdict for each law and variant, and last whether the model was built."""
        found = [self._verdict(one) for one in self.judged]
        unbuilt = Status.UNKNOWN if self.lost else Status.NOT_APPLICABLE
        built = Verdict(
            BUILT.law, FAMILY, self.subject, AS_BUILT, FAMILY,
            unbuilt if self.unbuilt else Status.HOLDS,
            cases=1, seconds=round(self.cpu, 3),
            reasons=(self.unbuilt or self.description,) if self.unbuilt or self.facts else (),
        )  # fmt: skip
        return [*found, built]

    def _verdict(self, one: Judged) -> Verdict:
        mine = [cause for cause in self.roots if (cause.law, cause.variant) == (one.law, one.variant)]
        names = (one.law, f"{one.law} ({one.variant})")
        also = [cause.law for cause in self.roots if set(names) & set(cause.also)]
        elsewhere = also if one.findings and not mine else []
        reasons = [noted(note) for note in one.notes] + [text for text in (one.reason, one.failure) if text]
        if elsewhere:
            reasons.append(f"what {elsewhere[0]} found shows here too")
        return Verdict(
            one.law, FAMILY, self.subject, one.variant, FAMILY, status(one), cases=0 if one.reason else 1,
            seconds=round(one.cpu, 3), reasons=tuple(reasons),
            counterexamples=tuple(self._example(cause) for cause in mine),
        )  # fmt: skip

    def _example(self, cause: Cause) -> Counterexample:
        finding = cause.finding
        words = told(finding.words, finding.effect, finding.remedy)
        return Counterexample(
            cause.law, FAMILY, self.subject, cause.variant, "cpu",
            case=f"{self.subject} ({cause.variant}): {finding.where or 'the model'}", kind=finding.cause, words=words,
            path=finding.where, got=finding.words, script=finding.script, script_confirmed=finding.confirmed,
            also=tuple(cause.also), id=self.id_of(cause),
        )  # fmt: skip

    def id_of(self, cause: Cause) -> str:
        """Six digits that name a finding."""
        return failure_id(FAMILY, self.subject, cause.variant, cause.law, cause.finding.cause)


def status(one: Judged) -> Status:
    """How a law stands: what failed to be judged is unknown, what had nothing to judge is not applicable."""
    if one.failure:
        return Status.UNKNOWN
    if one.reason:
        return Status.NOT_APPLICABLE
    return Status.VIOLATED if one.findings else Status.HOLDS


def name_of(source: dict[str, Any]) -> str:
    """What reports call the model of a source."""
    return f"hf:{source['type']}:{source['cls']}" if source["kind"] == "hf" else str(source["target"])


def audit(template: Template, source: dict[str, Any], laws: list[Listed], expect: str = "auto") -> Audit:
    """Asks for the facts and has every law judged, each in a process of its own.

    Raises:
        Unbuilt: if there is no model.
        Lost: if nobody knows.
    """
    done = Audit(name_of(source), expect=expect)
    answer = template.ask(do="explore", source=source, expect=expect)
    done.facts, source, done.cpu = _facts(answer), answer.get("source", source), answer.get("cpu", 0.0)
    done.source = source
    for variant in (AS_BUILT, FLIPPED):
        facts = done.facts
        if variant == FLIPPED:
            if not facts["flippable"]:
                break
            answer = template.ask(do="explore", source=source, expect="auto", variant=variant)
            done.cpu += answer.get("cpu", 0.0)
            if "facts" not in answer:
                break
            facts = answer["facts"]
        for law in laws:
            if variant in law.variants:
                done.judged.append(_judged(template, law, source, facts, variant))
    done.cpu += sum(one.cpu for one in done.judged)
    done.roots = causes(done.judged)
    return done


def again(template: Template, failure: dict[str, Any]) -> Judged:
    """The law of a kept failure, judged anew on the model of that failure.

    Raises:
        KeyError: if the failure does not say what builds its model.
        Unbuilt: if the model can't be built any more, or there is no such law.
    """
    source, variant = failure["source"], failure["mode"]
    _, laws = template.prepare(source)
    law = next((law for law in laws if law.name == failure["law"]), None)
    if law is None:
        raise Unbuilt(f"this version of embcheck has no {failure['law']!r}")
    # As in the audit: a variant is explored for itself, and nothing is expected of it beyond what it says.
    expect = failure["expect"] if variant == AS_BUILT else "auto"
    answer = template.ask(do="explore", source=source, expect=expect, variant=variant)
    return _judged(template, law, source, _facts(answer), variant)


#: What an answer without facts says, how that is told, and whether nobody knows if there is a model.
_NO_FACTS = (
    ("lost", "", Lost),
    ("ended", "it can't be built: ", Lost),
    ("unbuilt", "", Unbuilt),
    ("error", "looking at it failed: ", Unbuilt),
)


def _facts(answer: dict[str, Any]) -> dict[str, Any]:
    for key, words, kind in _NO_FACTS:
        if "facts" not in answer and key in answer:
            raise kind(words + answer[key])
    facts: dict[str, Any] = answer["facts"]
    return facts


def _judged(template: Template, law: Listed, source: dict[str, Any], facts: dict[str, Any], variant: str) -> Judged:
    answer = template.ask(do="law", law=law.name, source=source, facts=facts, variant=variant)
    one = Judged(law.name, variant, cpu=answer.get("cpu", 0.0))
    one.findings = [Finding(**data) for data in answer.get("findings", ())]
    one.notes, one.reason = list(answer.get("notes", ())), answer.get("reason", "")
    one.failure = answer.get("error") or answer.get("ended") or answer.get("lost") or answer.get("unbuilt") or ""
    return one
