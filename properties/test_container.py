"""Container: containers of modules and of Parameters hold what Python's lists and dicts hold, and list just that."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import every, is_true, same, unwritten
from embcheck.law import Family, Plan
from embcheck.module.container import contained
from embcheck.module.container_case import (
    ATTEMPTS,
    KEYS,
    LACKING,
    OPERATIONS,
    PLACES,
    POOL,
    ContainerCase,
    gap,
    place,
    span,
)
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, UNASKED, Finding
from embcheck.space import Space


def steps(case: ContainerCase) -> Iterator[tuple[str, Any, tuple[tuple[Any, str], ...]]]:
    """The operations as they are carried out: what each is called, where it works, and what it puts there."""
    keys = PLACES if case.kind == "Module" else KEYS
    for held, operation in zip(case.history, case.operations, strict=False):
        if not works(case, held, operation):
            continue
        name, i, j, k = operation
        count, first, second = len(held), POOL[j % len(POOL)], POOL[k % len(POOL)]
        at: Any = keys[i % len(keys)]
        given: tuple[tuple[Any, str], ...] = ((at, first), (keys[(i + 1) % len(keys)], second))
        if name.endswith("itself"):
            yield name, None, ()
            continue
        if case.listing:
            places = {"insert": gap(i, count), "mul": 1 + i % 2, "imul": 1 + i % 2}
            at = span(operation, count) if name in ("slice", "cut") else places.get(name)
            if name in ("set", "del", "pop"):
                at = place(i, count)
        yield name, at, given if case.listing or name in ("update", "or", "ior") else given[:1]


def plan(case: ContainerCase) -> Plan:
    options = {
        "kind": case.kind,
        "start": tuple(case.start.items()),
        "steps": tuple(steps(case)),
        "evaluating": case.evaluating,
        "attempt": case.attempt,
        "lacked": case.lacked,
    }
    return Plan(contained, case.inputs(), options)


def canonical(case: ContainerCase) -> ContainerCase | None:
    """The case with operations that its kind has, and of which none finds nothing to work on.

    Modules that are added to the list in which they are stand alone, for torch refuses them; so do attempts on a slice
    that grew, which the ledger knows.
    """
    known = OPERATIONS[case.kind]
    operations = tuple(
        operation if operation[0] in known else (known[sum(operation[1:]) % len(known)], *operation[1:])
        for operation in case.operations
    )
    length = 4 if case.kind == "Module" else case.length
    fitted = case.but(operations=operations, length=length)
    kept = tuple(
        operation for held, operation in zip(fitted.history, operations, strict=False) if works(fitted, held, operation)
    )
    fitted = fitted.but(operations=kept)
    if fitted.doubled:
        fitted = fitted.but(
            operations=tuple(each for each in kept if each[0] in ("extend_by_itself", "iadd_itself"))[:1]
        )
    if not tries(fitted):
        fitted = fitted.but(attempt="")
    return fitted


def tries(case: ContainerCase) -> bool:
    """Whether a container has what an attempt works on."""
    empty = not case.history[-1] and case.attempt == "set_misfit"
    return case.attempt in ATTEMPTS[case.kind] and not empty and not case.gaps[1]


def works(case: ContainerCase, held: dict[str, str], operation: tuple[str, int, int, int]) -> bool:
    """Whether an operation finds what it works on."""
    name, i, _, _ = operation
    if case.listing:
        return bool(held) or name not in ("set", "del", "pop")
    return (name not in ("del", "pop") or KEYS[i % len(KEYS)] in held) and (name != "popitem" or bool(held))


AXES: dict[str, tuple[Any, ...]] = {
    "kind": tuple(OPERATIONS),
    "length": (3, 0, 1, 4),
    "evaluating": (False, True),
    "attempt": ("", *dict.fromkeys(attempt for attempts in ATTEMPTS.values() for attempt in attempts)),
}


def scope() -> Iterator[ContainerCase]:
    """Every operation of each kind, on containers of every length, and every two in a row; every attempt, after each."""
    seed = 0
    for kind, names in OPERATIONS.items():
        for length, name, (i, j, k) in itertools.product(
            AXES["length"], names, itertools.product((0, 1, 3, 5), (1, 2), (0, 1))
        ):
            fitted = canonical(ContainerCase(kind, length, ((name, i, j, k),), seed % 2 == 0))
            seed += 1
            if fitted is not None:
                yield fitted
        for first, second in itertools.product(names, names):
            seed += 1
            fitted = canonical(ContainerCase(kind, 3, ((first, seed, 1, 0), (second, seed // 2, 0, 1)), seed % 2 == 0))
            if fitted is not None:
                yield fitted
        for attempt, length in itertools.product(ATTEMPTS[kind], AXES["length"]):
            for after in ((), *(((name, length, 1, 0),) for name in names)):
                yield from filter(None, [canonical(ContainerCase(kind, length, after, attempt=attempt))])


def draw(draws: stream.Stream) -> ContainerCase | None:
    """A random history of up to eight operations."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    operations = tuple(
        (draws.choice(OPERATIONS[chosen["kind"]]), draws.between(0, 9), draws.between(0, 9), draws.between(0, 9))
        for _ in range(draws.between(1, 8))
    )
    return canonical(ContainerCase(**chosen, operations=operations))


