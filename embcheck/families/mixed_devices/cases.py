"""Calls whose tensors lie on different devices: the cases, and the program that runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.mixed_devices.programs import CALLS, apart

NAMES = ("input", "hidden", "weight", "offsets", "per_sample_weights", "bias", "upstream")
#: The tensors that a call takes.
TAKES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lookup", "indexed", "selected", "product", "batch"), ("input", "weight")),
    "bag": ("input", "weight", "offsets"),
    "weighted_batch": ("input", "weight", "per_sample_weights"),
    "weighted_bag": ("input", "weight", "offsets", "per_sample_weights"),
    **dict.fromkeys(("linear", "projected", "projected_in_batches"), ("hidden", "weight")),
    "linear_with_bias": ("hidden", "weight", "bias"),
}
BAGS = tuple(call for call in TAKES if call.endswith(("batch", "bag")))
#: Calls that are one product of a matrix and the weight.
PRODUCTS = tuple(call for call, taken in TAKES.items() if "hidden" in taken)


class _MixedDevicesAxes(NamedTuple):
    num_embeddings: int = 3
    embedding_dim: int = 2
    #: how many tokens, bags or vectors there are
    vectors: int = 2
    call: str = "lookup"
    #: what lies on meta; "upstream" is what backward is given
    on_meta: tuple[str, ...] = ()
    learns: bool = False
    mode: str = "sum"
    padding_idx: int | None = None
    dtype: str = "float32"
    index_dtype: str = "int64"
    seed: int = 0


class MixedDevicesCase(Axes, _MixedDevicesAxes):  # type: ignore[misc]
    """Tensors of a call, each on the device that is tested or on meta."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The tensors of the call, and what backward is given."""
        return (*TAKES[self.call], *(("upstream",) if self.learns else ()))

    @property
    def divided(self) -> bool:
        """Whether they lie on two devices."""
        return 0 < len(self.on_meta) < len(self.takes)

    @property
    def flags(self) -> dict[str, Any]:
        """The flags of the call."""
        mode = {"mode": self.mode} if self.call in BAGS else {}
        return {**mode, "padding_idx": self.padding_idx} if self.call in (*BAGS, "lookup") else {}

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the output."""
        return (self.vectors, self.num_embeddings if self.call in PRODUCTS else self.embedding_dim)

    def inputs(self) -> dict[str, Input]:
        """What is fed: numbers that play no part."""
        fmt = FORMATS[self.dtype]
        tokens = stream.below(stream.derive("tokens", self.seed), self.vectors, self.num_embeddings)
        whole = {"input": tokens, "offsets": np.arange(self.vectors)}
        sizes: dict[str, tuple[int, ...]] = {
            "weight": (self.num_embeddings, self.embedding_dim),
            "hidden": (self.vectors, self.embedding_dim),
            "bias": (self.num_embeddings,),
            "per_sample_weights": (self.vectors,),
            "upstream": self.shape,
        }
        return {
            name: Input(whole[name].astype(self.index_dtype), self.index_dtype)
            if name in whole
            else Input(fmt.encode(np.ones(sizes[name])), self.dtype)
            for name in self.takes
        }

    def facts(self) -> dict[str, Any]:
        """The axes and: divided, late (only what backward is given lies apart), bagged, multiplied, apart (the names of what
        lies on meta), weight_on_meta, padded."""
        return {
            **self.axes,
            "divided": self.divided,
            "bagged": self.call in BAGS,
            "multiplied": self.call in PRODUCTS,
            "apart": "+".join(self.on_meta),
            "weight_on_meta": "weight" in self.on_meta,
            "late": self.divided and self.learns,
            "padded": self.padding_idx is not None,
        }


def plan(case: MixedDevicesCase) -> Plan:
    return Plan(apart, case.inputs(), {"call": CALLS[case.call], "on_meta": case.on_meta, "flags": case.flags})


def repair(case: MixedDevicesCase) -> MixedDevicesCase:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.call not in BAGS or case.call.startswith("weighted"):
        changes["mode"] = "sum"
    if case.call not in (*BAGS, "lookup"):
        changes["padding_idx"] = None
    elif case.padding_idx is not None:
        changes["padding_idx"] = max(min(case.padding_idx, case.num_embeddings - 1), -case.num_embeddings)
    if case.call == "product":
        changes["index_dtype"] = "int64"
    on_meta = tuple(name for name in NAMES if name in case.on_meta and name in case.takes)
    if case.learns and 0 < len(on_meta) < len(case.takes) and on_meta != ("upstream",):
        on_meta = TAKES[case.call]  # else the call is refused before there is a derivative
    return case.but(**changes, on_meta=on_meta)


def parts(call: str, learns: bool) -> list[tuple[str, ...]]:
    """Every choice of what lies on meta; of the arguments all or none if what backward is given lies apart."""
    taken = TAKES[call]
    if learns:
        return [(), taken, ("upstream",), (*taken, "upstream")]
    return [chosen for size in range(len(taken) + 1) for chosen in itertools.combinations(taken, size)]


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 8),
    "vectors": (2, 1, 5),
    "call": tuple(CALLS),
    "on_meta": (
        (),
        *((name,) for name in NAMES),
        ("input", "hidden", "offsets"),
        ("input", "hidden", "per_sample_weights"),
        ("weight", "bias", "offsets"),
        ("hidden", "bias", "offsets", "per_sample_weights"),
        NAMES,
    ),
    "learns": (False, True),
    "mode": ("sum", "mean", "max"),
    "padding_idx": (None, 0, -1),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "index_dtype": ("int64", "int32"),
}


def scope() -> Iterator[MixedDevicesCase]:
    """Every call with every choice of what lies on meta, in every mode and dtype."""
    taken = itertools.product(CALLS, (False, True), AXES["mode"], AXES["dtype"])
    for seed, (call, learns, mode, dtype) in enumerate(taken):
        for on_meta in parts(call, learns):
            axes = {"padding_idx": (None, 0)[seed % 2], "index_dtype": AXES["index_dtype"][seed // 4 % 2]}
            yield repair(MixedDevicesCase(3, 2, 2, call, on_meta, learns, mode, dtype=dtype, **axes))


def fixed_cases() -> Iterator[MixedDevicesCase]:
    """Every call with every choice of what lies on meta, in every profile."""
    for call, learns in itertools.product(CALLS, (False, True)):
        yield from (MixedDevicesCase(call=call, on_meta=on_meta, learns=learns) for on_meta in parts(call, learns))


_FLAGS = ("call", "on_meta", "learns")
SPACE = Space(MixedDevicesCase, AXES, repair, scope, fixed_cases, _FLAGS, strength=2)
