"""A lookup, or bags, of a nested tensor of tokens, as a case: components of several lengths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.oracle import accumulate
from embcheck.core.space import Space
from embcheck.families.nested_tensor.programs import MADE, nested

Tokens = npt.NDArray[np.int64]


class _NestedTensorAxes(NamedTuple):
    num_embeddings: int = 3
    embedding_dim: int = 2
    lengths: tuple[int, ...] = (2, 1)
    #: further axes of each component, for a lookup
    columns: int = 0
    #: "lookup", or the mode of a bag
    reduced: str = "lookup"
    made: str = "components"
    padding_idx: int | None = None
    sparse: bool = False
    scale_grad_by_freq: bool = False
    dtype: str = "float32"
    index_dtype: str = "int64"
    layout: str = "contiguous"
    seed: int = 0


class NestedTensorCase(Axes, _NestedTensorAxes):  # type: ignore[misc]
    """Tokens in components; what lies between these in memory belongs to none."""

    @property
    def format(self) -> Format:
        return FORMATS[self.dtype]

    @property
    def numel(self) -> int:
        """How many tokens there are."""
        return sum(self.lengths) * max(self.columns, 1)

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens of all components, one after the other."""
        return stream.below(stream.derive("tokens", self.seed), self.numel, self.num_embeddings).astype(np.int64)

    @cached_property
    def owners(self) -> Tokens:
        """Of which component each token is."""
        return np.repeat(np.arange(len(self.lengths)), np.array(self.lengths, np.int64) * max(self.columns, 1))

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which tokens are no padding."""
        if self.padding_idx is None:
            return np.ones(self.numel, bool)
        found: npt.NDArray[np.bool_] = self.tokens != self.padding_idx % self.num_embeddings
        return found

    @cached_property
    def table(self) -> Floats:
        """The table, small integers."""
        return stream.small("table", self.seed, (self.num_embeddings, self.embedding_dim))

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient: a row for each token, or for each bag."""
        rows = self.numel if self.reduced == "lookup" else len(self.lengths)
        return stream.small("upstream", self.seed, (rows, self.embedding_dim))

    def inputs(self) -> dict[str, Input]:
        fmt = self.format
        return {
            "table": Input(fmt.encode(self.table), self.dtype, self.layout),
            "tokens": Input(self.tokens.astype(self.index_dtype), self.index_dtype),
            "upstream": Input(fmt.encode(self.upstream), self.dtype),
        }

    @property
    def sizes(self) -> Floats:
        """How many tokens of each component count."""
        return np.bincount(self.owners[self.kept], minlength=len(self.lengths)).astype(np.float64)

    @cached_property
    def value(self) -> Floats:
        """The rows of the tokens, or one for each bag: Σ W[i], Σ W[i]/n or max W[i]; zero for an empty one."""
        rows = self.table[self.tokens] if self.numel else np.zeros((0, self.embedding_dim))
        if self.reduced == "lookup":
            return rows
        if self.reduced == "max":
            found = np.full((len(self.lengths), self.embedding_dim), -np.inf)
            np.maximum.at(found, self.owners[self.kept], rows[self.kept])
            return np.where(np.isinf(found), 0.0, found)
        total = accumulate(self.owners[self.kept], len(self.lengths), rows[self.kept])
        return total / np.maximum(self.sizes, 1)[:, None] if self.reduced == "mean" else total

    @cached_property
    def gradient(self) -> tuple[Floats, Floats]:
        """dW: each row's sum over its tokens of what arrives at them, divided by their count if asked; not of maxima.

        Where nothing is divided the sums of integers are exact.  Else each of at most n terms was divided twice at most
        and added: γ(n + 3) times the sum of their magnitudes.
        """
        arriving = self.upstream if self.reduced == "lookup" else self.upstream[self.owners]
        if self.reduced == "mean":
            arriving = arriving / np.maximum(self.sizes, 1)[self.owners][:, None]
        tokens, arriving = self.tokens[self.kept], arriving[self.kept]
        counts = np.bincount(tokens, minlength=self.num_embeddings) if self.scale_grad_by_freq else np.ones(1)
        total, size = (
            accumulate(tokens, self.num_embeddings, given) / np.maximum(counts, 1)[:, None]
            for given in (arriving, np.abs(arriving))
        )
        divided = self.reduced == "mean" or self.scale_grad_by_freq
        return total, size * ((self.numel + 3) * self.format.unit_roundoff if divided else 0.0)

    @property
    def without_holes(self) -> NestedTensorCase:
        """The same tokens with those that lie between the components, zeros, as parts of the components before them."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        wide = self.but(lengths=tuple(length + 1 for length in self.lengths))
        wide.__dict__["tokens"] = np.insert(self.tokens, ends, 0)
        return wide

    def facts(self) -> dict[str, Any]:
        """The axes and: bag, holes (there are tokens between the components), empty_component, empty, padded,
        padding_hit, repeated."""
        return {
            **{name: value for name, value in self.axes.items() if name != "lengths"},
            "bag": self.reduced != "lookup",
            "holes": self.made == "holes" and bool(self.lengths),
            "empty_component": 0 in self.lengths,
            "empty": self.numel == 0,
            "padded": self.padding_idx is not None,
            "padding_hit": not self.kept.all(),
            "repeated": len(set(self.tokens.tolist())) < self.numel,
        }


LENGTHS = ((2, 1), (1,), (0,), (3, 0, 2), (0, 4), (1, 1, 1), (4, 2, 0), (17, 3, 8), (0, 0))


def plan(case: NestedTensorCase) -> Plan:
    flags = {name: case.axes[name] for name in ("padding_idx", "sparse", "scale_grad_by_freq")}
    options = {
        "make": MADE[case.made],
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
        **{name: case.axes[name] for name in ("lengths", "columns", "reduced")},
    }
    return Plan(nested, case.inputs(), options)


def repair(case: NestedTensorCase) -> NestedTensorCase:
    """The case with flags that fit what is done: a lookup takes no holes, a bag has no counts, a maximum is not sparse."""
    changes: dict[str, Any] = {}
    if case.reduced == "lookup":
        changes |= {"made": "from_offsets"} if case.made == "holes" else {}
    else:
        changes["columns"] = 0
    if case.reduced != "lookup" or case.sparse:
        changes["scale_grad_by_freq"] = False
    if case.reduced == "max":
        changes["sparse"] = False
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.padding_idx is not None:
        changes["padding_idx"] = max(-case.num_embeddings, min(case.padding_idx, case.num_embeddings - 1))
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5, 300),
    "embedding_dim": (2, 1, 8, 17),
    "lengths": LENGTHS,
    "columns": (0, 2, 1),
    "reduced": ("lookup", "sum", "mean", "max"),
    "made": tuple(MADE),
    "padding_idx": (None, 0, -1, 2),
    "sparse": (False, True),
    "scale_grad_by_freq": (False, True),
    "dtype": ("float32", "float64"),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
}


def scope() -> Iterator[NestedTensorCase]:
    """Every way to make a nested tensor, of every lengths, for every reduction with each of its flags."""
    flags: tuple[dict[str, Any], ...] = (
        {}, {"padding_idx": 0}, {"sparse": True}, {"scale_grad_by_freq": True}, {"padding_idx": -1, "sparse": True},
    )  # fmt: skip
    for seed, (reduced, made, lengths, fixed) in enumerate(itertools.product(AXES["reduced"], MADE, LENGTHS, flags)):
        yield repair(NestedTensorCase(lengths=lengths, reduced=reduced, made=made, seed=seed).but(**fixed))


_FLAGS = ("reduced", "made", "sparse", "padding_idx")
SPACE = Space(NestedTensorCase, AXES, repair, scope, flags=_FLAGS, strength=2)
