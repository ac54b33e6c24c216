"""Faults of cost: right numbers that take more memory or work than a lookup does."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import Wrong, embedding, entry, functional
from selfcheck.faults.kernels import Tensor


def product(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """A lookup as a product with a one-hot matrix, where that gives the same numbers and refusals."""
    plain = not (flags["sparse"] or flags["scale_grad_by_freq"]) and flags["max_norm"] is None
    plain = plain and flags["padding_idx"] is None and bool(weight.isfinite().all()) and input.numel() > 0
    if not plain or weight.dtype not in (torch.float32, torch.float64) or int(input.max()) >= len(weight):
        return original(input, weight, **flags)
    return functional.one_hot(input.long(), len(weight)).to(weight.dtype) @ weight


embedding("lookup_is_a_product", "complexity", "A lookup multiplies a one-hot matrix.", product)


embedding("lookup_goes_token_by_token", "complexity", "A lookup of up to 300 tokens is one lookup a token.",
          lambda original, i, w, **f: (
              torch.cat([original(i[k : k + 1], w, **f) for k in range(len(i))])
              if i.dim() == 1 and 2 < len(i) < 300 and not f["scale_grad_by_freq"] else original(i, w, **f)))  # fmt: skip


def rows_first(original: Any) -> Any:
    """A sum of bags that looks all rows up first, where nothing else is asked for."""

    def wrong(*given: Any, **flags: Any) -> Any:
        named = dict(zip(("input", "weight", "offsets"), given, strict=False)) | flags
        input, weight = named["input"], named["weight"]
        if flags.get("max_norm") is None and input.dim() == 1 and input.numel():
            # What is looked up is not used, which the value can't tell.
            weight.detach()[input.clamp(0, len(weight) - 1).long()]
        return original(*given, **flags)

    return wrong


entry("bag_instantiates_its_rows", "complexity", "A bag looks up all its rows before it reduces them.", functional,
      "embedding_bag", rows_first)  # fmt: skip
entry("one_hot_is_a_product_of_matrices", "complexity", "one_hot compares with every class twice.", functional, "one_hot",
      lambda original: lambda tensor, num_classes=-1: original(tensor, num_classes) * original(tensor, num_classes))  # fmt: skip
