"""Laws about what a model is: that it runs, and which of its parameters are one."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from embcheck.audit.finding import AS_BUILT, FLIPPED, NotApplicable, Result, Undecided, audit_law
from embcheck.audit.program import (
    answer,
    memory,
    named,
    one_memory_one_parameter,
    reads_only_parameters,
    same,
    tied_as_declared,
)
from embcheck.audit.program_value import part
from embcheck.audit.subject import Subject

_HEADLESS = "no head with a row for each token was found (get_output_embeddings() would say which it is)"


@audit_law("The factory builds one model from one seed, and its forward pass runs on its inputs.")
def the_model_runs(subject: Subject) -> Result:
    facts = subject.facts
    if facts.forward and not subject.unrun:
        raise NotApplicable(facts.forward)
    if facts.forward:
        raises = facts.forward.startswith("its forward")
        hint = "; a factory may return the model and its inputs" if raises and not facts.given else ""
        raise Undecided(("the model could not be run: " if raises else "") + facts.forward + hint)
    notes: Result = []
    if facts.others:
        words = "which of its tables holds the tokens is not clear"
        judged = "ties, gradients and steps of each are judged, copies and casts by the first"
        notes.append(f"{words}: {', '.join(facts.likely)}; {judged} (get_input_embeddings() would say it)")
    if unread := _unread(subject):
        words = "so nothing is told of their rows: a factory may return the model and inputs that look them up"
        notes.append(f"with the audit's own ids the output depends on no row of {', '.join(unread)}, {words}")
    if facts.compiled:
        notes.append("it is compiled; the audit judges the module that torch.compile was given")
    if facts.random or not facts.exact:
        seeds = "with another seed" if facts.random else "in a second call"
        then = "the audit sets the seed" if facts.random else "laws that compare answers are left out"
        notes.append(f"in eval mode its answer is another one {seeds} (dropout that heeds no eval()?); {then}")
    return notes


def _unread(subject: Subject) -> list[str]:
    """The tables on which the output does not depend, where the author gave no inputs that may look them up."""
    facts = subject.facts
    if facts.given or subject.source["kind"] == "hf" or not facts.exact:
        return []
    first, unread = answer(subject.fresh(), subject.inputs), []
    for path in facts.tables:
        model = subject.fresh()
        weight = part(model, path).weight
        if any(weight is parameter for parameter in model.parameters()):
            with torch.no_grad():
                weight.copy_(-1 - weight)
            unread += [path] if same(first, answer(model, subject.inputs)) else []
    return unread


@audit_law("Table and head are one Parameter where that is declared, and two where it is denied.", AS_BUILT, FLIPPED)
def the_tie_is_as_declared(subject: Subject) -> Result:
    said = subject.facts.said
    copies = [] if subject.variant == FLIPPED or said == "--expect untied" else _copied_tables(subject)
    try:
        results = _table_and_head(subject)
    except NotApplicable:
        if not copies:
            raise
        results = []
    except Undecided as why:
        raise Undecided("; ".join([str(why), *copies])) from why
    if copies and said == "--expect tied" and not results:
        raise Undecided(f"{said}, but {copies[0]}")
    return [*results, *(f"design choice: {words}" for words in copies)]


def _copied_tables(subject: Subject) -> list[str]:
    """Which tables start as copies of the tokens': a second one may be meant, or was to be the same Parameter."""
    model = subject.fresh(varied=False)
    names = {id(parameter): name for name, parameter in reversed(named(model).items())}
    weights = {id(w): w for path in subject.facts.tables if id(w := part(model, path).weight) in names}
    there = {names[key]: w for key, w in weights.items() if w.requires_grad and memory(w) is not None}
    trained = {name: w for name, w in there.items() if bool((w != w[0, 0]).any())}
    found = []
    for (one, a), (other, b) in itertools.combinations(trained.items(), 2):
        if {one, other} & set(subject.facts.likely) and memory(a) != memory(b) and same(a.detach(), b.detach()):
            found.append(f"{other} only starts as a copy of {one}: the two are trained apart")
    return found


def _table_and_head(subject: Subject) -> Result:
    """What is said of the pairs of which something is declared."""
    facts = subject.facts
    if facts.expected == "any":
        if not facts.head or not facts.table:
            raise NotApplicable("it has no table that is a Parameter" if facts.head else _HEADLESS)
        return _undeclared(subject)
    if not facts.pairs:
        if facts.said == "--expect tied":
            raise Undecided(f"{facts.said}, but {_HEADLESS}")
        tied = f"{facts.said}, but it has no head with a row for each token"
        raise NotApplicable(tied if facts.expected == "tied" else "it has no head of the table's shape")
    options: dict[str, Any] = {"pairs": facts.pairs, "expected": facts.expected, "said": facts.said}
    if subject.variant != FLIPPED:
        return subject.findings(tied_as_declared, **options)
    state = "tied" if facts.tied else "apart"
    words = f"design choice: {facts.said} has no effect, table and head stay {state}"
    return [words] if subject.problems(tied_as_declared, **options) else []


def _undeclared(subject: Subject) -> Result:
    """Where nothing says what table and head ought to be, a head that starts as a copy may be a forgotten tie."""
    facts = subject.facts
    parameters = named(subject.fresh(varied=False))
    head = parameters.get(facts.head)
    tables = {name: parameters[name] for name in facts.likely if name in parameters}
    if head is None or head.dim() != 2 or memory(head) in map(memory, tables.values()):
        return []
    copies = [head.detach(), head.detach().T]
    started = [name for name, table in tables.items() if any(same(table.detach(), copy) for copy in copies)]
    if not started:
        return []
    words = f"{facts.head} only starts as a copy of {started[0]}: the two are trained apart"
    if facts.said == "--expect any":
        return [f"design choice: {words}"]
    raise Undecided(f"{words}, and nothing declares whether that is meant; say --expect tied or --expect untied")


@audit_law("No two Parameters share memory, and parameters() lists each once.", AS_BUILT, FLIPPED)
def one_memory_is_one_parameter(subject: Subject) -> Result:
    return subject.findings(one_memory_one_parameter)


@audit_law("Every Parameter that the forward pass reads is among the model's parameters.")
def what_is_read_is_listed(subject: Subject) -> Result:
    subject.need(forward="")
    return subject.findings(reads_only_parameters)
