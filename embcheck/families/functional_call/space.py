"""Which cases of functional_call there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.functional_call.programs import substituted
from embcheck.families.module_traversal.cases import TREES, ModuleTraversalCase, Node, grow, kind
from embcheck.families.module_traversal.programs import build

#: A tensor's place in a model: the name under which it is listed, its module's own name, its slot, its own name.
Place = tuple[str, str, str, str]


def _one_of_each(places: list[Place], last: bool) -> list[Place]:
    found = {place[3]: place for place in (places if last else places[::-1])}
    return [place for place in places if place in found.values()]


#: Which names are given, by name of the choice.
CHOICES: dict[str, Callable[[list[Place]], list[Place]]] = {
    "first": lambda places: places[:1],
    "none": lambda places: [],
    "last": lambda places: places[-1:],
    "alternate": lambda places: places[::2],
    "others": lambda places: places[1::2],
    "one_of_each": lambda places: _one_of_each(places, last=False),
    "last_of_each": lambda places: _one_of_each(places, last=True),
    "aliases": lambda places: [p for p in places if p not in _one_of_each(places, last=False)],
    "buffers": lambda places: [p for p in places if kind(p[3]) == "buffers"],
    "all": lambda places: places,
}


class _SubstitutionAxes(NamedTuple):
    """The axes, simplest value first; ``nodes`` are a tree of its own where ``tree`` names none."""

    tree: str = "pair"
    choice: str = "first"
    tie: bool = True
    strict: bool = False
    #: whether forward raises
    failing: bool = False
    #: whether two names of one tensor are given two tensors
    conflict: bool = False
    surplus: tuple[str, ...] = ()
    #: how the argument of forward is passed
    passed: str = "tuple"
    #: whether the tensors come in two dicts
    split: bool = False
    #: whether the first name is given in both
    repeated: bool = False
    nodes: tuple[Node, ...] = ()
    seed: int = 0


class FunctionalCallCase(Axes, _SubstitutionAxes):  # type: ignore[misc]
    """A call of a module with other tensors in the place of some of its own."""

    @cached_property
    def model(self) -> ModuleTraversalCase:
        """The module."""
        return ModuleTraversalCase(self.tree, nodes=self.nodes)

    @cached_property
    def places(self) -> list[Place]:
        """Every name with what is there: Parameters, then buffers."""
        found = [
            (f"{path}.{slot}" if path else slot, node, slot, tensor)
            for path, node in self.model.modules("", False)
            for slot, tensor in self.model.parts[node][2]
        ]
        return [place for what in ("parameters", "buffers") for place in found if kind(place[3]) == what]

    @cached_property
    def given(self) -> list[Place]:
        """The names that are given."""
        return CHOICES[self.choice](self.places)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Which tensor each given name gets: the same for names of one tensor, unless they are in conflict."""
        order = list(dict.fromkeys(place[3] for place in self.places))
        return {
            place[0]: order.index(place[3]) + (len(order) * k if self.conflict else 0)
            for k, place in enumerate(self.given)
        }

    @cached_property
    def replaced(self) -> dict[str, int]:
        """Which tensor comes under each name that is replaced, tied names too."""
        if not self.tie:
            return self.numbers
        of = {place[3]: self.numbers[place[0]] for place in self.given}
        return {place[0]: of[place[3]] for place in self.places if place[3] in of}

    @cached_property
    def inside(self) -> list[tuple[str, int]]:
        """What forward must see under each name: the number of what was given, or -1 for the module's own."""
        slots = {place[1:3]: self.replaced[place[0]] for place in self.places if place[0] in self.replaced}
        return [(place[0], slots.get(place[1:3], -1)) for place in self.places]

    @property
    def conflicting(self) -> bool:
        """Whether two names that are tied are given two tensors."""
        return self.conflict and len({place[3] for place in self.given}) < len(self.given)

    @property
    def refused(self) -> bool:
        """Whether the call must raise: strictly every name must be given, or tied to one; tied names get one tensor; a
        name stands in one dict."""
        lacking = len(self.replaced) < len(self.places) or bool(self.surplus)
        return self.repeated or (self.tie and self.conflicting) or (self.strict and lacking)

    def facts(self) -> dict[str, Any]:
        """The axes and: refused, conflicting, tied_by_name (a name is replaced that was not given), replaced_twice (a slot
        that is reached by two names), partly_tied (two names of a tensor with more names are given)."""
        slots = [place[1:3] for place in self.places if place[0] in self.replaced]
        counts = [sum(p[3] == tensor for p in self.given) for tensor in {p[3] for p in self.given}]
        names = [sum(p[3] == tensor for p in self.places) for tensor in {p[3] for p in self.given}]
        return {
            **{name: value for name, value in self.axes.items() if name not in ("nodes", "surplus")},
            "refused": self.refused,
            "conflicting": self.conflicting,
            "surplus": bool(self.surplus),
            "nameless": bool(self.nodes),
            "tied_by_name": len(self.replaced) > len(self.given),
            "replaced_twice": len(set(slots)) < len(slots),
            "partly_tied": any(1 < few < many for few, many in zip(counts, names, strict=True)),
        }


