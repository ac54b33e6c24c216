"""Which cases there are: enumerated axes, all small cases, covers of the axes' combinations, and random ones.

*Scope* lists every small case in order of size, so that its first failure is minimal and its silence a proof for
the scope.  *Product* takes the full product of a few flags and then a cover: rows that contain every combination of
values of any t axes: seeded rows first, since what is more than needed tests more, then rows into which as many of
the missing combinations are packed as fit.  *Random* draws what enumeration can't reach.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.covering import covering_rows
from embcheck.core.targets import Wish

Told = tuple[str, str]
#: How often a case is sought for a pair of values before it counts as impossible: more find one in 150 more, of tied_training
#: and param_groups alone.
_TURNS = 6


class Pairs:
    """Which pairs of two axes' values cases have; a value is the name of its axis with its text, for 0 equals 0.0."""

    def __init__(self, axes: Mapping[str, Sequence[Any]]) -> None:
        self._axes = axes
        self.met: set[tuple[Told, Told]] = set()
        #: The cases that have a value.
        self.having: dict[Told, list[Any]] = defaultdict(list)

    def _told(self, case: Any) -> list[Told]:
        return [(name, repr(getattr(case, name))) for name in self._axes]

    def add(self, case: Axes) -> None:
        """Takes notice of a case."""
        told = self._told(case)
        self.met.update(itertools.combinations(told, 2))
        copy = type(case)(*case)  # since a case keeps what it once expanded to
        for value in told:
            self.having[value].append(copy)

    def has(self, case: Any, pair: tuple[Told, Told]) -> bool:
        """Whether a case has a pair."""
        return {*pair} <= {*self._told(case)}

    def value(self, told: Told) -> dict[str, Any]:
        """A value by the name of its axis."""
        name, text = told
        return {name: next(value for value in self._axes[name] if repr(value) == text)}

    def lacking(self) -> list[tuple[Told, Told]]:
        """The pairs that no case has, in the order of the axes."""
        named = [[(name, repr(value)) for value in values] for name, values in self._axes.items()]
        every = (pair for axes in itertools.combinations(named, 2) for pair in itertools.product(*axes))
        return [pair for pair in every if pair not in self.met]


