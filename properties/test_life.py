"""Life: a tie survives every operation on a module, or breaks as documented."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import stream
from embcheck.format import FORMATS, Floats
from embcheck.law import Family, Finding, Plan, every, identical, is_true, same, unwritten, within
from embcheck.layout import LAYOUTS
from embcheck.life import tie
from embcheck.life.case import LifeCase
from embcheck.life.program import STRUCTURES, live, observe
from embcheck.life.rewriting import OPERATIONS
from embcheck.lookup import table
from embcheck.outcome import Field, Outcome
from embcheck.space import Space

_FLAGS = ("padding_idx", "scale_grad_by_freq", "sparse")

#: States in which the operations find the model.
PRIORS = ("nothing", "graded", "frozen", "embedding_frozen", "evaluating")


def plan(case: LifeCase) -> Plan:
    structure = STRUCTURES[case.structure]
    options = {
        "build": structure.build,
        "observe": observe,
        "prior": OPERATIONS[case.prior].act,
        "first": OPERATIONS[case.first].act,
        "second": OPERATIONS[case.second].act,
        "embedding": structure.paths["E"][-1],
        "head": structure.paths["H"][-1],
        "flags": {name: case.axes[name] for name in _FLAGS if case.axes[name] is not case._field_defaults[name]},
        "from_head": case.from_head,
    }
    return Plan(live, case.inputs(), options)


def canonical(case: LifeCase) -> LifeCase | None:
    """The case with axes made to fit each other."""
    changes: dict[str, Any] = {"padding_idx": table.padding_of(case.padding_idx, case.num_embeddings)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.sparse:
        changes["scale_grad_by_freq"] = False
    if case.scale_grad_by_freq:
        changes["indices"] = "pairs"  # counts are powers of two: division is exact
        changes["shape"] = (2,)
    fitted = case.but(**changes)
    # The direction of a row of zeros is 0/0: weight_norm can't keep it.
    return fitted if "normed_zero_row" not in fitted.expected.noted else fitted.but(second="nothing")


def scope() -> Iterator[LifeCase]:
    """Every operation on every structure; every history of two operations."""
    alone = (
        LifeCase(3, 2, structure, prior, first, padding_idx=padding, bias=bool(seed % 2), from_head=bool(seed % 4 < 2))
        for seed, (first, structure, prior, padding) in enumerate(
            itertools.product(OPERATIONS, STRUCTURES, PRIORS, (None, 0))
        )
    )
    pairs = (
        LifeCase(
            3, 2, "flat", "nothing", first, second, bias=bool(seed % 2), padding_idx=(None, 1, -1)[seed % 3], seed=seed
        )
        for seed, (first, second) in enumerate(itertools.product(OPERATIONS, OPERATIONS))
    )
    return (case for case in map(canonical, itertools.chain(alone, pairs)) if case is not None)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5),
    "embedding_dim": (2, 1, 3),
    "structure": tuple(STRUCTURES),
    "prior": PRIORS,
    "first": tuple(OPERATIONS),
    "second": tuple(OPERATIONS),
    "from_head": (False, True),
    "bias": (False, True),
    "indices": ("cycle", "same", "padding", "unequal", "ends"),
    "shape": ((3,), (), (1,), (0,), (2, 2), (5,)),
    "padding_idx": (None, 0, 1, -1, "last"),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
}


def draw(draws: stream.Stream) -> LifeCase | None:
    """A random case: two operations, and each other axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    both = {name: draws.choice(AXES[name]) for name in ("first", "second")}
    return canonical(LifeCase(**(chosen | both), seed=draws.between(0, 255)))


life = Family(
    "life",
    Space(
        LifeCase,
        {name: values for name, values in AXES.items() if name != "second"},
        canonical,
        scope,
        flags=("first", "prior", "dtype"),
        base={"bias": True, "padding_idx": 0, "layout": "transposed"},
        draw=draw,
        strength=2,
    ),
    plan,
    cost=3.0,
    stride=2,
)
law = life.law


def cells(state: tie.State) -> list[tie.Cell]:
    """The Parameter of each name, in order of the names."""
    return [state.cell(name) for name in state.names]


def joined(arrays: list[Floats]) -> Floats:
    """All elements, one after the other."""
    return np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.zeros(0)


