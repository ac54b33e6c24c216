"""Which cases of fake_modules there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.fake_modules.cases import FakeModuleCase
from embcheck.families.fake_modules.programs import SHADOW_ACTS, SHADOW_FILLS, SHADOW_LAYERS, layer_told


def plan(case: FakeModuleCase) -> Plan:
    options = {
        "make": SHADOW_LAYERS[case.layer],
        "fill": SHADOW_FILLS[case.fill],
        "act": SHADOW_ACTS[case.act],
        "kind": case.kind,
        "warm": case.warm,
        "rows": case.num_embeddings,
        "width": case.embedding_dim,
        "dtype": case.dtype,
    }
    return Plan(layer_told, {}, options)


def repair(case: FakeModuleCase) -> FakeModuleCase | None:
    """The case with what there is of its kind."""
    changes: dict[str, Any] = {}
    if case.kind == "meta":
        changes["warm"] = False
        if case.act == "to_cpu":
            changes["act"] = "to_empty"  # there is nothing to copy
    if case.layer == "tied" and case.act == "assigned":
        changes["act"] = "loaded"  # assigning unties, with memory as well
    if case.fill == "orthogonal" and case.dtype in ("float16", "bfloat16"):
        changes["dtype"] = "float32"  # there is no QR decomposition of half precision
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 4),
    "embedding_dim": (2, 1, 8),
    "layer": tuple(SHADOW_LAYERS),
    "fill": tuple(SHADOW_FILLS),
    "act": tuple(SHADOW_ACTS),
    "kind": ("fake", "meta"),
    "warm": (False, True),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
}


def scope() -> Iterator[FakeModuleCase]:
    """Every initialiser of every layer, and everything that is done to every layer."""
    seen = set()
    filled = itertools.product(SHADOW_LAYERS, SHADOW_FILLS, ("nothing",), AXES["kind"], (False,), AXES["dtype"])
    treated = itertools.product(SHADOW_LAYERS, ("as_made",), SHADOW_ACTS, AXES["kind"], (False, True), AXES["dtype"])
    for seed, (layer, fill, act, kind, warm, dtype) in enumerate(itertools.chain(filled, treated)):
        sizes = (AXES["num_embeddings"][seed % 3], AXES["embedding_dim"][seed // 3 % 3])
        case = repair(FakeModuleCase(*sizes, layer=layer, fill=fill, act=act, kind=kind, warm=warm, dtype=dtype))
        if case is not None and case not in seen:
            seen.add(case)
            yield case


def fixed_cases() -> Iterator[FakeModuleCase]:
    """What the obligations ask for, in every profile."""
    for kind in AXES["kind"]:
        yield from (FakeModuleCase(fill=fill, kind=kind) for fill in SHADOW_FILLS)
        for warm, act in itertools.product((False, True), SHADOW_ACTS):
            yield from filter(None, [repair(FakeModuleCase(act=act, kind=kind, warm=warm, layer="linear"))])
        yield FakeModuleCase(layer="tied", kind=kind, warm=kind == "fake", act="double")


SPACE = Space(FakeModuleCase, AXES, repair, scope, fixed_cases, flags=("layer", "act", "fill", "kind"), strength=2)
