"""Further calls of a linear layer, each of which is judged; see `embcheck.families.lookup.several`.

It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.lookup.several import (
    FACTORS,
    LARGEST,
    STRIDES,
    TURNS,
    WIDER,
    chosen,
    departures,
    digits,
    hold,
    relaid,
    room,
    stacked,
    tiled,
)

Tensor = torch.Tensor
#: Sizes that a call may have instead of the first one's.
SIZES = (1, 2, 7, 8, 17, 32, 33, 65, 257)


def several(layer: Any, leaf: Tensor, call: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> dict[str, Any]:
    # Calls with rows that come again, of columns that come again, with zeros behind the rows, whose tensors lie otherwise.
    table, bias = leaf.detach(), layer.bias
    added = None if bias is None else bias.detach()
    rows, columns = x.reshape(-1, x.shape[-1]).detach(), table.shape[0]
    sent = upstream.reshape(-1, columns)
    value, grad = once(leaf, call, rows, sent)
    values, grads = list[Tensor](), list[Tensor]()
    start = sum(table.shape) + len(rows)
    for turn, factor in enumerate(FACTORS, start) if value.numel() else ():
        strides, (count, inner) = [STRIDES[place] for place in TURNS[turn % 16]], rows.shape
        wide = chosen([n for n in (*SIZES, *[columns] * 6) if max(count, inner) <= room(n) or n == columns], turn, 0)
        most = LARGEST // max(wide, inner)
        times = chosen([n for n in (1, 1, 2, 3, 9) if n == 1 or n * count <= most], turn, 1)
        behind = chosen(
            [n for n in (0, 0, 1, 8, 33, 257) if n == 0 or (n + inner) * max(wide, count) <= LARGEST], turn, 2
        )
        # A sum with a bias that is rounded is another one in a wider dtype.
        dtype = chosen(WIDER[table.dtype], turn, 3) if bias is None else table.dtype
        scale = digits(table.dtype, dtype) * (1 if turn % 2 else -1)
        given = torch.cat([tiled(rows, times * count, inner), rows.new_zeros(times * count, behind)], 1)
        last = torch.cat([sent.new_zeros((times - 1) * count, columns), sent])  # what comes again counts once
        hold(leaf, relaid(tiled(table, wide, inner + behind).to(dtype), strides[2]).mul_(scale))
        if added is not None:
            hold(bias, tiled(added[None], 1, wide)[0].to(dtype) * scale)
        back = relaid(tiled(last, len(last), wide).to(dtype), strides[1]).mul_(factor)
        found, received = once(leaf, call, relaid(given.to(dtype), strides[0]), back)
        values += departures(found / scale, value)
        grads += departures(received.T.div(factor), grad.T, inner)
    hold(leaf, table)
    if added is not None:
        hold(bias, added)
    transposed = [part.T for part in grads]
    shown = stacked("other_values", value, values, upstream.shape)
    return shown | stacked("other_weight_grad", grad, transposed, table.shape)


def once(leaf: Tensor, call: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    # What a call gives and its gradient, without a graph, for a leaf that has one keeps its shape.
    value = call(x)
    (grad,) = torch.autograd.grad(value, leaf, upstream)
    return value.detach(), grad
