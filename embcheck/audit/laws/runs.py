"""The law about whether there is anything to judge."""

from __future__ import annotations

from embcheck.audit.finding import Finding, NotApplicable, Note, Undecided, audit_law
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


@audit_law("The factory builds one model from one seed, and its forward pass runs on its inputs.")
def the_model_runs(subject: Subject) -> Result:
    facts = subject.facts
    if facts.forward and (facts.meta or subject.source["kind"] == "hf"):
        raise NotApplicable(facts.forward)
    if facts.forward:
        raises = facts.forward.startswith("its forward")
        hint = "; a factory may return the model and its inputs" if raises and not facts.given else ""
        raise Undecided(("the model could not be run: " if raises else "") + facts.forward + hint)
    notes: Result = []
    if facts.compiled:
        notes.append(Note("it is compiled; the audit judges the module that torch.compile was given"))
    if facts.random or not facts.exact:
        seeds = "with another seed" if facts.random else "in a second call"
        notes.append(Note(f"in eval mode its answer is another one {seeds} (dropout that heeds no eval()?); "
                          + ("the audit sets the seed" if facts.random else "laws that compare answers are left out")))  # fmt: skip
    return notes
