"""Checkpoints: load_state_dict copies or assigns what fits, tells what is missing, and refuses what does not fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from embcheck import stream
from embcheck.comparison import every, is_true, refuses, same, unwritten
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.module.checkpoint import EDITS, restored
from embcheck.module.checkpoint_case import EXTRAS, KEYS, MISSHAPEN, NEIGHBOURS, SLOTS, Checkpoint
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space


def plan(case: Checkpoint) -> Plan:
    options = {
        "keys": case.order_of_keys,
        "edited": case.edited,
        "edit": EDITS[case.edit],
        "missing": case.missing,
        "extra": case.extra,
        "container": case.container,
        "strict": case.strict,
        "assign": case.assign,
        "passed": case.passed,
        "prior": case.prior,
        "no_grad": case.no_grad,
        "tied": case.tied,
        "note": case.note,
        "forgives": case.forgives,
        "renamed": case.renamed and hasattr(torch.nn.Module, "register_load_state_dict_pre_hook"),
    }
    return Plan(restored, case.inputs(), options)


def canonical(case: Checkpoint) -> Checkpoint | None:
    """The case with an edit that its slot can have."""
    changes: dict[str, Any] = {}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    graphs = ("parameter", "frozen_parameter", "in_a_graph")
    if case.edited in ("mean", "count") and case.edit in graphs:
        changes["edit"] = "fits"  # a Parameter in a buffer's place becomes a Parameter
    if case.edited == "count" and case.edit in (
        "taller",
        "first",
        "empty",
        "scalar",
        "double",
        "short",
        "single",
        "turned",
        "expanded",
    ):
        changes["edit"] = "flat" if case.edit in ("taller", "empty") else "fits"
    fitted = case.but(**changes)
    if fitted.edited == "count" and fitted.edit == "flat":
        return fitted.but(edit="fits")  # a vector of one number is loaded into a scalar, as old checkpoints have it
    if fitted.edit == "in_a_graph" and fitted.no_grad:
        return fitted.but(no_grad=False)
    return fitted


MISSING = ((), *((key,) for key in KEYS), ("words.weight", "deep.0.bias"), KEYS)
SURPLUS = ((), *((key,) for key in EXTRAS), ("extra", "words.extra"))
AXES: dict[str, tuple[Any, ...]] = {
    "edited": KEYS,
    "edit": tuple(EDITS),
    "missing": MISSING,
    "extra": (*SURPLUS, NEIGHBOURS),
    "strict": (True, False, 0, 1),
    "assign": (False, True, 0, 1),
    "passed": ("keyword", "all", "strict", "none"),
    "prior": ("nothing", "graded", "frozen", "half_frozen", "evaluating"),
    "container": ("dict", "ordered", "state"),
    "order": ("kept", "reversed"),
    "no_grad": (False, True),
    "tied": (False, True),
    "forgives": (False, True),
    "renamed": (False, True),
    "note": ((), (0,), (None,), (False,), ("",), ({},), ([],), ({"epoch": 0},)),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "columns": (2, 3, 1),
}


NOTES: tuple[tuple[Any, ...], ...] = AXES["note"]


def scope() -> Iterator[Checkpoint]:
    """Every edit of every entry, everything missing, everything unknown; strict or not, copied or assigned."""
    both = (True, False)
    priors = AXES["prior"]
    kinds = itertools.product(KEYS, EDITS, both, both)
    edited = (
        Checkpoint(
            key,
            edit,
            strict=strict,
            assign=assign,
            prior=priors[seed % 5],
            passed=("keyword", "all")[seed % 2],
            tied=seed % 3 == 0,
            columns=2 + seed % 2,
            note=NOTES[seed % len(NOTES)],
            dtype=tuple(FORMATS)[seed % 7 % 4],
            layout=("contiguous", "transposed", "offset")[seed % 5 % 3],
            seed=seed,
        )
        for seed, (key, edit, strict, assign) in enumerate(kinds)
    )
    changed = (
        Checkpoint(
            missing=missing,
            extra=extra,
            strict=strict,
            assign=assign,
            prior=priors[seed % 5],
            tied=bool(seed % 2),
            seed=seed,
        )
        for seed, (missing, extra, strict, assign) in enumerate(itertools.product(MISSING, SURPLUS, both, both))
    )
    alike = (
        Checkpoint(extra=(extra,), strict=strict, assign=assign, tied=bool(seed % 2), seed=seed)
        for seed, (extra, strict, assign) in enumerate(itertools.product(NEIGHBOURS, both, both))
    )
    hooked = (
        Checkpoint(missing=missing, extra=extra, strict=strict, assign=assign, forgives=True, tied=bool(seed % 2))
        for seed, (missing, extra, strict, assign) in enumerate(itertools.product(MISSING, SURPLUS[:3], both, both))
    )
    named = (
        Checkpoint(container=container, assign=assign, renamed=True, tied=tied, edited="deep.0.weight", edit=edit)
        for container, assign, tied, edit in itertools.product(AXES["container"], both, both, ("fits", "double"))
    )
    laid = (
        Checkpoint(key, edit, assign=seed % 5 == 4, dtype=dtype, columns=2 + seed % 2, seed=seed, stored=stored)
        for seed, (key, edit, stored, dtype) in enumerate(
            itertools.product(
                SLOTS[:2], ("fits", "single", "double"), ("transposed", "strided", "column_slice"), FORMATS
            )
        )
    )
    found = itertools.chain(edited, changed, alike, hooked, named, laid)
    return (case for case in map(canonical, found) if case is not None)


def draw(draws: stream.Stream) -> Checkpoint | None:
    """A random case: each axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    return canonical(Checkpoint(**chosen, seed=draws.between(0, 255)))


