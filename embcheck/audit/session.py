"""An audit of models: their facts are looked at, every law is judged, and verdicts are made of the answers.

What knows torch is imported in the workers, where the functions of this module are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from typing import Any

from embcheck.audit.finding import ADVICE, AS_BUILT, FLIPPED, LAWS, Cause, Judged, Lost, Unbuilt, causes
from embcheck.audit.processes import Ended, streamed
from embcheck.audit.target import located
from embcheck.core.verdict import Counterexample, Statement, Status, Verdict
from embcheck.record.audited import BUILT as BUILT_NAME
from embcheck.record.audited import FAMILY, Model, noted, told
from embcheck.record.store import failure_id

#: The law that only says whether there is something to audit; the last verdict of a subject.
BUILT = Statement(BUILT_NAME, FAMILY, "The factory builds a model.")


@dataclass(frozen=True)
class Audit(Model):
    """An audited model, and what builds it."""

    source: dict[str, Any] = field(default_factory=dict)


def name_of(source: dict[str, Any]) -> str:
    """What reports call the model of a source."""
    return f"hf:{source['type']}:{source['cls']}" if source["kind"] == "hf" else str(source["target"])


def prepared(source: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Statement]]:
    """The sources that are meant (``--hf all`` means many), and the laws in the order in which they are judged.

    Raises:
        Unbuilt: if transformers can't be imported, or there is no such architecture or module.
    """
    if source["kind"] == "factory":
        located(source)
    from embcheck.audit import hf, laws

    statements = [*(Statement(law.name, FAMILY, law.sentence) for law in laws.load().values()), BUILT]
    return hf.chosen(source["name"]) if "name" in source else [source], statements


def audited(pool: Executor, sources: list[dict[str, Any]], expect: str, limit: float) -> Iterator[Audit]:
    """The audits of all sources as they end; a model that can't be built is one of them."""
    running = [pool.submit(audit, source, expect, limit) for source in sources]
    return (done.result() for done in as_completed(running))


def audit(source: dict[str, Any], expect: str, limit: float) -> Audit:
    """The audit of a model by every law, each of which may take ``limit`` seconds of CPU time."""
    name = name_of(source)
    try:
        source, facts, cpu = looked_at(source, expect, AS_BUILT, limit)
    except Unbuilt as reason:
        status = Status.UNKNOWN if isinstance(reason, Lost) else Status.NOT_APPLICABLE
        return Audit(name, (_built(name, status, str(reason), 0.0),), source)
    judged = judged_by(AS_BUILT, source, facts, limit)
    if facts.flippable:
        try:
            _, flipped, more = looked_at(source, "auto", FLIPPED, limit)
            judged, cpu = judged + judged_by(FLIPPED, source, flipped, limit), cpu + more
        except Unbuilt:
            pass
    cpu += sum(one.cpu for one in judged)
    return Audit(name, (*verdicts(name, judged), _built(name, Status.HOLDS, description(facts), cpu)), source)


def looked_at(source: dict[str, Any], expect: str, variant: str, limit: float) -> tuple[dict[str, Any], Any, float]:
    """The source that is settled, the facts of its model, and seconds of CPU time.

    Raises:
        Unbuilt: if there is no model.
        Lost: if nobody knows.
    """
    from embcheck.audit import subject

    subject.ready(source)
    try:
        (answer,) = streamed(subject.looked_at, source, expect, variant, limit=limit)
    except Ended as error:
        raise Lost(f"it can't be built: {error}") from error
    if isinstance(answer, Unbuilt):
        raise answer
    subject.ready(answer[0], runs=True)
    return answer


def judged_by(variant: str, source: dict[str, Any], facts: Any, limit: float, only: str = "") -> list[Judged]:
    """What the laws that are asked of a variant, or the only one of this name, say: one after the other in one process.

    After one that takes it down, or has no end, they go on in another.
    """
    from embcheck.audit import subject

    laws = [only] if only else [law.name for law in LAWS.values() if variant in law.variants]
    done: list[Judged] = []
    while len(done) < len(laws):
        why = "the process died"
        try:
            for one in streamed(subject.each_judged, laws[len(done) :], source, facts, variant, limit=limit):
                done.append(one)
        except Ended as error:
            why = str(error)
        if len(done) < len(laws):
            done.append(Judged(laws[len(done)], variant, failure=why))
    return done


def again(failure: dict[str, Any], limit: float) -> Judged:
    """The law of a kept failure, judged anew on the model of that failure.

    Raises:
        KeyError: if the failure does not say what builds its model.
        Unbuilt: if the model can't be built any more, or there is no such law.
    """
    from embcheck.audit import laws

    law, source, variant = failure["law"], failure["source"], failure["mode"]
    if law not in laws.load():
        raise Unbuilt(f"this version of embcheck has no {law!r}")
    # As in the audit: a variant is looked at for itself, and nothing is expected of it beyond what it says.
    source, facts, _ = looked_at(source, failure["expect"] if variant == AS_BUILT else "auto", variant, limit)
    (one,) = judged_by(variant, source, facts, limit, only=law)
    return one


# -- verdicts ------------------------------------------------------------------------------------------------------


def description(facts: Any) -> str:
    parts = [facts.cls, f"{facts.parameters:,} parameters"]
    if facts.table:
        padding = "" if facts.padding is None else f", padding_idx {facts.padding}"
        parts.append(f"table {facts.table}{'.T' * facts.transposed} ({facts.rows}×{facts.width}{padding})")
    if facts.head:
        parts.append(f"head {facts.head}" + (" (tied)" if facts.tied else ""))
    if facts.said:
        open_ended = facts.expected == "any" and facts.said != "--expect any"
        parts.append(facts.said if open_ended else f"expected {facts.expected}: {facts.said}")
    return " · ".join(parts)


def verdicts(subject: str, judged: list[Judged]) -> list[Verdict]:
    """A verdict for each law and variant; what one law reports shows in the others' reasons."""
    roots, made = causes(judged), []
    for one in judged:
        here = (one.law, one.variant)
        mine = [cause for cause in roots if cause.met[0] == here]
        first = [cause.met[0][0] for cause in roots if here in cause.met[1:] and not mine]
        shared = [f"what {law} found shows here too" for law in first[:1]]
        status = Status.VIOLATED if one.findings else Status.HOLDS
        if one.failure or one.reason:
            status = Status.UNKNOWN if one.failure else Status.NOT_APPLICABLE
        made.append(
            Verdict(
                *(one.law, FAMILY, subject, one.variant, FAMILY, status),
                cases=int(not one.reason),
                seconds=round(one.cpu, 3),
                reasons=(*map(noted, one.notes), *filter(None, (one.reason, one.failure)), *shared),
                counterexamples=tuple(_example(subject, cause) for cause in mine),
            )
        )
    return made


def _built(subject: str, status: Status, why: str, cpu: float) -> Verdict:
    return Verdict(BUILT.law, FAMILY, subject, AS_BUILT, FAMILY, status, cases=1, seconds=round(cpu, 3), reasons=(why,))


def _example(subject: str, cause: Cause) -> Counterexample:
    finding, (law, variant) = cause.finding, cause.met[0]
    return Counterexample(
        law, FAMILY, subject, variant, "cpu", f"{subject} ({variant}): {finding.where or 'the model'}", finding.cause,
        told(finding.words, *ADVICE[finding.kind]), path=finding.where, got=finding.words, script=finding.script,
        script_confirmed=finding.confirmed, also=tuple(cause.also),
        id=failure_id(FAMILY, subject, variant, law, finding.cause),
    )  # fmt: skip
