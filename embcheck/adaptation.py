"""Brings the families that speak of torch's own layers to a subject of the user's.

A subject is one more entry of the registries from which programs are chosen: a spelling of the lookup, of the bag, a
way of tying, a way of assigning.  The families that follow have the same laws, with every case sent to that entry.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from embcheck.bag.case import BagCase
from embcheck.bag.program import BAG_ENTRIES
from embcheck.case import Case
from embcheck.conversion.assignment import ASSIGNMENTS
from embcheck.declaration import Declaration, declaration_of, name_of, resolve, takes
from embcheck.law import FAMILIES, Family
from embcheck.life.program import STRUCTURES, Structure
from embcheck.lookup.entry import ENTRIES, FLAGS, Entry, Subject, converted, table_of, table_subject
from embcheck.mathematics import MATHEMATICS
from embcheck.outcome import Outcome
from embcheck.renorm.program import SPELLINGS
from embcheck.training.occasion import TIES


def _place(factory: Any) -> dict[str, str]:
    """Where a script imports the subject from, and its name there."""
    return {"module": factory.__module__, "name": factory.__qualname__, "top": factory.__qualname__.split(".")[0]}


#: What a counterexample's script says in place of the closures.
_BAG_SCRIPT = """\
from {module} import {top}


def build(weight, **flags):
    given = {{flag: value for flag, value in flags.items() if flag in {taken}}}
    layer = {name}(weight.shape[0], weight.shape[1], **given).to(weight.dtype)
    (table,) = [p for p in layer.parameters() if p.shape == weight.shape]
    table.data = weight.detach()
    return table, Bagging(layer)


"""
_MAKE = """\
from {module} import {top}


def make(weight, bias, flags):
    given = dict(flags) | ({{"bias": bias is not None}} if {bias} else {{}})
    model = {name}(weight.shape[0], weight.shape[1], **given).to(weight.dtype)
    model.get_submodule("{table}").weight.data = weight.detach()
    if bias is not None:
        model.get_submodule("{head}").bias.data = bias.detach()
    return model


"""
_TIE_SCRIPT = (
    _MAKE
    + """\
def tie(weight, bias, sparse):
    return make(weight, bias, {{"sparse": True}} if sparse else {{}}), "{table}", "{head}"
"""
)
_STRUCTURE_SCRIPT = (
    _MAKE
    + """\
def structure(weight, bias, flags, from_head):
    return make(weight, bias, flags)
"""
)
_ASSIGN_SCRIPT = """\
from {module} import {top}


def assign(target, weight):
    rows, width = weight.shape
    embedding = torch.nn.Embedding(rows, width, device="meta", dtype=weight.dtype)
    embedding.weight = weight
    linear = {name}(embedding)
    target.weight = linear.weight
    return linear.weight, linear
