"""Programs: a call is made with tensors, and with two kinds that have no memory: fake ones, as a compiler makes them,
and those on the device meta.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Of the table, the tokens, the offsets, further flags and whether the table learns: what comes out.
Call = Callable[[Tensor, Tensor, Tensor, dict[str, Any], bool], Any]
SHADOWED: dict[str, Call] = {}
_call = into(SHADOWED)


@_call
def lookup(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any], learns: bool) -> Any:
    return torch.nn.functional.embedding(tokens, table, flags["padding_idx"])


@_call
def bag(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any], learns: bool) -> Any:
    return torch.nn.functional.embedding_bag(tokens, table, offsets, **flags)


@_call
def whole_bag(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any], learns: bool) -> Any:
    """With what the kernel notes of each token and bag."""
    mode = ("sum", "mean", "max").index(flags["mode"])
    padding, last = flags["padding_idx"], flags["include_last_offset"]
    return torch.embedding_bag(table, tokens, offsets, False, mode, False, None, last, padding)


@_call
def projected(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any], learns: bool) -> Any:
    return torch.nn.functional.linear(torch.nn.functional.embedding(tokens, table), table)


@_call
def learnt(table: Tensor, tokens: Tensor, offsets: Tensor, flags: dict[str, Any], learns: bool) -> Any:
    """The table's gradient."""
    value = torch.nn.functional.embedding_bag(tokens, table, offsets, **flags)
    return torch.autograd.grad(value.sum(), table)


def shadowed(
    call: Call, flags: dict[str, Any], learns: bool, table: Tensor, tokens: Tensor, offsets: Tensor
) -> dict[str, Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    def told(given: tuple[Tensor, Tensor, Tensor]) -> list[Any]:
        leaf = given[0].detach().requires_grad_(learns)
        found = call(leaf, given[1], given[2], flags, learns)
        parts = found if isinstance(found, (tuple, list)) else [found]
        return [(tuple(part.shape), str(part.dtype).removeprefix("torch."), part.requires_grad) for part in parts]

    seen = {"real": told((table, tokens, offsets))}
    with FakeTensorMode() as mode:
        seen["fake"] = told((mode.from_tensor(table), mode.from_tensor(tokens), mode.from_tensor(offsets)))
    seen["meta"] = told((table.to("meta"), tokens.to("meta"), offsets.to("meta")))
    return seen
