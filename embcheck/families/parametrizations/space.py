"""Which cases of parametrizations there are: every kind with each of its options, in every format."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.space import Space, covering
from embcheck.core.stream import COLUMNS, ROWS, Stream, shaped
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
    known = {*PROGRAMS[case.kind][1], *(("signs",) if case.kind == "normed" else ())}
    changes: dict[str, Any] = {name: case._field_defaults[name] for name in _OWN - known}
    rank = len(case.shape)
    least = -rank if case.kind == "bounded" and rank > 1 and not case.old else 0  # the old function takes none below 0
    if (case.kind == "bounded" and case.dim not in range(least, rank)) or (case.dim is not None and case.dim >= rank):
        changes["dim"] = 0
    if case.kind == "bounded" and rank < 2:
        changes["old"] = False  # which takes a vector for a column
    if case.kind == "orthogonalized" and rank < 2:
        changes["shape"] = (3, 2)
    return case.but(**changes)


AXES = values_of(ParametrizationCase)


def scope() -> Iterator[ParametrizationCase]:
    """Every option of each kind with every shape, on either side."""
    kinds = (
        ("normed", ("old", "dim", "signs")),
        ("bounded", ("old", "iterations", "evaluating")),
        ("orthogonalized", ("map",)),
        ("mapped", ("links", "inverse", "leave", "copied")),
        ("mapped", ("links", "inverse", "evaluating")),
    )
    for kind, names in kinds:
        chosen = itertools.product(SHAPES, itertools.product(*(AXES[name] for name in names)))
        for seed, (shape, values) in enumerate(chosen):
            axes = {"dtype": ("float32", "float64")[seed % 3 == 0], "layout": AXES["layout"][seed % 3]}
            own = dict(zip(names, values, strict=True)) | {"seed": seed}
            yield repair(ParametrizationCase(kind, shape, AXES["side"][seed % 2], seed % 5 == 0, **axes, **own))


#: Of what is normed, bounded or orthogonal any two of these meet, and of three most do.
COVERED: dict[str, tuple[Any, ...]] = {
    "rows": ROWS, "columns": COLUMNS, "frozen": (False, True), "evaluating": (False, True),
    "dtype": ("float32", "float64", "float16", "bfloat16"), "dim": (0, 1, None), "side": ("embedding", "head"),
    "layout": ("contiguous", "transposed", "offset", "column_slice", "strided"), "many": (False, True),
}  # fmt: skip
#: Weights of more than a thousand elements whose decomposition is not too dear.
_DEAR = ((17, 70), (33, 33), (70, 17))


def fixed_cases() -> Iterator[ParametrizationCase]:
    """Weights of some sizes, and of more than a thousand elements, most of them in rows or in columns."""
    for position, kind in enumerate(("normed", "bounded", "orthogonalized")):
        for seed, chosen in enumerate(covering(COVERED, 2, position, extra_rows=5)):
            rows, columns = chosen.pop("rows"), chosen.pop("columns")
            times = 1024 // (rows * columns) + 1 if chosen.pop("many") else 1
            matrix = (rows * times, columns) if seed % 2 else (rows, columns * times)
            if times > 1 and kind == "orthogonalized":
                matrix = _DEAR[seed % 3] if seed % 4 == 0 else (rows, columns)
            yield _held(ParametrizationCase(kind, matrix, **chosen, seed=seed))


def draw(draws: Stream) -> ParametrizationCase:
    """A random case, of a weight of any rank."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    chosen |= {name: draws.choice(COVERED[name]) for name in ("dtype", "layout")}
    chosen["shape"] = tuple(
        max(1, n) for n in shaped(draws, (2, 2, 3) if chosen["kind"] == "orthogonalized" else (1, 2, 3))
    )
    if chosen["kind"] == "orthogonalized" and max(chosen["shape"]) > 100:  # whose decomposition is dear
        chosen["shape"] = (*chosen["shape"][:-2], *draws.choice(_DEAR))
    chosen["dim"] = draws.choice((None, *range(len(chosen["shape"]))))
    return repair(_held(ParametrizationCase(**chosen, seed=draws.between(0, 255))))


def _held(case: ParametrizationCase) -> ParametrizationCase:
    """In half precision those alone whose numbers it holds, and what needs no decomposition."""
    most = {"float16": 2048, "bfloat16": 256}.get(case.dtype, math.inf)
    numbers = math.prod(case.shape) * (8 if case.kind == "mapped" else 1)  # which doubles them
    decomposed = case.kind == "orthogonalized" and most < math.inf
    return case.but(dtype="float32") if decomposed or numbers > most else case


SPACE = Space(
    ParametrizationCase, AXES, repair, scope, fixed_cases, flags=("kind", "side", "dtype"), draw=draw, strength=2
)
