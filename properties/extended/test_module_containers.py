"""Container: containers of modules and of Parameters hold what Python's lists and dicts hold, and list just that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from embcheck.core.comparison import every, is_true, same, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Finding
from embcheck.families.module_containers.cases import (
    LACKING,
    ContainerCase,
)
from embcheck.families.module_containers.space import SPACE, plan

family = Family(
    "module_containers",
    SPACE,
    plan,
    cost=4.0,
)
law = family.law


@law(
    "A container holds the same objects as a Python list or dict after the same operations.",
    source="nn.Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict: like a list or dictionary; set_submodule",
    must_cover={
        "repeated",
        "emptied",
        "slice",
        "cut",
        "insert",
        "inserted_from_the_end",
        "iadd",
        "popitem",
        "place",
        "kind=ParameterList",
        "add_itself",
        "ior_itself",
        "iadd_itself",
    },
)
def container_matches_list_or_dict(case: ContainerCase, out: Outcome) -> Finding:
    wanted = [ordered(case, held.items()) for held in case.history]
    return every(
        same(out.held, wanted),
        same(out.kind, case.kind),
        same(out.lengths, [len(held) for held in wanted]),
        is_true(out.left, "what another container was made of is no longer what it was"),
    )


def ordered(case: ContainerCase, things: Iterable[Any]) -> list[Any]:
    """In the container's order; what a tree holds, sorted."""
    return sorted(things) if case.kind == "Module" else list(things)


@law(
    "A container's parameters() lists its members once; its state_dict lists every key.",
    source="nn.Module.parameters, state_dict",
    must_cover={"repeated", "emptied", "pop", "slice", "kind=ParameterDict", "place"},
)
def container_lists_its_parameters(case: ContainerCase, out: Outcome) -> Finding:
    ending = "" if case.of_parameters else ".weight"
    listed = [ordered(case, dict.fromkeys(held.values())) for held in case.history]
    state = [ordered(case, (f"{key}{ending}" for key in held)) for held in case.history]
    # A slice of a Sequential keeps the names of the places where its modules were, of which nothing is said.
    return every(same(out.listed, listed), UNASKED if case.gaps[0] else same(out.state, state))


@law(
    "A missing key raises KeyError or IndexError, as in a dict or list.",
    source="nn.ParameterDict: indexed like a regular Python dictionary; ModuleDict, ModuleList, ParameterList",
    when=lambda case: case.attempt in LACKING,
    must_cover={"attempt=get_missing", "attempt=get_before", "pop", "kind=ParameterDict", "kind=ParameterList"},
)
def missing_container_key_raises(case: ContainerCase, out: Outcome) -> Finding:
    return same(out.raised, LACKING[case.attempt])


@law(
    "A container raises for what is no Module or Parameter, and for invalid names.",
    source="nn.ModuleDict, ParameterDict, Module.add_module, register_parameter",
    when=lambda case: bool(case.attempt) and case.attempt not in LACKING,
    must_cover={"attempt=append_misfit", "attempt=set_dotted", "kind=Sequential", "kind=ParameterDict"},
)
def invalid_container_members_raise(case: ContainerCase, out: Outcome) -> Finding:
    return HOLDS if out.raised.raw else same(out.raised, "an error")


@law(
    "An operation that raises leaves the container unchanged.",
    source="nn.ModuleList, ParameterList, ModuleDict, ParameterDict: like a list or dictionary",
    when=lambda case: bool(case.attempt),
    must_cover={"attempt=append_misfit", "attempt=set_misfit", "attempt=pop_missing", "kind=ParameterDict", "emptied"},
)
def failed_container_operation_changes_nothing(case: ContainerCase, out: Outcome) -> Finding:
    return is_true(out.stays, "a container changed though it refused") if out.raised.raw else UNASKED


@law("Operations on a container write to no tensor.", source="no side effects")
def container_operations_write_no_tensor(case: ContainerCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
