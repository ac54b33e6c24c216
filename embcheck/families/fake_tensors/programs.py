"""Programs: a call is made with tensors, and with two kinds that have no memory: fake ones, as a compiler makes them,
and those on the device meta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embcheck.core.registry import named

Tensor = torch.Tensor
#: Of the table, the tokens, the offsets and flags: the output.
Call = Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Any]


def metadata(
    call: Call, flags: dict[str, Any], learns: bool, table: Tensor, tokens: Tensor, offsets: Tensor
) -> dict[str, Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    def told(table: Tensor, tokens: Tensor, offsets: Tensor) -> list[Any]:
        found = call(table.detach().requires_grad_(learns), tokens, offsets, flags)
        parts = found if isinstance(found, (tuple, list)) else [found]
        return [(tuple(part.shape), str(part.dtype).removeprefix("torch."), part.requires_grad) for part in parts]

    seen = {"real": told(table, tokens, offsets)}
    with FakeTensorMode() as mode:
        seen["fake"] = told(mode.from_tensor(table), mode.from_tensor(tokens), mode.from_tensor(offsets))
    seen["meta"] = told(table.to("meta"), tokens.to("meta"), offsets.to("meta"))
    return seen


def whole_bag(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any]) -> Any:
    """With what the kernel notes of each token and bag."""
    mode = ("sum", "mean", "max").index(flags["mode"])
    padding, last = flags["padding_idx"], flags["include_last_offset"]
    return torch.embedding_bag(table, tokens, offsets, False, mode, False, None, last, padding)


def learnt(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any]) -> Any:
    """The table's gradient."""
    value = F.embedding_bag(tokens, table, offsets, **flags)
    return torch.autograd.grad(value.sum(), table)


CALLS: dict[str, Call] = named(
    {
        "lookup": lambda table, tokens, offsets, flags: F.embedding(tokens, table, flags["padding_idx"]),
        "bag": lambda table, tokens, offsets, flags: F.embedding_bag(tokens, table, offsets, **flags),
        "whole_bag": whole_bag,
        "projected": lambda table, tokens, offsets, flags: F.linear(F.embedding(tokens, table), table),
        "learnt": learnt,
    }
)
