"""What is wished of a case that is built: conditions that its facts are to meet, and draws for all that they leave open."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from embcheck.core.facts import Condition, grouped
from embcheck.core.stream import Stream

T = TypeVar("T")


class Unmet(Exception):
    """A wish that what was drawn so far leaves no room for."""


class Wish:
    """Draws values that meet conditions, numbers from both sides of the thresholds that these name; without conditions all
    is drawn from what is usual."""

    def __init__(self, draws: Stream, wished: Iterable[Condition] = ()) -> None:
        self.draws = draws
        self._wished = grouped(wished, lambda condition: condition.fact)

    def asks(self, fact: str) -> bool:
        return fact in self._wished

    def asks_any(self, *facts: str) -> bool:
        return not self._wished.keys().isdisjoint(facts)

    def meets(self, fact: str, value: Any) -> bool:
        """Whether a fact with this value meets all that is asked of it."""
        return all(condition.holds({fact: value}) for condition in self._wished.get(fact, ()))

    def met(self, facts: Mapping[str, Any]) -> bool:
        """Whether these facts meet all conditions that speak of them."""
        return all(self.meets(fact, facts[fact]) for fact in self._wished.keys() & facts.keys())

    def choice(self, fact: str, values: Sequence[T]) -> T:
        """One of some values that the fact may have.

        Raises:
            Unmet: if it may have none of them.
        """
        kept = [value for value in values if self.meets(fact, value)] if fact in self._wished else values
        if not kept:
            raise Unmet(fact)
        return self.draws.choice(kept)

    def number(self, fact: str, usual: Sequence[int], least: int = 0, most: float = math.inf) -> int:
        """A number that the fact may be, between bounds: a usual one, or where something is asked one beside what is named.

        Raises:
            Unmet: if there is none.
        """
        wished = self._wished.get(fact)
        if wished is None:
            if least > most:
                raise Unmet(fact)
            values = [value for value in usual if least <= value <= most]
            return self.draws.choice(values) if values else int(least)
        named = [int(condition.number) for condition in wished if condition.number is not None]
        # From both sides of what is named, and of the bounds.
        near = [place + step for place in (*named, least) for step in (-1, 0, 1)]
        far = [place * factor + 1 for place in named for factor in (1, 2)]
        values = [value for value in near if least <= value <= most and self.meets(fact, value)]
        others = [value for value in (*usual, *far) if least <= value <= most and self.meets(fact, value)]
        if not (values or others):
            raise Unmet(fact)
        return self.draws.choice(values if values and (not others or self.draws.chance(2)) else others)
