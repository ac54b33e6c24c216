"""Modes: the ways in which a program may be executed.

A mode is a function ``(program, **arguments) -> observations`` that imports nothing but torch, since its source
becomes part of a counterexample's script.  Most change what ``build`` among the arguments builds: the layer that the
program calls is then a compiled, exported, batched or copied one.  A new mode is one entry.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import torch

from embcheck.core.domain import Unsuited
from embcheck.core.facts import reason_of
from embcheck.core.law import FAMILIES, Family, Law

Program = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Mode:
    """A way of executing.

    ``cannot`` maps a condition on the case's facts (in the language of obligations, several with ``&`` between) to the
    reason why this mode can't run such a case.  ``calls`` are the kinds of call that it changes (`Family.call`): it is
    a mode of every family that makes such calls.  A mode without ``grad`` makes no graph; one without ``values`` gives
    metadata only; ``aliases`` says whether its table is the memory that was given; one that ``rebuilds`` makes a module
    of the call, or hands it another table: only if it ``keeps_names`` of parameters may there be others beside the table.
    One without ``hooks`` does not see those of a layer.  ``lacking`` gives the reason why this torch or machine does not
    have it, or None.  ``cases`` enumerates the cases of an item where the family's own order would not do, say because
    each signature has to be compiled; then ``engines`` are those that it has.  ``cost`` is what a case costs beside eager.
    """

    name: str
    function: Program
    grad: bool = True
    values: bool = True
    aliases: bool = True
    rebuilds: bool = False
    keeps_names: bool = False
    hooks: bool = True
    cannot: Mapping[str, str] = field(default_factory=dict)
    calls: frozenset[str] = frozenset()
    lacking: Callable[[], str | None] = lambda: None
    cases: Callable[..., Iterator[Any]] | None = None
    engines: tuple[str, ...] = ("scope", "product", "random")
    cost: float = 1.0

    @property
    def sentence(self) -> str:
        return " ".join((self.function.__doc__ or "").split())

    def reason(self, case: Any, family: Family) -> str | None:
        """Why this mode can't run the case, or the subject has not got it; None if it can."""
        outside = family.outside(case, self.name)
        if outside is not None:
            return outside
        facts = case.facts() if self.cannot or self.calls else {}
        reason = reason_of(self.cannot, facts)
        if reason is not None or not self.calls:
            return reason
        if facts.get("plain"):
            return "such a spelling is one of the plain modes"
        plan = family.plan(case)
        build = plan.options.get("build")
        if build is None:
            return "such a case builds nothing that the mode could change"
        if self.hooks and not self.rebuilds:
            return None
        try:
            made = _made(build, tuple(plan.inputs["weight"].stored.shape))
            if not self.hooks and made.hooked:
                return "it does not see the hooks of the layer"
            return made.obstacle(several=self.keeps_names) if self.rebuilds else None
        except Unsuited as error:
            return str(error)
        except Exception:
            return None  # what can't be built shows when it is executed

    def unasked(self, law: Law) -> str | None:
        """Why a law is not asked in this mode; None if it is."""
        if not self.values and law.of != "metadata":
            return "it speaks of values, and there are none"
        if law.modes is None or self.name in law.modes or (self.grad and GRAPH in law.modes):
            return None
        return "it speaks of graphs" if GRAPH in law.modes else f"it speaks of {', '.join(sorted(law.modes))}"


class _Made(NamedTuple):
    """What a ``build`` makes of a table: a module with so many parameters ``beside`` it, or None for another call; whether that
    has hooks of its own, whether the leaf is the ``given`` table, and whether random numbers are drawn for it."""

    beside: int | None
    hooked: bool
    given: bool
    draws: bool

    def obstacle(self, *, several: bool) -> str | None:
        """Why that can't be called as a module, or with another table; None if it can.

        ``several`` parameters are an obstacle only where the table is not found by its name.
        """
        if self.beside is not None:
            if not self.beside or several:
                return None
            return f"its module has {self.beside} parameter{'s' * (self.beside > 1)} beside the table"
        if not self.given:
            return "its call is no module, but its table belongs to one"
        return "it builds a layer each time, which draws random numbers" if self.draws else None


