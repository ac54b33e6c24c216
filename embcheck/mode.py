"""Modes: the ways in which a program may be executed.

A mode is a function ``(program, **arguments) -> observations`` that imports nothing but torch, since its source
becomes part of a counterexample's script.  Most change what ``build`` among the arguments builds: the layer that the
program calls is then a compiled, exported, batched or copied one.  A new mode is one entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from embcheck.case import holds
from embcheck.law import Family

Program = Callable[..., Mapping[str, Any]]
ModeFunction = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Mode:
    """A way of executing.

    ``cannot`` maps a condition on the case's facts (in the language of obligations) to the reason why this mode can't
    run such a case.  ``calls`` are the kinds of call that it changes (`Family.call`): it is a mode of every family
    that makes such calls.  ``lacking`` gives the reason why this torch or machine does not have it, or None.
    ``cases`` enumerates the cases of an item where the family's own order would not do, say because each signature
    has to be compiled; then ``engines`` are those that it has.  ``cost`` is what a case costs beside eager.
    """

    name: str
    function: ModeFunction
    grad: bool = True
    cannot: Mapping[str, str] = field(default_factory=dict)
    calls: frozenset[str] = frozenset()
    lacking: Callable[[], str | None] = lambda: None
    cases: Callable[..., Iterator[Any]] | None = None
    engines: tuple[str, ...] = ("scope", "product", "random")
    cost: float = 1.0

    def reason(self, case: Any) -> str | None:
        """Why this mode can't run the case; None if it can."""
        if not self.cannot:
            return None
        facts = case.facts()
        for condition, reason in self.cannot.items():
            # A family whose cases have no such fact has nothing to refuse.
            if re.split("[<>=]", condition)[0] in facts and holds(condition, facts):
                return reason
        return None


MODES: dict[str, Mode] = {}


def mode(name: str, **properties: Any) -> Callable[[ModeFunction], ModeFunction]:
    """Registers the decorated function as a mode with these fields of `Mode`."""

    def register(function: ModeFunction) -> ModeFunction:
        MODES[name] = Mode(name, function, **properties)
        return function

    return register


def modes_of(family: Family, chosen: str = "") -> tuple[str, ...]:
    """The names of the modes in which a family runs: its own by default, ``all``, or those in a list with commas."""
    own = tuple(family.modes)
    whole = own + tuple(name for name, found in MODES.items() if name not in own and family.call in found.calls)
    if not chosen:
        return own
    if chosen == "all":
        return whole
    return tuple(name for name in whole if name in chosen.split(","))


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
