"""Which cases of load_state_dict there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.load_state_dict.cases import EXTRAS, KEYS, NEIGHBOURS, SLOTS, LoadStateDictCase
from embcheck.families.load_state_dict.programs import EDITS, restored


def plan(case: LoadStateDictCase) -> Plan:
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


def repair(case: LoadStateDictCase) -> LoadStateDictCase | None:
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


def scope() -> Iterator[LoadStateDictCase]:
    """Every edit of every entry, everything missing, everything unknown; strict or not, copied or assigned."""
    both = (True, False)
    priors = AXES["prior"]
    kinds = itertools.product(KEYS, EDITS, both, both)
    edited = (
        LoadStateDictCase(
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
        LoadStateDictCase(
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
        LoadStateDictCase(extra=(extra,), strict=strict, assign=assign, tied=bool(seed % 2), seed=seed)
        for seed, (extra, strict, assign) in enumerate(itertools.product(NEIGHBOURS, both, both))
    )
    hooked = (
        LoadStateDictCase(
            missing=missing, extra=extra, strict=strict, assign=assign, forgives=True, tied=bool(seed % 2)
        )
        for seed, (missing, extra, strict, assign) in enumerate(itertools.product(MISSING, SURPLUS[:3], both, both))
    )
    named = (
        LoadStateDictCase(
            container=container, assign=assign, renamed=True, tied=tied, edited="deep.0.weight", edit=edit
        )
        for container, assign, tied, edit in itertools.product(AXES["container"], both, both, ("fits", "double"))
    )
    laid = (
        LoadStateDictCase(key, edit, assign=seed % 5 == 4, dtype=dtype, columns=2 + seed % 2, seed=seed, stored=stored)
        for seed, (key, edit, stored, dtype) in enumerate(
            itertools.product(
                SLOTS[:2], ("fits", "single", "double"), ("transposed", "strided", "column_slice"), FORMATS
            )
        )
    )
    found = itertools.chain(edited, changed, alike, hooked, named, laid)
    return (case for case in map(repair, found) if case is not None)


def draw(draws: stream.Stream) -> LoadStateDictCase | None:
    """A random case: each axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    return repair(LoadStateDictCase(**chosen, seed=draws.between(0, 255)))


#: The values of a case are small: every format holds them but for the last bits that a cast must round.
assert np.all([FORMATS[name].largest_integer > 6 for name in FORMATS])


SPACE = Space(LoadStateDictCase, AXES, repair, scope, flags=("edit", "assign", "prior"), draw=draw, strength=2)
