"""Which cases of mixed_devices there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.mixed_devices.cases import BAGS, TAKES, MixedDevicesCase
from embcheck.families.mixed_devices.programs import APART, apart

NAMES = ("input", "hidden", "weight", "offsets", "per_sample_weights", "bias", "upstream")


def plan(case: MixedDevicesCase) -> Plan:
    options = {"call": APART[case.call], "on_meta": case.on_meta, "flags": case.flags}
    return Plan(apart, case.inputs(), options)


def repair(case: MixedDevicesCase) -> MixedDevicesCase | None:
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


def scope() -> Iterator[MixedDevicesCase]:
    """Every call with every choice of what lies on meta, in every mode and dtype."""
    seen = set()
    taken = itertools.product(APART, (False, True), AXES["mode"], AXES["padding_idx"][:2], AXES["dtype"])
    for seed, (call, learns, mode, padding, dtype) in enumerate(taken):
        for on_meta in parts(call, learns):
            case = repair(
                MixedDevicesCase(
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


def fixed_cases() -> Iterator[MixedDevicesCase]:
    """Every call with every choice of what lies on meta, in every profile."""
    for call, learns in itertools.product(APART, (False, True)):
        yield from (MixedDevicesCase(call=call, on_meta=on_meta, learns=learns) for on_meta in parts(call, learns))


SPACE = Space(MixedDevicesCase, AXES, repair, scope, fixed_cases, flags=("call", "on_meta", "learns"), strength=2)
