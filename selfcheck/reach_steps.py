"""Builds cases whose steps meet the conditions of faults at the formulas of optimizers."""

from collections.abc import Iterable, Sequence
from typing import Any

from embcheck.core import stream
from embcheck.core.facts import Condition, conditions
from embcheck.core.stream import Stream
from embcheck.core.targets import Wish
from embcheck.families.lookup.aimed_tokens import attempts
from embcheck.families.param_groups.aimed import step_case
from embcheck.families.param_groups.space import OPTIMIZERS
from selfcheck.drawn import Fault, damage_of

#: The optimizers whose steps call a formula, where these have not its name.
_CALLERS = {"adam": ("Adam", "Adam", "AdamW"), "sparse_adam": ("SparseAdam",)}
_NAMED = {name.lower(): (name,) for name in OPTIMIZERS}
#: What a damage needs beside what it says: values of more digits than those to which it rounds.
_NEEDED = {"cast(float32)": ("params_dtype=float64",)}


def wished(fault: Fault) -> list[str]:
    """What a call is to meet that a fault hits and changes."""
    damage = damage_of(fault.site, fault.damage)
    rows = [f"params_rows>={damage.rows}"] if damage.spoil is not None and damage.rows > 1 else []
    return [*fault.needs, *_NEEDED.get(fault.damage, ()), *rows]


def built(faults: Iterable[Fault], others: int = 0) -> list[Any]:
    """For each fault a case that is to meet its condition, as far as there is one, and by other groups what so many others of its
    site ask of parameters; no two alike."""
    of_site: dict[str, list[Fault]] = {}
    for fault in faults:
        of_site.setdefault(fault.site, []).append(fault)
    found: dict[Any, None] = {}
    for some in of_site.values():
        for place, fault in enumerate(some, 1):
            behind = [some[(place + step) % len(some)] for step in range(others)]
            case = _case(fault, behind, Stream(stream.derive("steps", str(fault), 0)))
            if case is not None:
                found[case] = None
    return list(found)


def _case(fault: Fault, others: Sequence[Fault], draws: Stream) -> Any:
    name, form = fault.site.split(".")
    callers, path = _CALLERS.get(name) or _NAMED[name], form if form != "plain" else ""
    wish = Wish(draws, _asked(fault))
    beside = [Wish(draws, [each for each in _asked(other) if each.fact.startswith("params")]) for other in others]
    return attempts(wish, lambda each: step_case(each, callers, path, beside))


def _asked(fault: Fault) -> list[Condition]:
    return [condition for text in wished(fault) for condition in conditions(text)]
