"""Laws about what a model computes: lookups, gradients and steps, and the row of the padding token."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection
from typing import Any

import torch

from embcheck.audit import program_value
from embcheck.audit.discovery import LOOKUPS, said_by
from embcheck.audit.finding import NotApplicable, Result, Undecided, audit_law, told
from embcheck.audit.program import (
    Calls,
    answer,
    call,
    ending,
    ids_in,
    moves_row,
    named,
    partition,
    stepped,
    through_hooks,
)
from embcheck.audit.program_state import untouched
from embcheck.audit.program_value import asked, gradient_is_the_sum, rows_of_padding
from embcheck.audit.subject import Subject
from embcheck.record.totals import counted

NO_TABLE = "it has no table that was found (get_input_embeddings() would return its module)"


@audit_law("A forward pass in eval mode changes neither its inputs nor the model.")
def a_forward_pass_writes_nothing(subject: Subject) -> Result:
    subject.need(forward="")
    modules = subject.fresh().named_modules()
    renormed = [path for path, module in modules if getattr(module, "max_norm", None) is not None]
    words = "rescales the rows that it looks up, in eval mode too, as max_norm promises"
    return subject.findings(untouched) or [f"{path} {words}" for path in renormed]


@audit_law("Each embedding is the product of a one-hot vector with its weight, times the scale that it declares.")
def an_embedding_is_a_row(subject: Subject) -> Result:
    facts, model = subject.facts, subject.fresh()
    results: Result = []
    judged, skipped = 0, []
    for path in facts.tables:
        module = model.get_submodule(path)
        kind, plain = type(module).__name__, type(module).forward is torch.nn.Embedding.forward
        reason = ""
        if module._forward_hooks or module._forward_pre_hooks:
            reason = "has forward hooks, which may change its output"
        elif module.max_norm is not None:
            reason = "rescales its rows (max_norm)"
        elif isinstance(module, torch.nn.EmbeddingBag):
            reason = "is an EmbeddingBag, which reduces rows"
        elif not plain and path != facts.path:
            reason = f"is a {kind}, no plain table"
        else:
            try:
                found = subject.findings(program_value.looks_up, path=path)
                results += found if plain else [f"design choice: {path} is a {kind}: {f.words}" for f in found[:1]]
                judged += 1
            except (NotApplicable, TypeError, RuntimeError, IndexError, ValueError) as error:
                reason = f"is a {kind} that takes no bare ids ({type(error).__name__})"
        skipped += [f"{path} {reason}"] if reason else []
    if not judged:
        raise NotApplicable("; ".join(skipped) or "it has no nn.Embedding")
    return results


@audit_law("The rows of the ids given as inputs_embeds compute what the ids compute.")
def inputs_embeds_equal_input_ids(subject: Subject) -> Result:
    no_embeds = "its forward pass takes no inputs_embeds, or its getter returns no single table"
    subject.need(embeds=no_embeds, forward="", table=NO_TABLE, exact="its logits differ between two calls")
    model = subject.fresh()
    rows = model.get_input_embeddings()(subject.inputs["input_ids"])
    rest = {name: value for name, value in subject.inputs.items() if name != "input_ids"}
    try:
        answer(model, {**rest, "inputs_embeds": rows})
    except Exception as error:
        raise NotApplicable(f"it refuses inputs_embeds alone: {told(error)}") from error
    if others := _other_readers(subject):
        raise NotApplicable(f"ids are read by {others} as well")
    return subject.findings(program_value.embeds_equal_ids, table=subject.facts.table)


def _other_readers(subject: Subject) -> str:
    """Tables besides that of the tokens whose ids change when the tokens do, so that rows can't replace the ids."""
    model, ids = subject.fresh(), subject.inputs["input_ids"]
    seen = []
    for moved in (ids, ids.flip(1)):
        with Calls() as calls:
            answer(model, {**subject.inputs, "input_ids": moved})
        seen.append([(id(given[1]), given[0]) for name, given, _ in calls.made if name == "embedding"])
    modules = [(path, m) for path, m in model.named_modules() if isinstance(m, torch.nn.Embedding)]
    names = {id(module.weight): path for path, module in modules}
    table = id(model.get_input_embeddings().weight)
    moved = [one for (one, a), (_, b) in zip(*seen, strict=False) if a.shape != b.shape or not torch.equal(a, b)]
    return ", ".join(dict.fromkeys(names.get(one, "another table") for one in moved if one != table))


#: Nodes of a graph through which a followed lookup or product reaches a weight.
_FOLLOWED = {
    *("EmbeddingBackward0", "MmBackward0", "AddmmBackward0", "TBackward0", "PermuteBackward0", "TransposeBackward0"),
    *("IndexBackward0", "IndexSelectBackward0", "SliceBackward0", "EmbeddingBagBackward0"),
    *("NumpyTBackward0", "BmmBackward0", "ViewBackward0", "UnsafeViewBackward0", "LinearBackward0", "ExpandBackward0"),
}


