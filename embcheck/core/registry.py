"""Registries: dictionaries of functions by their names, from which a case chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def into(registry: dict[str, Any]) -> Callable[[F], F]:
    """Registers the decorated function under its name, less the underscore that keeps it apart from another's."""

    def register(function: F) -> F:
        registry[function.__name__.removesuffix("_")] = function
        return function

    return register
