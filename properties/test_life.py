"""Life: a tie survives every operation on a module, or breaks as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embcheck.comparison import every, identical, is_true, same, unwritten, within
from embcheck.format import FORMATS, Floats
from embcheck.law import Family
from embcheck.life import machine, tie
from embcheck.life.case import LifeCase, exact
from embcheck.life.space import AXES, canonical, draw, landmarks, newborn, plan, scope, shorter
from embcheck.outcome import Field, Outcome
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space

life = Family(
    "life",
    Space(
        LifeCase,
        {name: values for name, values in AXES.items() if name != "second"},
        canonical,
        scope,
        flags=("first", "prior", "dtype"),
        base={"bias": True, "padding_idx": 0, "layout": "transposed"},
        landmarks=landmarks,
        draw=draw,
        smaller=shorter,
        histories=lambda *walk: machine.histories(newborn, *walk),
        strength=2,
    ),
    plan,
    cost=3.0,
    stride=7,
)
law = life.law


def cells(state: tie.State) -> list[tie.Cell]:
    """The Parameter of each name, in order of the names."""
    return [state.cell(name) for name in state.names]


def joined(arrays: list[Floats]) -> Floats:
    """All elements, one after the other."""
    return np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0)


def is_exact(case: LifeCase) -> bool:
    return case.is_exact


class Glimpse:
    """What was seen after one operation of a history; as an `Outcome`."""

    def __init__(self, trail: Field, step: int) -> None:
        self._trail, self._step = trail, step

    def __getattr__(self, name: str) -> Field:
        return self._trail.entry(self._step, name)


Judgement = Callable[[tie.State, Any], Finding]


def throughout(case: LifeCase, out: Outcome, judge: Judgement, at_the_end: bool = True) -> Finding:
    """A judgement after each operation of a watched history, and after the last one of any."""
    worst: list[Finding] = []
    for step in range(len(case.history) if case.watched else 0):
        worst.append(judge(case.states[step + 1], Glimpse(out.trail, step)))
        if isinstance(worst[-1], Difference):
            return worst[-1]
    return every(*worst, judge(case.expected, out)) if at_the_end else every(*worst)


def values(got: Field, state: tie.State) -> Finding:
    """All parameters' values, but for what rounding may have done on the way."""
    expected = joined([cell.values for cell in cells(state)])
    if exact(state):
        return same(got, expected)
    off = [np.zeros_like(c.values) if c.memory.error is None else c.memory.error for c in cells(state)]
    return within(got, expected, 2 * joined(off))


def identities(state: tie.State) -> list[int]:
    """For each name, the position of the first name of the same Parameter."""
    return tie.groups(cells(state))


@law(
    "Names are one Parameter exactly when they were before, or the operation is documented to break the tie.",
    source="nn.Module: load_state_dict(assign), to, to_empty; copy.deepcopy; torch.save; pickle",
    obliges={"tied", "copies", "structure=three_way", "structure=shared_module", "first=assigned", "operations>=8"},
)
def tie_survives_by_identity(case: LifeCase, out: Outcome) -> Finding:
    return throughout(
        case,
        out,
        lambda state, seen: every(
            same(seen.names, list(state.names)),
            same(seen.cells, identities(state)),
            same(seen.count, len(set(identities(state)))),
        ),
    )


@law("named_parameters() lists a tied Parameter once.", source="nn.Module.named_parameters")
def tie_is_listed_once(case: LifeCase, out: Outcome) -> Finding:
    return throughout(case, out, lambda state, seen: same(seen.unique, sorted(set(identities(state)))))


