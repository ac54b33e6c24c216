"""Substitution: functional_call puts what it is given under its names, and under tied ones, for the length of a call."""

from __future__ import annotations

from embcheck.core.comparison import every, is_true, refuses, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.functional_call.space import SPACE, FunctionalCallCase, plan
from embcheck.families.module_traversal.cases import kind

functional_call = Family(
    "functional_call",
    SPACE,
    plan,
    refused=lambda case: case.refused,
    cost=6.0,
)
law = functional_call.law


@law(
    "During the call each given tensor replaces the one of its name, and tied names with tie_weights.",
    source="torch.func.functional_call: tie_weights",
    must_cover={
        "tied_by_name",
        "tie=False",
        "choice=aliases",
        "choice=buffers",
        "failing",
        "nameless",
        "passed=keyword",
    },
)
def functional_call_substitutes_by_name(case: FunctionalCallCase, out: Outcome) -> Finding:
    return every(same(out.raised, case.failing), same(out.inside, case.inside))


@law(
    "After the call, even one that raised, the module has its own tensors again.",
    source="torch.func.functional_call: functional; no side effects",
    must_cover={"tied_by_name", "failing", "choice=buffers & failing", "choice=all", "surplus", "split"},
)
def functional_call_restores_the_module(case: FunctionalCallCase, out: Outcome) -> Finding:
    return every(
        is_true(out.restored, "the module has other tensors, names or attributes after the call"),
        is_true(out.given_kept, "the dict that was given changed"),
        unwritten(out),
    )


@law(
    "A given tensor's gradient counts every place where it stood; replaced tensors get none.",
    source="torch.func.functional_call; the chain rule",
    when=lambda case: not case.failing,
    must_cover={"tied_by_name", "tie=False", "split"},
)
def functional_call_gradients_reach_given_tensors(case: FunctionalCallCase, out: Outcome) -> Finding:
    tensors = {place[0]: place[3] for place in case.places}

    def grads(uses: list[str], tensor: str) -> list[float] | None:
        empty = tensor.startswith("p_void")
        return None if not uses or tensor.startswith("integers") else [] if empty else [2.0 * len(uses)]

    wanted = {
        number: grads([name for name, seen in case.inside if seen == number], tensors[given])
        for given, number in case.numbers.items()
    }
    own = [
        grads([name for name, seen in case.inside if seen == -1 and tensors[name] == tensor], tensor)
        if kind(tensor) == "parameters"
        else None
        for tensor in tensors.values()
    ]
    return every(same(out.given_grads, wanted), same(out.own_grads, own))


@law(
    "Missing or unexpected names and conflicting tied names raise and leave the module unchanged.",
    source="torch.func.functional_call: strict, tie_weights; parameter_and_buffer_dicts: unique keys",
    must_cover={"strict", "surplus", "conflicting", "repeated"},
    refusal=True,
)
def invalid_functional_calls_raise(case: FunctionalCallCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError, ValueError), unwritten(out))


test_scope, test_product, test_random = functional_call.tests()