"""

#: Turns a case into one that speaks of the subject, or None.
Fit = Callable[[Any], Any]
#: The families that speak of any table, and the flags of a bag.
TABLE_FAMILIES = ("lookup", "gradient", "padding", "renorm")
BAG_FLAGS = ("mode", "include_last_offset", "padding_idx", "scale_grad_by_freq", "sparse")


@contextmanager
def adapted(factory: Callable[..., Any]) -> Iterator[dict[str, Family]]:
    """The families that speak of a subject, by name, while its entry is registered.

    Raises:
        SubjectError: if nothing can be built, or what is built is not of the declared kind.
    """
    declared, name = declaration_of(factory), name_of(factory)
    try:
        yield {family.name: family for family in _ADAPTERS[declared.kind](factory, declared, name)}
    finally:
        for registry in _REGISTRIES:
            registry.pop(name, None)


def activate(name: str) -> None:
    """Replaces the process's families, once, by those of the subject of a name.

    Raises:
        SubjectError: if there is none.
    """
    if name in _ACTIVE:
        return
    context = adapted(resolve(name))
    families = context.__enter__()
    _ACTIVE[name] = context  # kept, or its end would come with the garbage collector
    FAMILIES.clear()
    FAMILIES.update(families)


_ACTIVE: dict[str, Any] = {}


def sent(family: Family, fit: Fit, entry: tuple[str, str]) -> Family:
    """The family with every case brought to the subject by ``fit``; ``entry`` is the axis and value that name it."""
    space = family.space
    axis, name = entry

    def canon(case: Any) -> Any:
        wanted = fit(case.but(**{axis: name}))
        if wanted is None:
            return None
        fitted = space.canon(wanted)
        # What another entry would be needed for, or what the subject has not, is no case of it.
        return fitted if fitted is not None and getattr(fitted, axis) == name and fit(fitted) == fitted else None

    def unique(cases: Iterator[Any]) -> Iterator[Any]:
        seen = set()
        for case in cases:
            fitted = canon(case)
            if fitted is not None and fitted not in seen:
                seen.add(fitted)
                yield fitted

    draw, histories = space.draw, space.histories

    def received(receive: Callable[[Any], None], count: int, seed: int, patient: bool) -> None:
        def fit_in(case: Any) -> None:
            fitted = canon(case)
            if fitted is not None:
                receive(fitted)

        if histories is not None:
            histories(fit_in, count, seed, patient)

    changed = copy.copy(family)  # not replace(), which would register it as a family of its own
    changed.space = replace(
        space,
        axes={**space.axes, axis: (name,)},
        canon=canon,
        scope=lambda: unique(space.scope()),
        landmarks=lambda: unique(space.landmarks()),
        draw=None if draw is None else lambda draws: _or_none(draw(draws), canon),
        histories=None if histories is None else received,
    )
    changed.untaken = restricted
    # By default; a run may ask for the others, and for all that change such a call.
    changed.modes, changed.further = family.modes[:1], family.modes[1:]
    return changed


#: What some modes take of Python is a part of it: by mode, what they then raise, and what that means.  A layer that is
#: no such part breaks no law there.
_RESTRICTED = (
    ("", r"support the deepcopy protocol", "it can't be deep-copied, nor what is made of such a copy"),
    ("fake", r"Couldn't swap", "a fake layer can't be converted to another dtype"),
    ("jit_script", r"^(?!.*index out of range)", "TorchScript takes a part of Python only"),
    ("fx", r"(?i)symbolic|proxy|traced", "symbolic tracing takes no layer whose Python depends on its input"),
    ("copy", r"only supported through state_dict", "it can't be copied so"),
    ("pickle", r"(?i)can't (get|pickle)|cannot pickle|serializ", "it can't be pickled"),
    ("saved", r"(?i)can't (get|pickle)|cannot pickle|serializ", "it can't be pickled"),
)


def restricted(out: Outcome) -> str | None:
    """Why an error says only that a mode does not take such a layer; None if it says more, or there is none."""
    if out.error is None:
        return None
    text = " ".join(str(out.error).split())
    for mode, pattern, reason in _RESTRICTED:
        if mode in ("", out.mode) and re.search(pattern, text):
            return f"in mode {out.mode}: {reason} ({type(out.error).__name__}: {text[:100]})"
    return None


def absent(family: Family, reason: str) -> Family:
    """The family with its laws and no cases, for the reason that the report gives."""
    changed = copy.copy(family)
    changed.absent = reason
    changed.modes, changed.call = family.modes[:1], ""
    return changed


def _or_none(case: Any, canon: Fit) -> Any:
    return None if case is None else canon(case)


def _fixed(declared: Declaration, defaults: dict[str, Any]) -> Fit:
    """Cases with the flags that the subject lacks at their defaults and those that it sets itself at their values."""
    wanted = {**defaults, **declared.fixed}

    def fit(case: Any) -> Any:
        known = {name: value for name, value in wanted.items() if name in case._fields}
        padding = known.get("padding_idx")
        if padding is not None and not -case.num_embeddings <= padding < case.num_embeddings:
            return None
        return case.but(**known)

    return fit


# -- tables ------------------------------------------------------------------------------------------------------


def tables(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """Lookup, gradient, padding and renorm of a layer with one table."""
    held: Subject = table_subject(factory, declared)
    entry: Entry = held.entries[name]
    ENTRIES[name] = SPELLINGS[name] = entry
    if declared.mathematics is not None:
        MATHEMATICS[name] = declared.mathematics
    plain = _fixed(declared, {flag: Case._field_defaults[flag] for flag in held.lacks})
    reasons = {
        "padding": "" if "padding_idx" in declared.fixed else held.lacks.get("padding_idx", ""),
        "renorm": held.lacks.get(
            "max_norm", "max_norm is not declared of what it makes of its weight" if declared.mathematics else ""
        ),
    }
    for family in TABLE_FAMILIES:
        if reasons.get(family):
            yield absent(FAMILIES[family], reasons[family])
        else:
            fit = _of_mathematics(plain) if declared.mathematics else plain
            yield sent(FAMILIES[family], fit, ("entry", name))


#: Where a declared function's value and pullback are what the law speaks of.
_FOLLOWING = frozenset({"backward_call", "autograd_grad", "weighted_sum", "retained", "two_passes", "two_lookups"})


def _of_mathematics(plain: Fit) -> Fit:
    """Cases whose values f neither overflows nor makes special, on routes whose laws speak of dW alone."""

    def fit(case: Any) -> Any:
        changes: dict[str, Any] = {}
        if case.values == "special" or case.dtype == "float16":
            changes["values"] = "small"
        if case.upstream not in ("code", "ones", "real"):
            changes["upstream"] = "code"
        if case.route not in _FOLLOWING:
            changes["route"] = "backward_call"
        return plain(case.but(**changes) if changes else case)

    return fit


# -- bags --------------------------------------------------------------------------------------------------------


class Bagging(torch.nn.Module):
    """A layer that is called with indices, offsets and per_sample_weights, without those that are None at the end."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, indices: Any, offsets: Any = None, samples: Any = None) -> Any:
        if samples is not None:
            return self.layer(indices, offsets, samples)
        return self.layer(indices) if offsets is None else self.layer(indices, offsets)


