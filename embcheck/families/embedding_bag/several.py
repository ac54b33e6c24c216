"""A route of several calls of a bag, each of which is judged; see `embcheck.families.lookup.several`.

Tables are halved and whole in turn, which every mode passes on exactly, the bags come again, and empty ones stand before or behind
them.
"""

from typing import Any

import torch

from embcheck.families.embedding_bag.routes import BagCall, Given, Rebuild, Tensor, learners, named
from embcheck.families.lookup.several import (
    COLUMNS,
    FACTORS,
    ROWS,
    STRIDES,
    TURNS,
    WIDER,
    chosen,
    departures,
    digits,
    filled,
    hold,
    larger,
    relaid,
    room,
    stacked,
    tiled,
)

#: How many empty bags stand before and behind the others.
EMPTY = ((0, 0), (0, 0), (0, 0), (1, 0), (0, 1), (0, 2), (2, 0), (1, 1))


def several(
    leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild, repeats: bool = True
) -> dict[str, Any]:
    # Calls of the same bags whose tensors lie otherwise and have other sizes; each gives what the first one gives.
    indices, offsets, samples = given
    table, start = leaf.detach(), leaf.shape[0] + leaf.shape[1] + indices.numel()
    taught = samples is not None and samples.requires_grad
    first = once(leaf, call, given, upstream)
    others: dict[str, list[Tensor]] = {name: [] for name in first}
    for turn, factor in enumerate(FACTORS, start) if first["values"].numel() else ():
        scale, strides = 1.0 if (turn - start) % 2 else 0.5, [STRIDES[place] for place in TURNS[turn % 16]]
        columns = _columns(turn, table, indices, taught)
        wide = tiled(table, larger(len(table), ROWS, room(columns), turn, 1), columns)
        most = room(columns) // len(indices) if repeats else 1
        times = chosen((1, 1, *(n for n in (2, 3, 9) if n <= most)), turn, 3)
        # A quotient that is rounded is another one in a wider dtype.
        dtype = chosen(WIDER[table.dtype], turn, 4) if repeats else table.dtype
        scale, factor = scale * digits(table.dtype, dtype), factor * (1 if taught else digits(table.dtype, dtype))
        before, behind = chosen(EMPTY, turn, 5)
        whole = torch.int32 if turn // 4 % 2 else torch.int64
        starts = _offsets(offsets, len(indices), len(upstream), times, before, behind)
        weights = None if samples is None else samples.detach().to(dtype).repeat(times)
        if weights is not None:
            weights = weights.requires_grad_() if taught else relaid(weights, "strided") if turn % 2 else weights
        sent = _sent(upstream, times, columns, taught)
        sent = torch.cat([sent.new_ones(before, columns), sent, sent.new_ones(behind, columns)])
        hold(leaf, relaid(wide.to(dtype), strides[2]).mul_(scale))
        bags = indices.to(whole).repeat(times), starts.to(whole if turn // 2 % 2 else indices.dtype), weights
        found = once(leaf, call, bags, relaid(sent.to(dtype), strides[1]).mul_(factor))
        values = found["values"] / scale
        own = slice(before, len(values) - behind)
        others["values"] += departures(values[own], first["values"])
        others["values"] += departures(torch.cat([values[:before], values[own.stop :]]), first["values"], 0)
        if "weight_grad" in found:
            grad = found["weight_grad"].div_(factor)[:, : table.shape[1] if taught else columns]
            others["weight_grad"] += departures(grad, first["weight_grad"], len(table))
        if taught:
            grad = found["sample_grad"].view(times, 1, -1).div_(factor * scale).sum(0)
            others["sample_grad"] += departures(grad, first["sample_grad"])
    hold(leaf, table)
    value, learned = call(*given), learners(leaf, given)
    grads = torch.autograd.grad(value, learned, upstream) if learned else ()
    told = {"value": value} | named(leaf, given, grads)
    seen = dict(told)
    for name, last in zip(first, told.values(), strict=True):
        others[name] += departures(filled(last.detach()).reshape(first[name].shape), first[name])
        seen |= stacked(f"other_{name}", first[name], others[name], last.shape)
    return seen


def once(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Tensor]:
    """What a call gives and its gradients as matrices, without a graph, for a leaf that has one keeps its shape."""
    value, learned = call(*given), learners(leaf, given)
    grads = torch.autograd.grad(value, learned, upstream) if learned else ()
    found = {name: filled(grad) for name, grad in named(leaf, given, grads).items()}
    return {"values": value.detach(), **{name: grad.view(-1, grad.shape[-1]) for name, grad in found.items()}}


def _columns(turn: int, table: Tensor, indices: Tensor, whole: bool) -> int:
    """How many columns a turn has; as many as the table at least if all are to be ``whole``."""
    width, most = table.shape[1], max(len(table), len(indices))
    sizes = [n for n in COLUMNS if most <= room(n) and not (whole and n < width)]
    return int(chosen((*sizes, *[width] * max(4, len(sizes))), turn, 0))


def _offsets(offsets: Any, tokens: int, count: int, times: int, before: int, behind: int) -> Tensor:
    """The offsets of the same bags so many times, with empty ones before and behind them."""
    lengths = torch.diff(offsets[:count], append=offsets.new_tensor([tokens]))
    lengths = torch.cat([lengths.new_zeros(before), lengths.repeat(times), lengths.new_zeros(behind)])
    ends = lengths.cumsum(0)
    return torch.cat([ends - lengths, ends[-1:]]) if len(offsets) > count else ends - lengths


def _sent(upstream: Tensor, times: int, columns: int, whole: bool) -> Tensor:
    """What comes to bags that stand there so many times: each gets it at one of its places.  Further columns get what the first
    ones get, or nothing if what is asked of are weights of samples, whose gradients are sums over all columns."""
    count, width = upstream.shape
    wide = tiled(upstream, count, columns)
    if whole and columns > width:
        wide = wide.clone()
        wide[:, width:] = 0
    sent = wide.new_zeros(times, count, columns)
    place = torch.arange(count)
    sent[(place + times - count) % times, place] = wide
    return sent.reshape(times * count, columns)


def several_counted(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # The same where a gradient is divided by how often its token comes.
    return several(leaf, call, given, upstream, rebuild, repeats=False)
