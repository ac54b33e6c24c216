"""Which conditions contradict each other: what follows from each, and what is so of every call, or of every call of a site.  A
condition that none can meet is no fault, and is not drawn.

What follows is a condition, or compares two facts: ``one <= other`` or ``one == other``, with spaces around the sign.
"""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from embcheck.core.facts import Condition, conditions
from selfcheck import python_contradictions as python
from selfcheck import traced_sites as traced

#: What follows from conditions: they can't be drawn with what contradicts it.
IMPLIED: tuple[tuple[str, str], ...] = (
    ("rank=0", "numel=1"),
    ("padding_hit", "padding_count>=1"),
    ("padding_hit=False", "padding_count=0"),
    ("padding=none", "padding_count=0 & padding_hit=False"),
    ("padding_count>=1", "padding_hit"),
    ("padding=middle", "num_embeddings>=3"),
    ("padding=last", "num_embeddings>=2"),
    ("all_padding", "padding_count>=1 & interleaved=False & unequal_counts=False"),
    ("unequal_counts", "numel>=3 & num_embeddings>=2 & max_count>=2"),
    ("interleaved", "numel>=3 & max_count>=2 & num_embeddings>=2"),
    ("descending", "numel>=2 & num_embeddings>=2 & max_count<=1 & interleaved=False & all_padding=False"),
    *((f"index_layout={lie}", "numel>=4 & rank>=2") for lie in python.LAYOUTS[:2]),
    ("index_layout=strided", "numel>=2"),
    # So many tokens have no two axes that are longer than one.
    *(
        (f"index_layout={lie} & numel={prime}", f"numel>{prime}")
        for lie in python.LAYOUTS[:2]
        for prime in (17, 31, 769)
    ),
    ("index_layout=expanded", "max_count>=2"),
    # A row of tokens is expanded from one.
    ("index_layout=expanded & rank<=1", "unequal_counts=False & interleaved=False"),
    ("inferred", "last_row"),
    ("layout=transposed", "embedding_dim>=2"),
    ("layout=rows_strided", "embedding_dim>=1"),
    ("per_sample_weights", "mode=sum"),
    ("samples_layout=strided", "per_sample_weights & numel>=2"),
    ("empty_first", "empty_bags>=1"),
    ("empty_last", "empty_bags>=1"),
    ("trailing", "include_last_offset"),
    # Of one row what has its columns side by side is contiguous, and so is a column whose rows are.
    ("left_layout=rows_strided", "rows>=2"),
    ("left_layout=transposed", "inner>=2"),
    ("right_layout=rows_strided", "inner>=2"),
    ("right_layout=transposed", "columns>=2"),
    ("all_padding", "numel == padding_count"),
    ("num_embeddings<=1", "numel == max_count"),
    ("index_layout=expanded & rank<=1", "numel == max_count"),
    ("square", "rows == inner"),
    ("square", "inner == columns"),
    *python.PYTHON_IMPLIED,
    *traced.TRACED_IMPLIED,
    # Which row is padding, and whether it occurs.
    ("padding=first & padding_hit", "first_row"),
    ("padding=first & padding_hit=False", "first_row=False"),
    ("padding=first & first_row", "padding_hit"),
    ("padding=last & padding_hit", "last_row"),
    ("padding=last & padding_hit=False", "last_row=False"),
    ("padding=last & last_row", "padding_hit"),
    ("padding=last & last_row=False", "padding_hit=False"),
    ("padding=first & all_padding & num_embeddings>=2", "last_row=False"),
    ("padding=middle & all_padding", "first_row=False & last_row=False"),
    ("padding=last & all_padding", "first_row=False"),
    ("num_embeddings<=1 & numel>=1", "first_row & last_row"),
    ("num_embeddings<=1 & numel>=1 & padding_hit", "all_padding"),
    ("bags<=1 & largest_bag<=1", "several_in_bags=False"),
    ("bags<=1 & empty_bags>=1", "largest_bag=0"),
    ("bags<=2 & empty_bags>=2", "largest_bag=0"),
    ("bags<=1 & empty_first", "empty_last"),
    ("bags<=1 & empty_last", "empty_first"),
)

