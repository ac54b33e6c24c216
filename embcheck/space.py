"""Which cases there are: enumerated axes, all small cases, covers of the axes' combinations, and random ones.

*Scope* lists every small case in order of size, so that its first failure is minimal and its silence a proof for
the scope.  *Product* takes the full product of a few flags and then a cover: rows that contain every combination of
values of any t axes.  A cover here is not the smallest one: cases cost so little that seeded rows, completed until
nothing is missing, come out cheaper than a clever algorithm, and what is more than needed tests more.
*Random* draws what enumeration can't reach.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck import stream
from embcheck.case import Axes

Rows = npt.NDArray[np.int64]


def _unchanged(case: Any) -> Any:
    return case


def _none() -> Iterator[Any]:
    return iter(())


@dataclass(frozen=True)
class Space:
    """The cases of a family.

    ``axes`` are the values of each axis of ``case_type``, simplest first; ``canon`` turns a row of them into a case
    that means something (or None); ``scope`` lists the small cases and ``landmarks`` the few large ones that every
    profile runs, so that no obligation depends on chance; ``flags`` are the axes of the full product,
    taken on ``base``; ``draw`` makes one random case (by default a random row of the axes); ``smaller`` proposes
    further reductions.  ``strength`` is t of the cover in the gate.
    """

    case_type: type[Axes]
    axes: Mapping[str, tuple[Any, ...]]
    canon: Callable[[Any], Any] = _unchanged
    scope: Callable[[], Iterator[Any]] = _none
    landmarks: Callable[[], Iterator[Any]] = _none
    flags: tuple[str, ...] = ()
    base: Mapping[str, Any] | None = None
    draw: Callable[[stream.Stream], Any] | None = None
    smaller: Callable[[Any], Iterator[Any]] = lambda case: iter(())
    strength: int = 3

    def product(self) -> Iterator[Any]:
        """The full product of the flags, the other axes at ``base`` or their first values."""
        first = {name: values[0] for name, values in self.axes.items()} | dict(self.base or {})
        for choice in itertools.product(*(self.axes[name] for name in self.flags)):
            case = self.canon(self.case_type(**(first | dict(zip(self.flags, choice, strict=True)))))
            if case is not None:
                yield case

    def cover(self, strength: int, seed: int) -> Iterator[Any]:
        """Cases that contain every combination of values of any ``strength`` axes, before ``canon``."""
        names = list(self.axes)
        values = [self.axes[name] for name in names]
        for position, row in enumerate(covering_rows([len(v) for v in values], strength, seed).tolist()):
            chosen = {name: v[k] for name, v, k in zip(names, values, row, strict=True)}
            if "seed" in self.case_type._fields and "seed" not in chosen:
                chosen["seed"] = position
            case = self.canon(self.case_type(**chosen))
            if case is not None:
                yield case

    def random(self, draws: stream.Stream) -> Any:
        """One random case."""
        if self.draw is not None:
            return self.draw(draws)
        chosen = {name: draws.choice(values) for name, values in self.axes.items()}
        if "seed" in self.case_type._fields and "seed" not in chosen:
            chosen["seed"] = draws.between(0, 255)
        return self.canon(self.case_type(**chosen))

    def reductions(self, case: Axes) -> Iterator[Any]:
        """Simpler neighbours of a case, the boldest first: the space's own, then each axis towards its first value."""
        for candidate in itertools.chain(self.smaller(case), self._towards_first(case)):
            simpler = self.canon(candidate)
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


def covering_rows(sizes: list[int], strength: int, seed: int) -> Rows:
    """Rows of axis positions in which every combination of any ``strength`` axes' values occurs.

    Shape ``(rows, len(sizes))``.  Seeded rows come first; then each combination that is still missing gets a row of
    its own, its other axes at random, until none is missing.
    """
    strength = min(strength, len(sizes))
    groups = list(itertools.combinations(range(len(sizes)), strength))
    largest = int(np.prod(sorted(sizes)[-strength:]))
    seen = [np.zeros(int(np.prod([sizes[k] for k in group])), np.bool_) for group in groups]
    rows = _seeded_rows(sizes, 4 * largest, stream.derive(seed, "cover", strength))
    blocks = [rows]
    _mark(rows, groups, sizes, seen)
    for turn in itertools.count():
        missing = [(group, code) for group, hit in zip(groups, seen, strict=True) for code in np.flatnonzero(~hit)]
        if not missing:
            return np.concatenate(blocks)
        # A row completes several combinations at once, so take only a share of them before looking again.
        chosen = missing[:: 1 + len(missing) // (2 * largest)]
        rows = _seeded_rows(sizes, len(chosen), stream.derive(seed, "complete", turn))
        for row, (group, code) in zip(rows, chosen, strict=True):
            row[list(group)] = np.unravel_index(code, [sizes[k] for k in group])
        _mark(rows, groups, sizes, seen)
        blocks.append(rows)
    raise AssertionError("unreachable")


def _seeded_rows(sizes: list[int], count: int, seed: int) -> Rows:
    columns = [stream.below(stream.derive(seed, axis), count, size) for axis, size in enumerate(sizes)]
    return np.stack(columns, axis=1)


def _mark(rows: Rows, groups: Iterable[tuple[int, ...]], sizes: list[int], seen: list[npt.NDArray[np.bool_]]) -> None:
    for group, hit in zip(groups, seen, strict=True):
        code = np.zeros(len(rows), np.int64)
        for axis in group:
            code = code * sizes[axis] + rows[:, axis]
        hit[code] = True
