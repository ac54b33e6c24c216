"""From what the laws said to findings: what has one root cause is one finding.

The laws come in their order, from what is there to what is kept; the first that meets a cause reports it, and the
others are named with it.  Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from embcheck.audit.finding import Finding, Judged

#: Kinds that are one event when a program meets several at once: a tie, and so values, come out different.
STRUCTURE = {
    *("alias is lost", "alias is made", "old rows change", "other values change", "not restored", "name is lost"),
    *("load is refused", "answers differ", "head does not follow", "bias does not follow", "forward fails"),
    *("memory is shared", "copy does not follow", "original moves", "cast is partial", "state is missing"),
}
BEHAVIOUR = STRUCTURE | {"gradient is not the sum", "inputs_embeds differ", "not the row"}
#: Kinds that are met first, and those that inherit them: in all laws after, or (named) in those that speak of the same names.
INHERITED = {
    "input is changed": BEHAVIOUR,
    "weights are written": BEHAVIOUR,
    "not among the parameters": BEHAVIOUR,
    "copy stays behind": {"copy does not follow", "gradient is not the sum", "answers differ"},
    "copy does not follow": {"head does not follow", "forward fails"},
}
NAMED = {"tie is missing", "two Parameters over one memory"}
#: A law and those whose violation it can inherit: a model that a resize breaks does not survive a reload either.
FOLLOWS = {
    "a_resized_checkpoint_restores_the_model": ("growing_keeps_the_old_rows", "a_checkpoint_restores_the_model"),
    "shrinking_keeps_the_rows_left": ("growing_keeps_the_old_rows",),
    "a_checkpoint_restores_the_model": ("a_state_dict_restores_the_model",),
}


@dataclass
class Cause:
    """A root cause: the finding that tells of it, and the laws, each with a variant, that met it, the first one first."""

    finding: Finding
    met: list[tuple[str, str]] = field(default_factory=list)

    @property
    def also(self) -> list[str]:
        """The other laws that met it, with their variant where that is another than the first law's."""
        (first, variant), *rest = self.met
        names = [law if kind == variant else f"{law} ({kind})" for law, kind in rest]
        return [name for name in dict.fromkeys(names) if name != first]


def causes(judged: list[Judged]) -> list[Cause]:
    """The root causes of all findings, in the order of the laws."""
    found: dict[tuple[str, str], Cause] = {}
    for one in judged:
        for finding in together(one.findings):
            held = found.get((finding.kind, finding.where)) or _inherited(one, finding, list(found.values()))
            if held is None:
                held = found[finding.kind, finding.where] = Cause(finding)
            held.met.append((one.law, one.variant))
    return list(found.values())


def together(findings: list[Finding]) -> list[Finding]:
    """The findings of one law, those of structure as one: the first, which names the others."""
    structure = [finding for finding in findings if finding.kind in STRUCTURE]
    words = "; ".join(finding.words for finding in structure)
    first = [replace(finding, words=words) for finding in structure[:1]]
    return first + [finding for finding in findings if finding.kind not in STRUCTURE]


def _inherited(one: Judged, finding: Finding, found: list[Cause]) -> Cause | None:
    """The cause of a finding that follows from what another law found in the same variant."""
    for cause in found:
        kind, where = cause.finding.kind, cause.finding.where
        named = (finding.where and finding.where in cause.finding.words) or where in finding.words
        if finding.kind in INHERITED.get(kind, ()) or (kind in NAMED and named and finding.kind in BEHAVIOUR):
            return cause
    broken = [cause for cause in found if cause.finding.kind in STRUCTURE | {"size is not told"}]
    laws = FOLLOWS.get(one.law, ()) if finding.kind in STRUCTURE else ()
    return next((cause for law in laws for cause in broken if (law, one.variant) in cause.met), None)
