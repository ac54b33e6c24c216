"""Laws about what a model computes: lookups, gradients and steps."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection

import torch

from embcheck.audit import program_value
from embcheck.audit.finding import NotApplicable, Result, Undecided, audit_law, told
from embcheck.audit.program import Calls, answer, call, named, stepped, through_hooks
from embcheck.audit.program_state import rescales, untouched
from embcheck.audit.program_value import part
from embcheck.audit.subject import Subject
from embcheck.record.totals import counted


def no_table(subject: Subject) -> str:
    """Why there is no Parameter that is the table of the tokens."""
    if path := subject.facts.path:
        return f"the weight of its table {path} is no Parameter: it is computed, or a buffer"
    return "it has no table that was found (get_input_embeddings() would return its module)"


@audit_law("A forward pass in eval mode changes neither its inputs nor the model.")
def a_forward_pass_writes_nothing(subject: Subject) -> Result:
    subject.need(forward="")
    modules = subject.fresh().named_modules()
    renormed = [path for path, module in modules if rescales(module)]
    words = "rescales the rows that it looks up, in eval mode too, as max_norm promises"
    return subject.findings(untouched) or [f"{path} {words}" for path in renormed]


@audit_law("Each embedding is the product of a one-hot vector with its weight, times the scale that it declares.")
def an_embedding_is_a_row(subject: Subject) -> Result:
    facts, model = subject.facts, subject.fresh()
    results: Result = []
    judged, skipped = 0, []
    for path in facts.tables:
        module = part(model, path)
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
    subject.need(embeds=no_embeds, forward="", table=no_table(subject), exact="its logits differ between two calls")
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
    facts = subject.need(forward="", table=no_table(subject), untrained="")
    return of_each(facts.likely, functools.partial(_steps, subject))


def of_each(tables: Collection[str], judge: Callable[[str], Result]) -> Result:
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
    facts = subject.need(forward="", table=no_table(subject), untrained="")
    return of_each(facts.likely, functools.partial(_sums, subject))


def _sums(subject: Subject, table: str) -> Result:
    facts, model = subject.facts, subject.fresh()
    weight = subject.learning(model, table)
    unknown = sorted(_readers(call(model, subject.inputs).grad_fn, weight) - _FOLLOWED)
    if unknown:
        raise NotApplicable(f"the weight is read by {', '.join(unknown)}, for which there is no oracle")
    found = subject.findings(program_value.gradient_is_the_sum, table=table, padding=facts.likely[table])
    zeroed, _ = through_hooks(list((weight._backward_hooks or {}).values()), weight)
    rows = int(zeroed.any(0 if facts.transposed and table == facts.table else 1).sum())
    held = [f"design choice: a hook of {table} sets the gradient of {counted(rows, 'row')} to zero"] if rows else []
    return found or [*_cut_off(subject, table), *held]


def _cut_off(subject: Subject, table: str) -> Result:
    """What is said of lookups that give their table no gradient, which may be meant.

    Raises:
        Undecided: where other lookups and the head train the same weight, and so a path seems to be forgotten.
    """
    cut, of = _cut(subject, table, "lookups")
    if len(cut) in (
        0,
        of,
    ):  # of all of those of a table that is trained otherwise the program tells, else the law of steps
        return []
    words = f"of {of} lookups of {table} some give it no gradient, although the output depends on them"
    if subject.facts.tied and subject.facts.said != "--expect any":
        raise Undecided(f"{words} (detach, no_grad or .data), and nothing says that it is meant; if so, --expect any")
    return [f"design choice: {words}"]


def _cut(subject: Subject, table: str, kind: str) -> tuple[list[str], int]:
    """Which of the table's uses give it no gradient, in eval mode or training, and of how many."""
    build, inputs = subject.fresh, subject.inputs
    cut, of = program_value.cut_off(build, inputs, table, kind)
    with contextlib.suppress(Exception):  # its training mode may want more than its inputs
        cut, of = program_value.cut_off(lambda: build().train(), inputs, table, kind) if cut else (cut, of)
    return cut, of


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
    return [*subject.findings(stepped), *_never_trained(subject)]


def _never_trained(subject: Subject) -> Result:
    """What no step trains although it requires a gradient and the output depends on it, which may be meant."""
    names = program_value.untrained(subject.fresh, subject.inputs, 5)
    shown = ", ".join(names[:4]) + " …" * (len(names) > 4)
    it = "it" if len(names) == 1 else "them"
    words = f"no gradient comes to {it}, although the output depends on {it} (requires_grad_(False) would say that it is meant)"
    notes: Result = [f"design choice: no step trains {shown}: {words}"] if names else []
    model = subject.fresh()
    for table in subject.facts.likely:
        weight = named(model).get(table)
        cut = _cut(subject, table, "others")[0] if weight is not None and weight.requires_grad else []
        if cut and table not in names:
            words = f"what {', '.join(dict.fromkeys(cut))} computes of it gives it no gradient"
            notes.append(
                f"design choice: no step trains {table} by one of its uses: {words}, although the output depends on it"
            )
    return notes