def tolerance(case: LifeCase, state: tie.State) -> Floats:
    """How far each element may be off: 0, but (2D + 16) u |w| after weight_norm: a norm, a division, a product."""
    roundoff = max(FORMATS[name].unit_roundoff for name in (case.dtype, state.dtype, *_casts(case)))
    share = (2 * case.embedding_dim + 16) * roundoff
    return joined([np.abs(cell.values) * share if cell.memory.loose else 0 * cell.values for cell in cells(state)])


def _casts(case: LifeCase) -> list[str]:
    both = {"as_half": "float16", "as_bfloat16": "bfloat16", "as_float": "float32"}
    return [both[name] for name in (case.first, case.second) if name in both]


def is_exact(case: LifeCase) -> bool:
    return case.is_exact


def values(case: LifeCase, got: Field, state: tie.State) -> Finding:
    """All parameters' values, bit for bit unless they were computed with rounding."""
    expected = joined([cell.values for cell in cells(state)])
    if case.is_exact:
        return same(got, expected)
    return within(got, expected, 2 * tolerance(case, state))


@law(
    "Names are one Parameter exactly when they were before, or the operation is documented to break the tie.",
    source="nn.Module: load_state_dict(assign), to, to_empty; copy.deepcopy; torch.save; pickle",
    obliges={"tied", "copies", "structure=three_way", "structure=shared_module", "first=assigned"},
)
def tie_survives_by_identity(case: LifeCase, out: Outcome) -> Finding:
    return every(
        same(out.names, list(case.expected.names)),
        same(out.cells, case.identities),
        same(out.count, len(set(case.identities))),
    )


@law("named_parameters() lists a tied Parameter once.", source="nn.Module.named_parameters")
def tie_is_listed_once(case: LifeCase, out: Outcome) -> Finding:
    return same(out.unique, sorted(set(case.identities)))


@law(
    "Names share memory exactly when they should, and state_dict shares it with them, under every name.",
    source="nn.Module.state_dict: references to the module's parameters; torch.save preserves views",
    obliges={"shares", "first=assigned_saved", "second=aliased"},
)
def tie_survives_by_memory(case: LifeCase, out: Outcome) -> Finding:
    memory = tie.groups([cell.memory for cell in case.cells])
    return every(
        same(out.memory, memory),
        same(out.keys, sorted(case.expected.names)),
        same(out.state_memory, memory),
    )


@law("Values survive: bit for bit, or cast exactly, or as the operation says.", source="nn.Module; torch.nn.utils")
def life_keeps_values(case: LifeCase, out: Outcome) -> Finding:
    if case.is_exact:
        expected = case.format.encode(joined([cell.values for cell in case.cells]))
        return identical(out.values, case.format.to_bits(expected))
    return values(case, out.values, case.expected)


@law(
    "Parameters stay leaf Parameters of their shape, dtype, strides and requires_grad; no hook appears.",
    source="nn.Module; torch.preserve_format",
    obliges={"layout=transposed", "layout=column_slice"},
)
def life_keeps_metadata(case: LifeCase, out: Outcome) -> Finding:
    expected = case.cells
    shapes = [cell.values.shape for cell in expected]
    if out.shapes.raw != shapes:
        return same(out.shapes, shapes)
    return every(
        is_true(out.leaves, "a Parameter became something else, or part of a graph"),
        same(out.dtypes, [f"torch.{case.expected.dtype}"] * len(expected)),
        same(out.requires_grad, [cell.requires_grad for cell in expected]),
        same(significant(out.strides, shapes), [_of(cell.strides, cell.values.shape) for cell in expected]),
        same(out.hooks, 0),
        same(out.module_hooks, 0),
    )


def significant(got: Field, shapes: list[tuple[int, ...]]) -> Field:
    """Strides of the axes longer than one."""
    return Field([_of(s, shape) for s, shape in zip(got.raw, shapes, strict=True)], got.path, lambda raw: raw)


