"""Journeys: what is written to a file comes back as it was then: its values, ties, shared memory, types and flags."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck import stream
from embcheck.axes import Axes, Input
from embcheck.comparison import every, identical, is_true, refuses, same, unwritten
from embcheck.format import FORMATS, Array, Floats
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.module.journey import LOCATIONS, PACKS, named, travelled
from embcheck.outcome import Field, Outcome
from embcheck.result import Finding
from embcheck.space import Space

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


class Journey(Axes, _JourneyAxes):  # type: ignore[misc]
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


def plan(case: Journey) -> Plan:
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


def canonical(case: Journey) -> Journey | None:
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


def scope() -> Iterator[Journey]:
    """Everything that is packed, by every way, to every location; mapped and old files too."""
    kinds = itertools.product(PACKS, AXES["way"], LOCATIONS, ((None, True), (True, True), (False, False)))
    for seed, (what, way, location, (mmap, zipped)) in enumerate(kinds):
        case = Journey(
            what, SHAPES[seed % len(SHAPES)], way, location, seed % 3 > 0, mmap, zipped, seed % 4 == 0,
            tuple(FORMATS)[seed % len(FORMATS)], LAYOUTS[seed % len(LAYOUTS)], seed,
        )  # fmt: skip
        fitted = canonical(case)
        if fitted is not None:
            yield fitted


def draw(draws: stream.Stream) -> Journey | None:
    """A random case: each axis at any value."""
    return canonical(
        Journey(**{name: draws.choice(values) for name, values in AXES.items()}, seed=draws.between(0, 255))
    )


journey = Family(
    "journey",
    Space(Journey, AXES, canonical, scope, flags=("what", "way", "location"), draw=draw, strength=2),
    plan,
    refused=lambda case: case.refused,
    cost=24.0,
    stride=2,
)
law = journey.law


@law(
    "A file gives the values that were written last before it was read, each time, whatever became of what it gave before.",
    source="torch.save, torch.load: map_location, weights_only, mmap",
    obliges={"mapped", "moved", "empty", "zipped=False", "way=pathlike", "way=path", "layout=transposed"},
)
def files_give_what_was_written(case: Journey, out: Outcome) -> Finding:
    first, second = case.flat(0), case.flat(1)
    found = [identical(getattr(out, name), first) for name in ("values", "beside", "reread")]
    if not case.mmap:
        found += [
            identical(out.rewritten, second),
            identical(out.earlier, first),
            is_true(out.later, "the second reading gave other ties, types or flags than the first"),
        ]
    return every(*found)


@law(
    "Names that were one tensor are one tensor, views of one memory are views of one memory, and none is another's.",
    source="Serialization semantics: saving and loading tensors preserves views",
    obliges={"what=views", "what=several", "what=variables", "mapped", "moved"},
)
def files_keep_ties(case: Journey, out: Outcome) -> Finding:
    sent = out.sent.raw
    # What has no elements, or is nowhere, has no address.
    placed = case.location != "on_meta" and 0 not in case.shape
    return every(
        *(same(entry(out, name), sent[name]) for name in ("type", "names", "cells", *(["memory"] if placed else []))),
        is_true(out.apart, "what was read shares memory with what was written, or with what was read before"),
    )


def entry(out: Outcome, name: str) -> Field:
    """Something that was seen of what was read."""
    return out.found.entry(name)


@law(
    "Types, dtypes, strides, offsets and requires_grad come back as they were, wherever the tensors go.",
    source="torch.load: map_location; nn.Parameter",
    obliges={"frozen", "moved", "weights_only=False", "layout=column_slice"},
)
def files_keep_flags(case: Journey, out: Outcome) -> Finding:
    sent = out.sent.raw
    return every(
        *(same(entry(out, name), sent[name]) for name in ("types", "dtypes", "strides", "offsets", "trains", "leaves")),
        same(out.devices, ["meta" if case.location == "on_meta" else "cpu"]),
    )


@law("Writing a file changes nothing in what is written.", source="no side effects")
def writing_changes_nothing(case: Journey, out: Outcome) -> Finding:
    return every(is_true(out.kept, "what was written has other ties or flags"), unwritten(out))


@law(
    "What is no zipped file with a name can't be mapped.",
    source="torch.load: mmap",
    obliges={"way=buffer", "zipped=False"},
    refusal=True,
)
def mapping_needs_a_file(case: Journey, out: Outcome) -> Finding:
    return every(refuses(out, ValueError, RuntimeError), unwritten(out))


test_scope, test_product, test_random = journey.tests()
