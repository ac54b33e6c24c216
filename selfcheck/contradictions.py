"""Which conditions contradict each other, by the tables of `rules`: what no call can meet is no fault, and is not drawn."""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from embcheck.core.facts import Condition, conditions
from selfcheck.rules import ALWAYS, FULL, GIVEN, IMPLIED, PRODUCTS, ROWS


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
    for site, rows in ROWS.items()
}


def contradictory(texts: Iterable[str], site: str = "") -> bool:
    """Whether no call, or none of a site, can meet all conditions, as far as the tables tell."""
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