checkpoint = Family(
    "checkpoint",
    Space(Checkpoint, AXES, canonical, scope, flags=("edit", "assign", "prior"), draw=draw, strength=2),
    plan,
    refused=lambda case: case.refused,
    cost=4.0,
)
law = checkpoint.law


@law(
    "Loading puts the checkpoint's numbers into every slot that it names, and leaves the others.",
    source="nn.Module.load_state_dict: copies parameters and buffers",
    obliges={"partial", "assigns", "tied", "edit=double", "edit=turned", "order=reversed", "passed=all"},
)
def loaded_values_are_the_checkpoints(case: Checkpoint, out: Outcome) -> Finding:
    findings = []
    for place, slot in enumerate(SLOTS):
        if slot == "deep.0.weight" and slot in case.missing and not case.tied:
            continue
        dtype, values = case.after(slot)
        got = getattr(out, f"value{place}")
        findings += [same(got.meta("dtype"), dtype), same(got, values)]
    return every(*findings)


@law(
    "Loading copies into the Parameter and its memory; with assign=True the entry itself takes its place.",
    source="nn.Module.load_state_dict: assign",
    obliges={"assigns", "partial", "edit=parameter", "edit=frozen_parameter", "prior=graded"},
)
def loaded_slots_are_kept_or_replaced(case: Checkpoint, out: Outcome) -> Finding:
    replaced = case.replaced
    kept = [not one for one in replaced]
    entry = [
        one and (slot in SLOTS[3:] or (slot == case.edited and case.edit in ("parameter", "frozen_parameter")))
        for slot, one in zip(SLOTS, replaced, strict=True)
    ]
    return every(
        same(out.names, list(SLOTS)),
        same(out.same, kept),
        same(out.in_place, kept),
        same(out.shares, replaced),
        same(out.is_entry, entry),
        same(out.versions, [True] * len(SLOTS)) if not case.assigns else UNASKED,
    )


