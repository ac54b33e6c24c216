"""Which cases of module_traversal there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.module_traversal.cases import TREES, ModuleTraversalCase, grow
from embcheck.families.module_traversal.programs import CONVERSIONS, build, membered

PREFIXES = ("", "m", "m.", "a.b", "a.b.")


def plan(case: ModuleTraversalCase) -> Plan:
    options = {
        "build": build,
        "nodes": tuple(case.parts.values()),
        "frozen": case.frozen,
        "evaluating": case.evaluating,
        "dtype": case.dtype,
        "prefix": case.prefix,
        "convert": CONVERSIONS[case.convert],
        "swapped": case.swapped,
        "grads": case.grads,
    }
    return Plan(membered, {"table": case.weight, "digits": case.digits}, options)


def repair(case: ModuleTraversalCase) -> ModuleTraversalCase | None:
    """The case with a layout in which a table can be converted, and frozen tensors that are there."""
    there = {tensor for _, _, tensors, _ in case.parts.values() for _, tensor in tensors}
    changes: dict[str, Any] = {"frozen": tuple(name for name in case.frozen if name in there)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "tree": tuple(TREES),
    "prefix": PREFIXES,
    "evaluating": (False, True),
    "frozen": ((), ("table",), ("p_bias", "p_scale")),
    "convert": tuple(CONVERSIONS),
    "swapped": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "grads": ("", "dense", "sparse"),
}


def scope() -> Iterator[ModuleTraversalCase]:
    """Every tree with every prefix and conversion, training or not; trees that grow at random."""
    for tree, prefix, evaluating in itertools.product(TREES, PREFIXES, (False, True)):
        yield ModuleTraversalCase(tree, prefix, evaluating)
    for tree, convert, grads in itertools.product(TREES, CONVERSIONS, ("dense", "sparse")):
        yield ModuleTraversalCase(tree, convert=convert, swapped=grads == "sparse", grads=grads)
    for seed in range(64):
        yield ModuleTraversalCase(nodes=grow(stream.Stream(seed)), prefix=PREFIXES[seed % len(PREFIXES)], seed=seed)


def draw(draws: stream.Stream) -> ModuleTraversalCase | None:
    """A random tree, and each axis at any value."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    nodes = grow(draws) if draws.chance(2) else ()
    return repair(ModuleTraversalCase(**chosen, nodes=nodes, seed=draws.between(0, 255)))


SPACE = Space(ModuleTraversalCase, AXES, repair, scope, flags=("tree", "convert", "dtype"), draw=draw, strength=2)
