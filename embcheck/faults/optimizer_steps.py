"""Faults of an optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def every_parameter(optimizer: Any, act: Callable[[Any], None]) -> None:
    """Does something to every parameter of an optimizer that has a gradient."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                act(p)


def then(act: Callable[[Any, Any], None]) -> Callable[..., Any]:
    """A step after which something is done to every parameter."""

    def wrong(original: Callable[..., Any], self: Any, closure: Any) -> Any:
        result = original(self, closure)
        every_parameter(self, lambda p: act(self, p))
        return result

    return wrong
