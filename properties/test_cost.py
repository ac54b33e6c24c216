"""Cost: a lookup is O(B·S·D) and a table O(V·D), by counting what is allocated and what runs, never by the clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import at_most, same
from embcheck.cost.case import BAGS, CALLS, LOOKUPS, CostCase
from embcheck.cost.program import CALLED, measure
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.lookup import table
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space

#: Bytes of bookkeeping that may be taken for each token, bag or row, and in any case.
_EACH, _ONCE = 64, 512
#: Operators that a call may run, whatever the number of tokens.
_OPERATORS = 64


def plan(case: CostCase) -> Plan:
    flags: dict[str, Any] = {}
    if case.call != "one_hot":
        flags = {"sparse": case.sparse, "scale_grad_by_freq": case.scale_grad_by_freq, "padding_idx": case.padding_idx}
    return Plan(measure, case.inputs(), {"call": CALLED[case.call], "flags": flags})


def canonical(case: CostCase) -> CostCase | None:
    """The case with flags that its call takes together."""
    case = case.but(padding_idx=table.padding_of(case.padding_idx, case.num_embeddings))
    if case.call == "one_hot":
        return case.but(padding_idx=None, sparse=False, scale_grad_by_freq=False, index_dtype="int64", embedding_dim=2)
    if case.sparse and not case.reduces:
        case = case.but(scale_grad_by_freq=False)  # refused in backward
    if case.call == "bag_max":
        case = case.but(sparse=False, scale_grad_by_freq=False)
    if case.call == "bag_weighted" or (case.sparse and case.reduces):
        case = case.but(scale_grad_by_freq=False)
    return case.but(indices="uniform") if case.indices == "padding" and case.padding_idx is None else case


def landmarks() -> Iterator[CostCase]:
    """Rows of more memory than a token's bookkeeping, tables of more than all tokens' rows, and many tokens."""
    sizes = ((5, 129, 257, 2), (4097, 16, 9, 3), (65, 64, 257, 4), (1001, 129, 129, 9))
    for index_dtype, scale in (("int32", False), ("int64", True), ("int32", True)):
        for rows, width, numel, _ in sizes:
            yield CostCase("functional", rows, width, numel, index_dtype=index_dtype, scale_grad_by_freq=scale)
    for seed, (call, size) in enumerate(itertools.product(CALLS, sizes)):
        rows, width, numel, bags = size
        dtype = tuple(FORMATS)[(seed + seed // 4) % 4]
        for sparse, padding in ((False, None), (True, -1)):
            fitted = canonical(
                CostCase(call, rows, width, numel, bags, dtype, padding_idx=padding, sparse=sparse, seed=seed)
            )
            if fitted is not None:
                yield fitted


AXES = {
    "call": CALLS,
    "num_embeddings": (3, 1, 65, 1001, 4097),
    "embedding_dim": (2, 0, 1, 16, 64, 129),
    "numel": (4, 0, 1, 33, 65, 257),
    "bags": (1, 2, 7),
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "padding_idx": (None, 0, -1),
    "sparse": (False, True),
    "scale_grad_by_freq": (False, True),
    "indices": ("uniform", "same", "permutation"),
}

cost = Family("cost", Space(CostCase, AXES, canonical, landmarks=landmarks, strength=2), plan, cost=48.0)


def _looks_up(case: CostCase) -> bool:
    return case.call in LOOKUPS


@cost.law(
    "A lookup allocates its output and nothing else that grows with the table or its rows: O(B·S·D).",
    source="nn.Embedding: a simple lookup table",
    obliges={"tall", "many", "dtype=float64", "dtype=bfloat16", "dtype=float16", "call=module", "index_dtype=int32"},
    when=_looks_up,
)
def lookup_allocates_its_output(case: CostCase, out: Outcome) -> Finding:
    return at_most(out.forward, case.output + _ONCE, "bytes allocated")


@cost.law(
    "A lookup multiplies nothing.", source="nn.Embedding: a simple lookup table", obliges={"tall"}, when=_looks_up
)
def lookup_multiplies_nothing(case: CostCase, out: Outcome) -> Finding:
    return same(out.flops, 0)


@cost.law(
    "A lookup keeps nothing of its own for backward: the tokens are enough.",
    source="dW = one_hot(i)ᵀ @ dY holds neither W nor the output",
    obliges={"tall", "many", "sparse", "scale_grad_by_freq"},
    when=_looks_up,
)
def lookup_keeps_the_tokens_alone(case: CostCase, out: Outcome) -> Finding:
    return at_most(out.kept, _EACH, "bytes kept")


@cost.law(
    "A bag instantiates no intermediate rows: its memory is that of its output and of a few words a token.",
    source="nn.EmbeddingBag: without instantiating the intermediate embeddings",
    obliges={"wide", "padding_idx=-1", *(f"call={name}" for name in BAGS), "dtype=float16"},
    when=lambda case: case.reduces,
)
def bag_instantiates_no_rows(case: CostCase, out: Outcome) -> Finding:
    # Beside the output a half is accumulated in float32, and a maximum has its place.
    rows = case.rows * case.embedding_dim * (case.element + 4 + 8)
    return at_most(out.forward, rows + _EACH * (case.numel + case.rows) + _ONCE, "bytes allocated")


@cost.law(
    "A dense gradient allocates one table, and a bag's the rows that its tokens get: O(V·D).",
    source="the gradient has the shape of the weight",
    obliges={"tall", "many", "reduces", "scale_grad_by_freq"},
    when=lambda case: case.call != "one_hot" and not case.sparse,
)
def gradient_allocates_one_table(case: CostCase, out: Outcome) -> Finding:
    rows = case.looked_up + 2 * case.output if case.reduces else 0
    rows += 16 * case.rows * case.embedding_dim * (case.call == "bag_max")  # where each maximum is
    words = _EACH * (case.numel + case.rows) + 16 * case.num_embeddings * case.scale_grad_by_freq
    return at_most(out.backward, case.whole + rows + words + _ONCE, "bytes allocated")


@cost.law(
    "A sparse gradient allocates the rows of its tokens and no table.",
    source="nn.Embedding: sparse: gradient w.r.t. weight matrix will be a sparse tensor",
    obliges={"tall", "reduces"},
    when=lambda case: case.sparse,
)
def sparse_gradient_allocates_no_table(case: CostCase, out: Outcome) -> Finding:
    rows = 2 * case.looked_up + case.output
    return at_most(out.backward, rows + _EACH * (case.numel + case.rows) + _ONCE, "bytes allocated")


@cost.law(
    "The number of operators that run does not grow with the tokens.",
    source="a lookup of a batch is one operation",
    obliges={"many", "reduces", "call=one_hot"},
)
def operators_do_not_grow(case: CostCase, out: Outcome) -> Finding:
    return at_most(out.operators, _OPERATORS, "operators")


@cost.law(
    "A one-hot matrix takes V integers a token: O(B·S·V), what a lookup spares.",
    source="F.one_hot: returns a tensor of shape (*, num_classes)",
    obliges={"tall", "many"},
    when=lambda case: case.call == "one_hot",
)
def one_hot_allocates_a_matrix(case: CostCase, out: Outcome) -> Finding:
    matrix = 8 * case.numel * case.num_embeddings
    return at_most(out.forward, matrix + _EACH * case.numel + _ONCE, "bytes allocated")


test_scope, test_product, test_random = cost.tests()
