"""Laws about the row of the padding token."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.discovery import Facts
from embcheck.audit.factory import fresh
from embcheck.audit.finding import Finding, NotApplicable, Note, audit_law
from embcheck.audit.program import Inputs, answer, named
from embcheck.audit.program_state import moved_row
from embcheck.audit.program_value import asks_for, gradient_is_the_sum, rows_of_padding
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
    results += _told_otherwise(model, facts)
    for path in tied:
        row = model.get_submodule(path).padding_idx
        if bool(model.get_submodule(path).weight[row].any()):
            results.append(Note(f"design choice: row {row} of {path} is the padding token's row of the head too, "
                                "and starts nonzero"))  # fmt: skip
    return results


def _told_otherwise(model: Any, facts: Facts) -> list[Note]:
    """Another padding token than the table's in the configuration or in an attribute of the model."""
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "get_text_config", None)):
        config = config.get_text_config()
    for whole, name, of in (
        ("config.", "pad_token_id", config),
        ("", "pad_token_id", model),
        ("", "padding_idx", model),
    ):
        said = getattr(of, name, None)
        if isinstance(said, int) and not isinstance(said, bool) and facts.padding not in (None, said):
            return [Note(f"{whole}{name} is {said}, but the padding_idx of {facts.table} is {facts.padding}: lookups of "
                         f"the padding token train row {said}")]  # fmt: skip
    return []


@audit_law("No lookup trains the padding row of any table.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", untrained="")
    others = _other_tables(subject)
    if not facts.table and not others:
        raise NotApplicable("it has no table")
    if facts.padding is None and not others:
        raise NotApplicable("the table has no padding_idx")
    results: Result = []
    reasons = []
    if facts.table and facts.padding is not None:
        try:
            results += _of_the_table(subject, facts.padding)
        except NotApplicable as known:
            reasons.append(str(known))
    judged = not reasons and facts.padding is not None
    for name, row in others.items():
        reason, found = _of_another(subject, name, row)
        results += found
        judged = judged or not reason
        reasons += [f"{name}: {reason}"] if reason else []
    if not judged:
        raise NotApplicable("; ".join(reasons))
    return results


def _of_the_table(subject: Subject, row: int) -> Result:
    facts = subject.facts
    _with_padding(subject, row)
    model = fresh(subject.source, subject.variant)
    try:
        answer(model, subject.inputs)
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        raise NotApplicable(f"its forward pass refuses padding ids: {type(error).__name__}: {words}") from error
    weight = named(model).get(facts.table)
    if weight is None or not weight.requires_grad:
        raise NotApplicable("the table is frozen")
    found = subject.findings(gradient_is_the_sum, table=facts.table, padding=row)
    movers = moved_row(subject.builder(), subject.inputs, facts.table, row)
    notes = [Note(f"row {row} of {facts.table} is moved by {' and '.join(movers)}"
                  + (" (design choice: the row is tied to the head)" if facts.tied else ""))] if movers else []  # fmt: skip
    return [*found, *notes]


def _other_tables(subject: Subject) -> dict[str, int]:
    """The other weights that are trained and have a padding row, of which all their modules say the same."""
    model = fresh(subject.source, subject.variant)
    parameters = named(model)
    first = {id(parameter): name for name, parameter in reversed(list(parameters.items()))}
    said: dict[str, set[int | None]] = {}
    for path in subject.facts.tables:
        for module in (m for m in model.modules() if isinstance(m, torch.nn.Embedding)):
            if module.weight is model.get_submodule(path).weight and id(module.weight) in first:
                said.setdefault(first[id(module.weight)], set()).add(module.padding_idx)
    table = parameters.get(subject.facts.table)
    found = {}
    for name, rows in said.items():
        row = next(iter(rows))
        weight = parameters[name]
        if weight is not table and weight.requires_grad and len(rows) == 1 and row is not None:
            found[name] = row
    return found


def _of_another(subject: Subject, name: str, row: int) -> tuple[str, Result]:
    """Why another table can't be judged, or what was found of it, with inputs that ask for its padding row."""
    before, reason = subject.inputs, "no input asks for its padding row"
    for inputs in (before, *_each_with(before, row)):
        subject.inputs = inputs
        try:
            if asks_for(subject.builder(), inputs, name, row):
                return "", [*subject.findings(gradient_is_the_sum, table=name, padding=row)]
        except NotApplicable as known:
            reason = str(known)
        except Exception as error:  # it may refuse such ids
            reason = f"{type(error).__name__} with padding ids"
        finally:
            subject.inputs = before
    return reason, []


def _each_with(inputs: Inputs, row: int) -> list[Inputs]:
    """The inputs with the row as the last id, in each input that holds ids in turn."""
    return [{**inputs, name: _ending(inputs[name], row)} for name in _holding_ids(inputs)]


def _with_padding(subject: Subject, row: int) -> None:
    """Makes the last id of the first input that holds ids the padding token."""
    names = _holding_ids(subject.inputs)
    if not names:
        raise NotApplicable("its inputs hold no ids")
    subject.inputs[names[0]] = _ending(subject.inputs[names[0]], row)


def _holding_ids(inputs: Inputs) -> list[str]:
    tensors = {n: v for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    whole = [n for n, v in tensors.items() if not v.is_floating_point() and v.dtype != torch.bool and v.numel() > 1]
    return [name for name in whole if "ids" in name or name.isdigit()]


def _ending(ids: torch.Tensor, row: int) -> torch.Tensor:
    changed = ids.clone()
    changed.reshape(-1)[-1] = row
    return changed
