"""A tie survives every operation on a module, or breaks as documented."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from embcheck.core.comparison import every, identical, is_true, same, same_strides, unwritten, within
from embcheck.core.format import Floats
from embcheck.core.law import Family
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import UNASKED, Difference, Finding
from embcheck.families.tie_preservation import oracle
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tie_preservation.space import SPACE, plan

tie_preservation = Family("tie_preservation", SPACE, plan, cost=3.0, stride=7)
law = tie_preservation.law


def joined(arrays: list[Floats]) -> Floats:
    """All elements, one after the other."""
    return np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0)


def values(got: Field, state: oracle.State) -> Finding:
    """All parameters' values, but for what rounding may have done on the way."""
    expected = joined([cell.values for cell in state.listed()])
    if state.exact:
        return same(got, expected)
    memories = [cell.memory for cell in state.listed()]
    return within(
        got, expected, 2 * joined([np.zeros_like(m.values) if m.error is None else m.error for m in memories])
    )


class Glimpse:
    """What was seen after one operation of a history; as an `Outcome`."""

    def __init__(self, trail: Field, step: int) -> None:
        self._trail, self._step = trail, step

    def __getattr__(self, name: str) -> Field:
        return self._trail.entry(self._step, name)


def throughout(
    case: TiePreservationCase, out: Outcome, judge: Callable[[oracle.State, Any], Finding], at_the_end: bool = True
) -> Finding:
    """A judgement after each operation of a watched history, and after the last one of any."""
    found: list[Finding] = []
    for step, state in enumerate(case.states[1:] if case.watched else ()):
        found.append(judge(state, Glimpse(out.trail, step)))
        if isinstance(found[-1], Difference):
            return found[-1]
    return every(*found, judge(case.expected, out)) if at_the_end else every(*found)


def identities(state: oracle.State) -> list[int]:
    """For each name, the position of the first name of the same Parameter."""
    return oracle.groups(state.listed())


def in_groups(got: Field, wanted: list[int], names: list[str], apart: str, together: str) -> Finding:
    """Each name has the position of the first of its group; ``apart`` and ``together`` say what it means that two names are in
    two groups, or in one, and should not be."""
    found = same(got, wanted)
    if isinstance(found, Difference) and isinstance(found.got, list):
        for name, seen, due in zip(names, found.got, wanted, strict=False):
            if seen != due:
                words = apart if due < seen else together
                return replace(found, words=f"{names[min(seen, due)]} and {name} {words}")
    return found


