"""Modes: the ways in which a program may be executed.

A mode is a function ``(program, **arguments) -> observations`` that imports nothing but torch, since its source
becomes part of a counterexample's script.  A new mode is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Program = Callable[..., Mapping[str, Any]]
ModeFunction = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Mode:
    """A way of executing; ``cannot`` maps an axis of the case to the reason why this mode can't vary it."""

    name: str
    function: ModeFunction
    grad: bool = True
    cannot: Mapping[str, str] = field(default_factory=dict)


MODES: dict[str, Mode] = {}


def mode(
    name: str, *, grad: bool = True, cannot: Mapping[str, str] | None = None
) -> Callable[[ModeFunction], ModeFunction]:
    """Registers the decorated function as a mode."""

    def register(function: ModeFunction) -> ModeFunction:
        MODES[name] = Mode(name, function, grad, dict(cannot or {}))
        return function

    return register


@mode("eager")
def eager(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """As it stands."""
    return program(**arguments)


@mode("no_grad", grad=False)
def no_grad(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """Without a graph."""
    with torch.no_grad():
        return program(**arguments)


@mode("inference", grad=False)
def inference(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """In inference mode: no graph, no version counters."""
    with torch.inference_mode():
        return program(**arguments)
