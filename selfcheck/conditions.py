"""The table from which conditions of faults are drawn: for each site facts of the call, and what they are compared with.

It is written from what real bugs looked like (thresholds of kernels, dtypes, layouts, pairs of flags, counts, earlier
calls, threads, the padding's place), without a look at what the generator makes, and it stays as it is when a score
is taken: a fact that no axis of the generator reaches is what the score is to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from selfcheck.contradictions import contradictory

#: The least share of faults that each profile is to kill: a score whose interval ends below fails.
THRESHOLDS = {"quick": 0.93, "gate": 0.97, "full": 0.97, "deep": 0.97}


class Term(NamedTuple):
    """A fact with its weight among a site's facts, and the conditions on it, which are drawn alike often."""

    weight: int
    fact: str
    texts: tuple[str, ...]


def terms(*lines: str) -> tuple[Term, ...]:
    """Terms from texts, ``weight fact value value, …``: a fact is equal to a value, or greater or less with a sign before it;
    *yes* is a fact that is true, *no* one that is false, and ``>64&<=256`` is between."""
    found = []
    for text in ", ".join(lines).split(", "):
        weight, fact, *among = text.split()
        found.append(Term(int(weight), fact, tuple(_condition(fact, each) for each in among)))
    return tuple(found)


def _condition(fact: str, value: str) -> str:
    words = {"yes": fact, "no": f"{fact}=False"}
    parts = [fact + (each if each[0] in "<>" else f"={each}") for each in value.split("&")]
    return words.get(value, " & ".join(parts))


# -- facts of tokens, tables, padding, flags and of what came before ----------------------------------------------------

DTYPES, LAYOUTS = "float32 float64 float16 bfloat16", "rows_strided transposed strided"
_TOKENS = (
    "6 numel 1 2 16 17 31 32 33 63 64 65 128 129 768 769 1000 1001 >64 >768 >1000 >3072 >512&<=768 >32&<=64, "
    "2 index_dtype int32 int64, 3 index_layout rows_strided transposed strided expanded, "
    "4 max_count 1 2 3 10 11 20 21 >64 >256 >2048, 1 unequal_counts yes, 2 interleaved yes no, 1 descending yes, "
    "1 first_row yes, 1 last_row yes no"
)
_RANK = "3 rank 0 1 2 3"
_TABLE = (
    "5 embedding_dim 1 2 7 8 16 17 31 32 33 64 65 128 129 >64 >128 >512 >32&<=64, "
    "3 num_embeddings 1 2 16 64 256 999 1000 1001 2001 >256 >1000 >2000 >64&<=256, "
    f"4 dtype {DTYPES}, 3 layout {LAYOUTS}, 1 offset yes, 1 elements >4096 >65536"
)
_PADDING = "4 padding none first middle last, 2 padding_hit yes no, 2 padding_count 1 2 >16 >256, 1 all_padding yes"
_SCALE, _SPARSE = "2 scale_grad_by_freq yes no", "2 sparse yes no"
_EARLIER = "4 earlier 0 1 2 3 >=1, 1 threads >1"
_SPECIAL = "1 nan yes, 1 infinite yes"
_BAGS = (
    "5 mode sum mean max, 4 bags 1 2 3 >8 >64 64 65, 3 empty_bags 0 1 >1, 2 empty_first yes, 2 empty_last yes, "
    "3 largest_bag 1 2 >16 >64 >256"
)
_SAMPLES = "3 per_sample_weights yes no, 1 samples_layout strided"
_OFFSETS = "2 include_last_offset yes no, 1 trailing yes, 1 offsets_dtype int32 int64, 1 offsets_layout strided"
_NORMS = "4 norm_type 1 2 3 inf 0.5 0, 3 max_norm 1 0 <1 >1 <0.001, 3 rescaled 1 2 >8 >64, 2 kept 0 >=1"
_PRODUCT = (
    "4 rows 1 2 17 33 >16 >64 >768, 4 inner 1 7 8 17 32 33 65 >64 >256, 4 columns 1 7 8 17 33 >64 >256, "
    f"4 dtype {DTYPES}, 3 left_layout transposed rows_strided strided contiguous, "
    "3 right_layout transposed rows_strided strided contiguous, 1 offset yes, 1 square yes"
)
_FORWARD_BAG = (_TOKENS, _TABLE, _PADDING, _SCALE, _SPARSE, _EARLIER, _SPECIAL, _BAGS, _SAMPLES, _OFFSETS)

#: For each site the facts that its conditions speak of.
TABLE: Mapping[str, tuple[Term, ...]] = {
    "embedding": terms(_TOKENS, _RANK, _TABLE, _PADDING, _SCALE, _SPARSE, _EARLIER, _SPECIAL),
    "embedding_dense_backward": terms(_TOKENS, _RANK, _TABLE, _PADDING, _SCALE, _EARLIER, _SPECIAL),
    "embedding_sparse_backward": terms(_TOKENS, _RANK, _TABLE, _PADDING, _EARLIER, _SPECIAL),
    "embedding_renorm_": terms(_TOKENS, _RANK, _TABLE, _NORMS, _EARLIER),
    "_embedding_bag": terms(*_FORWARD_BAG),
    "_embedding_bag_forward_only": terms(*_FORWARD_BAG),
    "_embedding_bag_dense_backward": terms(_TOKENS, _TABLE, _PADDING, _SCALE, _BAGS, _SAMPLES, _EARLIER),
    "_embedding_bag_per_sample_weights_backward": terms(
        _TOKENS, _TABLE, _PADDING, _EARLIER, "4 bags 1 2 >8 >64", "3 numel 63 64 65 129"
    ),
    "one_hot": terms(_TOKENS, _RANK, _EARLIER, "4 num_classes 1 2 8 17 >64 >256", "2 inferred yes no"),
    "index_select": terms(_TOKENS, _TABLE, _EARLIER),
    "mm": terms(_PRODUCT, _EARLIER),
    "addmm": terms(_PRODUCT, _EARLIER),
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
    return {each.fact for each in TABLE[site]}


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
