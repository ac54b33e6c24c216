"""Padding: the row that padding_idx names gets no gradient, from any token, size, dtype or flag; nothing else changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from embcheck import oracle
from embcheck.case import Case
from embcheck.comparison import same, within
from embcheck.law import Family
from embcheck.lookup import derivative, table
from embcheck.lookup.entry import ENTRIES, is_looked_up
from embcheck.lookup.past import past_cases
from embcheck.lookup.program import TIMES
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

#: Routes whose gradient is masked: all that go backward.
ROUTES = tuple(route for route in derivative.AXES["route"] if route != "forward_mode")


def canonical(case: Case) -> Case | None:
    """The case with a padding row; spellings that have none are left to the gradient family."""
    if ENTRIES[case.entry].product or case.num_embeddings == 0:
        return None
    if case.sparse and case.scale_grad_by_freq:
        case = case.but(sparse=False)
    fitted = derivative.canonical(case)
    return None if fitted is None or fitted.padding_row is None else fitted


def scope() -> Iterator[Case]:
    every_pair = (
        Case(rows, 2, pattern, (5,), padding, sparse=sparse, scale_grad_by_freq=scale)
        for rows in range(1, 9)
        for padding in range(-rows, rows)
        for pattern in table.PATTERN_NAMES
        for sparse, scale in ((False, False), (True, False), (False, True))
    )
    small = itertools.chain(table.small_cases(), table.small_cases(sparse=True), table.small_cases(entry="module"))
    return (case for case in map(canonical, itertools.chain(small, past_cases(), every_pair)) if case)


AXES = derivative.AXES | {
    "padding_idx": tuple(name for name in table.PADDINGS if name is not None),
    "entry": tuple(name for name, entry in ENTRIES.items() if not entry.product),
    "route": ROUTES,
}

padding = Family(
    "padding",
    Space(
        Case,
        AXES,
        canonical,
        scope,
        table.landmarks,
        flags=("padding_idx", "scale_grad_by_freq", "sparse", "dtype", "index_dtype"),
        base={"shape": (2, 3)},
        draw=lambda draws: canonical(table.threshold_case(draws, AXES)),
        smaller=table.smaller_tables,
        strength=2,
    ),
    derivative.plan,
    call="table",
    refused=derivative.refused,
)


@padding.law(
    "The other rows' gradients are those without the padding tokens.",
    source="nn.Embedding: padding_idx",
    obliges={"padding_hit", "padding_absent", "repeated", "scale_grad_by_freq"},
    when=lambda case: case.num_embeddings > 1,
)
def other_rows_ignore_padding_tokens(case: Case, out: Outcome) -> Finding:
    value, limit = oracle.weight_gradient(case, TIMES.get(case.route, 1))
    others = np.arange(case.num_embeddings) != case.padding_row
    return within(out.weight_grad[others], value[others], limit[others])


@padding.law(
    "Padding rows get zero gradient.",
    source="nn.Embedding: padding_idx doesn't contribute to the gradient",
    obliges={"padding_hit", "all_padding", "negative_padding", "last_row", "numel>3072", "sparse", "scale_grad_by_freq",
             "dtype=bfloat16", "dtype=float16", "dtype=float64", "index_dtype=int32", "embedding_dim>128"},
)  # fmt: skip
def padding_row_gets_no_gradient(case: Case, out: Outcome) -> Finding:
    return same(out.weight_grad[case.padding_row], 0)


@padding.law(
    "Looking up padding_idx returns its row as it is: nothing is masked in forward.",
    source="nn.Embedding: padding_idx affects the gradient only",
    obliges={"padding_hit"},
    when=lambda case: case.route in ("backward_call", "vjp", "batched", "checkpointed"),
)
def padding_row_is_returned(case: Case, out: Outcome) -> Finding:
    return is_looked_up(case, out.value)


@padding.law(
    "A sparse gradient holds no entry for the padding row.",
    source="embedding_sparse_backward filters padding tokens",
    obliges={"padding_hit", "all_padding"},
    when=lambda case: case.sparse and case.route == "backward_call" and case.embedding_dim > 0,
)
def sparse_gradient_has_no_padding_entry(case: Case, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):  # of which another law speaks
        return UNASKED
    return same(out.weight_grad.meta("_nnz"), int(case.counted.sum()))


test_scope, test_product, test_random = padding.tests()
