"""Laws about gradients and steps."""

from __future__ import annotations

from embcheck.audit.factory import fresh
from embcheck.audit.finding import Finding, NotApplicable, Note, audit_law
from embcheck.audit.program import call, named
from embcheck.audit.program_state import stepped
from embcheck.audit.program_value import a_step_shows, gradient_is_the_sum, lookups_are_cut_off
from embcheck.audit.subject import Subject

Result = list[Finding | Note]

#: Nodes of a graph through which a followed lookup or product reaches a weight.
_FOLLOWED = {
    *("EmbeddingBackward0", "MmBackward0", "AddmmBackward0", "TBackward0", "PermuteBackward0", "TransposeBackward0"),
    *("IndexBackward0", "IndexSelectBackward0", "SliceBackward0"),
    *("NumpyTBackward0", "BmmBackward0", "ViewBackward0", "UnsafeViewBackward0", "LinearBackward0", "ExpandBackward0"),
}


@audit_law("A step of the table shows wherever the forward pass computes with the table.")
def a_step_shows_everywhere(subject: Subject) -> Result:
    facts = subject.need(forward="", table="it has no table", untrained="")
    weight = named(fresh(subject.source, subject.variant)).get(facts.table)
    if weight is None or not weight.requires_grad:
        raise NotApplicable("the table is frozen")
    found = subject.findings(a_step_shows, varied=False, table=facts.table)
    if found and facts.said in ("--expect untied", "--expect any"):
        return [Note(f"design choice: {found[0].words}")]
    return [*found]


@audit_law("The gradient of the table is the sum of what its lookups and the head give, without the padding row's "
           "lookups.")  # fmt: skip
def the_gradient_is_the_sum_of_all_paths(subject: Subject) -> Result:
    facts = subject.need(forward="", table="it has no table", untrained="")
    model = fresh(subject.source, subject.variant)
    weight = named(model).get(facts.table)
    if weight is None or not weight.requires_grad:
        raise NotApplicable("the table is frozen")
    table = model.get_submodule(facts.path)
    if getattr(table, "scale_grad_by_freq", False):
        raise NotApplicable("scale_grad_by_freq divides the gradient on purpose")
    unknown = sorted(_readers(call(model, subject.inputs).grad_fn, weight) - _FOLLOWED)
    if unknown:
        raise NotApplicable(f"the weight is read by {', '.join(unknown)}, for which there is no oracle")
    found = subject.findings(gradient_is_the_sum, table=facts.table, padding=facts.padding)
    results: Result = [*found]
    if not found and not facts.tied and lookups_are_cut_off(subject.builder(), subject.inputs, facts.table):
        results.append(Note(f"design choice: {facts.table} requires a gradient, and none of its lookups gives it one "
                            "(requires_grad_(False) would say so)"))  # fmt: skip
    return results


def _readers(root: object, weight: object) -> set[str]:
    """The names of the graph's nodes that hand a gradient to the weight."""
    found, seen, stack = set(), set(), [root]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:  # type: ignore[attr-defined]
            if following is not None and getattr(following, "variable", None) is weight:
                found.add(type(node).__name__)
            stack.append(following)
    return found


@audit_law("Steps keep what is one Parameter equal, with one state in the optimizer.")
def steps_keep_the_tie(subject: Subject) -> Result:
    subject.need(forward="", untrained="")
    return [*subject.findings(stepped)]