@law(
    "A loaded slot is a leaf Parameter that requires grad as it did; copying keeps its gradient, an assigned one has none.",
    source="nn.Module.load_state_dict: requires_grad is that of the module",
    obliges={"assigns", "prior=frozen", "prior=half_frozen", "prior=graded", "edit=in_a_graph"},
)
def loaded_slots_train_as_before(case: Checkpoint, out: Outcome) -> Finding:
    graded = [case.prior == "graded" and place < 3 and not one for place, one in enumerate(case.replaced)]
    return every(
        same(out.parameters, [place < 3 for place in range(len(SLOTS))]),
        is_true(out.leaves, "a slot became part of a graph"),
        same(out.requires_grad, [case.trains(slot) for slot in SLOTS]),
        same(out.graded, graded),
        is_true(out.grads, "a gradient changed"),
        same(out.modes, [case.prior != "evaluating"] * 4),
        strides(case, out),
    )


def strides(case: Checkpoint, out: Outcome) -> Finding:
    """Those before, or those of the entry."""
    for place, slot in enumerate(SLOTS):
        wanted, got = case.strides(slot), out.strides.raw[place]
        if wanted is not None and tuple(got) != tuple(wanted):
            words = f"{slot} has strides {got}, expected {wanted}"
            return Difference("strides", f"seen['strides'][{place}]", got, wanted, words)
    return HOLDS


@law(
    "What is missing and what is unknown is told, in order, each name of a tie for itself; hooks are called once; a module "
    "with a state of its own gets it, falsy or not.",
    source="nn.Module.load_state_dict: missing_keys, unexpected_keys; register_load_state_dict_post_hook; set_extra_state",
    obliges={"partial", "surplus", "tied", "noted", "falsy_note", "forgives", "renamed"},
)
def loading_tells_what_is_missing(case: Checkpoint, out: Outcome) -> Finding:
    # The module's own buffers come before its children's.
    order = ("mean", "count", "words.weight", "deep.0.weight", "deep.0.bias")
    return every(
        same(out.missing, [key for key in order if key in case.missing and not case.forgives]),
        _among(case, out)
        if len(case.extra) > 1 and not case.forgives
        else same(out.unexpected, [] if case.forgives else list(case.extra)),
        same(out.whole, case.forgives or (not case.missing and not case.extra)),
        is_true(out.noted, "set_extra_state was not called once with what was saved"),
        is_true(out.told, "a hook of loading was not called once, with its module or its prefix"),
    )


def _among(case: Checkpoint, out: Outcome) -> Finding:
    got, wanted = sorted(out.unexpected.raw), sorted(case.extra)
    return (
        HOLDS if got == wanted else Difference("value", "seen['unexpected']", got, wanted, f"{got}, expected {wanted}")
    )


@law(
    "The checkpoint stays as it is: its keys, its entries, their values; whether they require grad, unless they are assigned.",
    source="no side effects",
    obliges={"assigns", "edit=parameter"},
)
def checkpoint_stays(case: Checkpoint, out: Outcome) -> Finding:
    return every(
        is_true(out.keys, "keys or entries of the checkpoint changed"),
        is_true(out.entries, "values of the checkpoint changed"),
        is_true(out.graphs, "requires_grad of the checkpoint's entries changed") if not case.assigns else UNASKED,
        unwritten(out, "weight", "bias"),
    )


@law(
    "What a checkpoint notes of its modules, their versions, stays as it is: it can be loaded again, in another way.",
    source="no side effects",
    obliges={"assigns", "container=state"},
)
def notes_of_the_checkpoint_stay(case: Checkpoint, out: Outcome) -> Finding:
    return is_true(out.notes, "what the checkpoint notes of its modules changed")


@law(
    "Another shape and what is no tensor are refused always; a missing or an unknown key unless strict=False.",
    source="nn.Module.load_state_dict: strict",
    obliges={f"edit={edit}" for edit in MISSHAPEN} | {"partial", "surplus", "assigns"},
    refusal=True,
)
def misfits_are_refused(case: Checkpoint, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out, "weight", "bias"))


test_scope, test_product, test_random = checkpoint.tests()

#: The values of a case are small: every format holds them but for the last bits that a cast must round.
assert np.all([FORMATS[name].largest_integer > 6 for name in FORMATS])
