"""Laws about the row of the padding token."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.discovery import LOOKUPS
from embcheck.audit.finding import NotApplicable, Result, audit_law, told
from embcheck.audit.laws.values import NO_TABLE
from embcheck.audit.program import Inputs, answer, moved_row, named, partition
from embcheck.audit.program_value import asks_for, gradient_is_the_sum, rows_of_padding
from embcheck.audit.subject import Subject


@audit_law("In a fresh model the padding row of every table is zero.")
def the_padding_row_starts_at_zero(subject: Subject) -> Result:
    facts = subject.facts
    if not facts.padded:
        raise NotApplicable("no table has a padding_idx")
    model = subject.fresh(varied=False)
    table, head = named(model).get(facts.table), named(model).get(facts.head)
    modules = {path: model.get_submodule(path) for path in facts.padded}
    tied = [path for path, module in modules.items() if head is not None and module.weight is head is table]
    free = [path for path in facts.padded if path not in tied]
    results = subject.findings(rows_of_padding, varied=False, tables=free) if free else []
    results += _told_otherwise(model, facts.table, facts.padding)
    words = "is the padding token's row of the head too, and starts nonzero"
    for path in tied:
        row = modules[path].padding_idx
        if bool(modules[path].weight[row].any()):
            results.append(f"design choice: row {row} of {path} {words}")
    return results


def _told_otherwise(model: Any, table: str, padding: int | None) -> Result:
    """Another padding token than the table's in the configuration or in an attribute of the model."""
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "get_text_config", None)):
        config = config.get_text_config()
    places = (("config.pad_token_id", config), ("pad_token_id", model), ("padding_idx", model))
    for place, of in places:
        said = getattr(of, place.removeprefix("config."), None)
        if isinstance(said, int) and not isinstance(said, bool) and padding not in (None, said):
            words = f"but the padding_idx of {table} is {padding}: lookups of the padding token train row {said}"
            return [f"{place} is {said}, {words}"]
    return []


@audit_law("No lookup trains the padding row of any table.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", untrained="")
    tables = _other_tables(subject)
    if facts.table and facts.padding is not None:
        tables = {"": facts.padding, **tables}
    if not tables:
        raise NotApplicable("the table has no padding_idx" if facts.table else NO_TABLE)
    results, reasons = [], []
    for name, row in tables.items():
        try:
            results += _of_another(subject, name, row) if name else _of_the_table(subject, row)
        except NotApplicable as known:
            reasons.append(f"{name}: {known}" if name else str(known))
    if len(reasons) == len(tables):
        raise NotApplicable("; ".join(reasons))
    return results


def _of_the_table(subject: Subject, row: int) -> Result:
    facts = subject.facts
    names = _holding_ids(subject.inputs)
    if not names:
        raise NotApplicable("its inputs hold no ids")
    subject.inputs[names[0]] = _ending(subject.inputs[names[0]], row)
    model = subject.fresh()
    try:
        answer(model, subject.inputs)
    except Exception as error:
        raise NotApplicable(f"its forward pass refuses padding ids: {told(error)}") from error
    subject.learning(model)
    found = subject.findings(gradient_is_the_sum, table=facts.table, padding=row)
    if movers := moved_row(subject.fresh, subject.inputs, facts.table, row):
        tied = " (design choice: the row is tied to the head)" if facts.tied else ""
        found.append(f"row {row} of {facts.table} is moved by {' and '.join(movers)}{tied}")
    return found


def _other_tables(subject: Subject) -> dict[str, int]:
    """The other weights that are trained and have a padding row, of which all their modules say the same."""
    model = subject.fresh()
    parameters, first = named(model), partition(model)
    names = {id(parameters[name]): name for name in first.values()}
    looked_up = {id(model.get_submodule(path).weight) for path in subject.facts.tables}
    said: dict[str, set[int | None]] = {}
    for module in model.modules():
        if isinstance(module, LOOKUPS) and id(module.weight) in looked_up & set(names):
            said.setdefault(names[id(module.weight)], set()).add(module.padding_idx)
    others = {name: rows.pop() for name, rows in said.items() if len(rows) == 1 and parameters[name].requires_grad}
    table = first.get(subject.facts.table)
    return {name: row for name, row in others.items() if row is not None and name != table}


def _of_another(subject: Subject, name: str, row: int) -> Result:
    """What is found of another table, with inputs that ask for its padding row: the row in the place of the last id, too."""
    before, reason = subject.inputs, "no input asks for its padding row"
    changed = [{**before, each: _ending(before[each], row)} for each in _holding_ids(before)]
    for inputs in (before, *changed):
        subject.inputs = inputs
        try:
            if asks_for(subject.fresh, inputs, name, row):
                return subject.findings(gradient_is_the_sum, table=name, padding=row)
        except NotApplicable as known:
            reason = str(known)
        except Exception as error:  # it may refuse such ids
            reason = f"{type(error).__name__} with padding ids"
        finally:
            subject.inputs = before
    raise NotApplicable(reason)


def _holding_ids(inputs: Inputs) -> list[str]:
    named_so = {name: v for name, v in inputs.items() if "ids" in name or name.isdigit()}
    tensors = {name: v for name, v in named_so.items() if isinstance(v, torch.Tensor) and v.numel() > 1}
    return [name for name, v in tensors.items() if not v.is_floating_point() and v.dtype != torch.bool]


def _ending(ids: torch.Tensor, row: int) -> torch.Tensor:
    changed = ids.clone()
    changed.reshape(-1)[-1] = row
    return changed
