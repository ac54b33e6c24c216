"""Which cases of module_containers there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.module_containers.cases import (
    ATTEMPTS,
    KEYS,
    OPERATIONS,
    PLACES,
    POOL,
    ContainerCase,
    gap,
    place,
    span,
)
from embcheck.families.module_containers.programs import contained


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


def repair(case: ContainerCase) -> ContainerCase | None:
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
            fitted = repair(ContainerCase(kind, length, ((name, i, j, k),), seed % 2 == 0))
            seed += 1
            if fitted is not None:
                yield fitted
        for first, second in itertools.product(names, names):
            seed += 1
            fitted = repair(ContainerCase(kind, 3, ((first, seed, 1, 0), (second, seed // 2, 0, 1)), seed % 2 == 0))
            if fitted is not None:
                yield fitted
        for attempt, length in itertools.product(ATTEMPTS[kind], AXES["length"]):
            for after in ((), *(((name, length, 1, 0),) for name in names)):
                yield from filter(None, [repair(ContainerCase(kind, length, after, attempt=attempt))])


def draw(draws: stream.Stream) -> ContainerCase | None:
    """A random history of up to eight operations."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    operations = tuple(
        (draws.choice(OPERATIONS[chosen["kind"]]), draws.between(0, 9), draws.between(0, 9), draws.between(0, 9))
        for _ in range(draws.between(1, 8))
    )
    return repair(ContainerCase(**chosen, operations=operations))


def smaller(case: ContainerCase) -> Iterator[ContainerCase]:
    """Without one of the operations."""
    for k in range(len(case.operations)):
        yield case.but(operations=case.operations[:k] + case.operations[k + 1 :])


SPACE = Space(ContainerCase, AXES, repair, scope, flags=("kind", "length"), draw=draw, smaller=smaller, strength=2)
