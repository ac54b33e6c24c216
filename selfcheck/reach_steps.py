"""Builds cases whose steps meet the conditions of faults at the formulas of optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from embcheck.core import stream
from embcheck.core.facts import conditions
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.param_groups.aimed import step_case
from embcheck.families.param_groups.space import OPTIMIZERS
from selfcheck.drawn import Fault, damage_of, site_of

#: The optimizers whose steps call a formula, where these have not its name.
_CALLERS = {"adam": ("Adam", "Adam", "AdamW"), "sparse_adam": ("SparseAdam",)}
_NAMED = {name.lower(): (name,) for name in OPTIMIZERS}
#: What a damage needs beside what it says: values of more digits than those to which it rounds.
_NEEDED = {"cast(float32)": ("params_dtype=float64",)}


def wished(fault: Fault) -> list[str]:
    """What a call is to meet that a fault hits and changes."""
    damage = damage_of(fault.site, fault.damage)
    rows = [f"params_rows>={damage.rows}"] if damage.spoil is not None and damage.rows > 1 else []
    return [fault.condition, *damage.conditions(site_of(fault.site)), *_NEEDED.get(fault.damage, ()), *rows]


def built(faults: Iterable[Fault], turns: int = 1) -> list[Any]:
    """For each fault so many cases that are to meet its condition, as far as there are such; no two alike."""
    found: dict[Any, None] = {}
    for fault in faults:
        name, form = fault.site.split(".")
        asked = [condition for text in wished(fault) for condition in conditions(text)]
        for turn in range(turns):
            wish = Wish(Stream(stream.derive("steps", str(fault), turn)), asked)
            callers, path = _CALLERS.get(name) or _NAMED[name], form if form != "plain" else ""
            case = attempts(wish, lambda each: step_case(each, callers, path))  # noqa: B023
            if case is not None:
                found[case] = None
    return list(found)
