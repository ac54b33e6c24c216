"""Parameters of tensors of every kind, put into modules: the cases, and the program that runs each."""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Input, OfDtype, values_of
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Array, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, view_of
from embcheck.core.space import Space
from embcheck.core.stream import Stream
from embcheck.families.parameter.programs import BEFORE, CONTENTS, ORIGINS, UNDER, observations

#: Shapes of every rank, axes of length 1 and 0 among them.
SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 3), (), (1,), (3,), (0,), (3, 1), (1, 3), (2, 2), (0, 2), (2, 0), (1, 1), (2, 1, 3), (2, 3, 2), (2, 0, 3),
    (2, 1, 2, 3), (65, 2), (8, 7), (17, 8), (2, 33), (3, 17), (20, 70), (1, 2, 8),
)  # fmt: skip

#: What a module has that a Parameter comes into: nothing, one of all, several together.
SETS_OF_CONTENTS: tuple[tuple[str, ...], ...] = (
    (), *((name,) for name in CONTENTS), ("tied", "buffer", "graded"), ("layers", "mixed", "sparse"),
    ("shared", "evaluating", "frozen"), ("viewed", "many", "part_evaluating"), tuple(CONTENTS),
)  # fmt: skip

#: What a Parameter replaces if it is assigned; register_parameter refuses its name.
TAKEN = ("buffer", "module")


class ParameterCase(OfDtype):
    shape: Annotated[tuple[int, ...], SHAPES] = (2, 3)
    origin: Annotated[str, tuple(ORIGINS)] = "plain"
    requires_grad: Annotated[bool | None, (True, False, None)] = True
    under: Annotated[str, tuple(UNDER)] = "enabled"
    #: whether it is registered in a module or assigned, under which name, and what was there
    registered: Annotated[bool, (False, True)] = False
    slot: Annotated[str, ("weight", "bias", "embeddings")] = "weight"
    before: Annotated[str, tuple(BEFORE)] = "none"
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    values: Annotated[str, ("small", "special")] = "small"
    seed: int = 0
    #: what else the module has
    contents: Annotated[tuple[str, ...], SETS_OF_CONTENTS] = ()

    @cached_property
    def stored(self) -> Array:
        size = math.prod(self.shape)
        made = LookupCase(max(size, 1), 1, values=self.values, dtype=self.dtype, seed=self.seed).weight_stored[:size]
        if self.layout == "expanded" and size:
            made = np.broadcast_to(made[:1], made.shape)
        return np.ascontiguousarray(made).reshape(self.shape)

    @property
    def number(self) -> Floats:
        return self.format.decode(self.stored)

    @property
    def strides(self) -> tuple[int, ...]:
        return view_of(self.shape, self.layout).strides

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient: 1, 2, 3, 1, …"""
        counting: Floats = 1 + np.arange(math.prod(self.shape), dtype=np.float64) % 3
        return counting.reshape(self.shape)

    @property
    def learns(self) -> bool:
        """Whether it requires grad, which is the default."""
        return self.requires_grad is not False

    @property
    def names(self) -> list[str]:
        """The first and the last of the module's own parameters and the slot afterwards, which keeps its place unless it is new."""
        return ["first", "last", self.slot] if self.before in ("absent", *TAKEN) else ["first", self.slot, "last"]

    def inputs(self) -> dict[str, Input]:
        upstream = Input(self.format.encode(self.upstream), self.dtype)
        return {"data": Input(self.stored, self.dtype, self.layout), "upstream": upstream}

    def facts(self) -> dict[str, Any]:
        size = math.prod(self.shape)
        return {
            **{name: value for name, value in self.axes.items() if name != "contents"},
            **{f"module_{name}": name in self.contents for name in CONTENTS},
            # At the first of four turns plain tensors are pickled and made, too.
            "turn": self.seed % 4,
            "rank": len(self.shape),
            "empty": not size,
            "elements": size,
            "by_default": self.requires_grad is None,
        }


def plan(case: ParameterCase) -> Plan:
    options = {
        "making": (ORIGINS[case.origin], UNDER[case.under]),
        "before": BEFORE[case.before],
        "contents": tuple(CONTENTS[name] for name in CONTENTS if name in case.contents),
        "registered": case.registered,
        "flags": {} if case.requires_grad is None else {"requires_grad": case.requires_grad},
        "slot": case.slot,
        "turn": case.seed % 4,
    }
    return Plan(observations, case.inputs(), options)


def repair(case: ParameterCase) -> ParameterCase:
    return case.but(registered=False) if case.before in TAKEN else case


AXES = values_of(ParameterCase)


def scope() -> Iterator[ParameterCase]:
    """Every shape in every layout and dtype of every origin; every place."""
    origins = tuple(ORIGINS)
    for seed, (shape, layout, dtype) in enumerate(itertools.product(SHAPES, LAYOUTS, FORMATS)):
        axes: dict[str, Any] = {"requires_grad": bool(seed % 3), "dtype": dtype, "layout": layout, "seed": seed}
        yield ParameterCase(shape, origins[seed % len(origins)], **axes)
    for seed, (origin, under, grad) in enumerate(itertools.product(ORIGINS, UNDER, AXES["requires_grad"])):
        layout = ("contiguous", "transposed", "offset")[seed % 3]
        yield ParameterCase((2, 3), origin, grad, under, layout=layout, values="special", seed=seed)
    for seed, (registered, before, grad) in enumerate(itertools.product((False, True), BEFORE, (True, False))):
        axes = {"registered": registered, "before": before, "slot": AXES["slot"][seed % 3]}
        yield ParameterCase((2, 2), requires_grad=grad, layout="transposed", **axes)


_FLAGS = ("origin", "under", "requires_grad", "dtype")


def draw(draws: Stream) -> ParameterCase:
    """A random case, whose module has each thing one time in three."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    chosen["contents"] = tuple(name for name in CONTENTS if draws.chance(3)) if draws.chance(2) else ()
    return repair(ParameterCase(**chosen, seed=draws.between(0, 255)))


SPACE = Space(ParameterCase, AXES, repair, lambda: map(repair, scope()), flags=_FLAGS, draw=draw, strength=2)
