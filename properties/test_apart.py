"""Apart: tensors of one call that lie on different devices give no numbers, for on one of them there are none.

A tensor on meta has sizes and no elements: what is computed of one that has elements and one that has none can't have
elements, wherever it lies.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import described, every, refuses, unwritten
from embcheck.law import Family, Plan
from embcheck.lookup.apart import APART, apart
from embcheck.lookup.apart_case import BAGS, TAKES, Apart
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

#: What refuses a call.
REFUSALS = (RuntimeError, ValueError)
NAMES = ("input", "hidden", "weight", "offsets", "per_sample_weights", "bias", "upstream")


def plan(case: Apart) -> Plan:
    options = {"call": APART[case.call], "on_meta": case.on_meta, "flags": case.flags}
    return Plan(apart, case.inputs(), options)


def canonical(case: Apart) -> Apart | None:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.call not in BAGS or case.call.startswith("weighted"):
        changes["mode"] = "sum"
    if case.call not in (*BAGS, "lookup", "layer"):
        changes["padding_idx"] = None
    elif case.padding_idx is not None:
        changes["padding_idx"] = max(min(case.padding_idx, case.num_embeddings - 1), -case.num_embeddings)
    if case.call in ("gathered", "product"):
        changes["index_dtype"] = "int64"
    on_meta = tuple(name for name in NAMES if name in case.on_meta and name in case.takes)
    if case.learns and 0 < len(on_meta) < len(case.takes) and on_meta != ("upstream",):
        on_meta = TAKES[case.call]  # else the call is refused before there is a derivative
    changes["on_meta"] = on_meta
    return case.but(**changes)


def parts(call: str, learns: bool) -> Iterator[tuple[str, ...]]:
    """Every choice of what lies on meta; of the arguments all or none if what backward is given lies apart."""
    taken = TAKES[call]
    if learns:
        yield from ((), taken, ("upstream",), (*taken, "upstream"))
        return
    for size in range(len(taken) + 1):
        yield from itertools.combinations(taken, size)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 8),
    "vectors": (2, 1, 5),
    "call": tuple(APART),
    "on_meta": (
        (),
        *((name,) for name in NAMES),
        ("input", "hidden", "offsets"),
        ("input", "hidden", "per_sample_weights"),
        ("weight", "bias", "offsets"),
        ("hidden", "bias", "offsets", "per_sample_weights"),
        NAMES,
    ),
    "learns": (False, True),
    "mode": ("sum", "mean", "max"),
    "padding_idx": (None, 0, -1),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "index_dtype": ("int64", "int32"),
}


def scope() -> Iterator[Apart]:
    """Every call with every choice of what lies on meta, in every mode and dtype."""
    seen = set()
    taken = itertools.product(APART, (False, True), AXES["mode"], AXES["padding_idx"][:2], AXES["dtype"])
    for seed, (call, learns, mode, padding, dtype) in enumerate(taken):
        for on_meta in parts(call, learns):
            case = canonical(
                Apart(
                    (3, 1, 5)[seed % 3],
                    (2, 1, 8)[seed // 3 % 3],
                    call=call,
                    on_meta=on_meta,
                    learns=learns,
                    mode=mode,
                    padding_idx=padding,
                    dtype=dtype,
                    index_dtype=AXES["index_dtype"][seed // 4 % 2],
                )
            )
            if case is not None and case not in seen:
                seen.add(case)
                yield case


def landmarks() -> Iterator[Apart]:
    """Every call with every choice of what lies on meta, in every profile."""
    for call, learns in itertools.product(APART, (False, True)):
        yield from (Apart(call=call, on_meta=on_meta, learns=learns) for on_meta in parts(call, learns))


family = Family(
    "apart",
    Space(Apart, AXES, canonical, scope, landmarks, flags=("call", "on_meta", "learns"), strength=2),
    plan,
    refused=lambda case: case.divided,
    cost=1.5,
)
law = family.law


@law(
    "Tensors of one device give what lies there, of the sizes that follow from theirs, and so do its gradients.",
    source="Tensor Attributes: torch.device; Meta device",
    obliges={f"call={name}" for name in APART} | {"learns", "weight_on_meta", "index_dtype=int32"},
)
def results_lie_where_the_tensors_do(case: Apart, out: Outcome) -> Finding:
    place = out.table.plain("device")
    sizes = (case.num_embeddings, case.embedding_dim)
    return every(
        described(out.value, shape=case.shape, dtype=case.dtype, device=place),
        described(out.gradient, shape=sizes, dtype=case.dtype, device=place) if case.learns else UNASKED,
    )


@law(
    "Of a tensor that has elements and one on meta, which has none, comes nothing that has: a call with both is refused, or "
    "its value and gradient lie on meta.",
    source="Meta device: a tensor without data; binary operators: 'Expected all tensors to be on the same device'",
    obliges={f"call={name}" for name in APART} | {"weight_on_meta", "late", "bagged", "multiplied"},
    refusal=True,
)
def nothing_is_made_of_nothing(case: Apart, out: Outcome) -> Finding:
    if out.error is not None:
        return every(refuses(out, *REFUSALS), unwritten(out))
    if case.learns:
        return described(out.gradient, device="meta")
    return described(out.value, device="meta")


test_scope, test_product, test_random = family.tests()
