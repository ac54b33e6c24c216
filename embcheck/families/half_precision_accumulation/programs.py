"""Programs: the gradient of rows that are looked up by many tokens, each of which sends ones.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Of the tokens, the table and whether the gradient is to be sparse: a row for each token, or one for all of them.
GATHERED: dict[str, Callable[[Tensor, Tensor, bool], Tensor]] = {}
_gathered = into(GATHERED)


def accumulated(
    call: Callable[[Tensor, Tensor, bool], Tensor], sparse: bool, tokens: Tensor, weight: Tensor
) -> dict[str, Any]:
    leaf = weight.detach().requires_grad_()
    value = call(tokens, leaf, sparse)
    gradient = torch.autograd.grad(value, leaf, torch.ones_like(value))[0]
    if not sparse:
        return {"gradient": gradient}
    return {"gradient": gradient.to_dense(), "coalesced": gradient.coalesce().to_dense()}


@_gathered
def lookup(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return torch.nn.functional.embedding(tokens, weight, sparse=sparse)


@_gathered
def batch(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    """A bag of each token."""
    return torch.nn.functional.embedding_bag(tokens[:, None], weight, mode="sum", sparse=sparse)


@_gathered
def mean_of_each(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens, weight, torch.arange(len(tokens)), mode="mean", sparse=sparse)


@_gathered
def maximum_of_each(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens[:, None], weight, mode="max")


@_gathered
def weighted(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    samples = torch.ones(len(tokens), 1, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(
        tokens[:, None], weight, mode="sum", per_sample_weights=samples, sparse=sparse
    )


@_gathered
def one_bag(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    """All tokens in one bag."""
    return torch.nn.functional.embedding_bag(tokens[None], weight, mode="sum", sparse=sparse)


@_gathered
def indexed(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return weight[tokens]


@_gathered
def selected(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return weight.index_select(0, tokens)


@_gathered
def gathered(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    return weight.gather(0, tokens[:, None].expand(-1, weight.shape[1]))


@_gathered
def product(tokens: Tensor, weight: Tensor, sparse: bool) -> Tensor:
    """Of what is one-hot and the table."""
    return torch.nn.functional.one_hot(tokens, len(weight)).to(weight.dtype) @ weight
