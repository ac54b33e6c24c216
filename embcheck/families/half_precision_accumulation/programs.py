"""Programs: the gradient of rows that are looked up by many tokens, each of which sends ones.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embcheck.core.registry import named

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
    }
)