def smaller(case: ContainerCase) -> Iterator[ContainerCase]:
    """Without one of the operations."""
    for k in range(len(case.operations)):
        yield case.but(operations=case.operations[:k] + case.operations[k + 1 :])


family = Family(
    "container",
    Space(ContainerCase, AXES, canonical, scope, flags=("kind", "length"), draw=draw, smaller=smaller, strength=2),
    plan,
    cost=4.0,
)
law = family.law


@law(
    "Containers hold the very things that a list or dict holds after the same operations, in its order; what another is "
    "made of stays as it was.",
    source="nn.Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict: like a list or dictionary; set_submodule",
    obliges={
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
def containers_hold_what_python_holds(case: ContainerCase, out: Outcome) -> Finding:
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
    "parameters() of a container are those of what it holds, each once; its state has each under every key.",
    source="nn.Module.parameters, state_dict",
    obliges={"repeated", "emptied", "pop", "slice", "kind=ParameterDict", "place"},
)
def containers_list_what_they_hold(case: ContainerCase, out: Outcome) -> Finding:
    ending = "" if case.of_parameters else ".weight"
    listed = [ordered(case, dict.fromkeys(held.values())) for held in case.history]
    state = [ordered(case, (f"{key}{ending}" for key in held)) for held in case.history]
    # A slice of a Sequential keeps the names of the places where its modules were, of which nothing is said.
    return every(same(out.listed, listed), UNASKED if case.gaps[0] else same(out.state, state))


@law(
    "What a container lacks is a KeyError or an IndexError, as it is of a dict or list.",
    source="nn.ParameterDict: indexed like a regular Python dictionary; ModuleDict, ModuleList, ParameterList",
    when=lambda case: case.attempt in LACKING,
    obliges={"attempt=get_missing", "attempt=get_before", "pop", "kind=ParameterDict", "kind=ParameterList"},
)
def what_a_container_lacks_is_a_lookup_error(case: ContainerCase, out: Outcome) -> Finding:
    return same(out.raised, LACKING[case.attempt])


@law(
    "A container refuses what it can't hold: what is no module, or no Parameter can be made of, and names that none can have.",
    source="nn.ModuleDict, ParameterDict, Module.add_module, register_parameter",
    when=lambda case: bool(case.attempt) and case.attempt not in LACKING,
    obliges={"attempt=append_misfit", "attempt=set_dotted", "kind=Sequential", "kind=ParameterDict"},
)
def misfits_of_a_container_are_refused(case: ContainerCase, out: Outcome) -> Finding:
    return HOLDS if out.raised.raw else same(out.raised, "an error")


@law(
    "What a container refuses leaves it as it was: as long, with the same things under the same keys.",
    source="nn.ModuleList, ParameterList, ModuleDict, ParameterDict: like a list or dictionary",
    when=lambda case: bool(case.attempt),
    obliges={"attempt=append_misfit", "attempt=set_misfit", "attempt=pop_missing", "kind=ParameterDict", "emptied"},
)
def refusals_leave_a_container(case: ContainerCase, out: Outcome) -> Finding:
    return is_true(out.stays, "a container changed though it refused") if out.raised.raw else UNASKED


@law("Nothing is written.", source="no side effects")
def containers_write_nothing(case: ContainerCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
