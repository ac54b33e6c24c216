"""Laws about what a model computes: lookups, gradients and steps, and the row of the padding token."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.discovery import Facts
from embcheck.audit.factory import fresh, told
from embcheck.audit.finding import NotApplicable, Note, Result, audit_law
from embcheck.audit.program import Calls, Inputs, answer, call, named
from embcheck.audit.program_state import moved_row, stepped, untouched
from embcheck.audit.program_value import (
    a_step_shows,
    asks_for,
    embeds_equal_ids,
    gradient_is_the_sum,
    looks_up,
    lookups_are_cut_off,
    rows_of_padding,
)
from embcheck.audit.subject import Subject

_NO_TABLE = "it has no table"


@audit_law("A forward pass in eval mode changes neither its inputs nor the model.")
def a_forward_pass_writes_nothing(subject: Subject) -> Result:
    subject.need(forward="")
    found = subject.findings(untouched)
    if found:
        return found
    modules = subject.fresh().named_modules()
    renormed = [path for path, module in modules if getattr(module, "max_norm", None) is not None]
    words = "rescales the rows that it looks up, in eval mode too, as max_norm promises"
    return [Note(f"{path} {words}") for path in renormed]


@audit_law("Each embedding is the product of a one-hot vector with its weight, times the scale that it declares.")
def an_embedding_is_a_row(subject: Subject) -> Result:
    facts, model = subject.facts, subject.fresh()
    results: Result = []
    judged, skipped = 0, []
    for path in facts.tables:
        module = model.get_submodule(path)
        kind, plain = type(module).__name__, type(module).forward is torch.nn.Embedding.forward
        if module._forward_hooks or module._forward_pre_hooks:
            skipped.append(f"{path} has forward hooks, which may change its output")
        elif module.max_norm is not None:
            skipped.append(f"{path} rescales its rows (max_norm)")
        elif not plain and path != facts.path:
            skipped.append(f"{path} is a {kind}, no plain table")
        else:
            try:
                found = subject.findings(looks_up, path=path)
            except (NotApplicable, TypeError, RuntimeError, IndexError, ValueError) as error:
                skipped.append(f"{path} is a {kind} that takes no bare ids ({type(error).__name__})")
                continue
            judged += 1
            results += (
                found if plain else [Note(f"design choice: {path} is a {kind}: {one.words}") for one in found[:1]]
            )
    if not judged:
        raise NotApplicable("; ".join(skipped) or "it has no nn.Embedding")
    return results


@audit_law("The rows of the ids given as inputs_embeds compute what the ids compute.")
def inputs_embeds_equal_input_ids(subject: Subject) -> Result:
    no_embeds = "its forward pass takes no inputs_embeds, or its getter returns no single table"
    subject.need(forward="", embeds=no_embeds, table=_NO_TABLE, exact="its logits differ between two calls")
    model = subject.fresh()
    rows = model.get_input_embeddings()(subject.inputs["input_ids"])
    rest = {name: value for name, value in subject.inputs.items() if name != "input_ids"}
    try:
        answer(model, {**rest, "inputs_embeds": rows})
    except Exception as error:
        raise NotApplicable(f"it refuses inputs_embeds alone: {told(error)}") from error
    if others := _other_readers(subject):
        raise NotApplicable(f"ids are read by {others} as well")
    return subject.findings(embeds_equal_ids, table=subject.facts.table)


def _other_readers(subject: Subject) -> str:
    """Tables besides that of the tokens whose ids change when the tokens do, so that rows can't replace the ids."""
    model = subject.fresh()
    ids = subject.inputs["input_ids"]
    seen = []
    for moved in (ids, ids.flip(1)):
        with Calls() as calls:
            answer(model, {**subject.inputs, "input_ids": moved})
        seen.append([(id(given[1]), given[0]) for name, given, _ in calls.made if name == "embedding"])
    table = id(model.get_input_embeddings().weight)
    tables = [(path, module) for path, module in model.named_modules() if isinstance(module, torch.nn.Embedding)]
    names = {id(module.weight): path for path, module in tables}
    found = []
    for (one, before), (_, after) in zip(*seen, strict=False):
        if one != table and (before.shape != after.shape or not torch.equal(before, after)):
            found.append(names.get(one, "another table"))
    return ", ".join(dict.fromkeys(found))


#: Nodes of a graph through which a followed lookup or product reaches a weight.
_FOLLOWED = {
    *("EmbeddingBackward0", "MmBackward0", "AddmmBackward0", "TBackward0", "PermuteBackward0", "TransposeBackward0"),
    *("IndexBackward0", "IndexSelectBackward0", "SliceBackward0"),
    *("NumpyTBackward0", "BmmBackward0", "ViewBackward0", "UnsafeViewBackward0", "LinearBackward0", "ExpandBackward0"),
}


