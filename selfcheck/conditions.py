"""The table from which conditions of faults are drawn: for each site facts of the call, and what they are compared with.

It is written from what real bugs looked like (thresholds of kernels, dtypes, layouts, pairs of flags, counts, earlier
calls, threads, the padding's place), without a look at what the generator makes, and it stays as it is when a score
is taken: a fact that no axis of the generator reaches is what the score is to show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from embcheck.core.facts import conditions
from selfcheck.contradictions import contradictory

#: The least share of faults that each profile is to kill: a score whose interval ends below fails.
THRESHOLDS = {"quick": 0.93, "gate": 0.97, "full": 0.97, "deep": 0.97}


class Term(NamedTuple):
    """A fact with its weight among a site's facts, and the conditions on it, which are drawn alike often."""

    weight: int
    fact: str
    texts: tuple[str, ...]


def _term(weight: int, *texts: str) -> Term:
    facts = {condition.fact for text in texts for condition in conditions(text)}
    if len(facts) != 1:
        raise ValueError(f"a term speaks of one fact, and {texts} of {', '.join(sorted(facts))}")
    return Term(weight, facts.pop(), texts)


def _values(weight: int, fact: str, *values: object) -> Term:
    return _term(weight, *(f"{fact}={value}" for value in values))


# -- facts of tokens, tables, padding, flags and of what came before ----------------------------------------------------

_DIMS = (
    *("embedding_dim=1", "embedding_dim=2", "embedding_dim=7", "embedding_dim=8", "embedding_dim=16"),
    *("embedding_dim=17", "embedding_dim=31", "embedding_dim=32", "embedding_dim=33", "embedding_dim=64"),
    *("embedding_dim=65", "embedding_dim=128", "embedding_dim=129", "embedding_dim>64", "embedding_dim>128"),
    *("embedding_dim>512", "embedding_dim>32 & embedding_dim<=64"),
)
_NUMEL = (
    *("numel=1", "numel=2", "numel=16", "numel=17", "numel=31", "numel=32", "numel=33", "numel=63", "numel=64"),
    *("numel=65", "numel=128", "numel=129", "numel=768", "numel=769", "numel=1000", "numel=1001", "numel>64"),
    *("numel>768", "numel>1000", "numel>3072", "numel>512 & numel<=768", "numel>32 & numel<=64"),
)
_ROWS = (
    *("num_embeddings=1", "num_embeddings=2", "num_embeddings=16", "num_embeddings=64", "num_embeddings=256"),
    *("num_embeddings=999", "num_embeddings=1000", "num_embeddings=1001", "num_embeddings=2001"),
    *("num_embeddings>256", "num_embeddings>1000", "num_embeddings>2000", "num_embeddings>64 & num_embeddings<=256"),
)
_TOKENS = (
    _term(6, *_NUMEL),
    _values(2, "index_dtype", "int32", "int64"),
    _values(3, "index_layout", "rows_strided", "transposed", "strided", "expanded"),
    _term(
        4,
        *("max_count=1", "max_count=2", "max_count=3", "max_count=10", "max_count=11", "max_count=20", "max_count=21"),
        *("max_count>64", "max_count>256", "max_count>2048"),
    ),
    _term(1, "unequal_counts"),
    _term(2, "interleaved", "interleaved=False"),
    _term(1, "descending"),
    _term(1, "first_row"),
    _term(1, "last_row", "last_row=False"),
)
_RANK = (_values(3, "rank", 0, 1, 2, 3),)
_TABLE = (
    _term(5, *_DIMS),
    _term(3, *_ROWS),
    _values(4, "dtype", "float32", "float64", "float16", "bfloat16"),
    _values(3, "layout", "rows_strided", "transposed", "strided"),
    _term(1, "offset"),
    _term(1, "elements>4096", "elements>65536"),
)
_GIVEN_PADDING = (
    _values(4, "padding", "none", "first", "middle", "last"),
    _term(2, "padding_hit", "padding_hit=False"),
    _term(2, "padding_count=1", "padding_count=2", "padding_count>16", "padding_count>256"),
    _term(1, "all_padding"),
)
_SCALE = (_term(2, "scale_grad_by_freq", "scale_grad_by_freq=False"),)
_SPARSE = (_term(2, "sparse", "sparse=False"),)
_EARLIER = (_term(4, "earlier=0", "earlier=1", "earlier=2", "earlier=3", "earlier>=1"), _term(1, "threads>1"))
_SPECIAL = (_term(1, "nan"), _term(1, "infinite"))
_BAGS = (
    _values(5, "mode", "sum", "mean", "max"),
    _term(4, "bags=1", "bags=2", "bags=3", "bags>8", "bags>64", "bags=64", "bags=65"),
    _term(3, "empty_bags=0", "empty_bags=1", "empty_bags>1"),
    _term(2, "empty_first"),
    _term(2, "empty_last"),
    _term(3, "largest_bag=1", "largest_bag=2", "largest_bag>16", "largest_bag>64", "largest_bag>256"),
)
_SAMPLES = (_term(3, "per_sample_weights", "per_sample_weights=False"), _values(1, "samples_layout", "strided"))
_OFFSETS = (
    _term(2, "include_last_offset", "include_last_offset=False"),
    _term(1, "trailing"),
    _values(1, "offsets_dtype", "int32", "int64"),
    _values(1, "offsets_layout", "strided"),
)
_NORMS = (
    _values(4, "norm_type", 1, 2, 3, "inf", 0.5, 0),
    _term(3, "max_norm=1", "max_norm=0", "max_norm<1", "max_norm>1", "max_norm<0.001"),
    _term(3, "rescaled=1", "rescaled=2", "rescaled>8", "rescaled>64"),
    _term(2, "kept=0", "kept>=1"),
)
_PRODUCT = (
    _term(4, "rows=1", "rows=2", "rows=17", "rows=33", "rows>16", "rows>64", "rows>768"),
    _term(4, "inner=1", "inner=7", "inner=8", "inner=17", "inner=32", "inner=33", "inner=65", "inner>64", "inner>256"),
    _term(4, "columns=1", "columns=7", "columns=8", "columns=17", "columns=33", "columns>64", "columns>256"),
    _values(4, "dtype", "float32", "float64", "float16", "bfloat16"),
    _values(3, "left_layout", "transposed", "rows_strided", "strided", "contiguous"),
    _values(3, "right_layout", "transposed", "rows_strided", "strided", "contiguous"),
    _term(1, "offset"),
    _term(1, "square"),
)