@law(
    "Names are one Parameter exactly when they were before, unless the operation is documented to break the tie.",
    source="nn.Module: load_state_dict(assign), to, to_empty; copy.deepcopy; torch.save; pickle",
    must_cover={"tied", "copies", "structure=three_way", "structure=shared_module", "first=assigned", "operations>=8"},
)
def operation_preserves_parameter_identity(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        wanted = identities(state)
        names = list(state.names)
        said = "are two Parameters, expected one", "are one Parameter, expected two"
        cells = in_groups(seen.cells, wanted, names, *said)
        return every(same(seen.names, names), cells, same(seen.count, len(set(wanted))))

    return throughout(case, out, judge)


@law("named_parameters() lists a tied Parameter once.", source="nn.Module.named_parameters")
def named_parameters_lists_tied_weight_once(case: TiePreservationCase, out: Outcome) -> Finding:
    return throughout(case, out, lambda state, seen: same(seen.unique, sorted(set(identities(state)))))


@law(
    "An optimizer has one slot for each Parameter, however many names it has.",
    source="torch.optim: iterable of parameters",
    when=lambda case: case.watched,
    must_cover={"tied", "operations>=8"},
)
def optimizer_has_one_slot_per_parameter(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        # In the order of the modules, which is not always that of the names.
        return same(seen.slots.derived("sorted({})"), sorted(set(identities(state))))

    return throughout(case, out, judge, at_the_end=False)


@law(
    "Names share memory exactly when they should, and so do their entries in state_dict().",
    source="nn.Module.state_dict: references to the module's parameters; torch.save preserves views",
    must_cover={"shares", "first=assigned_saved", "second=aliased", "first=aliased & second=saved_by_function"},
)
def operation_preserves_shared_memory(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        memory = oracle.groups([cell.memory for cell in state.listed()])
        keys = same(seen.keys, sorted(state.names))
        said = "share no memory, expected to share it", "share memory, expected not to"
        return every(in_groups(seen.memory, memory, list(state.names), *said), keys, same(seen.state_memory, memory))

    return throughout(case, out, judge)


@law(
    "Values survive an operation bit for bit, are cast exactly, or change as documented.",
    source="nn.Module; torch.nn.utils",
)
def operation_preserves_values(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        if state.exact:
            expected = state.format.encode(joined([cell.values for cell in state.listed()]))
            return identical(seen.values, state.format.to_bits(expected))
        return values(seen.values, state)

    return throughout(case, out, judge)


@law(
    "Parameters stay leaves with their shape, dtype, strides and requires_grad; no hook appears.",
    source="nn.Module; torch.preserve_format",
    must_cover={"layout=transposed", "layout=column_slice"},
)
def operation_preserves_parameter_metadata(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        expected = state.listed()
        shapes = [cell.values.shape for cell in expected]
        if seen.shapes.raw != shapes:
            return same(seen.shapes, shapes)
        return every(
            is_true(seen.leaves, "a Parameter became something else, or part of a graph"),
            same(seen.dtypes, [f"torch.{state.dtype}"] * len(expected)),
            same(seen.requires_grad, [cell.requires_grad for cell in expected]),
            *(same_strides(seen.strides.entry(k), cell.values.shape, cell.strides) for k, cell in enumerate(expected)),
            same(seen.hooks, 0),
            same(seen.module_hooks, 0),
        )

    return throughout(case, out, judge)


@law(
    "Gradients survive an operation that keeps the Parameter; copies and new Parameters have none.",
    source="nn.Module.zero_grad, to; nn.Parameter.__deepcopy__",
    must_cover={"first=graded", "first=accumulated"},
)
def operation_preserves_gradients(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        expected = [cell.grad for cell in state.listed()]
        return every(
            same(seen.graded, [grad is not None for grad in expected]),
            same(seen.grads, [grad.tolist() for grad in expected if grad is not None]),
        )

    return throughout(case, out, judge)


@law(
    "Modules keep their names, types, sizes and flags, and the training mode that was set.",
    source="nn.Embedding: attributes; nn.Module.train",
)
def operation_preserves_modules(case: TiePreservationCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kept, "paths, types or flags of the modules changed"),
        throughout(case, out, lambda state, seen: same(seen.modes, [state.training] * len(seen.modes.raw))),
        same(out.same_module, not case.copies),
    )


@law(
    "After an operation the embedding still looks rows up and the head multiplies by the same table.",
    source="nn.Embedding; nn.Linear",
    when=lambda case: case.expected.exact,
    must_cover={"tied", "first=deepcopied_compiled & second=doubled"},
)
def operation_preserves_outputs(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        if not state.exact:
            return UNASKED
        rows = state.slots["E.weight"].values[case.lookup.tokens]
        return every(
            same(seen.found, rows.reshape(*case.shape, case.embedding_dim)),
            within(seen.logits, *case.logits(state, case.hidden)),
        )

    return throughout(case, out, judge)


@law(
    "The gradient of a tied Parameter sums both paths; untied Parameters get their own.",
    source="autograd: gradients accumulate",
    must_cover={"tied", "padding_idx=-1 & padding_hit", "trainable", "sparse"},
)
def tied_gradients_add(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        learned = [cell.grad for cell in case.learn(state).listed()]
        return every(
            same(seen.collected, [grad is not None for grad in learned]),
            same(seen.collected_grads, joined([grad for grad in learned if grad is not None])),
        )

    return every(is_true(out.grads_gone, "zero_grad left a gradient"), throughout(case, out, judge))


@law(
    "A step of SGD moves a tied Parameter once and keeps its names identical.",
    source="torch.optim.SGD",
    when=lambda case: case.steps_exactly,
    must_cover={"tied", "trainable"},
)
def sgd_steps_tied_weight_once(case: TiePreservationCase, out: Outcome) -> Finding:
    return values(out.stepped, case.stepped)


@law(
    "functional_call with one name replaces every name of the same Parameter, no other, and refuses two values for it.",
    source="torch.func.functional_call: tie_weights, strict",
    when=lambda case: case.steps_exactly,
    must_cover={"tied"},
)
def functional_call_replaces_every_tied_name(case: TiePreservationCase, out: Outcome) -> Finding:
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
        is_true(out.refuses_two_values, "two values for one Parameter are taken, or those of two Parameters are not"),
    )


def filled(state: oracle.State, slot: str, value: float) -> Floats:
    """What all names show once a slot's memory is filled."""
    written = state.slots[slot].memory
    return joined([np.full_like(c.values, value) if c.memory is written else c.values for c in state.listed()])


@law(
    "A write to one name appears under exactly the names that share its memory.",
    source="nn.Parameter",
    when=lambda case: case.steps_exactly,
    must_cover={"shares", "tied"},
)
def writes_appear_under_every_tied_name(case: TiePreservationCase, out: Outcome) -> Finding:
    def judge(state: oracle.State, seen: Any) -> Finding:
        if not state.exact:
            return UNASKED
        head = same(seen.filled_head, filled(state, "H.weight", 5.0))
        return every(same(seen.filled, filled(state, "E.weight", 7.0)), head)

    last = same(out.filled, filled(case.stepped, "E.weight", 7.0))
    return every(throughout(case, out, judge, at_the_end=False), last)


def keeps_apart(case: TiePreservationCase) -> bool:
    """Whether every other module that an operation returns has memory of its own."""
    return "copied" not in case.history


@law(
    "Making a copy changes nothing in the original: values, gradients, versions, flags, hooks.",
    source="copy.deepcopy; pickle; torch.save",
    when=keeps_apart,
    must_cover={"copies"},
)
def copy_leaves_the_original_unchanged(case: TiePreservationCase, out: Outcome) -> Finding:
    return throughout(case, out, lambda state, seen: is_true(seen.left_alone, "the original changed with its copy"))


@law(
    "What happens to the original does not change its copy.",
    source="copy.deepcopy; pickle; torch.save",
    when=lambda case: case.copies and case.steps_exactly and keeps_apart(case),
    must_cover={"copies"},
)
def original_leaves_its_copy_unchanged(case: TiePreservationCase, out: Outcome) -> Finding:
    return same(out.filled_there, filled(case.stepped, "E.weight", 7.0))


@law("An operation writes nothing around the table, nor to other inputs.", source="no side effects")
def operation_writes_nothing_around_the_table(case: TiePreservationCase, out: Outcome) -> Finding:
    return unwritten(out, "weight", "bias")


test_scope, test_product, test_random = tie_preservation.tests()
