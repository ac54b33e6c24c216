"""Overriding: what overrides torch's functions is told of a lookup, or of bags, with all that it was called with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import every, same
from embcheck.law import Family, Plan
from embcheck.lookup.overriding import OVERRIDDEN, overridden
from embcheck.lookup.overriding_case import Overriding
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space


def plan(case: Overriding) -> Plan:
    return Plan(overridden, case.inputs(), {"call": OVERRIDDEN[case.call], "by": case.by, "flags": case.flags})


def canonical(case: Overriding) -> Overriding | None:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.padding_idx is not None:
        changes["padding_idx"] = max(min(case.padding_idx, case.num_embeddings - 1), -case.num_embeddings)
    if not case.bagged:
        changes |= {"mode": "sum", "include_last_offset": False}
    else:
        changes["shape"] = (case.shape or (1,))[:1]
        if case.mode == "max":
            changes |= {"scale_grad_by_freq": False, "sparse": False}
        elif case.scale_grad_by_freq:
            changes["sparse"] = False
    if case.max_norm is None:
        changes["norm_type"] = 2.0
    fitted = case.but(**changes)
    return fitted.but(by="weight") if fitted.by not in ("mode", *fitted.inputs()) else fitted


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 4),
    "shape": ((2,), (1,), (3,), (), (2, 2)),
    "call": tuple(OVERRIDDEN),
    "by": ("weight", "mode", "input", "offsets", "per_sample_weights"),
    "padding_idx": (None, 0, -1, 2),
    "max_norm": (None, 1.0),
    "norm_type": (2.0, 1.0),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "mode": ("sum", "mean", "max"),
    "include_last_offset": (False, True),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[Overriding]:
    """Every call with every flag alone and all together, by whatever overrides."""
    for by, call in itertools.product(AXES["by"], OVERRIDDEN):
        alone = [{name: AXES[name][-1]} for name in ("padding_idx", "max_norm", "scale_grad_by_freq", "sparse")]
        alone += [{"mode": mode, "include_last_offset": last} for mode in AXES["mode"] for last in (False, True)]
        alone += [{}, {"max_norm": 0.5, "norm_type": 1.0, "padding_idx": 1, "scale_grad_by_freq": True}]
        for seed, chosen in enumerate(alone):
            fitted = canonical(Overriding(call=call, by=by, seed=seed, **chosen))
            if fitted is not None and fitted.by == by:
                yield fitted


family = Family(
    "overriding",
    Space(Overriding, AXES, canonical, scope, flags=("call", "by", "mode"), strength=2),
    plan,
    cost=4.0,
)
law = family.law


@law(
    "What overrides torch's functions is told of a call once, as the function that was called, with all its arguments.",
    source="torch.overrides: __torch_function__(cls, func, types, args, kwargs): func, and args and kwargs as they were passed",
    obliges={f"call={name}" for name in OVERRIDDEN}
    | {f"by={name}" for name in AXES["by"]}
    | {"sparse", "scale_grad_by_freq", "padded", "limited", "mode=max", "include_last_offset"},
)
def overriders_are_told_the_call(case: Overriding, out: Outcome) -> Finding:
    name, flags = "embedding_bag" if case.bagged else "embedding", dict(case.told)
    if case.bagged:
        flags |= {} if case.weighed else {"per_sample_weights": None}
    return same(out.told, [(name, list(case.inputs()), sorted(flags.items()))])


@law(
    "What comes out of a call with a tensor of a class that overrides torch's functions is of that class.",
    source="Extending torch: subclassing torch.Tensor preserves the type of what functions return",
    obliges={"by=weight", "by=mode", "by=offsets"},
)
def results_are_of_the_class(case: Overriding, out: Outcome) -> Finding:
    return every(same(out.overriding, case.by != "mode"))


test_scope, test_product, test_random = family.tests()
