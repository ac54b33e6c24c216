"""Which cases of construction there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.construction.cases import (
    ConstructionCase,
)
from embcheck.families.construction.invalid_calls import WRONG, refused
from embcheck.families.construction.programs import ACTS, CASTS, MAKES, constructed
from embcheck.families.lookup.cases import padding_of


def plan(case: ConstructionCase) -> Plan:
    if case.wrong is not None:
        return Plan(refused, {"weight": case.weight_input}, {"attempt": WRONG[case.wrong][0], "flags": case.flags})
    options = {
        "make": MAKES[case.make],
        "act": ACTS[case.act],
        "rows": case.num_embeddings,
        "width": case.embedding_dim,
        "flags": case.flags,
        "dtype": case.dtype,
        "seed": case.seed,
    }
    return Plan(constructed, {"weight": case.weight_input}, options)


def repair(case: ConstructionCase) -> ConstructionCase | None:
    """The case with padding, make and act that fit each other."""
    changes: dict[str, Any] = {"padding_idx": padding_of(case.padding_idx, case.num_embeddings)}
    if case.wrong is not None:
        changes |= {"padding_idx": None, "make": "keyword", "act": "nothing", "max_norm": None}
        changes |= {"num_embeddings": max(case.num_embeddings, 1), "embedding_dim": max(case.embedding_dim, 1)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.make == "meta" and case.act not in ("nothing", "evaluated"):
        changes["act"] = "nothing"  # there is nothing to read or fill
    if case.act in CASTS and case.values == "special":
        changes["values"] = "real"  # how a NaN is rounded is nobody's promise
    return case.but(**changes)


def scope() -> Iterator[ConstructionCase]:
    """Every size, padding, make and act; every wrong call."""
    sizes = itertools.product(range(5), range(4))
    for seed, ((rows, width), make) in enumerate(itertools.product(sizes, MAKES)):
        for padding in (None, *range(-rows, rows)):
            act = tuple(ACTS)[seed % len(ACTS)]
            yield from _fitted(ConstructionCase(rows, width, padding, make=make, act=act, seed=seed))
    for make, act, padding, dtype in itertools.product(MAKES, ACTS, (None, 0, -1, 2), FORMATS):
        yield from _fitted(ConstructionCase(3, 2, padding, make=make, act=act, dtype=dtype, values="special"))
    for wrong, (k, dtype), (n, layout) in itertools.product(WRONG, enumerate(FORMATS), enumerate(LAYOUTS[:6])):
        flags: dict[str, Any] = {
            "scale_grad_by_freq": k % 2 == 1,
            "sparse": n % 2 == 1,
            "norm_type": (2.0, 1.0)[n // 2 % 2],
        }
        yield from _fitted(ConstructionCase(wrong=wrong, dtype=dtype, layout=layout, **flags))


def _fitted(case: ConstructionCase) -> Iterator[ConstructionCase]:
    found = repair(case)
    if found is not None:
        yield found


def fixed_cases() -> Iterator[ConstructionCase]:
    """What the obligations ask for, in every profile."""
    for wrong in WRONG:
        yield ConstructionCase(wrong=wrong)
        yield ConstructionCase(wrong=wrong, sparse=True)
    for make, padding in itertools.product(MAKES, (None, 0, 2, -3)):
        yield ConstructionCase(3, 2, padding, make=make, act="reset" if padding == 2 else "nothing")
        yield ConstructionCase(129, 17, padding, 0.0, 1.0, True, True, make=make, layout="transposed", values="special")
    for make, act in itertools.product(MAKES, ACTS):
        yield ConstructionCase(4, 3, 1, make=make, act=act, values="real")
        yield ConstructionCase(4, 3, None, make=make, act=act, values="special", dtype="float16")


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 0, 8, 33),
    "embedding_dim": (2, 1, 3, 0, 17),
    "padding_idx": (None, 0, 1, -1, -2, "last", "-V"),
    "max_norm": (None, 0.0, 1.0, 2.5),
    "norm_type": (2.0, 1.0, 0.0, 3.0, float("inf")),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "make": tuple(MAKES),
    "act": tuple(ACTS),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "values": ("fingerprint", "small", "real", "special"),
}


SPACE = Space(
    ConstructionCase, AXES, repair, scope, fixed_cases, flags=("make", "act", "padding_idx", "sparse"), strength=2
)
