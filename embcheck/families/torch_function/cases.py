"""A call that is overridden, as a case; knows no torch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS

_BAGS = ("bag", "bag_layer")


class _OverridingAxes(NamedTuple):
    """The axes, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    shape: tuple[int, ...] = (2,)
    call: str = "lookup"
    #: what overrides: the class of the argument of this name, or a "mode"
    by: str = "weight"
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False
    mode: str = "sum"
    include_last_offset: bool = False
    dtype: str = "float32"
    seed: int = 0


class TorchFunctionCase(Axes, _OverridingAxes):  # type: ignore[misc]
    """A lookup, or a bag of all tokens, of which a class or a mode is told."""

    @property
    def bagged(self) -> bool:
        """Whether tokens are summed."""
        return self.call in _BAGS

    @property
    def weighed(self) -> bool:
        """Whether the tokens of bags have weights."""
        return self.bagged and self.mode == "sum"

    @property
    def flags(self) -> dict[str, Any]:
        """The flags of the call."""
        names = ["padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"]
        return {name: getattr(self, name) for name in names + ["mode", "include_last_offset"] * self.bagged}

    @property
    def told(self) -> dict[str, Any]:
        """The flags as what overrides is told of them: layers count a negative padding_idx from the front."""
        if self.padding_idx is None or self.call not in ("layer", "bag_layer"):
            return self.flags
        return {**self.flags, "padding_idx": self.padding_idx % self.num_embeddings}

    def inputs(self) -> dict[str, Input]:
        """What is fed: the arguments by their names."""
        fmt, count = FORMATS[self.dtype], math.prod(self.shape)
        tokens = stream.below(stream.derive("tokens", self.seed), count, self.num_embeddings).astype("int64")
        found = {
            "input": Input(tokens.reshape(self.shape), "int64"),
            "weight": Input(
                fmt.encode(stream.small("table", self.seed, (self.num_embeddings, self.embedding_dim))), self.dtype
            ),
        }
        if self.bagged:
            ends = [0, count] if self.include_last_offset else [0]
            found["offsets"] = Input(np.array(ends), "int64")
        if self.weighed:
            found["per_sample_weights"] = Input(fmt.encode(stream.small("weights", self.seed, self.shape)), self.dtype)
        return found

    def facts(self) -> dict[str, Any]:
        """The axes and: padded, limited."""
        return {
            **{name: value for name, value in self.axes.items() if name != "shape"},
            "rank": len(self.shape),
            "padded": self.padding_idx is not None,
            "limited": self.max_norm is not None,
        }
