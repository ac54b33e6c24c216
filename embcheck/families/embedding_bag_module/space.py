"""Which cases of embedding_bag_module there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.embedding_bag_module.programs import ACTS, MAKES, BagModuleCase, describe
from embcheck.families.lookup import cases


def plan(case: BagModuleCase) -> Plan:
    options = {"make": MAKES[case.make], "act": ACTS[case.act], "flags": case.flags, "learns": case.seed % 2 == 1}
    return Plan(describe, {"weight": case.weight_input}, options)


def repair(case: BagModuleCase) -> BagModuleCase | None:
    """The case with a padding_idx that fits its table."""
    rows = case.num_embeddings
    layout = "column_slice" if case.layout == "expanded" else case.layout
    padding = cases.padding_of(case.padding_idx, rows)
    act = "nothing" if case.act == "reset" and not case.embedding_dim else case.act
    return case.but(padding_idx=padding, layout=layout, act=act)


def scope() -> Iterator[BagModuleCase]:
    """Every small table with every padding_idx, made in every way; every single flag."""
    for seed, (rows, width, make) in enumerate(itertools.product(range(1, 5), range(4), MAKES)):
        for padding in (None, *range(-rows, rows)):
            yield BagModuleCase(rows, width, make, padding_idx=padding, dtype=tuple(FORMATS)[seed % 4], seed=seed)
    for make, act, mode, dtype in itertools.product(MAKES, ACTS, ("mean", "sum", "max"), FORMATS):
        found = repair(BagModuleCase(3, 2, make, act, mode, padding_idx=1, dtype=dtype, include_last_offset=True))
        if found is not None:
            yield found
    yield from fixed_cases()


def fixed_cases() -> Iterator[BagModuleCase]:
    """Tables whose moments can be judged."""
    for dtype, make, act in itertools.product(FORMATS, ("fresh", "by_keywords", "given"), ("nothing", "reset")):
        for rows, width, padding in ((64, 64, None), (65, 127, -1), (1001, 5, 0)):
            yield BagModuleCase(rows, width, make, act, padding_idx=padding, dtype=dtype)


AXES = {
    "num_embeddings": (3, 1, 2, 5, 17),
    "embedding_dim": (2, 0, 1, 3, 8),
    "make": tuple(MAKES),
    "act": tuple(ACTS),
    "mode": ("mean", "sum", "max"),
    "padding_idx": cases.PADDINGS,
    "max_norm": (None, 0.0, 1.0, 2, 0.5),
    "norm_type": (2.0, 1.0, float("inf"), 0.5, 3),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "include_last_offset": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
}


SPACE = Space(BagModuleCase, AXES, repair, scope, fixed_cases, flags=("make", "act", "padding_idx", "mode"), strength=2)