def bags(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of bags on a layer ``(indices, offsets, per_sample_weights)`` with one table."""
    taken = takes(factory, BAG_FLAGS)

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Any]:
        given = {flag: value for flag, value in flags.items() if flag in taken}
        layer = converted(factory(weight.shape[0], weight.shape[1], **given), weight.dtype)
        table = table_of(layer, (weight.shape[0], weight.shape[1]), name)
        table.data = weight.detach()
        return table, Bagging(layer)

    spelled = _BAG_SCRIPT.format(**_place(factory), taken=sorted(taken))
    build.script = spelled + inspect.getsource(Bagging)  # type: ignore[attr-defined]
    BAG_ENTRIES[name] = build
    defaults = {flag: BagCase._field_defaults[flag] for flag in BAG_FLAGS if flag not in taken}
    if "per_sample_weights" in declared.lacks:
        defaults |= {"weights": None}
    plain = _fixed(declared, defaults | {"mistake": None})
    yield sent(FAMILIES["bag"], plain, ("entry", name))


# -- tied pairs --------------------------------------------------------------------------------------------------


def ties(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of tying, and of its life, on a model whose embedding and head share one weight."""
    taken = takes(factory, (*FLAGS, "bias"))
    model = factory(3, 2)
    head = model.get_submodule(declared.head)
    biased = getattr(head, "bias", None) is not None

    def make(weight: torch.Tensor, bias: torch.Tensor | None, flags: dict[str, Any]) -> torch.nn.Module:
        given = dict(flags) | ({"bias": bias is not None} if "bias" in taken else {})
        made: torch.nn.Module = factory(weight.shape[0], weight.shape[1], **given).to(weight.dtype)
        made.get_submodule(declared.table).weight.data = weight.detach()
        if bias is not None:
            made.get_submodule(declared.head).bias.data = bias.detach()
        return made

    def tie(weight: torch.Tensor, bias: torch.Tensor | None, sparse: bool) -> tuple[torch.nn.Module, str, str]:
        return make(weight, bias, {"sparse": True} if sparse else {}), declared.table, declared.head

    def structure(weight: torch.Tensor, bias: Any, flags: dict[str, Any], from_head: bool) -> torch.nn.Module:
        return make(weight, bias, flags)

    place = _place(factory) | {"table": declared.table, "head": declared.head, "bias": "bias" in taken}
    tie.script = _TIE_SCRIPT.format(**place)  # type: ignore[attr-defined]
    structure.script = _STRUCTURE_SCRIPT.format(**place)  # type: ignore[attr-defined]
    TIES[name] = tie
    fixed = {} if "bias" in taken else {"bias": biased}
    defaults = {"padding_idx": None, "scale_grad_by_freq": False, "sparse": False}
    lacking = {flag: value for flag, value in defaults.items() if flag not in taken}
    plain = _fixed(declared, {**lacking, **fixed})
    yield sent(FAMILIES["tying"], lambda case: _regular(plain(case)), ("tie", name))
    expected = {f"{declared.table}.weight", f"{declared.head}.weight"} | (
        {f"{declared.head}.bias"} if biased else set()
    )
    further = {key for key, _ in model.named_parameters(remove_duplicate=False)} - expected
    if further:
        yield absent(FAMILIES["life"], f"it has parameters beside the pair's: {', '.join(sorted(further)[:3])}")
        return
    STRUCTURES[name] = Structure(structure, {"E": (declared.table,), "H": (declared.head,)})
    yield sent(FAMILIES["life"], lambda case: _open(plain(case)), ("structure", name))


def _regular(case: Any) -> Any:
    """A case that trains: what an optimizer refuses says nothing of the model."""
    return None if case is None or case.refused else case


def _open(case: Any) -> Any:
    return None if case is None else case.but(from_head=False)


# -- conversions -------------------------------------------------------------------------------------------------


def as_it_is(w: torch.Tensor) -> torch.Tensor:
    """In place of a spelling: the subject transposes by itself."""
    return w


def conversions(factory: Callable[..., Any], declared: Declaration, name: str) -> Iterator[Family]:
    """The laws of the conversion on a function that makes a linear layer of an embedding."""

    def assign(target: torch.nn.Module, weight: torch.Tensor) -> tuple[Any, Any]:
        rows, width = weight.shape
        embedding = torch.nn.Embedding(rows, width, device="meta", dtype=weight.dtype)
        embedding.weight = weight
        linear = factory(embedding)
        target.weight = linear.weight
        return linear.weight, linear

    assign.script = _ASSIGN_SCRIPT.format(**_place(factory))  # type: ignore[attr-defined]
    ASSIGNMENTS[name] = assign
    spelling = "clone_contiguous" if declared.copies else "T"

    def fit(case: Any) -> Any:
        if case.mistake is not None:
            return None
        grad_mode = "enabled" if case.grad_mode == "inference" else case.grad_mode
        return case.but(direction="to_linear", spelling=spelling, cut="none", bias="none", grad_mode=grad_mode)

    family = FAMILIES["conversion"]
    changed = sent(family, fit, ("assign", name))
    changed.plan = lambda case: _untransposed(family.plan(case))
    yield changed


def _untransposed(plan: Any) -> Any:
    return plan._replace(options={**plan.options, "spelling": as_it_is})


_ADAPTERS = {"table": tables, "bag": bags, "tied": ties, "conversion": conversions}
#: Where an entry of a subject may be registered.
_REGISTRIES: tuple[dict[str, Any], ...] = (ENTRIES, SPELLINGS, MATHEMATICS, BAG_ENTRIES, TIES, STRUCTURES, ASSIGNMENTS)
