"""Shadow layer: layers of fake tensors, or on meta, are made, filled and converted as those that have memory are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import same
from embcheck.construction.shadow_layer import SHADOW_ACTS, SHADOW_FILLS, SHADOW_LAYERS, layer_told
from embcheck.construction.shadow_layer_case import ShadowLayer
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space


def plan(case: ShadowLayer) -> Plan:
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


def canonical(case: ShadowLayer) -> ShadowLayer | None:
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


def scope() -> Iterator[ShadowLayer]:
    """Every initialiser of every layer, and everything that is done to every layer."""
    seen = set()
    filled = itertools.product(SHADOW_LAYERS, SHADOW_FILLS, ("nothing",), AXES["kind"], (False,), AXES["dtype"])
    treated = itertools.product(SHADOW_LAYERS, ("as_made",), SHADOW_ACTS, AXES["kind"], (False, True), AXES["dtype"])
    for seed, (layer, fill, act, kind, warm, dtype) in enumerate(itertools.chain(filled, treated)):
        sizes = (AXES["num_embeddings"][seed % 3], AXES["embedding_dim"][seed // 3 % 3])
        case = canonical(ShadowLayer(*sizes, layer=layer, fill=fill, act=act, kind=kind, warm=warm, dtype=dtype))
        if case is not None and case not in seen:
            seen.add(case)
            yield case


def landmarks() -> Iterator[ShadowLayer]:
    """What the obligations ask for, in every profile."""
    for kind in AXES["kind"]:
        yield from (ShadowLayer(fill=fill, kind=kind) for fill in SHADOW_FILLS)
        for warm, act in itertools.product((False, True), SHADOW_ACTS):
            yield from filter(None, [canonical(ShadowLayer(act=act, kind=kind, warm=warm, layer="linear"))])
        yield ShadowLayer(layer="tied", kind=kind, warm=kind == "fake", act="double")


family = Family(
    "shadow_layer",
    Space(ShadowLayer, AXES, canonical, scope, landmarks, flags=("layer", "act", "fill", "kind"), strength=2),
    plan,
    cost=15.0,
)
law = family.law


@law(
    "Of tensors without memory a layer has the parameters that it has else: names, sizes, dtypes, what learns and what is "
    "tied are those that follow from how it is made, filled or converted.",
    source="torch.compiler: fake tensors; Meta device; nn.Module.to; torch.nn.init",
    obliges={f"fill={name}" for name in SHADOW_FILLS}
    | {f"act={name}" for name in SHADOW_ACTS}
    | {"kind=meta", "kind=fake", "warm", "layer=tied"},
)
def shadow_layers_are_layers(case: ShadowLayer, out: Outcome) -> Finding:
    return same(out.parameters, case.parameters)


test_scope, test_product, test_random = family.tests()
