"""From what the laws said to findings: what has one root cause is one finding.

The laws come in their order, from what is there to what is kept; the first that meets a cause reports it, and the
others are named with it.  Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from embcheck.audit.finding import Finding

#: Kinds that are one event when a program meets several at once: a tie, and so values, come out different.
STRUCTURE = {
    *("alias is lost", "alias is made", "old rows change", "other values change", "not restored", "name is lost"),
    *("load is refused", "answers differ", "head does not follow", "bias does not follow", "forward fails"),
    *("memory is shared", "copy does not follow", "original moves", "cast is partial", "state is missing"),
}

#: Kinds that are met first and show in many laws after: in all that speak of the same names, or in all there are.
NAMED_ROOTS = {"tie is missing", "two Parameters over one memory"}
ROOTS = {"input is changed", "weights are written", "not among the parameters"}
#: How a copy of the table that no step moves shows elsewhere.
LEFT_BEHIND = {"copy does not follow", "gradient is not the sum", "answers differ"}
BEHAVIOUR = STRUCTURE | {"gradient is not the sum", "inputs_embeds differ", "not the row"}

#: A law and those whose violation it can inherit: a model that a resize breaks does not survive a reload either.
FOLLOWS = {
    "a_resized_checkpoint_restores_the_model": ("growing_keeps_the_old_rows", "a_checkpoint_restores_the_model"),
    "shrinking_keeps_the_rows_left": ("growing_keeps_the_old_rows",),
    "a_checkpoint_restores_the_model": ("a_state_dict_restores_the_model",),
}


@dataclass
class Judged:
    """What one law said of one variant: findings and notes, or why there are none."""

    law: str
    variant: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    failure: str = ""
    cpu: float = 0.0


@dataclass
class Cause:
    """A root cause: the finding that tells of it, where it was met first, and where else."""

    finding: Finding
    law: str
    variant: str
    also: list[str] = field(default_factory=list)


def causes(judged: list[Judged]) -> list[Cause]:
    """The root causes of all findings, in the order of the laws."""
    found: dict[tuple[str, str], Cause] = {}
    for one in judged:
        for finding in together(one.findings):
            held = found.get((finding.kind, finding.where)) or _inherited(one, finding, list(found.values()))
            if held is None:
                found[finding.kind, finding.where] = Cause(finding, one.law, one.variant)
                continue
            name = one.law if one.variant == held.variant else f"{one.law} ({one.variant})"
            if name not in held.also and name != held.law:
                held.also.append(name)
    return list(found.values())


def together(findings: list[Finding]) -> list[Finding]:
    """The findings of one law, those of structure as one: the first, which names the others."""
    structure = [finding for finding in findings if finding.kind in STRUCTURE]
    rest = [finding for finding in findings if finding.kind not in STRUCTURE]
    if not structure:
        return rest
    first, *others = structure
    words = "; ".join([first.words, *(other.words for other in others)])
    joined = Finding(first.kind, first.where, words, first.effect, first.remedy, first.script, first.confirmed)
    return [joined, *rest]


def _inherited(one: Judged, finding: Finding, found: list[Cause]) -> Cause | None:
    """The cause of a finding that follows from what another law found in the same variant."""
    for cause in found:
        kind, words = cause.finding.kind, cause.finding.words
        told = (finding.where and finding.where in words) or cause.finding.where in finding.words
        if finding.kind in BEHAVIOUR and (kind in ROOTS or (kind in NAMED_ROOTS and told)):
            return cause
        if kind == "copy stays behind" and finding.kind in LEFT_BEHIND:
            return cause
        if kind == "copy does not follow" and finding.kind in ("head does not follow", "forward fails"):
            return cause
    if finding.kind not in STRUCTURE:
        return None
    for law in FOLLOWS.get(one.law, ()):
        for cause in found:
            places = [(cause.law, cause.variant), *((name.partition(" (")[0], one.variant) for name in cause.also)]
            if (law, one.variant) in places and cause.finding.kind in STRUCTURE | {"size is not told"}:
                return cause
    return None