@audit_law("A step of the table shows wherever the forward pass computes with the table.")
def a_step_shows_everywhere(subject: Subject) -> Result:
    facts = subject.need(forward="", table=NO_TABLE, untrained="")
    return _of_each(facts.likely, functools.partial(_steps, subject))


def _of_each(tables: Collection[str], judge: Callable[[str], Result]) -> Result:
    """What is said of some tables.

    Raises:
        NotApplicable: if none can be judged, with the reasons.
    """
    results, reasons = [], []
    for name in tables:
        try:
            results += judge(name)
        except NotApplicable as known:
            reasons.append(f"{name}: {known}" if len(tables) > 1 else str(known))
    if len(reasons) == len(tables):
        raise NotApplicable("; ".join(reasons))
    return results


def _steps(subject: Subject, table: str) -> Result:
    subject.learning(subject.fresh(), table)
    found = subject.findings(program_value.a_step_shows, varied=False, table=table)
    if found and subject.facts.said in ("--expect untied", "--expect any"):
        return [f"design choice: {found[0].words}"]
    return found


@audit_law("The gradient of the table is the sum of what its lookups and the head give, without the padding row's "
           "lookups.")  # fmt: skip
def the_gradient_is_the_sum_of_all_paths(subject: Subject) -> Result:
    facts = subject.need(forward="", table=NO_TABLE, untrained="")
    return _of_each(facts.likely, functools.partial(_sums, subject))


def _sums(subject: Subject, table: str) -> Result:
    facts, model = subject.facts, subject.fresh()
    weight = subject.learning(model, table)
    unknown = sorted(_readers(call(model, subject.inputs).grad_fn, weight) - _FOLLOWED)
    if unknown:
        raise NotApplicable(f"the weight is read by {', '.join(unknown)}, for which there is no oracle")
    found = subject.findings(program_value.gradient_is_the_sum, table=table, padding=facts.likely[table])
    zeroed, _ = through_hooks(list((weight._backward_hooks or {}).values()), weight)
    rows = int(zeroed.any(1).sum())
    held = [f"design choice: a hook of {table} sets the gradient of {counted(rows, 'row')} to zero"] if rows else []
    return found or [*_cut_off(subject, table), *held]


def _cut_off(subject: Subject, table: str) -> Result:
    """What is said of lookups that give their table no gradient, which may be meant.

    Raises:
        Undecided: where other lookups and the head train the same weight, and so a path seems to be forgotten.
    """
    build, inputs = subject.fresh, subject.inputs
    cut, of = program_value.cut_off(build, inputs, table)
    with contextlib.suppress(Exception):  # its training mode may want more than its inputs
        cut, of = program_value.cut_off(lambda: build().train(), inputs, table) if cut else (cut, of)
    if not cut or (cut == of and subject.facts.tied):  # of those of a tied table the program tells
        return []
    if cut == of:
        words = "requires a gradient, and none of its lookups gives it one (requires_grad_(False) would say so)"
        return [f"design choice: {table} {words}"]
    words = f"of {of} lookups of {table} some give it no gradient, although the output depends on them"
    if subject.facts.tied and subject.facts.said != "--expect any":
        raise Undecided(f"{words} (detach, no_grad or .data), and nothing says that it is meant; if so, --expect any")
    return [f"design choice: {words}"]


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


@audit_law(
    "The padding row of every table is zero in a model that transformers initialises; in others another value is noted."
)
def the_padding_row_starts_at_zero(subject: Subject) -> Result:
    facts, model = subject.facts, subject.fresh(varied=False)
    told = _told_otherwise(subject, model)
    if not facts.padded and not told:
        raise NotApplicable("no table has a padding_idx")
    table, head = named(model).get(facts.table), named(model).get(facts.head)
    modules = {path: model.get_submodule(path) for path in facts.padded}
    tied = [path for path, module in modules.items() if head is not None and module.weight is head is table]
    free = [path for path in facts.padded if path not in tied]
    results: Result = []
    if subject.source["kind"] == "hf":  # nothing is loaded, and PreTrainedModel._init_weights zeroes the row
        results += subject.findings(rows_of_padding, varied=False, tables=free)
    else:  # whose value may be chosen or loaded, as nn.Embedding says: "can be updated to another value"
        meant = "padded positions look that up; if it is not meant, zero the row after initialising"
        results += [f"{words}: {meant}" for _, _, words in subject.problems(rows_of_padding, varied=False, tables=free)]
    results += told
    words = "is the padding token's row of the head too, and starts nonzero"
    for path in tied:
        row = modules[path].padding_idx
        if bool(modules[path].weight[row].any()):
            results.append(f"design choice: row {row} of {path} {words}")
    return results


