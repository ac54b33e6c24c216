"""Laws about the row of the padding token."""

from __future__ import annotations

import torch

from embcheck.audit.factory import fresh
from embcheck.audit.finding import Finding, NotApplicable, Note, audit_law
from embcheck.audit.program import answer, named
from embcheck.audit.program_state import moved_row
from embcheck.audit.program_value import gradient_is_the_sum, rows_of_padding
from embcheck.audit.subject import Subject

Result = list[Finding | Note]


@audit_law("In a fresh model the padding row of every table is zero.")
def the_padding_row_starts_at_zero(subject: Subject) -> Result:
    facts = subject.facts
    if not facts.padded:
        raise NotApplicable("no table has a padding_idx")
    model = fresh(subject.source, varied=False)
    uses: dict[int, int] = {}
    for parameter in named(model).values():
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    table = named(model).get(facts.table)
    free: list[str] = []
    tied: list[str] = []
    for path in facts.padded:
        weight = model.get_submodule(path).weight
        heads = facts.head and weight is named(model).get(facts.head) and weight is table
        (tied if heads else free).append(path)
    results: Result = [*subject.findings(rows_of_padding, varied=False, tables=free)] if free else []
    for path in tied:
        row = model.get_submodule(path).padding_idx
        if bool(model.get_submodule(path).weight[row].any()):
            results.append(Note(f"design choice: row {row} of {path} is the padding token's row of the head too, "
                                "and starts nonzero"))  # fmt: skip
    return results


@audit_law("No lookup trains the padding row.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", table="it has no table", untrained="")
    if facts.padding is None:
        raise NotApplicable("the table has no padding_idx")
    _with_padding(subject, facts.padding)
    model = fresh(subject.source, subject.variant)
    try:
        answer(model, subject.inputs)
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        raise NotApplicable(f"its forward pass refuses padding ids: {type(error).__name__}: {words}") from error
    weight = named(model).get(facts.table)
    if weight is None or not weight.requires_grad:
        raise NotApplicable("the table is frozen")
    found = subject.findings(gradient_is_the_sum, table=facts.table, padding=facts.padding)
    movers = moved_row(lambda: fresh(subject.source, subject.variant), subject.inputs, facts.table, facts.padding)
    notes = [Note(f"row {facts.padding} of {facts.table} is moved by {' and '.join(movers)}"
                  + (" (design choice: the row is tied to the head)" if facts.tied else ""))] if movers else []  # fmt: skip
    return [*found, *notes]


def _with_padding(subject: Subject, row: int) -> None:
    """Makes the last id of the first input that holds ids the padding token."""
    for name, value in subject.inputs.items():
        if not isinstance(value, torch.Tensor) or value.is_floating_point() or value.numel() < 2:
            continue
        if "ids" in name or name.isdigit():
            changed = value.clone()
            changed.reshape(-1)[-1] = row
            subject.inputs[name] = changed
            return
    raise NotApplicable("its inputs hold no ids")
