"""Nested: a nested tensor of tokens is looked up, or summed, component by component, whatever lies between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck import stream
from embcheck.comparison import every, same, unwritten, within
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.lookup.nested import MADE, alike, nested, no_backward
from embcheck.lookup.nested_case import Nested
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space

LENGTHS = ((2, 1), (1,), (0,), (3, 0, 2), (0, 4), (1, 1, 1), (4, 2, 0), (17, 3, 8), (0, 0))


def plan(case: Nested) -> Plan:
    flags = {name: getattr(case, name) for name in ("padding_idx", "sparse", "scale_grad_by_freq")}
    options = {
        "make": MADE[case.made],
        "alike": alike,
        "lengths": case.lengths,
        "columns": case.columns,
        "reduced": case.reduced,
        "module": case.module,
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
    }
    return Plan(nested, case.inputs(), options)


def canonical(case: Nested) -> Nested | None:
    """The case with flags that fit what is done: a lookup takes no holes, a bag has no counts, a maximum is not sparse."""
    changes: dict[str, Any] = {}
    if case.reduced == "lookup":
        changes |= {"made": "from_offsets"} if case.made in ("holes", "narrowed") else {}
    else:
        changes["columns"] = 0
    if case.reduced != "sum":
        changes["weighted"] = False
    if case.reduced != "lookup" or case.sparse:
        changes["scale_grad_by_freq"] = False
    if case.reduced == "max":
        changes["sparse"] = False
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.padding_idx is not None:
        changes["padding_idx"] = max(-case.num_embeddings, min(case.padding_idx, case.num_embeddings - 1))
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5, 300),
    "embedding_dim": (2, 1, 8, 17),
    "lengths": LENGTHS,
    "columns": (0, 2, 1),
    "reduced": ("lookup", "sum", "mean", "max"),
    "made": tuple(MADE),
    "module": (False, True),
    "padding_idx": (None, 0, -1, 2),
    "sparse": (False, True),
    "scale_grad_by_freq": (False, True),
    "weighted": (False, True),
    "dtype": ("float32", "float64"),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
}


def scope() -> Iterator[Nested]:
    """Every way to make a nested tensor, of every lengths, for every reduction with each of its flags."""
    flags: tuple[dict[str, Any], ...] = (
        {}, {"padding_idx": 0}, {"sparse": True}, {"scale_grad_by_freq": True}, {"weighted": True},
        {"padding_idx": -1, "sparse": True}, {"weighted": True, "padding_idx": 1},
    )  # fmt: skip
    combinations = itertools.product(AXES["reduced"], MADE, LENGTHS, flags)
    for seed, (reduced, made, lengths, fixed) in enumerate(combinations):
        fitted = canonical(
            Nested(lengths=lengths, reduced=reduced, made=made, module=seed % 2 == 0, seed=seed, **fixed)
        )
        if fitted is not None:
            yield fitted


def draw(draws: stream.Stream) -> Nested | None:
    """A random case: each axis at any value, of components of random lengths now and then."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    if draws.chance(2):
        chosen["lengths"] = tuple(draws.between(0, 9) for _ in range(draws.between(1, 6)))
    return canonical(Nested(**chosen, seed=draws.between(0, 255)))


family = Family(
    "nested",
    Space(Nested, AXES, canonical, scope, flags=("reduced", "made", "sparse", "padding_idx"), draw=draw, strength=2),
    plan,
    cost=12.0,
    stride=3,
    absent=no_backward(),
)
law = family.law


@law(
    "A nested lookup has for each component the rows of its tokens; a nested bag sums, averages or takes the maximum of each.",
    source="F.embedding; F.embedding_bag: input; torch.nested: a component for each",
    obliges={
        "bag",
        "holes",
        "empty_component",
        "padding_hit",
        "weighted",
        "columns=2",
        "reduced=max",
        "index_dtype=int32",
    },
)
def components_are_looked_up(case: Nested, out: Outcome) -> Finding:
    width = case.embedding_dim
    inner = (case.columns,) if case.columns else ()
    alone = case.reduced == "lookup"
    shapes = [(length, *inner, width) for length in case.lengths] if alone else [(len(case.lengths), width)]
    return every(
        same(out.is_nested, alone),
        same(out.shapes, shapes),
        within(out.value, case.value, 4 * case.format.unit_roundoff * abs(case.value))
        if case.reduced == "mean"
        else same(out.value, case.value),
    )


@law(
    "Each row's gradient is the sum of what arrives at its tokens in all components, and none from what lies between them.",
    source="the chain rule; nn.Embedding: padding_idx, sparse, scale_grad_by_freq",
    when=lambda case: case.reduced != "max",
    obliges={"bag", "holes", "padding_hit", "sparse", "scale_grad_by_freq", "repeated", "columns=2"},
)
def components_send_gradients(case: Nested, out: Outcome) -> Finding:
    return every(same(out.sparse, case.sparse), within(out.weight_grad, *case.gradient))


@law(
    "The weight of each token gets W[i]·g, that of padding nothing.",
    source="the chain rule; F.embedding_bag: per_sample_weights",
    when=lambda case: case.weighted,
    obliges={"holes", "padding_hit"},
)
def weights_of_components_learn(case: Nested, out: Outcome) -> Finding:
    return same(out.sample_grad, case.weights_gradient)


@law("Table, tokens, weights and upstream gradient stay as they are.", source="no side effects")
def nested_writes_nothing(case: Nested, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