def _told_otherwise(subject: Subject, model: Any) -> Result:
    """Another padding token than the table's in the configuration, an attribute of the model or a table of the same shape."""
    table, padding = subject.facts.table, subject.facts.padding
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "get_text_config", None)):
        config = config.get_text_config()
    weight = named(model).get(table)
    # A configuration that embcheck made names a padding token whatever the architecture does with it.
    lacks = padding is None and weight is not None and weight.requires_grad and subject.source["kind"] != "hf"
    places = (("config.pad_token_id", config), ("pad_token_id", model), ("padding_idx", model))
    for place, of in places:
        said = said_by(of, place.removeprefix("config."))
        if not isinstance(said, int) or isinstance(said, bool):
            continue
        if (lacks and not _keeps(weight, said)) if padding is None else padding != said:
            has = f"{table} has no padding_idx" if lacks else f"the padding_idx of {table} is {padding}"
            return [f"{place} is {said}, but {has}: lookups of the padding token train row {said}"]
    return _told_by_a_table(model, subject.facts.tables, weight)


def _told_by_a_table(model: Any, paths: list[str], weight: Any) -> Result:
    """A table that is trained and has no padding_idx, where one of the same shape has: the tokens' or another."""
    modules = {f"{path}.weight": model.get_submodule(path) for path in paths}
    alike = {n: m for n, m in modules.items() if weight is not None and m.weight.shape == weight.shape}
    padded = [(n, m) for n, m in alike.items() if m.padding_idx is not None and m.weight.requires_grad]
    held = [m.weight for _, m in padded]
    name, row = (padded[0][0], padded[0][1].padding_idx) if padded else ("", 0)
    free = {
        n: m.weight for n, m in alike.items() if m.weight.requires_grad and all(m.weight is not one for one in held)
    }
    lacking = [n for n, other in free.items() if padded and not _keeps(other, row)]
    if not lacking:
        return []
    words = f"{lacking[0]} has no padding_idx, but {name}, of the same size, has {row}"
    return [f"{words}: lookups of the padding token train row {row}"]


def _keeps(weight: Any, row: int) -> bool:
    """Whether lookups can't train a row: its weight has none of the number, or hooks that set its gradient to zero."""
    if not 0 <= row < len(weight):
        return True
    with contextlib.suppress(LookupError):
        return bool(through_hooks(list((weight._backward_hooks or {}).values()), weight)[0][row].all())
    return False


@audit_law("No lookup trains the padding row of any table.")
def lookups_leave_the_padding_row(subject: Subject) -> Result:
    facts = subject.need(forward="", untrained="")
    tables = _other_tables(subject)
    if facts.table and facts.padding is not None:
        tables = {facts.table: facts.padding, **tables}
    if not tables:
        raise NotApplicable("the table has no padding_idx" if facts.table else NO_TABLE)

    return _of_each(tables, lambda name: _of_padding(subject, name, tables[name]))


def _of_padding(subject: Subject, name: str, row: int) -> Result:
    """What is found of a table with inputs that ask for its padding row, and for that of the tokens what moves the row."""
    facts = subject.facts
    subject.learning(subject.fresh(), name)
    places = _asking(subject, name, row)
    found = subject.findings(gradient_is_the_sum, table=name, padding=row, asking=places)
    if name != facts.table:
        return found
    # Weight decay leaves a row that starts at zero where it is; a head that starts at zero gives no gradient.
    runs = (("its gradient", 0.0, subject.fresh), ("weight decay", 0.5, functools.partial(subject.fresh, varied=False)))
    inputs = ending(subject.inputs, places, row)
    if movers := [words for words, decay, build in runs if moves_row(build, inputs, name, row, decay)]:
        tied = " (design choice: the row is tied to the head)" if facts.tied else ""
        found.append(f"row {row} of {name} is moved by {' and '.join(movers)}{tied}")
    return found


def _asking(subject: Subject, name: str, row: int) -> list[int]:
    """Which of the inputs' tensors of ids make lookups of a table ask for a row more often, if it is their last id.

    Raises:
        NotApplicable: if no lookup asks for it.
    """
    places: list[int] = []
    often, reason = 0, "none of its inputs makes a lookup ask for the padding row"
    for place in (None, *range(len(ids_in(subject.inputs)))):
        tried = places if place is None else [*places, place]
        try:
            count = asked(subject.fresh, ending(subject.inputs, tried, row), name, row)
        except LookupError as known:
            reason = str(known)
        except Exception as error:
            reason = f"its forward pass refuses padding ids: {told(error)}"
        else:
            places, often = (tried, count) if count > often else (places, often)
    if not often:
        raise NotApplicable(reason)
    return places


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
