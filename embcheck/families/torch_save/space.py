"""Which cases of torch_save there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Array, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.torch_save.programs import LOCATIONS, PACKS, named, travelled

SHAPES = ((3, 2), (2, 3), (1, 1), (4, 1), (0, 2), (2, 2))


class _JourneyAxes(NamedTuple):
    """The axes, simplest value first."""

    what: str = "state"
    shape: tuple[int, int] = (3, 2)
    way: str = "buffer"
    location: str = "nowhere"
    weights_only: bool = True
    mmap: Any = None
    zipped: bool = True
    frozen: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    seed: int = 0


class TorchSaveCase(Axes, _JourneyAxes):  # type: ignore[misc]
    """A table that is written to a file, and read from it."""

    def numbers(self, turn: int) -> Floats:
        """The table of the first or second writing."""
        size = self.shape[0] * self.shape[1]
        words = stream.below(stream.derive("journey", turn, self.seed), size, 101).astype(np.float64) - 50
        return words.reshape(self.shape)

    def flat(self, turn: int) -> Array:
        """The bits of all tensors that were packed, one after the other."""
        table = self.numbers(turn)
        parts = {
            "state": [table, table],
            "variables": [table, table],
            "layer": [table],
            "views": [table, table.T, table[1:], table],
            "several": [table, table, table, np.zeros(2)],
            "parameter": [table],
        }[self.what]
        fmt = FORMATS[self.dtype]
        joined = np.concatenate([part.reshape(-1) for part in parts])
        return fmt.to_bits(fmt.encode(joined if self.location != "on_meta" else joined[:0]))

    @property
    def refused(self) -> bool:
        """Whether reading must raise: only a zipped file with a name can be mapped."""
        return bool(self.mmap) and (self.way in ("buffer", "handle") or not self.zipped)

    def facts(self) -> dict[str, Any]:
        """The axes and: refused, mapped, moved (to a location that is told)."""
        return {
            **self.axes,
            "refused": self.refused,
            "mapped": bool(self.mmap),
            "moved": self.location != "nowhere",
            "empty": 0 in self.shape,
        }


def plan(case: TorchSaveCase) -> Plan:
    options = {
        "pack": PACKS[case.what],
        "named": named,
        "way": case.way,
        "location": LOCATIONS[case.location],
        "weights_only": case.weights_only,
        "mmap": case.mmap,
        "zipped": case.zipped,
        "frozen": case.frozen,
    }
    fmt = FORMATS[case.dtype]
    fed = {
        name: Input(fmt.encode(case.numbers(turn)), case.dtype, case.layout)
        for turn, name in enumerate(("weight", "second"))
    }
    return Plan(travelled, fed, options)


def repair(case: TorchSaveCase) -> TorchSaveCase | None:
    """The case with flags that fit: a module needs its class, and only dense memory is written as it lies."""
    changes: dict[str, Any] = {}
    if case.what == "layer":
        changes["weights_only"] = False
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "what": tuple(PACKS),
    "shape": SHAPES,
    "way": ("buffer", "path", "pathlike", "handle"),
    "location": tuple(LOCATIONS),
    "weights_only": (True, False),
    "mmap": (None, True, False),
    "zipped": (True, False),
    "frozen": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
}


def scope() -> Iterator[TorchSaveCase]:
    """Everything that is packed, by every way, to every location; mapped and old files too."""
    kinds = itertools.product(PACKS, AXES["way"], LOCATIONS, ((None, True), (True, True), (False, False)))
    for seed, (what, way, location, (mmap, zipped)) in enumerate(kinds):
        case = TorchSaveCase(
            what, SHAPES[seed % len(SHAPES)], way, location, seed % 3 > 0, mmap, zipped, seed % 4 == 0,
            tuple(FORMATS)[seed % len(FORMATS)], LAYOUTS[seed % len(LAYOUTS)], seed,
        )  # fmt: skip
        fitted = repair(case)
        if fitted is not None:
            yield fitted


def draw(draws: stream.Stream) -> TorchSaveCase | None:
    """A random case: each axis at any value."""
    return repair(
        TorchSaveCase(**{name: draws.choice(values) for name, values in AXES.items()}, seed=draws.between(0, 255))
    )


SPACE = Space(TorchSaveCase, AXES, repair, scope, flags=("what", "way", "location"), draw=draw, strength=2)
