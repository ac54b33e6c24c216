"""Which cases of tie_preservation there are: operations in every state, pairs of them, long random histories."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.lookup import cases
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tie_preservation.effects import UNFIT
from embcheck.families.tie_preservation.operations import OPERATIONS
from embcheck.families.tie_preservation.programs import STRUCTURES, live

#: What a stance is made of: operations of which each half of the time one happens, before those that are drawn freely.
#: What an operation does may depend on any of them together, and operations drawn freely seldom come in this order.
STANCE = (("graded", "accumulated"), ("pruned", "filled", "doubled"), ("frozen", "embedding_frozen"), ("evaluating",))


def plan(case: TiePreservationCase) -> Plan:
    structure = STRUCTURES[case.structure]
    options = {
        "build": structure.build,
        "acts": tuple(OPERATIONS[name].act for name in case.history),
        "watched": case.watched,
        "places": (structure.paths["E"][-1], structure.paths["H"][-1]),
        "flags": case.keywords("padding_idx", "scale_grad_by_freq", "sparse"),
        "from_head": case.from_head,
    }
    return Plan(live, case.inputs(), options)


def repair(case: TiePreservationCase) -> TiePreservationCase:
    changes: dict[str, Any] = {"padding_idx": cases.padding_of(case.padding_idx, case.num_embeddings)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.sparse:
        changes["scale_grad_by_freq"] = False
    if case.scale_grad_by_freq:
        changes["indices"] = "pairs"  # counts are powers of two: division is exact
        changes["shape"] = (2,)
    fitted = case.but(**changes)
    # The direction of a row of zeros is 0/0: weight_norm can't keep it.
    while "normed" in fitted.history and UNFIT in fitted.expected.noted:
        at = next(k for k, state in enumerate(fitted.states[1:]) if UNFIT in state.noted)
        fitted = without(fitted, at, at + 1)
    return fitted


def without(case: TiePreservationCase, start: int, stop: int) -> TiePreservationCase:
    """A case without some operations of its history."""
    left = [*case.history[:start], *case.history[stop:]]
    prior = left.pop(0) if case.prior != "nothing" and start > 0 else "nothing"
    return case.but(prior=prior).after(left)


def shorter(case: TiePreservationCase) -> Iterator[TiePreservationCase]:
    """The case with a part of its history cut out, the longest parts first."""
    length = len(case.history)
    for size in sorted({length // 2, length // 4, 2, 1}, reverse=True):
        if size:
            yield from (without(case, start, start + size) for start in range(length - size + 1))


def scope() -> Iterator[TiePreservationCase]:
    """Every operation in every state that a stance makes, the structures in turn; every history of two operations."""
    stances = sorted(itertools.product(*((None, *names) for names in STANCE)), key=lambda chosen: len(set(chosen)))
    states = [[name for name in chosen if name is not None] for chosen in stances]
    structures, paddings, count = list(STRUCTURES), (None, 0, -1), len(OPERATIONS)
    alone = (
        TiePreservationCase(
            3, 2, structures[(seed + seed // count) % len(structures)], padding_idx=paddings[(seed + seed // count) % 3],
            bias=bool(seed % 2), from_head=bool(seed % 4 < 2), seed=seed,
        ).after([*state, operation])
        for seed, (state, operation) in enumerate(itertools.product(states, OPERATIONS))
    )  # fmt: skip
    pairs = (
        TiePreservationCase(
            3, 2, "flat", "nothing", first, second, bias=bool(seed % 2), padding_idx=(None, 1, -1)[seed % 3], seed=seed
        )
        for seed, (first, second) in enumerate(itertools.product(OPERATIONS, OPERATIONS))
    )
    return map(repair, itertools.chain(alone, pairs))


#: What is frozen, if anything, between the last pass and its end; and what clears gradients.
FREEZING = ((), ("frozen",), ("embedding_frozen",))
CLEARING = ("zeroed", "zeroed_in_place", "forgotten", "forgotten_in_place")


def fixed_cases() -> Iterator[TiePreservationCase]:
    """Two long histories of each operation, among others, so that every profile has them; and each way to clear a gradient
    that several passes gave, also of what was frozen since."""
    for turn in range(2):
        names = stream.shuffled(stream.derive("life", turn), tuple(OPERATIONS))
        for k, start in enumerate(range(0, len(names), 9)):
            structure = list(STRUCTURES)[(k + turn) % len(STRUCTURES)]
            case = TiePreservationCase(3, 2, structure, watched=True, bias=bool(k % 2), seed=k)
            yield case.after(names[start : start + 9])
    for seed, (freeze, clear) in enumerate(itertools.product(FREEZING, CLEARING)):
        case = TiePreservationCase(3, 2, "flat", bias=True, seed=seed)
        yield case.after(["graded", "accumulated", *freeze, clear])


AXES = values_of(TiePreservationCase)


def stance(draws: stream.Stream) -> list[str]:
    """The operations that bring a model into a random state."""
    return [draws.choice(names) for names in STANCE if draws.chance(2)]


def draw(draws: stream.Stream) -> TiePreservationCase:
    """A random case: a state, and two operations or, one time in four, a long history, after each of which the laws look."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    last = [draws.choice(AXES["first"]), draws.choice(AXES["first"])]
    if draws.chance(2):
        chosen["prior"], last = "nothing", [*stance(draws), *last]
    case = repair(TiePreservationCase(**chosen).after(last).but(seed=draws.between(0, 255)))
    return walked(case, draws) if draws.chance(4) else case


#: Operations in the longest history.
STEPS = 12
#: What torch is known to trip over (see the ledger): most histories keep clear of it, or few would get far.
_SNARES = frozenset({"normed_copied", "normed_frozen", "sparse_vector"})
#: Beyond this, products of values and inputs would leave float16.
_LARGEST = 512.0


def walked(case: TiePreservationCase, draws: stream.Stream) -> TiePreservationCase:
    """The case with further operations, each of which means something in the state that those before it leave."""
    state, history, careful = case.expected, list(case.history), not draws.chance(4)
    while len(history) < STEPS and not draws.chance(STEPS):
        name = draws.choice(AXES["first"])
        after = OPERATIONS[name].after(state)
        fits = all(np.abs(cell.values).max(initial=0.0) <= _LARGEST for cell in after.cells())
        if fits and UNFIT not in after.noted and not (careful and after.noted & _SNARES):
            state, history = after, [*history, name]
    return case.but(prior="nothing", watched=True).after(history)


SPACE = Space(
    TiePreservationCase,
    {name: values for name, values in AXES.items() if name != "second"},
    repair,
    scope,
    flags=("first", "prior", "dtype"),
    base={"bias": True, "padding_idx": 0, "layout": "transposed"},
    fixed_cases=fixed_cases,
    draw=draw,
    smaller=shorter,
    strength=2,
)
