"""Which cases of construction there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.construction.cases import ConstructionCase
from embcheck.families.construction.invalid_calls import WRONG, refused
from embcheck.families.construction.programs import ACTS, CASTS, MAKES, OF_TABLES, constructed
from embcheck.families.lookup.cases import padding_of

KINDS = ("Embedding", "EmbeddingBag")


def plan(case: ConstructionCase) -> Plan:
    if case.wrong is not None:
        return Plan(refused, {"weight": case.weight_input}, {"attempt": WRONG[case.wrong][0], "flags": case.flags})
    options = {
        "kind": case.kind,
        "make": MAKES[case.make],
        "act": ACTS[case.act],
        "sizes": (case.num_embeddings, case.embedding_dim),
        "flags": case.flags,
        "dtype": case.dtype,
        "seed": case.seed,
    }
    return Plan(constructed, {"weight": case.weight_input}, options)


def repair(case: ConstructionCase) -> ConstructionCase:
    """The case with padding, make and act that fit each other."""
    padding = padding_of(case.padding_idx, case.num_embeddings)
    found: ConstructionCase = fitted(case.but(padding_idx=padding), _RULES)
    return found


_RULES: tuple[Rule, ...] = (
    (
        lambda c: c.wrong,
        {"kind": "Embedding", "padding_idx": None, "make": "keyword", "act": "nothing", "max_norm": None},
    ),
    (lambda c: c.wrong and not c.num_embeddings, {"num_embeddings": 1}),
    (lambda c: c.wrong and not c.embedding_dim, {"embedding_dim": 1}),
    (lambda c: not c.is_bag, {"mode": "mean", "include_last_offset": False}),
    (lambda c: c.is_bag and c.make in OF_TABLES, {"make": "pretrained_positional"}),
    (lambda c: c.layout == "expanded", {"layout": "column_slice"}),
    # There is nothing to read or fill.
    (lambda c: c.make == "meta" and c.act not in ("nothing", "evaluated"), {"act": "nothing"}),
    (
        lambda c: c.act in CASTS and c.values == "special",
        {"values": "real"},
    ),  # how a NaN is rounded is nobody's promise
)


def scope() -> Iterator[ConstructionCase]:
    """Every size, padding, make and act; every wrong call."""
    return map(repair, _every())


def _every() -> Iterator[ConstructionCase]:
    sizes = itertools.product(range(5), range(4))
    for seed, ((rows, width), make, kind) in enumerate(itertools.product(sizes, MAKES, KINDS)):
        for padding in (None, *range(-rows, rows)):
            act = tuple(ACTS)[seed % len(ACTS)]
            yield ConstructionCase(rows, width, padding, make=make, act=act, kind=kind, seed=seed)
    for make, act, padding, dtype, kind in itertools.product(MAKES, ACTS, (None, 0, -1, 2), FORMATS, KINDS):
        yield ConstructionCase(3, 2, padding, make=make, act=act, dtype=dtype, values="special", kind=kind)
    for wrong, (k, dtype), (n, layout) in itertools.product(WRONG, enumerate(FORMATS), enumerate(LAYOUTS[:6])):
        yield ConstructionCase(wrong=wrong, dtype=dtype, layout=layout, scale_grad_by_freq=k % 2 == 1, sparse=n % 2 == 1,
                               norm_type=(2.0, 1.0)[n // 2 % 2])  # fmt: skip


def fixed_cases() -> Iterator[ConstructionCase]:
    """What the obligations ask for, in every profile."""
    for wrong in WRONG:
        yield ConstructionCase(wrong=wrong)
        yield ConstructionCase(wrong=wrong, sparse=True)
    for make, padding, kind in itertools.product(MAKES, (None, 0, 2, -3), KINDS):
        yield ConstructionCase(3, 2, padding, make=make, act="reset" if padding == 2 else "nothing", kind=kind)
        yield ConstructionCase(129, 17, padding, 0.0, 1.0, True, True, make=make, layout="transposed", values="special",
                               kind=kind, include_last_offset=True)  # fmt: skip
    for make, act, kind in itertools.product(MAKES, ACTS, KINDS):
        yield ConstructionCase(4, 3, 1, make=make, act=act, values="real", kind=kind, mode="sum")
        yield ConstructionCase(4, 3, make=make, act=act, values="special", dtype="float16", kind=kind, mode="max")


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 0, 8, 33, 17),
    "embedding_dim": (2, 1, 3, 0, 17, 8, 7, 65),
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
    "kind": KINDS,
    "mode": ("mean", "sum", "max"),
    "include_last_offset": (False, True),
}


SPACE = Space(
    ConstructionCase, AXES, repair, scope, fixed_cases, flags=("make", "act", "padding_idx", "sparse"), strength=2
)
