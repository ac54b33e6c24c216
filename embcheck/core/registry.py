"""Registries: dictionaries of functions by their names, from which a case chooses."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def named(functions: Mapping[str, F], prefix: str = "") -> dict[str, F]:
    """A registry written as a table: a script prints a lambda of it as a function named by its key.

    The ``prefix`` of that name keeps the functions of two tables apart where one program takes from both.
    """
    for name, function in functions.items():
        if function.__name__ == "<lambda>":
            function.__name__ = function.__qualname__ = prefix + name
    return dict(functions)


def by_name(*functions: Callable[..., Any]) -> dict[str, Any]:
    """A registry of functions by their own names."""
    return {function.__name__: function for function in functions}
