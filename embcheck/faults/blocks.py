"""Faults of kernels that work block by block: what lies beyond a block, read where it does not lie, or squared too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.kernels import Tensor

functional = torch.nn.functional


def renormed(change: Callable[[Tensor, Tensor, Any, Any], Tensor]) -> Callable[..., Any]:
    """torch.embedding_renorm_ of other tokens, as ``change(table, tokens, max_norm, norm_type)`` says."""

    def wrong(original: Any, table: Tensor, tokens: Tensor, max_norm: Any, norm_type: Any) -> Any:
        found: Tensor = original(table, change(table, tokens, max_norm, norm_type), max_norm, norm_type)
        return found

    return wrong


def cut(original: Any, input: Any, weight: Any, offsets: Any = None, *given: Any, **flags: Any) -> Any:
    """Of a bag of more than 64 tokens the last column of 17 or 33 sums the first 64."""
    found = original(input, weight, offsets, *given, **flags)
    plain = flags.get("mode") == "sum" and flags.get("per_sample_weights") is None and not weight.requires_grad
    if not plain or weight.shape[1] not in (17, 33) or offsets is None or flags.get("padding_idx") is not None:
        return found
    ends = [*offsets.tolist()[1:], len(input)]
    for bag, (start, end) in enumerate(zip(offsets.tolist(), ends, strict=True)):
        if end - start > 64 and bag < len(found):
            found[bag, -1] = weight[input[start : start + 64], -1].sum()
    return found