#: What is so of every call.
ALWAYS: tuple[str, ...] = (
    "max_count <= numel",
    "padding_count <= max_count",
    "largest_bag <= numel",
    "empty_bags <= bags",
    "rescaled <= num_embeddings",
    "rescaled <= numel",
    "embedding_dim <= elements",
    "num_embeddings <= elements",
    *python.PYTHON_ALWAYS,
)

#: What is so of every call of a site, for the reason that stands beside it.
GIVEN: Mapping[str, tuple[str, ...]] = {
    # at::embedding_bag hands on its indices and offsets contiguous; the kernels read any others as if they were.
    **{f"_embedding_bag{end}": ("rank<=1", "index_layout=contiguous", "offsets_layout=contiguous")
       for end in ("", "_forward_only", "_dense_backward", "_per_sample_weights_backward")},
    # It takes nothing else, and its classes are the rows of its table, which is as wide as it is high.
    "one_hot": ("index_dtype=int64", "num_classes == num_embeddings", "num_classes == embedding_dim"),
    # It takes a row of tokens.
    "index_select": ("rank<=1",),
    **python.PYTHON_GIVEN,
    **traced.TRACED_GIVEN,
}  # fmt: skip

#: What the rows of the tensor are that is told of: of a table its own, of an upstream gradient tokens or bags.
_ROWS: Mapping[str, str] = {
    **dict.fromkeys(("embedding", "embedding_renorm_", "index_select"), "num_embeddings"),
    **{f"_embedding_bag{end}": "num_embeddings" for end in ("", "_forward_only", "_per_sample_weights_backward")},
    **dict.fromkeys(("embedding_dense_backward", "embedding_sparse_backward"), "numel"),
    "_embedding_bag_dense_backward": "bags",
}

#: What follows once a fact is as great as another, which is not zero.
FULL = ("padding_count", "numel", "all_padding")

#: A fact that is never greater than the product of two others.
PRODUCTS: tuple[tuple[str, str, str], ...] = (
    ("numel", "num_embeddings", "max_count"),
    ("elements", "num_embeddings", "embedding_dim"),
)


def _bounds(compare: Any, number: float) -> tuple[float, float]:
    """The least and the greatest number that meet a comparison."""
    return {
        operator.eq: (number, number),
        operator.gt: (math.nextafter(number, math.inf), math.inf),
        operator.ge: (number, math.inf),
        operator.lt: (-math.inf, math.nextafter(number, -math.inf)),
        operator.le: (-math.inf, number),
    }[compare]


class _Range:
    """What a fact may be: the numbers from ``least`` to ``most``, or one of texts."""

    def __init__(self) -> None:
        self.least, self.most = 0.0, math.inf
        self.exact: set[str] = set()

    def add(self, condition: Condition) -> None:
        """Narrows it to what meets a condition."""
        if condition.number is None:
            self.exact.add(_text(condition))
            return
        low, high = _bounds(condition.compare, condition.number)
        self.least, self.most = max(self.least, low), min(self.most, high)

    def meets(self, condition: Condition) -> bool:
        """Whether all that it may be meets a condition."""
        if condition.number is None:
            return self.exact == {_text(condition)}
        low, high = _bounds(condition.compare, condition.number)
        return low <= self.least and self.most <= high

    @property
    def empty(self) -> bool:
        """Whether nothing is left; None is no number."""
        return self.least > self.most or len(self.exact) > 1 or ("None" in self.exact and self.least > 0)


def _text(condition: Condition) -> str:
    return condition.value if condition.compare is not None else "True"


def compared(text: str) -> tuple[tuple[str, str], ...]:
    """The smaller and the larger fact of a text that compares two, both ways where they are equal; nothing of a condition."""
    one, sign, other = [*text.split(" "), "", ""][:3]
    return {"<=": ((one, other),), "==": ((one, other), (other, one))}.get(sign, ())


