"""Laws about saving and loading."""

from __future__ import annotations

import importlib.util

from embcheck.audit.factory import fresh
from embcheck.audit.finding import AS_BUILT, FLIPPED, Finding, NotApplicable, Note, audit_law
from embcheck.audit.program_state import assigned, reloaded
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


def restored(subject: Subject, how: str, rows: int | None = None) -> Result:
    facts = subject.facts
    if facts.meta:
        raise NotApplicable("it has parameters without memory (meta)")
    return [*subject.findings(reloaded, how=how, rows=rows, exact=facts.exact and not facts.forward)]


@audit_law("A state_dict brings everything back: values, ties and answers.")
def a_state_dict_restores_the_model(subject: Subject) -> Result:
    results = restored(subject, "state_dict")
    if not subject.facts.meta and not results:
        try:
            broken = assigned(lambda: fresh(subject.source, subject.variant))
        except Exception:
            broken = []
        if broken:
            results.append(Note("every torch model suffers it: load_state_dict(assign=True) and to_empty() untie "
                                f"{', '.join(broken[:3])}; tie again after them"))  # fmt: skip
    return results


@audit_law("A saved checkpoint brings everything back: values, ties and answers.", variants=(AS_BUILT, FLIPPED))
def a_checkpoint_restores_the_model(subject: Subject) -> Result:
    if subject.facts.pretrained:
        return restored(subject, "save_pretrained")
    if importlib.util.find_spec("safetensors") is None:
        raise NotApplicable("it has no save_pretrained, and safetensors is not installed")
    return restored(subject, "safetensors")