@audit_law("A step of the table shows wherever the forward pass computes with the table.")
def a_step_shows_everywhere(subject: Subject) -> Result:
    facts = subject.need(forward="", table=_NO_TABLE, untrained="")
    subject.learning(subject.fresh())
    found = subject.findings(a_step_shows, varied=False, table=facts.table)
    if found and facts.said in ("--expect untied", "--expect any"):
        return [Note(f"design choice: {found[0].words}")]
    return found


@audit_law("The gradient of the table is the sum of what its lookups and the head give, without the padding row's "
           "lookups.")  # fmt: skip
def the_gradient_is_the_sum_of_all_paths(subject: Subject) -> Result:
    facts = subject.need(forward="", table=_NO_TABLE, untrained="")
    model = subject.fresh()
    weight = subject.learning(model)
    if getattr(model.get_submodule(facts.path), "scale_grad_by_freq", False):
        raise NotApplicable("scale_grad_by_freq divides the gradient on purpose")
    unknown = sorted(_readers(call(model, subject.inputs).grad_fn, weight) - _FOLLOWED)
    if unknown:
        raise NotApplicable(f"the weight is read by {', '.join(unknown)}, for which there is no oracle")
    found = subject.findings(gradient_is_the_sum, table=facts.table, padding=facts.padding)
    if not found and not facts.tied and lookups_are_cut_off(subject.builder(), subject.inputs, facts.table):
        words = "requires a gradient, and none of its lookups gives it one (requires_grad_(False) would say so)"
        return [Note(f"design choice: {facts.table} {words}")]
    return found


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
    return subject.findings(stepped)


@audit_law("In a fresh model the padding row of every table is zero.")
def the_padding_row_starts_at_zero(subject: Subject) -> Result:
    facts = subject.facts
    if not facts.padded:
        raise NotApplicable("no table has a padding_idx")
    model = fresh(subject.source, varied=False)
    parameters = named(model)
    table, head = parameters.get(facts.table), parameters.get(facts.head) if facts.head else None
    modules = {path: model.get_submodule(path) for path in facts.padded}
    tied = [path for path, module in modules.items() if head is not None and module.weight is head and head is table]
    free = [path for path in facts.padded if path not in tied]
    results = subject.findings(rows_of_padding, varied=False, tables=free) if free else []
    results += _told_otherwise(model, facts)
    for path in tied:
        row = modules[path].padding_idx
        if bool(modules[path].weight[row].any()):
            words = f"row {row} of {path} is the padding token's row of the head too, and starts nonzero"
            results.append(Note(f"design choice: {words}"))
    return results


def _told_otherwise(model: Any, facts: Facts) -> Result:
    """Another padding token than the table's in the configuration or in an attribute of the model."""
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "get_text_config", None)):
        config = config.get_text_config()
    for place, name, of in (
        ("config.", "pad_token_id", config),
        ("", "pad_token_id", model),
        ("", "padding_idx", model),
    ):
        said = getattr(of, name, None)
        if isinstance(said, int) and not isinstance(said, bool) and facts.padding not in (None, said):
            words = (
                f"the padding_idx of {facts.table} is {facts.padding}: lookups of the padding token train row {said}"
            )
            return [Note(f"{place}{name} is {said}, but {words}")]
    return []


@audit_law("No lookup trains the padding row of any table.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", untrained="")
    others = _other_tables(subject)
    if not facts.table and not others:
        raise NotApplicable(_NO_TABLE)
    if facts.padding is None and not others:
        raise NotApplicable("the table has no padding_idx")
    results: Result = []
    reasons, judged = [], False
    if facts.table and facts.padding is not None:
        try:
            results += _of_the_table(subject, facts.padding)
            judged = True
        except NotApplicable as known:
            reasons.append(str(known))
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
    movers = moved_row(subject.builder(), subject.inputs, facts.table, row)
    if movers:
        tied = " (design choice: the row is tied to the head)" if facts.tied else ""
        found.append(Note(f"row {row} of {facts.table} is moved by {' and '.join(movers)}{tied}"))
    return found


def _other_tables(subject: Subject) -> dict[str, int]:
    """The other weights that are trained and have a padding row, of which all their modules say the same."""
    model = subject.fresh()
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
    # The row is also put in the place of the last id, in each input that holds ids.
    changed = [{**before, name: _ending(before[name], row)} for name in _holding_ids(before)]
    for inputs in (before, *changed):
        subject.inputs = inputs
        try:
            if asks_for(subject.builder(), inputs, name, row):
                return "", subject.findings(gradient_is_the_sum, table=name, padding=row)
        except NotApplicable as known:
            reason = str(known)
        except Exception as error:  # it may refuse such ids
            reason = f"{type(error).__name__} with padding ids"
        finally:
            subject.inputs = before
    return reason, []


def _holding_ids(inputs: Inputs) -> list[str]:
    tensors = {n: v for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    whole = [n for n, v in tensors.items() if not v.is_floating_point() and v.dtype != torch.bool and v.numel() > 1]
    return [name for name in whole if "ids" in name or name.isdigit()]


def _ending(ids: torch.Tensor, row: int) -> torch.Tensor:
    changed = ids.clone()
    changed.reshape(-1)[-1] = row
    return changed
