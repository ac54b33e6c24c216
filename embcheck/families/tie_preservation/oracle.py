"""Which parameters are one: a model of modules, Parameters and memory, and what each operation does to it.

A *slot* is a place in a module (``head.weight``), a *cell* a Parameter object, a *memory* the storage that a cell
views.  Tied slots hold one cell; cells that were made of one another may share a memory.  The module `effects` says
what an operation of `torch.nn` does to the three.  Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from embcheck.core.format import FORMATS, Floats, Format


@dataclass(eq=False)
class Memory:
    """A storage's values; ``error`` is how far each may be off once they were computed with rounding.

    What lies ``inside`` starts somewhere in a larger storage.
    """

    values: Floats
    error: Floats | None = None
    inside: bool = False

    def copy(self) -> Memory:
        """Another storage with the same values.  Arrays are replaced and never written to, so they may be shared."""
        return Memory(self.values, self.error)

    def whole(self) -> Memory:
        """Another storage with the same values in the same place: what lies around them comes along."""
        return Memory(self.values, self.error, self.inside)

    def widen(self, off: Floats) -> None:
        """The values may be off by so much more."""
        self.error = off if self.error is None else self.error + off

    def scale(self, factor: Any) -> None:
        """Multiplies by zeros and powers of two, one number or one for each element."""
        self.values = factor * self.values
        self.error = None if self.error is None else abs(factor) * self.error

    def fill(self, value: float) -> None:
        """One value everywhere."""
        self.values, self.error = np.full_like(self.values, value), None

    def become(self, values: Floats, fmt: Format) -> None:
        """Other values, rounded from what may be off already: then a neighbour may be what it is rounded to."""
        self.values, unit = fmt.rounded(values), 2 * fmt.unit_roundoff
        self.error = None if self.error is None else self.error * (1 + unit) + unit * np.abs(self.values)


@dataclass(eq=False)
class Cell:
    memory: Memory
    strides: tuple[int, ...]
    requires_grad: bool = True
    grad: Floats | None = None

    @property
    def values(self) -> Floats:
        return self.memory.values


@dataclass(eq=False)
class State:
    """A module: its slots, the names under which each is listed, its dtype and training flag."""

    slots: dict[str, Cell]
    names: dict[str, str]
    dtype: str
    training: bool = True
    #: the row without gradient, of which the accumulating operations know
    padding_row: int | None = None
    #: what happened on the way that torch is known to trip over, by name
    noted: set[str] = field(default_factory=set)

    def cells(self) -> list[Cell]:
        """The distinct Parameters, in the order of the slots."""
        return list(dict.fromkeys(self.slots.values()))

    def listed(self) -> list[Cell]:
        """The Parameter of each name, in order of the names."""
        return [self.slots[slot] for slot in self.names.values()]

    @property
    def exact(self) -> bool:
        """Whether no value was computed with rounding."""
        return all(cell.memory.error is None for cell in self.cells())

    def copy(self) -> State:
        """The same state in other objects: what happens to one does not show in the other."""
        memories = {cell.memory: cell.memory.whole() for cell in self.slots.values()}
        cells = {c: Cell(memories[c.memory], c.strides, c.requires_grad, c.grad) for c in self.slots.values()}
        slots = {slot: cells[cell] for slot, cell in self.slots.items()}
        return replace(self, slots=slots, noted=set(self.noted))

    @property
    def format(self) -> Format:
        return FORMATS[self.dtype]


def groups(things: Sequence[object]) -> list[int]:
    """For each thing, the position of the first that is the same object."""
    first: dict[int, int] = {}
    return [first.setdefault(id(thing), position) for position, thing in enumerate(things)]
