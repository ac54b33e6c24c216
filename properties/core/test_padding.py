"""Padding: the row that padding_idx names gets no gradient, from any token, size, dtype or flag; nothing else changes."""

import numpy as np

from embcheck.core import oracle
from embcheck.core.case import TYPICAL, LookupCase
from embcheck.core.comparison import same, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.gradient import routes
from embcheck.families.lookup.programs import TIMES
from embcheck.families.lookup.spelling import is_looked_up
from embcheck.families.padding.space import SPACE

padding = Family("padding", SPACE, routes.plan, call="table", refused=routes.refused, typical=TYPICAL)


@padding.law(
    "The gradients of the other rows are those of a lookup without the padding tokens.",
    source="nn.Embedding: padding_idx",
    must_cover={
        "padding_hit",
        "padding_absent",
        "repeated",
        "scale_grad_by_freq",
        "upstream_layout=expanded & embedding_dim>32 & repeated & padding_hit",
    },
    when=lambda case: case.num_embeddings > 1,
)
def other_rows_ignore_padding_tokens(case: LookupCase, out: Outcome) -> Finding:
    value, limit = oracle.weight_gradient(case, TIMES.get(case.route, 1))
    others = np.arange(case.num_embeddings) != case.padding_row
    return within(out.weight_grad[others], value[others], limit[others])


@padding.law(
    "The row at padding_idx gets zero gradient.",
    source="nn.Embedding: padding_idx doesn't contribute to the gradient",
    must_cover={"padding_hit", "all_padding", "negative_padding", "last_row", "numel>3072", "sparse", "scale_grad_by_freq",
             "dtype=bfloat16", "dtype=float16", "dtype=float64", "index_dtype=int32", "embedding_dim>128"},
)  # fmt: skip
def padding_row_gets_no_gradient(case: LookupCase, out: Outcome) -> Finding:
    return same(out.weight_grad[case.padding_row], 0)


@padding.law(
    "Looking up padding_idx returns its row unchanged; the forward pass masks nothing.",
    source="nn.Embedding: padding_idx affects the gradient only",
    must_cover={"padding_hit"},
    when=lambda case: case.route in ("backward_call", "vjp", "batched", "checkpointed"),
)
def lookup_returns_padding_row_unmasked(case: LookupCase, out: Outcome) -> Finding:
    return is_looked_up(case, out.value)


@padding.law(
    "A sparse gradient has no entry for the row at padding_idx.",
    source="embedding_sparse_backward filters padding tokens",
    must_cover={"padding_hit", "all_padding"},
    when=lambda case: case.sparse and case.route == "backward_call" and case.embedding_dim > 0,
)
def sparse_gradient_has_no_padding_entry(case: LookupCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):  # of which another law speaks
        return UNASKED
    return same(out.weight_grad.meta("_nnz"), int(case.counted.sum()))


test_scope, test_product, test_random = padding.tests()
