"""Which cases there are: enumerated axes, all small cases, covers of the axes' combinations, and random ones.

*Scope* lists every small case in order of size, so that its first failure is minimal and its silence a proof for
the scope.  *Product* takes the full product of a few flags and then a cover: rows that contain every combination of
values of any t axes: seeded rows first, since what is more than needed tests more, then rows into which as many of
the missing combinations are packed as fit.  *Random* draws what enumeration can't reach.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.targets import Wish

Rows = npt.NDArray[np.int64]
#: For each group of axes which combinations of their values there are; shape: the sizes of these axes.
Combinations = dict[tuple[int, ...], npt.NDArray[np.bool_]]


@lru_cache(maxsize=64)  # for every part of an item takes its cases from the same rows
def covering_rows(sizes: tuple[int, ...], strength: int, seed: int, extra_rows: int = 4) -> Rows:
    """Rows of axis positions in which every combination of any ``strength`` axes' values occurs.

    Shape ``(rows, len(sizes))``.  ``extra_rows`` times as many seeded rows as no cover can do without come first; then rows
    that are packed with what these lack, their free places seeded.
    """
    strength = min(strength, len(sizes))
    spare = extra_rows * math.prod(sorted(sizes)[-strength:])
    rows = _seeded_rows(sizes, spare, stream.derive(seed, "cover", strength))
    packed = _packed(_met(rows, sizes, strength), len(sizes))
    free = _seeded_rows(sizes, len(packed), stream.derive(seed, "complete"))
    return np.concatenate([rows, np.where(packed < 0, free, packed)])


def lacking(rows: Rows, sizes: tuple[int, ...], strength: int) -> Iterator[tuple[list[int], list[int]]]:
    """The axes and the places of each combination of ``strength`` values that no row has; not of one with two that none has
    together, which is as good as impossible."""
    parts = _met(rows, sizes, strength - 1)
    for group, met in _met(rows, sizes, strength).items():
        found = ~met
        for left_out, part in enumerate(itertools.combinations(group, strength - 1) if strength > 2 else ()):
            found &= np.expand_dims(parts[part], strength - 1 - left_out)
        for values in np.argwhere(found).tolist():
            yield list(group), values


def _met(rows: Rows, sizes: tuple[int, ...], strength: int) -> Combinations:
    """The combinations of ``strength`` values that some rows have, in which -1 is no value."""
    found = {}
    for group in itertools.combinations(range(len(sizes)), strength):
        places = rows[:, list(group)]
        found[group] = np.zeros([sizes[k] for k in group], np.bool_)
        found[group][tuple(places[(places >= 0).all(1)].T)] = True
    return found


def _packed(met: Combinations, width: int) -> Rows:
    """Rows that contain what is not met, each combination in the first row that it fits; -1 where any value does."""
    unmet = sum(int(np.count_nonzero(~had)) for had in met.values())
    rows, used = np.full((unmet, width), -1), 0
    # The largest groups decide how many rows there are; the others find room in them.
    for group, had in sorted(met.items(), key=lambda each: -each[1].size):
        columns = list(group)
        for values in np.argwhere(~had):
            open_rows = rows[:used, columns]
            fits = ((open_rows == values) | (open_rows < 0)).all(1)
            at = int(fits.argmax()) if fits.any() else used
            used = max(used, at + 1)
            rows[at, columns] = values
    return rows[:used]


def _seeded_rows(sizes: tuple[int, ...], count: int, seed: int) -> Rows:
    columns = [stream.below(stream.derive(seed, axis), count, size) for axis, size in enumerate(sizes)]
    return np.stack(columns, axis=1)


#: How often a case is sought for a combination that is lost before this counts as impossible.
_TURNS = 6


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

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes.values()))

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
        `covering_rows` for ``extra_rows``.  A ``complete`` one goes on with combinations that this lost."""
        made = []
        for position, row in enumerate(covering_rows(self._sizes, strength, seed, extra_rows).tolist()):
            case = self.at(row, position)
            if case is not None:
                made.append(type(case)(*case))  # a copy, since a case keeps what it once expanded to
                yield case
        if complete:
            yield from self._lost(made, strength, stream.Stream(stream.derive(seed, "lost")))

    def _lost(self, cases: list[Any], strength: int, draws: stream.Stream) -> Iterator[Any]:
        """Cases with combinations that others lack, those of fewer axes first: one that has all but one of the values is given
        this."""
        names, rows = list(self.axes), self._places(cases)
        for many, turn in itertools.product(range(1, strength + 1), range(_TURNS)):
            found, given = [], turn % many
            for group, values in lacking(rows, self._sizes, many):
                kept = (rows[:, np.delete(group, given)] == np.delete(values, given)).all(1)
                if not kept.any():
                    continue
                base, name = cases[draws.choice(np.flatnonzero(kept).tolist())], names[group[given]]
                case = self.repair(base.but(**{name: self.axes[name][values[given]]}))
                if case is not None and self._places([case])[0, group].tolist() == values:
                    found.append(type(case)(*case))
                    yield case
            rows, cases = np.concatenate([rows, self._places(found)]), cases + found

    @cached_property
    def _texts(self) -> dict[str, dict[str, int]]:
        """The places of the axes' values by their texts, for 0 equals 0.0."""
        return {name: {repr(value): place for place, value in enumerate(values)} for name, values in self.axes.items()}

    def _places(self, cases: Iterable[Any]) -> Rows:
        """The places of cases' values in their axes, -1 for one that is not there."""
        rows = [[places.get(repr(getattr(case, name)), -1) for name, places in self._texts.items()] for case in cases]
        return np.array(rows, np.int64).reshape(-1, len(self.axes))

    def at(self, row: Iterable[int], seed: int) -> Any:
        """The case with each axis at a position, after ``repair``; the seed of its values, if it has one that is no axis."""
        chosen = _values(self.axes, row)
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
        for name in ("seed", "threads"):  # which may be no axes
            default = case._field_defaults.get(name)
            if default is not None and name not in self.axes and current.get(name) != default:
                yield case.but(**{name: default})


def covering(
    axes: Mapping[str, Sequence[Any]], strength: int, seed: int, extra_rows: int = 4
) -> Iterator[dict[str, Any]]:
    """The rows of `covering_rows` as values by the names of their axes."""
    for row in covering_rows(tuple(map(len, axes.values())), strength, seed, extra_rows).tolist():
        yield _values(axes, row)


def _values(axes: Mapping[str, Sequence[Any]], row: Iterable[int]) -> dict[str, Any]:
    return {name: values[k] for (name, values), k in zip(axes.items(), row, strict=True)}