@lru_cache(maxsize=4096)
def _made(build: Callable[..., tuple[torch.Tensor, Any]], shape: tuple[int, int]) -> _Made:
    # A table without elements is drawn, too, though that moves nothing.
    table, drawn = torch.zeros([max(size, 1) for size in shape]), torch.get_rng_state()
    try:
        leaf, call = build(table)
        draws = not torch.equal(torch.get_rng_state(), drawn)
        if not isinstance(call, torch.nn.Module):
            return _Made(None, False, leaf is table, draws)
        hooked = bool(call._forward_pre_hooks or call._forward_hooks)
        return _Made(len(list(call.parameters())) - 1, hooked, leaf is table, draws)
    finally:
        torch.set_rng_state(drawn)


#: Stands among a law's modes for all that make a graph.
GRAPH = "graph"

MODES: dict[str, Mode] = {}
F = TypeVar("F", bound=Callable[..., Any])


def mode(name: str, **properties: Any) -> Callable[[Program], Program]:
    """Registers the decorated function as a mode with these fields of `Mode`."""

    def register(function: Program) -> Program:
        MODES[name] = Mode(name, function, **properties)
        return function

    return register


def build_mode(name: str, change: Callable[..., Any], *more: Any, **properties: Any) -> Callable[[F], F]:
    """Registers a mode that only changes what is built: ``build`` becomes ``change(build, function, *more)``.

    ``function`` is the decorated one, and its docstring the mode's sentence; ``properties`` are those of `add_mode`.
    """

    def register(function: F) -> F:
        add_mode(name, function.__doc__ or "", change, function, *more, **properties)
        return function

    return register


def add_mode(
    name: str,
    sentence: str,
    change: Callable[..., Any],
    *given: Any,
    around: Callable[..., Any] | None = None,
    **properties: Any,
) -> None:
    """Adds a mode that gives the program ``change(build, *given)`` for its ``build``.

    The program runs inside of ``around(**arguments)`` if there is one, and without a graph in a mode without ``grad``.
    The function is made from its text, which is also what a counterexample's script shows.
    """
    values = ", ".join(["build", *(one.__name__ if callable(one) else repr(one) for one in given)])
    inside = f"{around.__name__}(**arguments)" if around is not None else ""
    context = inside or ("" if properties.get("grad", True) else "torch.no_grad()")
    indent = "    " * (2 if context else 1)
    identifier = "in_" + re.sub(r"\W", "_", name)
    lines = [f"def {identifier}(program, build, **arguments):", *([f"    with {context}:"] if context else [])]
    text = "\n".join([*lines, f"{indent}return program(build={change.__name__}({values}), **arguments)"])
    uses = [one for one in (change, *given, around) if callable(one)]
    scope: dict[str, Any] = {one.__name__: one for one in uses} | {"torch": torch}
    exec(text, scope)
    function: Any = scope[identifier]
    function.__doc__, function.__module__ = sentence, uses[1 if len(uses) > 1 else 0].__module__
    function.script, function.uses = text, uses
    MODES[name] = Mode(name, function, **properties)


def modes_of(family: Family, chosen: str = "") -> tuple[str, ...]:
    """The names of the modes in which a family runs: its own by default, ``all``, or those in a list with commas."""
    if not chosen:
        return tuple(family.modes)
    plain = (*family.modes, *family.further)
    changing = (
        name for name, found in MODES.items() if family.call in found.calls and (found.grad or "no_grad" in plain)
    )
    whole = tuple(dict.fromkeys((*plain, *changing)))
    if chosen == "all":
        return whole
    return tuple(name for name in whole if name in chosen.split(","))


def running(chosen: str = "", sliced: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of the modes of a run: the plain ones and those ``sliced`` by default, ``all``, or those in a list with
    commas."""
    if chosen == "all":
        return tuple(MODES)
    plain = (name for name, found in MODES.items() if not found.calls)
    return tuple(chosen.split(",")) if chosen else (*plain, *sliced)


def absences(chosen: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """For each family of these names the modes of the run that it has not, and why."""
    return {
        name: {mode: reason for mode in running(chosen) if (reason := absent(FAMILIES[name], MODES[mode])) is not None}
        for name in names
        if name in FAMILIES
    }


def absent(family: Family, found: Mode) -> str | None:
    """Why a family has not a mode; None if it has."""
    if found.name in modes_of(family, "all"):
        return None
    if not found.calls:
        return f"it is one of the plain modes, and {family.name} runs in {', '.join(family.modes)}"
    if not family.call:
        return f"{family.name} makes no single call that a mode could change: its programs are whole modules' lives"
    return f"it changes calls of {' and '.join(sorted(found.calls))}, not of a {family.call}"


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