def _of(strides: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    return [stride for stride, length in zip(strides, shape, strict=True) if length > 1]


@law(
    "Gradients survive what keeps the Parameter; copies and new Parameters have none.",
    source="nn.Module.zero_grad, to; nn.Parameter.__deepcopy__",
    obliges={"first=graded"},
)
def life_keeps_gradients(case: LifeCase, out: Outcome) -> Finding:
    expected = [cell.grad for cell in case.cells]
    return every(
        same(out.graded, [grad is not None for grad in expected]),
        same(out.grads, [grad.tolist() for grad in expected if grad is not None]),
    )


@law(
    "Modules keep their paths, types, sizes and flags (padding_idx, sparse, …), and are in training mode as asked.",
    source="nn.Embedding: attributes; nn.Module.train",
)
def life_keeps_modules(case: LifeCase, out: Outcome) -> Finding:
    modes = [case.expected.training] * len(out.modes.raw)
    copies = OPERATIONS[case.first].copies or OPERATIONS[case.second].copies
    return every(
        is_true(out.kept, "paths, types or flags of the modules changed"),
        same(out.modes, modes),
        same(out.same_module, not copies),
    )


@law(
    "The embedding still looks its rows up, and the head still multiplies by the same table.",
    source="nn.Embedding; nn.Linear",
    when=is_exact,
    obliges={"tied"},
)
def life_keeps_function(case: LifeCase, out: Outcome) -> Finding:
    rows = case.expected.slots["E.weight"].values[case.lookup.tokens]
    return every(
        same(out.found, rows.reshape(*case.shape, case.embedding_dim)),
        within(out.logits, *case.logits(case.expected, case.hidden)),
    )


@law(
    "The gradient of a tied Parameter is the sum of both paths; untied ones get their own.",
    source="autograd: gradients accumulate",
    obliges={"tied", "padding_hit", "trainable", "sparse"},
)
def tied_gradients_add(case: LifeCase, out: Outcome) -> Finding:
    learned = [cell.grad for cell in cells(case.learned)]
    return every(
        is_true(out.grads_gone, "zero_grad left a gradient"),
        same(out.collected, [grad is not None for grad in learned]),
        same(out.collected_grads, joined([grad for grad in learned if grad is not None])),
    )


@law(
    "A step of SGD keeps tied names identical: one step for each Parameter.",
    source="torch.optim.SGD",
    when=is_exact,
    obliges={"tied", "trainable"},
)
def tied_names_step_once(case: LifeCase, out: Outcome) -> Finding:
    return values(case, out.stepped, case.stepped)


@law(
    "functional_call with one name replaces every name of the same Parameter, and only those.",
    source="torch.func.functional_call: tie_weights=True",
    when=is_exact,
    obliges={"tied"},
)
def functional_call_replaces_the_tie(case: LifeCase, out: Outcome) -> Finding:
    state = case.stepped
    tied = state.slots["E.weight"] is state.slots["H.weight"]
    rows = np.ones((len(case.lookup.tokens), case.embedding_dim))
    value, limit = case.logits(state, rows, np.ones((case.num_embeddings, case.embedding_dim)) if tied else None)
    shape = (*case.shape, case.num_embeddings)
    return within(out.replaced, value.reshape(shape), limit.reshape(shape))


@law(
    "Writing to the embedding shows under exactly the names that share its memory.",
    source="nn.Parameter",
    when=is_exact,
    obliges={"shares", "tied"},
)
def tied_names_change_together(case: LifeCase, out: Outcome) -> Finding:
    state = case.stepped
    written = state.slots["E.weight"].memory
    after = [np.full_like(c.values, 7.0) if c.memory is written else c.values for c in cells(state)]
    return same(out.filled, joined(after))


@law(
    "A copy moves nothing in what it was made of: values, gradients, versions, flags, hooks.",
    source="copy.deepcopy; pickle; torch.save",
    when=lambda case: "copied" not in (case.first, case.second),
    obliges={"copies"},
)
def copies_leave_the_original_alone(case: LifeCase, out: Outcome) -> Finding:
    return is_true(out.left_alone, "the original changed with its copy")


@law("Nothing is written around the table, nor to the other inputs.", source="no side effects")
def life_writes_nothing_around(case: LifeCase, out: Outcome) -> Finding:
    for name, words in out.written().items():
        if name not in ("weight", "bias") or "around" in words:
            return unwritten(out)
    return None


test_scope, test_product, test_random = life.tests()