def plan(case: FunctionalCallCase) -> Plan:
    options = {
        "build": build,
        "nodes": tuple(case.model.parts.values()),
        "chosen": tuple(case.numbers.items()),
        "surplus": case.surplus,
        "tie": case.tie,
        "strict": case.strict,
        "failing": case.failing,
        "passed": case.passed,
        "split": case.split,
        "repeated": case.repeated,
    }
    return Plan(substituted, {"table": case.model.weight}, options)


def repair(case: FunctionalCallCase) -> FunctionalCallCase | None:
    """The case with a conflict only where there can be one: else a slot's second name decides what is in it; and with a
    name in both dicts only where there are two, and a name."""
    if case.repeated and not (case.split and (case.given or case.surplus)):
        case = case.but(repeated=False)
    if not case.conflict:
        return case
    return case if case.tie and case.conflicting else case.but(conflict=False)


AXES: dict[str, tuple[Any, ...]] = {
    "tree": tuple(TREES),
    "choice": tuple(CHOICES),
    "tie": (True, False),
    "strict": (False, True),
    "failing": (False, True),
    "conflict": (False, True),
    "surplus": ((), ("extra",)),
    "passed": ("tuple", "bare", "keyword"),
    "split": (False, True),
}


def scope() -> Iterator[FunctionalCallCase]:
    """Every tree with every choice of names, tied or not, strictly or not, whether forward raises or not."""
    flags = (AXES["tie"], AXES["strict"], AXES["failing"], AXES["conflict"])
    cases: Iterator[FunctionalCallCase] = itertools.starmap(
        FunctionalCallCase, itertools.product(TREES, CHOICES, *flags)
    )
    grown = (
        FunctionalCallCase(choice=choice, nodes=grow(stream.Stream(seed)), failing=seed % 3 == 0, seed=seed)
        for seed, choice in enumerate(itertools.islice(itertools.cycle(CHOICES), 60))
    )
    repeated = (
        FunctionalCallCase(tree, choice, tie, failing=failing, surplus=surplus, split=True, repeated=True)
        for (tree, choice, tie, failing), surplus in itertools.product(
            itertools.product(TREES, CHOICES, AXES["tie"], AXES["failing"]), AXES["surplus"]
        )
    )
    return (case for case in map(repair, itertools.chain(cases, grown, repeated)) if case is not None)


def draw(draws: stream.Stream) -> FunctionalCallCase | None:
    """A random tree, and each axis at any value."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    chosen |= {"tree": draws.choice(tuple(TREES)), "choice": draws.choice(tuple(CHOICES))}
    nodes = grow(draws) if draws.chance(2) else ()
    return repair(FunctionalCallCase(**chosen, nodes=nodes, seed=draws.between(0, 255)))


SPACE = Space(
    FunctionalCallCase, AXES, repair, scope, flags=("choice", "tie", "strict", "failing"), draw=draw, strength=2
)