def _of_facts(rules: Iterable[tuple[str, str]]) -> tuple[tuple[frozenset[str], str, str], ...]:
    """What follows from conditions, with their facts: most speak of others than those that are asked about."""
    return tuple((frozenset(each.fact for each in conditions(given)), given, then) for given, then in rules)


_RULES = _of_facts(rule for rule in IMPLIED if not compared(rule[1]))
_COMPARISONS = _of_facts(rule for rule in IMPLIED if compared(rule[1]))
#: Of one row what has its columns side by side is contiguous.
_SITE_RULES = {
    site: _of_facts((f"layout={lie}", f"{rows}>=2") for lie in ("rows_strided", "transposed"))
    for site, rows in _ROWS.items()
}


def contradictory(texts: Iterable[str], site: str = "") -> bool:
    """Whether no call, or none of a site, can meet all conditions, as far as `IMPLIED` and the tables beside it tell."""
    return implied(texts, site) is None


def implied(texts: Iterable[str], site: str = "") -> list[Condition] | None:
    """The conditions and all that follow from them, at any site or at one; None if they contradict each other."""
    rules = (*_RULES, *_SITE_RULES.get(site, ()))
    so = [*texts, *ALWAYS, *GIVEN.get(site, ())]
    comparisons = [text for text in so if compared(text)]
    held = added = [text for text in so if not compared(text)]
    ranges: dict[str, _Range] = {}
    while added:
        for condition in (condition for text in added for condition in conditions(text)):
            ranges.setdefault(condition.fact, _Range()).add(condition)
        _compare(ranges, [*comparisons, *_following(_COMPARISONS, ranges)])
        if any(each.empty for each in ranges.values()):
            return None
        fact, other, then = FULL
        full = [then] if 0 < ranges[other].most <= math.ceil(ranges[fact].least) else []
        added = [then for then in (*_following(rules, ranges), *full) if then not in held]
        held = [*held, *dict.fromkeys(added)]
    found = [condition for text in held for condition in conditions(text)]
    least = [(fact, operator.ge, each.least) for fact, each in ranges.items() if each.least > 0]
    most = [(fact, operator.le, each.most) for fact, each in ranges.items() if math.isfinite(each.most)]
    found += [Condition(fact, compare, f"{number:g}", number) for fact, compare, number in (*least, *most)]
    return [*dict.fromkeys(found)]


def _compare(ranges: dict[str, _Range], comparisons: Iterable[str]) -> None:
    """Narrows facts of which one is never greater than another, or than the product of two others."""
    ordered = [pair for text in comparisons for pair in compared(text)]
    before: list[tuple[float, float]] = []
    for _ in ordered:  # until nothing changes, which takes no more turns than there are
        now = [(each.least, each.most) for each in ranges.values()]
        if now == before:
            break
        before = now
        for smaller, larger in ordered:
            low, high = ranges.setdefault(smaller, _Range()), ranges.setdefault(larger, _Range())
            high.least, low.most = max(high.least, low.least), min(low.most, high.most)
        for product, one, other in PRODUCTS:
            _multiply(*(ranges.setdefault(fact, _Range()) for fact in (product, one, other)))


def _multiply(product: _Range, one: _Range, other: _Range) -> None:
    """Narrows what is at most the product of two numbers, and these, which are whole."""
    if math.isfinite(one.most) and math.isfinite(other.most):
        product.most = min(product.most, one.most * other.most)
    for mine, others in ((one, other), (other, one)):
        if math.isfinite(others.most) and others.most > 0:
            mine.least = max(mine.least, math.ceil(product.least / others.most))


def _following(rules: Iterable[tuple[frozenset[str], str, str]], ranges: Mapping[str, _Range]) -> list[str]:
    """What follows from what is known of the facts."""
    known = ranges.keys()
    return [
        then
        for facts, given, then in rules
        if facts <= known and all(ranges[each.fact].meets(each) for each in conditions(given))
    ]
