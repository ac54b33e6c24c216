"""Which cases of parametrizations there are: every kind with each of its options, in every format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.space import Space, covering
from embcheck.families.parametrizations.cases import SHAPES, ParametrizationCase
from embcheck.families.parametrizations.programs import bounded, mapped, normed, orthogonalized

#: The program of each kind, and the axes that are its options.
PROGRAMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "normed": (normed, ("old", "dim")),
    "bounded": (bounded, ("old", "dim", "iterations", "evaluating")),
    "orthogonalized": (orthogonalized, ("map",)),
    "mapped": (mapped, ("links", "inverse", "leave", "copied", "evaluating")),
}
#: Axes that some kinds have.
_OWN = {"signs"}.union(*(options for _, options in PROGRAMS.values()))


def plan(case: ParametrizationCase) -> Plan:
    program, options = PROGRAMS[case.kind]
    return Plan(program, case.inputs(), {name: case.axes[name] for name in (*options, "side", "frozen")})


def repair(case: ParametrizationCase) -> ParametrizationCase:
    """The case with the axes that its kind has."""
    known = {*PROGRAMS[case.kind][1], *(("signs",) if case.kind == "normed" else ())}
    changes: dict[str, Any] = {name: case._field_defaults[name] for name in _OWN - known}
    if case.kind == "bounded" and case.dim not in (0, 1):
        changes["dim"] = 0
    return case.but(**changes)


AXES = values_of(ParametrizationCase)


def scope() -> Iterator[ParametrizationCase]:
    """Every option of each kind with every shape, on either side."""
    kinds: dict[str, tuple[str, ...]] = {
        "normed": ("old", "dim", "signs"),
        "bounded": ("old", "iterations", "evaluating"),
        "orthogonalized": ("map",),
        "mapped": ("links", "inverse", "leave", "copied"),
    }
    further = [("mapped", ("links", "inverse", "evaluating"))]
    for kind, names in (*kinds.items(), *further):
        chosen = itertools.product(SHAPES, itertools.product(*(AXES[name] for name in names)))
        for seed, (shape, values) in enumerate(chosen):
            axes = {"dtype": ("float32", "float64")[seed % 3 == 0], "layout": AXES["layout"][seed % 3]}
            own = dict(zip(names, values, strict=True)) | {"seed": seed}
            yield repair(ParametrizationCase(kind, shape, AXES["side"][seed % 2], seed % 5 == 0, **axes, **own))


#: Of what is normed, bounded or orthogonal any two of these meet, and of three most do.
COVERED: dict[str, tuple[Any, ...]] = {
    "rows": (1, 2, 3, 8, 17), "columns": (1, 2, 7, 8, 17, 33, 70), "frozen": (False, True), "evaluating": (False, True),
    "dtype": ("float32", "float64", "float16", "bfloat16"), "dim": (0, 1, None), "side": ("embedding", "head"),
    "layout": ("contiguous", "transposed", "offset", "column_slice", "strided"),
}  # fmt: skip


def fixed_cases() -> Iterator[ParametrizationCase]:
    """Weights of some sizes; in half precision those whose numbers it holds, and what needs no decomposition."""
    for position, kind in enumerate(("normed", "bounded", "orthogonalized")):
        for seed, chosen in enumerate(covering(COVERED, 2, position, extra_rows=5)):
            shape = chosen.pop("rows"), chosen.pop("columns")
            most = 2048 if chosen["dtype"] == "float16" else 256
            if "16" in chosen["dtype"] and (kind == "orthogonalized" or shape[0] * shape[1] > most):
                chosen["dtype"] = "float32"
            yield repair(ParametrizationCase(kind, shape, **chosen, seed=seed))


SPACE = Space(ParametrizationCase, AXES, repair, scope, fixed_cases, flags=("kind", "side", "dtype"), strength=2)
