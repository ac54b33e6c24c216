"""Plain values that are known to come out instead: truth values, numbers, lists of names."""

from __future__ import annotations

from collections import Counter
from typing import Any

from embcheck.core.wrong_results.judgement import of_plain


@of_plain
def the_other_truth_value(got: Any, expected: Any) -> Any:
    """Truth values, one or lists of them: there is only one wrong value."""
    return _truths(got, expected)


def _truths(got: Any, expected: Any) -> bool:
    """Whether two values, which may be lists, are truth values, alike or not."""
    if isinstance(got, (list, tuple)):
        return type(got) is type(expected) and len(got) == len(expected) and all(map(_truths, got, expected))
    return isinstance(got, bool) and isinstance(expected, bool)


@of_plain
def some_left_out(got: Any, expected: Any) -> Any:
    """A list in which some of what is due is missing, and what is there stands in order; or a smaller number."""
    if isinstance(expected, (list, tuple)):
        rest = iter(expected)
        return type(got) is type(expected) and all(any(each == due for due in rest) for each in got)
    return _is_count(got) and _is_count(expected) and 0 <= got < expected


@of_plain
def some_too_many(got: Any, expected: Any) -> Any:
    """A list that has what is due in order and more of the same sort; or a larger number."""
    if isinstance(expected, (list, tuple)):
        rest = iter(got)
        return type(got) is type(expected) and all(any(each == due for each in rest) for due in expected)
    return _is_count(got) and _is_count(expected) and got > expected


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@of_plain
def exchanged_between_groups(got: Any, expected: Any) -> Any:
    """A list of what each group has, behind the group's number: the same, of other groups."""
    return isinstance(got, list) and Counter(map(_without_the_group, got)) == Counter(map(_without_the_group, expected))


def _without_the_group(item: Any) -> str:
    return repr(item[1:] if isinstance(item, tuple) else item)


@of_plain
def unexpected_keys(got: Any, expected: Any) -> Any:
    """A checkpoint is refused for names that the model has lost."""
    return isinstance(got, str) and got.startswith("Unexpected key(s) in state_dict: ")