@law(
    "An optimizer has one slot for each Parameter, however many names it has.",
    source="torch.optim: iterable of parameters",
    when=lambda case: case.watched,
    obliges={"tied", "operations>=8"},
)
def tie_has_one_optimizer_slot(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        # In the order of the modules, which is not always that of the names.
        return same(seen.slots.derived("sorted({})"), sorted(set(identities(state))))

    return throughout(case, out, judge, at_the_end=False)


@law(
    "Names share memory exactly when they should, and state_dict shares it with them, under every name.",
    source="nn.Module.state_dict: references to the module's parameters; torch.save preserves views",
    obliges={"shares", "first=assigned_saved", "second=aliased"},
)
def tie_survives_by_memory(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        memory = tie.groups([cell.memory for cell in cells(state)])
        return every(
            same(seen.memory, memory),
            same(seen.keys, sorted(state.names)),
            same(seen.state_memory, memory),
        )

    return throughout(case, out, judge)


@law("Values survive: bit for bit, or cast exactly, or as the operation says.", source="nn.Module; torch.nn.utils")
def life_keeps_values(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        if exact(state):
            fmt = FORMATS[state.dtype]
            return identical(seen.values, fmt.to_bits(fmt.encode(joined([cell.values for cell in cells(state)]))))
        return values(seen.values, state)

    return throughout(case, out, judge)


@law(
    "Parameters stay leaf Parameters of their shape, dtype, strides and requires_grad; no hook appears.",
    source="nn.Module; torch.preserve_format",
    obliges={"layout=transposed", "layout=column_slice"},
)
def life_keeps_metadata(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        expected = cells(state)
        shapes = [cell.values.shape for cell in expected]
        if seen.shapes.raw != shapes:
            return same(seen.shapes, shapes)
        return every(
            is_true(seen.leaves, "a Parameter became something else, or part of a graph"),
            same(seen.dtypes, [f"torch.{state.dtype}"] * len(expected)),
            same(seen.requires_grad, [cell.requires_grad for cell in expected]),
            same(significant(seen.strides, shapes), [_of(cell.strides, cell.values.shape) for cell in expected]),
            same(seen.hooks, 0),
            same(seen.module_hooks, 0),
        )

    return throughout(case, out, judge)


def significant(got: Field, shapes: list[tuple[int, ...]]) -> Field:
    """Strides of the axes longer than one."""
    wide = [[axis for axis, length in enumerate(shape) if length > 1] for shape in shapes]
    return got.derived(f"[[strides[axis] for axis in axes] for strides, axes in zip({{}}, {wide}, strict=True)]")


def _of(strides: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    return [stride for stride, length in zip(strides, shape, strict=True) if length > 1]


@law(
    "Gradients survive what keeps the Parameter; copies and new Parameters have none.",
    source="nn.Module.zero_grad, to; nn.Parameter.__deepcopy__",
    obliges={"first=graded", "first=accumulated"},
)
def life_keeps_gradients(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        expected = [cell.grad for cell in cells(state)]
        return every(
            same(seen.graded, [grad is not None for grad in expected]),
            same(seen.grads, [grad.tolist() for grad in expected if grad is not None]),
        )

    return throughout(case, out, judge)


@law(
    "Modules keep their paths, types, sizes and flags (padding_idx, sparse, …), and are in training mode as asked.",
    source="nn.Embedding: attributes; nn.Module.train",
)
def life_keeps_modules(case: LifeCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kept, "paths, types or flags of the modules changed"),
        throughout(case, out, lambda state, seen: same(seen.modes, [state.training] * len(seen.modes.raw))),
        same(out.same_module, not case.copies),
    )


@law(
    "The embedding still looks its rows up, and the head still multiplies by the same table.",
    source="nn.Embedding; nn.Linear",
    when=is_exact,
    obliges={"tied"},
)
def life_keeps_function(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        if not exact(state):
            return UNASKED
        rows = state.slots["E.weight"].values[case.lookup.tokens]
        return every(
            same(seen.found, rows.reshape(*case.shape, case.embedding_dim)),
            within(seen.logits, *case.logits(state, case.hidden)),
        )

    return throughout(case, out, judge)


@law(
    "The gradient of a tied Parameter is the sum of both paths; untied ones get their own.",
    source="autograd: gradients accumulate",
    obliges={"tied", "padding_hit", "trainable", "sparse"},
)
def tied_gradients_add(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        learned = [cell.grad for cell in cells(case.learn(state))]
        return every(
            same(seen.collected, [grad is not None for grad in learned]),
            same(seen.collected_grads, joined([grad for grad in learned if grad is not None])),
        )

    return every(is_true(out.grads_gone, "zero_grad left a gradient"), throughout(case, out, judge))


@law(
    "A step of SGD keeps tied names identical: one step for each Parameter.",
    source="torch.optim.SGD",
    when=is_exact,
    obliges={"tied", "trainable"},
)
def tied_names_step_once(case: LifeCase, out: Outcome) -> Finding:
    return values(out.stepped, case.stepped)


@law(
    "functional_call with one name replaces every name of the same Parameter, and only those; without ties that name alone; "
    "strictly it takes all names and no others; dictionaries that share a name are refused.",
    source="torch.func.functional_call: tie_weights, strict",
    when=is_exact,
    obliges={"tied"},
)
def functional_call_replaces_the_tie(case: LifeCase, out: Outcome) -> Finding:
    state = case.stepped
    tied = state.slots["E.weight"] is state.slots["H.weight"]
    rows = np.ones((len(case.lookup.tokens), case.embedding_dim))
    value, limit = case.logits(state, rows, np.ones((case.num_embeddings, case.embedding_dim)) if tied else None)
    shape = (*case.shape, case.num_embeddings)
    alone, off = case.logits(state, rows)
    return every(
        within(out.replaced, value.reshape(shape), limit.reshape(shape)),
        within(out.replaced_by_head, value.reshape(shape), limit.reshape(shape)) if tied else UNASKED,
        within(out.replaced_alone, alone.reshape(shape), off.reshape(shape)),
        is_true(out.strict, "a strict call takes what is missing or unknown, or not what is whole"),
        is_true(out.refuses_repeats, "two dictionaries with one name are taken"),
    )


def filled(state: tie.State, slot: str, value: float) -> Floats:
    """What all names show once a slot's memory is filled."""
    written = state.slots[slot].memory
    return joined([np.full_like(c.values, value) if c.memory is written else c.values for c in cells(state)])


@law(
    "Writing to one side shows under exactly the names that share its memory.",
    source="nn.Parameter",
    when=is_exact,
    obliges={"shares", "tied"},
)
def tied_names_change_together(case: LifeCase, out: Outcome) -> Finding:
    def judge(state: tie.State, seen: Any) -> Finding:
        if not exact(state):
            return UNASKED
        return every(
            same(seen.filled, filled(state, "E.weight", 7.0)), same(seen.filled_head, filled(state, "H.weight", 5.0))
        )

    return every(
        throughout(case, out, judge, at_the_end=False), same(out.filled, filled(case.stepped, "E.weight", 7.0))
    )


def keeps_apart(case: LifeCase) -> bool:
    """Whether every other module that an operation returns has memory of its own."""
    return "copied" not in case.history


@law(
    "A copy moves nothing in what it was made of: values, gradients, versions, flags, hooks.",
    source="copy.deepcopy; pickle; torch.save",
    when=keeps_apart,
    obliges={"copies"},
)
def copies_leave_the_original_alone(case: LifeCase, out: Outcome) -> Finding:
    return throughout(case, out, lambda state, seen: is_true(seen.left_alone, "the original changed with its copy"))


@law(
    "What happens to the original does not feed its copy.",
    source="copy.deepcopy; pickle; torch.save",
    when=lambda case: case.copies and case.is_exact and keeps_apart(case),
    obliges={"copies"},
)
def originals_leave_the_copy_alone(case: LifeCase, out: Outcome) -> Finding:
    return same(out.filled_there, filled(case.stepped, "E.weight", 7.0))


@law("Nothing is written around the table, nor to the other inputs.", source="no side effects")
def life_writes_nothing_around(case: LifeCase, out: Outcome) -> Finding:
    for name, words in out.written().items():
        if name not in ("weight", "bias") or "around" in words:
            return unwritten(out)
    return HOLDS


test_scope, test_product, test_random = life.tests()
