"""Conditions on a case's facts: the one language of obligations, of what a mode can't run and of whatever else asks a case.

A condition is ``name``, ``name=value`` or a comparison such as ``name>3``, ``name>=3``, ``name<3``, ``name<=3``; several with
``&`` between must all hold.
"""

import difflib
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
K = TypeVar("K")


class UnknownFact(ValueError):
    """A condition speaks of a fact that no such case has, or is none; the message names what is close to it."""


class Condition(NamedTuple):
    """A fact and what it is compared with: without ``compare`` it must be true."""

    fact: str
    compare: Callable[[Any, Any], bool] | None = None
    value: str = ""
    number: float | None = None

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether facts meet it; numbers are compared as numbers, all else as it is printed.

        Raises:
            KeyError: if there is no such fact.
        """
        fact = facts[self.fact]
        if self.compare is None:
            return bool(fact)
        if isinstance(fact, (int, float)) and not isinstance(fact, bool):
            return self.number is not None and self.compare(fact, self.number)
        return self.compare is operator.eq and str(fact) == self.value


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@lru_cache(maxsize=4096)
def conditions(text: str) -> tuple[Condition, ...]:
    """The conditions of a text, parsed once.

    Raises:
        UnknownFact: for one that names no fact, or asks whether a fact is greater than what is no number.
    """
    return tuple(_condition(part.strip()) for part in text.split("&"))


def reason_of(reasons: Mapping[str, str], facts: Mapping[str, Any]) -> str | None:
    """The first of some reasons, each under the conditions for it, that facts meet; None if there is none.

    What asks for a fact that the case's family does not have is not met.
    """
    for text, reason in reasons.items():
        if all(each.fact in facts and each.holds(facts) for each in conditions(text)):
            return reason
    return None


def _condition(text: str) -> Condition:
    for sign, compare in _COMPARISONS.items():
        name, found, value = map(str.strip, text.partition(sign))
        if not found:
            continue
        try:
            number = float(value)
        except ValueError:
            number = None
        if not name.isidentifier() or not value or (number is None and compare is not operator.eq):
            break
        return Condition(name, compare, value, number)
    else:
        if text.isidentifier():
            return Condition(text)
    raise UnknownFact(
        f"{text!r} is no condition; expected name, name=value, name>number or name>=number; < and <= likewise"
    )


def holds(text: str, facts: Mapping[str, Any]) -> bool:
    """Whether facts meet all conditions of a text.

    Raises:
        KeyError: if there is no such fact.
    """
    return all(condition.holds(facts) for condition in conditions(text))


def named(texts: Iterable[str]) -> tuple[str, ...]:
    """The facts that conditions speak of."""
    return tuple(dict.fromkeys(condition.fact for text in texts for condition in conditions(text)))


def require(names: Iterable[str], known: Collection[str], place: str) -> None:
    """Sees to it that every name is a fact, for what stands at ``place``.

    Raises:
        UnknownFact: if one is not; the message names the closest, or all where none is close.
    """
    for name in names:
        if name not in known:
            hint = closest(name, known) or f"there are {', '.join(sorted(known))}"
            raise UnknownFact(f"{place}: no fact {name!r}; {hint}")


#: So many names are suggested.
_CLOSE = 3


def closest(name: str, known: Iterable[str]) -> str:
    """What a name may have been meant for, as a question, first what begins with it; empty if nothing is close."""
    names = dict.fromkeys(known)
    begun = [each for each in names if name and each.startswith(name)]
    found = list(dict.fromkeys([*begun, *difflib.get_close_matches(name, names, _CLOSE)]))[:_CLOSE]
    return f"did you mean {' or '.join(found)}?" if found else ""


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The items by their keys, in the order in which the keys first come."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def first_of(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are; one more is named, for to count it is no shorter."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"