_FORWARD_BAG = (
    *(*_TOKENS, *_TABLE, *_GIVEN_PADDING, *_SCALE, *_SPARSE, *_EARLIER, *_SPECIAL),
    *(*_BAGS, *_SAMPLES, *_OFFSETS),
)

#: For each site the facts that its conditions speak of.
TABLE: Mapping[str, tuple[Term, ...]] = {
    "embedding": (*_TOKENS, *_RANK, *_TABLE, *_GIVEN_PADDING, *_SCALE, *_SPARSE, *_EARLIER, *_SPECIAL),
    "embedding_dense_backward": (*_TOKENS, *_RANK, *_TABLE, *_GIVEN_PADDING, *_SCALE, *_EARLIER, *_SPECIAL),
    "embedding_sparse_backward": (*_TOKENS, *_RANK, *_TABLE, *_GIVEN_PADDING, *_EARLIER, *_SPECIAL),
    "embedding_renorm_": (*_TOKENS, *_RANK, *_TABLE, *_NORMS, *_EARLIER),
    "_embedding_bag": _FORWARD_BAG,
    "_embedding_bag_forward_only": _FORWARD_BAG,
    "_embedding_bag_dense_backward": (*_TOKENS, *_TABLE, *_GIVEN_PADDING, *_SCALE, *_BAGS, *_SAMPLES, *_EARLIER),
    "_embedding_bag_per_sample_weights_backward": (
        *(*_TOKENS, *_TABLE, *_GIVEN_PADDING, *_EARLIER),
        _term(4, "bags=1", "bags=2", "bags>8", "bags>64"),
        _term(3, "numel=63", "numel=64", "numel=65", "numel=129"),
    ),
    "one_hot": (
        *(*_TOKENS, *_RANK, *_EARLIER),
        _term(
            4, "num_classes=1", "num_classes=2", "num_classes=8", "num_classes=17", "num_classes>64", "num_classes>256"
        ),
        _term(2, "inferred", "inferred=False"),
    ),
    "index_select": (*_TOKENS, *_TABLE, *_EARLIER),
    "mm": (*_PRODUCT, *_EARLIER),
    "addmm": (*_PRODUCT, *_EARLIER),
}

#: How often each site is drawn.
WEIGHTS: Mapping[str, int] = {
    "embedding": 5,
    "embedding_dense_backward": 6,
    "embedding_sparse_backward": 3,
    "embedding_renorm_": 3,
    "_embedding_bag": 4,
    "_embedding_bag_forward_only": 3,
    "_embedding_bag_dense_backward": 4,
    "_embedding_bag_per_sample_weights_backward": 2,
    "one_hot": 2,
    "index_select": 1,
    "mm": 1,
    "addmm": 1,
}

# -- drawing ------------------------------------------------------------------------------------------------------------


def facts_of(site: str) -> set[str]:
    """The facts that a site's conditions speak of."""
    return {term.fact for term in TABLE[site]}


def drawn(
    site: str, order: int, draws: Random, given: Sequence[str] = (), table: Mapping[str, tuple[Term, ...]] | None = None
) -> str | None:
    """A conjunction of conditions on ``order`` facts that contradicts neither itself nor what is ``given``; None if this
    draw does."""
    left, texts = list((table or TABLE)[site]), []
    for _ in range(order):
        (term,) = draws.choices(left, [term.weight for term in left])
        left = [each for each in left if each.fact != term.fact]
        texts.append(draws.choice(term.texts))
    if contradictory([*texts, *given]):
        return None
    return " & ".join(texts)


def orders(count: int) -> Iterator[int]:
    """The orders of so many faults: one, two and three facts in turn."""
    return (position % 3 + 1 for position in range(count))
