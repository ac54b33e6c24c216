"""The table from which conditions of faults are drawn: for each site facts of the call, and what they are compared with.

It is written from what real bugs looked like (thresholds of kernels, dtypes, layouts, pairs of flags, counts, earlier
calls, threads, the padding's place), without a look at what the generator makes, and it stays as it is when a score
is taken: a fact that no axis of the generator reaches is what the score is to show.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

from embcheck.facts import Condition, conditions

#: The least share of faults that each profile is to kill: a score whose interval ends below fails.
THRESHOLDS = {"quick": 0.93, "gate": 0.97, "deep": 0.97}


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

#: What follows from a condition: both can't be drawn with what contradicts it.
IMPLIED: tuple[tuple[str, str], ...] = (
    ("rank=0", "numel=1"),
    ("padding_hit", "padding_count>=1"),
    ("padding_hit=False", "padding_count=0"),
    ("padding=none", "padding_count=0"),
    ("padding_count>=1", "padding_hit"),
    ("padding=middle", "num_embeddings>=3"),
    ("padding=last", "num_embeddings>=2"),
    ("all_padding", "padding_count>=1"),
    ("all_padding", "interleaved=False"),
    ("unequal_counts", "num_embeddings>=2"),
    ("unequal_counts", "max_count>=2"),
    ("all_padding", "unequal_counts=False"),
    ("interleaved", "numel>=3"),
    ("interleaved", "max_count>=2"),
    ("interleaved", "num_embeddings>=2"),
    ("descending", "numel>=2"),
    ("descending", "num_embeddings>=2"),
    ("descending", "interleaved=False"),
    ("descending", "all_padding=False"),
    ("index_layout=transposed", "numel>=4"),
    ("index_layout=rows_strided", "numel>=4"),
    ("index_layout=strided", "numel>=2"),
    ("index_layout=expanded", "max_count>=2"),
    ("descending", "max_count<=1"),
    ("inferred", "last_row"),
    ("index_layout=transposed", "rank>=2"),
    ("index_layout=rows_strided", "rank>=2"),
    ("layout=transposed", "embedding_dim>=2"),
    ("layout=rows_strided", "embedding_dim>=1"),
    ("per_sample_weights", "mode=sum"),
    ("samples_layout=strided", "per_sample_weights"),
    ("samples_layout=strided", "numel>=2"),
    ("empty_first", "empty_bags>=1"),
    ("empty_last", "empty_bags>=1"),
    ("trailing", "include_last_offset"),
)

#: What is so of every call of a site, for the reason that stands beside it.
GIVEN: Mapping[str, tuple[str, ...]] = {
    # at::embedding_bag hands on its indices and offsets contiguous; the kernels read any others as if they were.
    **dict.fromkeys(
        (
            "_embedding_bag",
            "_embedding_bag_forward_only",
            "_embedding_bag_dense_backward",
            "_embedding_bag_per_sample_weights_backward",
        ),
        ("rank<=1", "index_layout=contiguous", "offsets_layout=contiguous"),
    ),
    # It takes nothing else.
    "one_hot": ("index_dtype=int64",),
    # It takes a row of tokens.
    "index_select": ("rank<=1",),
}

#: What follows where a table is the tensor that is told of, and not the upstream gradient.
OF_TABLES: tuple[tuple[str, str], ...] = (
    # Of one row what has its columns side by side is contiguous.
    ("layout=rows_strided", "num_embeddings>=2"),
)
_OF_TABLES = (
    *("embedding", "embedding_renorm_", "index_select", "_embedding_bag", "_embedding_bag_forward_only"),
    "_embedding_bag_per_sample_weights_backward",
)

#: Facts that are equal where a condition holds.
EQUAL: tuple[tuple[str, str, str], ...] = (("all_padding", "numel", "padding_count"),)

#: A fact that is never greater than another.
AT_MOST: tuple[tuple[str, str], ...] = (
    ("max_count", "numel"),
    ("padding_count", "max_count"),
    ("largest_bag", "numel"),
    ("empty_bags", "bags"),
    ("rescaled", "num_embeddings"),
    ("rescaled", "numel"),
    ("embedding_dim", "elements"),
    ("num_embeddings", "elements"),
)


# -- contradictions -----------------------------------------------------------------------------------------------------


def _bounds(condition: Condition) -> tuple[float, float]:
    """The least and the greatest number that meet a condition."""
    number = condition.number
    if number is None:
        raise ValueError("it compares with no number")
    match condition.compare:
        case operator.eq:
            return number, number
        case operator.gt:
            return math.nextafter(number, math.inf), math.inf
        case operator.ge:
            return number, math.inf
        case operator.lt:
            return -math.inf, math.nextafter(number, -math.inf)
        case _:
            return -math.inf, number


class _Range:
    """What a fact may be: the numbers from ``least`` to ``most``, or one of texts."""

    def __init__(self) -> None:
        self.least, self.most = 0.0, math.inf
        self.exact: set[str] = set()

    def add(self, condition: Condition) -> None:
        """Narrows it to what meets a condition."""
        if condition.number is None:
            self.exact.add(condition.value if condition.compare is not None else "True")
            return
        low, high = _bounds(condition)
        self.least, self.most = max(self.least, low), min(self.most, high)

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return self.least > self.most or len(self.exact) > 1


def contradictory(texts: Iterable[str], site: str = "") -> bool:
    """Whether no call, or none of a site, can meet all conditions, as far as `IMPLIED` and the tables beside it tell."""
    return implied(texts, site) is None


def implied(texts: Iterable[str], site: str = "") -> list[Condition] | None:
    """The conditions and all that follow from them, at any site or at one; None if they contradict each other."""
    rules = IMPLIED + (OF_TABLES if site in _OF_TABLES else ())
    held = [*texts, *GIVEN.get(site, ())]
    ranges: dict[str, _Range] = {}
    added = held
    while added:
        for condition in (condition for text in added for condition in conditions(text)):
            ranges.setdefault(condition.fact, _Range()).add(condition)
        _compare(ranges)
        if any(each.empty for each in ranges.values()):
            return None
        added = [then for given, then in rules if then not in held and _certain(given, ranges)]
        held = [*held, *dict.fromkeys(added)]
    return [*dict.fromkeys([condition for text in held for condition in conditions(text)] + _as_conditions(ranges))]


def _as_conditions(ranges: Mapping[str, _Range]) -> list[Condition]:
    """The bounds of what facts may be."""
    least = [
        Condition(fact, operator.ge, f"{found.least:g}", found.least)
        for fact, found in ranges.items()
        if found.least > 0
    ]
    most = [
        Condition(fact, operator.le, f"{found.most:g}", found.most)
        for fact, found in ranges.items()
        if math.isfinite(found.most)
    ]
    return least + most


def _compare(ranges: dict[str, _Range]) -> None:
    alike = [pair for text, *pair in EQUAL if _certain(text, ranges)]
    ordered = (*AT_MOST, *((a, b) for a, b in alike), *((b, a) for a, b in alike))
    for _ in ordered:  # until nothing changes, which takes no more turns than there are
        for smaller, larger in ordered:
            low, high = ranges.setdefault(smaller, _Range()), ranges.setdefault(larger, _Range())
            high.least, low.most = max(high.least, low.least), min(low.most, high.most)


def _certain(text: str, ranges: Mapping[str, _Range]) -> bool:
    """Whether what is known of the facts makes a condition true."""
    (condition,) = conditions(text)
    if condition.fact not in ranges:
        return False
    found = ranges[condition.fact]
    if condition.number is None:
        return found.exact == {condition.value if condition.compare is not None else "True"}
    low, high = _bounds(condition)
    return low <= found.least and found.most <= high


# -- drawing ------------------------------------------------------------------------------------------------------------


def facts_of(site: str) -> set[str]:
    """The facts that a site's conditions speak of."""
    return {term.fact for term in TABLE[site]}


def drawn(site: str, order: int, draws: Random, given: Sequence[str] = ()) -> str | None:
    """A conjunction of conditions on ``order`` facts that contradicts neither itself nor what is ``given``; None if this
    draw does."""
    left, texts = list(TABLE[site]), []
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
