"""Tokens that come so often that a narrow format can't count them: the cases that there are, and their program."""

import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F

from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.registry import named
from embcheck.core.space import Space

Tensor = torch.Tensor


def accumulated(
    call: Callable[[Tensor, Tensor, bool], Tensor], sparse: bool, tokens: Tensor, weight: Tensor
) -> dict[str, Any]:
    leaf = weight.detach().requires_grad_()
    value = call(tokens, leaf, sparse)
    gradient = torch.autograd.grad(value, leaf, torch.ones_like(value))[0]
    if not sparse:
        return {"gradient": gradient}
    return {"gradient": gradient.to_dense(), "coalesced": gradient.coalesce().to_dense()}


def weighted(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    samples = torch.ones(len(tokens), 1, dtype=weight.dtype)
    return F.embedding_bag(tokens[:, None], weight, mode="sum", per_sample_weights=samples, sparse=sparse)


class Decomposed(torch.autograd.Function):
    """A lookup whose gradient is computed by the operators into which torch decomposes it."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor) -> Tensor:
        ctx.tokens, ctx.rows = tokens, len(weight)
        return F.embedding(tokens, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        backward = torch.ops.aten.embedding_dense_backward.default
        return None, torch._decomp.decomposition_table[backward](*upstream, ctx.tokens, ctx.rows, -1, False)


#: Of the tokens, the table and whether the gradient is to be sparse: a row for each token, or one for all of them.
GATHERED: dict[str, Callable[[Tensor, Tensor, bool], Tensor]] = named(
    {
        "lookup": lambda tokens, weight, sparse: F.embedding(tokens, weight, sparse=sparse),
        "batch": lambda tokens, weight, sparse: F.embedding_bag(tokens[:, None], weight, mode="sum", sparse=sparse),
        "mean_of_each": lambda tokens, weight, sparse: F.embedding_bag(
            tokens, weight, torch.arange(len(tokens)), mode="mean", sparse=sparse
        ),
        "maximum_of_each": lambda tokens, weight, sparse: F.embedding_bag(tokens[:, None], weight, mode="max"),
        "weighted": weighted,
        "one_bag": lambda tokens, weight, sparse: F.embedding_bag(tokens[None], weight, mode="sum", sparse=sparse),
        "indexed": lambda tokens, weight, sparse: weight[tokens],
        "selected": lambda tokens, weight, sparse: weight.index_select(0, tokens),
        "product": lambda tokens, weight, sparse: F.one_hot(tokens, len(weight)).to(weight.dtype) @ weight,
        "decomposed": lambda tokens, weight, sparse: Decomposed.apply(tokens, weight),  # type: ignore[no-untyped-call]
    }
)

#: Calls that can give a sparse gradient.
SPARSE = ("lookup", "batch", "mean_of_each", "weighted", "one_bag")


#: On both sides of where bfloat16 and float16 stop to hold every integer, and beyond.
COUNTS: tuple[tuple[int, ...], ...] = (
    (300,), (255,), (256,), (257,), (2047,), (2048,), (2049,), (3000,), (1, 300), (257, 3, 255), (3000, 0, 300),
    (256, 2049, 1, 300), (2048, 2047, 2049, 3000, 300, 257, 256, 255),
)  # fmt: skip


class AccumulationCase(Axes):
    """A table whose rows are looked up so often, each token sending ones."""

    #: how often each row is looked up
    counts: Annotated[tuple[int, ...], COUNTS] = (300,)
    embedding_dim: Annotated[int, (1, 2, 8, 33)] = 1
    call: Annotated[str, tuple(GATHERED)] = "lookup"
    sparse: Annotated[bool, (False, True)] = False
    #: whether the tokens take turns, or each one's come together
    mixed: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, ("bfloat16", "float16", "float32", "float64")] = "bfloat16"
    index_dtype: Annotated[str, ("int64", "int32")] = "int64"

    @property
    def gradient(self) -> Floats:
        """Each row's number of tokens, rounded to the format, in every column."""
        fmt = FORMATS[self.dtype]
        counted = fmt.rounded(np.array(self.counts, np.float64))
        return np.repeat(counted[:, None], self.embedding_dim, axis=1)

    @property
    def stops(self) -> bool:
        """Whether one and one more, each sum rounded to the format, give another number than a count."""
        most = FORMATS[self.dtype].largest_integer  # to which one can't be added
        return bool((np.minimum(self.counts, most) != self.gradient[:, 0]).any()) if self.embedding_dim else False

    def inputs(self) -> dict[str, Input]:
        """The tokens and a table of ones."""
        rows = len(self.counts)
        tokens = np.repeat(np.arange(rows), self.counts)
        if self.mixed:  # the rounds in which each row has its turn, as long as it has any
            turns = np.concatenate([np.arange(count) for count in self.counts])
            tokens = tokens[np.argsort(turns, kind="stable")]
        table = FORMATS[self.dtype].encode(np.ones((rows, self.embedding_dim)))
        return {"tokens": Input(tokens.astype(self.index_dtype), self.index_dtype), "weight": Input(table, self.dtype)}

    def facts(self) -> dict[str, Any]:
        return {
            **{name: value for name, value in self.axes.items() if name != "counts"},
            "largest": max(self.counts),
            "several": len(set(self.counts)) > 1,
            "stops": self.stops,
            "half": self.dtype in ("float16", "bfloat16"),
        }


def plan(case: AccumulationCase) -> Plan:
    return Plan(accumulated, case.inputs(), {"call": GATHERED[case.call], "sparse": case.sparse})


def repair(case: AccumulationCase) -> AccumulationCase:
    sparse, mixed = case.sparse and case.call in SPARSE, case.mixed and len(case.counts) > 1
    return case.but(sparse=sparse, mixed=mixed, index_dtype="int64" if case.call == "product" else case.index_dtype)


def fixed_cases() -> Iterator[AccumulationCase]:
    """Every call with rows of unequal counts, in half precision, in every profile."""
    chosen = itertools.product(GATHERED, ("bfloat16", "float16"), (False, True), (False, True))
    for call, dtype, mixed, sparse in chosen:
        for counts in ((300, 2049, 3000), (256, 255, 3)):
            if not sparse or call in SPARSE:
                yield AccumulationCase(counts, 2, call, sparse, mixed, dtype)


_FLAGS = ("call", "sparse", "dtype", "counts")
SPACE = Space(AccumulationCase, values_of(AccumulationCase), repair, fixed_cases=fixed_cases, flags=_FLAGS, strength=2)
