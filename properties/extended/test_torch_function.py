"""Overriding: what overrides torch's functions is told of a lookup, or of bags, with all that it was called with."""

from __future__ import annotations

from embcheck.core.comparison import every, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.torch_function.cases import TorchFunctionCase
from embcheck.families.torch_function.programs import OVERRIDDEN
from embcheck.families.torch_function.space import AXES, SPACE, plan

family = Family(
    "torch_function",
    SPACE,
    plan,
    cost=4.0,
)
law = family.law


@law(
    "__torch_function__ receives F.embedding and F.embedding_bag calls once, with all their arguments.",
    source="torch.overrides: __torch_function__(cls, func, types, args, kwargs): func, and args and kwargs as they were passed",
    must_cover={f"call={name}" for name in OVERRIDDEN}
    | {f"by={name}" for name in AXES["by"]}
    | {"sparse", "scale_grad_by_freq", "padded", "limited", "mode=max", "include_last_offset"},
)
def torch_function_receives_the_call(case: TorchFunctionCase, out: Outcome) -> Finding:
    name, flags = "embedding_bag" if case.bagged else "embedding", dict(case.told)
    if case.bagged:
        flags |= {} if case.weighed else {"per_sample_weights": None}
    return same(out.told, [(name, list(case.inputs()), sorted(flags.items()))])


@law(
    "A call with a Tensor subclass returns that subclass.",
    source="Extending torch: subclassing torch.Tensor preserves the type of what functions return",
    must_cover={"by=weight", "by=mode", "by=offsets"},
)
def torch_function_call_returns_the_subclass(case: TorchFunctionCase, out: Outcome) -> Finding:
    return every(same(out.overriding, case.by != "mode"))


test_scope, test_product, test_random = family.tests()
