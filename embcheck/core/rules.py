"""Rules that make the axes of a case fit each other, as data: where a rule applies, and the values that it gives."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from embcheck.core.axes import Axes

C = TypeVar("C", bound=Axes)
Rule = tuple[Callable[[Any], Any], Mapping[str, Any]]


def fitted(case: C, rules: Iterable[Rule]) -> C:
    """The case once each rule was applied in turn, to what the ones before it made of it."""
    for applies, values in rules:
        if applies(case):
            case = case.but(**values)
    return case
