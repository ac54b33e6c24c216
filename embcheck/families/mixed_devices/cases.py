"""A call whose tensors lie on different devices as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS

#: The tensors that a call takes.
_BAG = ("input", "weight", "offsets")
TAKES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lookup", "layer", "indexed", "selected", "gathered", "product", "batch"), ("input", "weight")),
    **dict.fromkeys(("bag", "bag_layer"), _BAG),
    "weighted_batch": ("input", "weight", "per_sample_weights"),
    "weighted_bag": (*_BAG, "per_sample_weights"),
    **dict.fromkeys(("linear", "head", "projected", "projected_vector", "projected_in_batches"), ("hidden", "weight")),
    "linear_with_bias": ("hidden", "weight", "bias"),
}
BAGS = ("batch", "bag", "bag_layer", "weighted_batch", "weighted_bag")
#: Calls that are one product of a matrix and the weight.
PRODUCTS = ("linear", "linear_with_bias", "head", "projected", "projected_vector", "projected_in_batches")


class _ApartAxes(NamedTuple):
    """The axes, simplest value first."""

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


class MixedDevicesCase(Axes, _ApartAxes):  # type: ignore[misc]
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
        return {**mode, "padding_idx": self.padding_idx}

    @property
    def shape(self) -> tuple[int, int]:
        """The sizes of what comes out."""
        if self.call == "projected_vector":
            return (1, self.num_embeddings)
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