@dataclass(frozen=True, eq=False)  # each is itself: what is cached of one is no other's
class Space:
    """The cases of a family.

    ``axes`` are the values of each axis of ``case_type``, simplest first; ``repair`` turns a row of them into a case
    that means something (or None); ``scope`` lists the small cases and ``fixed_cases`` the few large ones that every
    profile runs, so that no obligation depends on chance; ``flags`` are the axes of the full product,
    taken on ``base``; ``draw`` makes one random case (by default a random row of the axes); ``smaller`` proposes
    further reductions.  ``aim`` builds a case whose facts are
    as wished, each else at one of its thresholds; ``aims`` is how many of those a run has for each that its profile has.
    ``strength`` is t of the cover in the gate.
    """

    case_type: type[Axes]
    axes: Mapping[str, tuple[Any, ...]]
    repair: Callable[[Any], Any] = lambda case: case
    scope: Callable[[], Iterator[Any]] = lambda: iter(())
    fixed_cases: Callable[[], Iterator[Any]] = lambda: iter(())
    flags: tuple[str, ...] = ()
    base: Mapping[str, Any] | None = None
    draw: Callable[[stream.Stream], Any] | None = None
    smaller: Callable[[Any], Iterator[Any]] = lambda case: iter(())
    strength: int = 3
    aim: Callable[[Wish], Any] | None = None
    aims: float = 1.0

    @property
    def first(self) -> dict[str, Any]:
        """The axes at ``base`` or their first values."""
        return {name: values[0] for name, values in self.axes.items()} | dict(self.base or {})

    @cached_property
    def facts(self) -> frozenset[str]:
        """The facts that its cases have, whatever their axes say: those of the first, of which nothing is executed."""
        return frozenset(self.case_type(**self.first).facts())

    def small(self) -> Iterator[Any]:
        """The fixed cases and the small ones, in an order that never changes."""
        return itertools.chain(filter(None, map(self.repair, self.fixed_cases())), self.scope())

    def product(self, positions: Iterable[int] | None = None) -> Iterator[Any]:
        """The full product of the flags, the other axes at ``base`` or their first values; those at ``positions``,
        which ascend, or all."""
        choices = [self.axes[name] for name in self.flags]
        count = math.prod(map(len, choices))
        for position in range(count) if positions is None else positions:
            if position >= count:
                return
            chosen = np.unravel_index(position, [len(values) for values in choices]) if choices else ()
            flags = {name: values[k] for name, values, k in zip(self.flags, choices, chosen, strict=True)}
            case = self.repair(self.case_type(**(self.first | flags)))
            if case is not None:
                yield case

    def cover(self, strength: int, seed: int, extra_rows: int = 4, *, complete: bool = False) -> Iterator[Any]:
        """Cases that contain every combination of values of any ``strength`` axes, before ``repair``; see
        `covering_rows` for ``extra_rows``.  A ``complete`` one goes on with the pairs of values that are lost by it."""
        pairs = Pairs(self.axes)
        for position, chosen in enumerate(covering(self.axes, strength, seed, extra_rows)):
            case = self._of(chosen, position)
            if case is not None:
                yield case
                if complete:
                    pairs.add(case)
        if complete:
            yield from self._lost(pairs, stream.Stream(stream.derive(seed, "pairs")))

    def _lost(self, pairs: Pairs, draws: stream.Stream) -> Iterator[Any]:
        """Cases with the pairs that others lack: a case that has one of the two values is given the other."""
        for turn in range(_TURNS):
            for pair in pairs.lacking():
                kept, given = pair if turn % 2 == 0 else reversed(pair)
                if pair in pairs.met or not pairs.having[kept]:
                    continue
                case = self.repair(draws.choice(pairs.having[kept]).but(**pairs.value(given)))
                if case is not None and pairs.has(case, pair):
                    yield case
                    pairs.add(case)

    def at(self, row: Iterable[int], seed: int) -> Any:
        """The case with each axis at a position, after ``repair``; the seed of its values, if it has one that is no axis."""
        return self._of(_values(self.axes, row), seed)

    def _of(self, chosen: dict[str, Any], seed: int) -> Any:
        if "seed" in self.case_type._fields:
            chosen.setdefault("seed", seed)
        return self.repair(self.case_type(**chosen))

    def random(self, draws: stream.Stream) -> Any:
        if self.draw is not None:
            return self.draw(draws)
        chosen = {name: draws.choice(values) for name, values in self.axes.items()}
        if "seed" in self.case_type._fields and "seed" not in chosen:
            chosen["seed"] = draws.between(0, 255)
        return self.repair(self.case_type(**chosen))

    def reductions(self, case: Axes) -> Iterator[Any]:
        """Simpler neighbours of a case, the boldest first: the space's own, then each axis towards its first value."""
        for candidate in itertools.chain(self.smaller(case), self._towards_first(case)):
            simpler = self.repair(candidate)
            if simpler is not None and simpler != case:
                yield simpler

    def _towards_first(self, case: Axes) -> Iterator[Any]:
        current = case.axes
        for name, values in self.axes.items():
            before = values[: values.index(current[name])] if current[name] in values else values
            for value in before:
                yield case.but(**{name: value})
        default = case._field_defaults.get("seed")
        if default is not None and current.get("seed") != default:
            yield case.but(seed=default)


def covering(
    axes: Mapping[str, Sequence[Any]], strength: int, seed: int, extra_rows: int = 4
) -> Iterator[dict[str, Any]]:
    """The rows of `covering_rows` as values by the names of their axes."""
    for row in covering_rows(tuple(map(len, axes.values())), strength, seed, extra_rows).tolist():
        yield _values(axes, row)


def _values(axes: Mapping[str, Sequence[Any]], row: Iterable[int]) -> dict[str, Any]:
    return {name: values[k] for (name, values), k in zip(axes.items(), row, strict=True)}
