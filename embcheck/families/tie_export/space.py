"""Which cases of tie_export there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.tie_export.cases import TieExportCase
from embcheck.families.tie_export.programs import PARAMETRIZATIONS, STRUCTURES, parametrized, passed, stacked
from embcheck.families.tie_export.routes import GRAPHS, PASSAGES, SCRIPTS, SLOW

ROUTES = {**PASSAGES, **GRAPHS, **SCRIPTS, **SLOW}


DEVICES = ("cpu", "meta")


def plan(case: TieExportCase) -> Plan:
    options: dict[str, Any] = {
        "structure": STRUCTURES[case.structure],
        "padding": case.padding_idx,
        "frozen": case.frozen,
    }
    if case.what == "parametrized":
        return Plan(parametrized, case.inputs(), options | {"parametrization": PARAMETRIZATIONS[case.route]})
    if case.what == "ensemble":
        return Plan(stacked, case.inputs(), options | {"device": case.route})
    return Plan(passed, case.inputs(), options | {"passage": ROUTES[case.route], "prefix": case.prefix})


def repair(case: TieExportCase) -> TieExportCase | None:
    """The case with a route of its kind, and a padding row that is there; norms need rows that are not zero."""
    kinds: dict[str, tuple[str, ...]] = {"parametrized": tuple(PARAMETRIZATIONS), "ensemble": DEVICES}
    routes = kinds.get(case.what, tuple(ROUTES))
    if case.route not in routes:
        case = case.but(route=routes[0])
    if case.padding_idx is not None and case.padding_idx >= case.rows:
        case = case.but(padding_idx=case.rows - 1)
    if case.route == "orthogonal" and case.width > case.rows:
        case = case.but(width=case.rows)
    return case


AXES: dict[str, tuple[Any, ...]] = {
    "what": ("route",),
    "route": tuple(PASSAGES),
    "structure": tuple(STRUCTURES),
    "bias": (False, True),
    "padding_idx": (None, 1, 0),
    "frozen": (False, True),
    "rows": (4, 3, 1, 6),
    "width": (3, 1, 2),
    "length": (3, 1, 5),
}


def scope() -> Iterator[TieExportCase]:
    """Every route with every structure, of which some have a bias, a padding row or a weight that is frozen; slow ones
    with few."""
    return filter(None, map(repair, _every()))


def _every() -> Iterator[TieExportCase]:
    kinds = itertools.product(STRUCTURES, AXES["bias"], (None, 1), AXES["frozen"])
    for seed, (structure, bias, padding, frozen) in enumerate(kinds):
        for route in PASSAGES:
            yield TieExportCase("route", route, structure, bias, padding, frozen, seed=seed)
        for route in PARAMETRIZATIONS:
            yield TieExportCase("parametrized", route, structure, bias, padding, frozen, seed=seed)
        for device in DEVICES:
            yield TieExportCase("ensemble", device, structure, bias, padding, frozen, seed=seed)
    for k, (seed, structure) in itertools.product(range(4), enumerate(STRUCTURES)):
        some = TieExportCase(
            "route", "", structure, k % 2 == 1, (None, 1)[(k + seed) % 2], (k, seed) == (3, 0), seed=seed
        )
        yield from (some.but(route=route) for route in GRAPHS if k < 3)
        yield from (some.but(route=route) for route in SCRIPTS if k in (seed, 3))
    for seed, route in enumerate(SLOW):
        plain = TieExportCase("route", route, bias=seed % 2 == 0, seed=seed)
        yield plain
        if route in ("exported", "exported_strictly", "unflattened", "unflattened_copied", "compiled"):
            yield plain.but(structure="head_first", bias=not plain.bias, padding_idx=1)
    yield TieExportCase("route", "unflattened", "shared", True)
    yield TieExportCase("route", "compiled_in_place", "shared", True)


SPACE = Space(TieExportCase, AXES, repair, scope, flags=("structure", "bias"), strength=2)
