"""A route of several calls of which each is judged: what is aimed meets many facts of a kernel's calls at once.

The calls differ in what their result does not hang on, or hangs on in a way that is undone exactly: rank, order, dtypes and
strides of what they are given, how many calls came before, rows and columns that repeat those of the table, and tokens that come
again, in these rows or in their own.  Tables change their sign from call to call and upstream gradients are multiplied with
`FACTORS`, so that no call gives what the one before it gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from embcheck.families.lookup.programs import Call, Rebuild, Tensor

#: What the upstream gradients of the calls are multiplied with; no two in turn are the same.
FACTORS = (-1, 2, 1, -1, 2, -1)
STRIDES = ("rows_strided", "transposed", "offset", "strided")
#: The strides of tokens, upstream gradient and table at sixteen turns, of which any two meet in all ways: a line's sums in GF(4).
TURNS = tuple((a, a ^ b, (0, 2, 3, 1)[a] ^ b) for b in range(4) for a in range(4))
#: Sizes that a call may have instead of the first one's.
COLUMNS = (1, 2, 7, 8, 16, 17, 31, 32, 33, 64, 65, 128, 129, 513)
ROWS = (16, 64, 65, 256, 257, 999, 1000, 1001, 2001)
TOKENS = (16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 768, 769, 1000, 1001)
#: So many elements a call of other sizes may read or write.
LARGEST = 1 << 13
#: For each dtype some that hold all that it does.
WIDER = {
    torch.float16: (torch.float16, torch.float16, torch.float32, torch.float64),
    torch.bfloat16: (torch.bfloat16, torch.bfloat16, torch.float32, torch.float64),
    torch.float32: (torch.float32, torch.float64),
    torch.float64: (torch.float64,),
}

#: What tables and upstream gradients are multiplied with where their dtype has so many more digits, all of which then count.
DIGITS = {torch.float32: (1 << 12) + 1, torch.float64: (1 << 25) + 1}


def digits(own: torch.dtype, other: torch.dtype) -> int:
    """An odd factor that a wider dtype has room for; 1 for a dtype itself."""
    return 1 if own == other else DIGITS.get(other, 1)


def chosen(among: Sequence[Any], turn: int, axis: int) -> Any:
    """One of some, by multiplicative hashing, so that the axes of a turn have nothing to do with each other."""
    mixed = (8 * turn + axis + 1) * 2654435761 % (1 << 32)
    return among[(mixed ^ mixed >> 15) * 2246822519 % (1 << 32) * len(among) >> 32]


def room(columns: int) -> int:
    """How many rows of so many columns there may be."""
    return LARGEST // columns


def larger(size: int, sizes: Sequence[int], most: int, turn: int, axis: int) -> int:
    """A size as it is, or for one turn in two a larger one."""
    others = [other for other in sizes if size < other <= most]
    return int(chosen(others, turn, axis)) if others and chosen((0, 1), turn, axis + 1) else size


class Tokens(NamedTuple):
    """Tokens that come again: in ``copies`` of the table, each with rows of its own, or so often that there are ``total``."""

    first: Tensor
    rows: int
    copies: int
    total: int

    @classmethod
    def at(cls, turn: int, first: Tensor, rows: int, most: int, repeats: bool) -> Tokens:
        """Those of a turn; in their own rows they come again only where a gradient does not hang on their count."""
        count = len(first)
        copies = chosen([n for n in (1, 1, 2, 3) if n == 1 or n * max(rows, count) <= most], turn, 1)
        again = repeats and copies == 1
        return cls(first, rows, copies, larger(count, TOKENS, most, turn, 2) if again else copies * count)

    @property
    def given(self) -> Tensor:
        found = tiled(self.first[:, None], self.total, 1)[:, 0]
        return found if self.copies == 1 else found + torch.arange(self.total) // len(self.first) * self.rows

    def sent(self, upstream: Tensor, grad: Tensor) -> Tensor:
        """The upstream gradient of all: a copy gets what the first tokens get, but nothing for a row that got nothing, as
        padding does; of tokens that are the same every second one gets it at its last place instead of its first."""
        count = len(self.first)
        if self.total == count:
            return upstream
        if self.copies > 1:
            counting = upstream.masked_fill((grad[self.first] == 0).all(1, keepdim=True), 0)
            return torch.cat([upstream, *[counting] * (self.copies - 1)])
        place = torch.arange(count)
        last = self.total - 1 - (self.total - 1 - place) % count
        sent = upstream.new_zeros(self.total, upstream.shape[1])
        sent[torch.where((last - place) % 2 == 0, place, last)] = upstream
        return sent


def tiled(tensor: Tensor, rows: int, columns: int) -> Tensor:
    """A matrix of so many rows and columns that repeats another."""
    if tensor.shape == (rows, columns):
        return tensor
    return tensor.repeat(-(-rows // tensor.shape[0]), -(-columns // tensor.shape[1]))[:rows, :columns]


def departures(found: Tensor, first: Tensor, rows: int | None = None) -> list[Tensor]:
    """Where so many rows (all, by default) do not repeat the first result, or others are not zero, the first result with what
    came instead, in double precision; NaN in place of what is not repeated."""
    repeated = tiled(first, *found.shape)
    due = repeated
    if rows is not None and rows < len(found):
        due = repeated.clone()
        due[rows:] = 0
    if torch.equal(found, due.to(found.dtype)):
        return []
    wrong = (found != due) & ~(found.isnan() & due.isnan())
    if not bool(wrong.any()):
        return []
    instead = torch.where((due == repeated) | due.isnan(), found.double(), torch.nan)
    shown, count, width = torch.where(wrong, instead, repeated.double()), *first.shape
    parts, places = [], torch.stack(torch.where(wrong), 1).tolist()
    for down, right in sorted({(row // count, column // width) for row, column in places}):
        parts.append(first.to(torch.float64, copy=True))
        some = shown[down * count : (down + 1) * count, right * width : (right + 1) * width]
        parts[-1][: some.shape[0], : some.shape[1]] = some
    return parts


def relaid(tensor: Tensor, strides: str) -> Tensor:
    """A copy that lies in memory otherwise; as it comes where its shape leaves no choice."""
    if strides == "transposed" and tensor.dim() > 1:
        return tensor.transpose(-1, -2).clone(memory_format=torch.contiguous_format).transpose(-1, -2)
    if strides == "offset" or not tensor.dim():
        return torch.cat([tensor.new_zeros(3), tensor.reshape(-1)])[3:].view(tensor.shape)
    width = tensor.shape[-1]
    if strides == "rows_strided":
        return tensor.new_zeros((*tensor.shape[:-1], width + 1))[..., :width].copy_(tensor)
    return tensor.new_zeros((*tensor.shape[:-1], 2 * width))[..., ::2].copy_(tensor)


def ranked(tokens: Tensor, rank: int) -> Tensor:
    """The same tokens with so many axes."""
    count = tokens.numel()
    if rank == 1 or not count:
        return tokens.reshape(-1)
    split = next((k for k in (2, 3, 5, 7, 11, 13) if count % k == 0 and count > k), 1)
    return tokens.reshape((1,) * (rank - 2) + (split, count // split))


def stacked(name: str, first: Tensor, parts: Sequence[Tensor], shape: Sequence[int]) -> dict[str, Tensor]:
    """Results that depart from the first one, and this, which may be what is wrong, one behind the other, each of a shape;
    nothing where there is none."""
    every = [first.double(), *parts] if parts else []
    return {name: torch.stack([each.reshape(shape) for each in every])} if parts else {}


def several(
    leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild, repeats: bool = True
) -> dict[str, Any]:
    # Calls of the same lookup whose tensors lie otherwise and have other sizes; each gives what the first one gives.
    table, start = leaf.detach(), leaf.shape[0] + leaf.shape[1] + indices.numel()
    value, grad = once(leaf, call, indices, upstream)
    values, grads = list[Tensor](), list[Tensor]()
    for turn, factor in enumerate(FACTORS, start) if value.numel() else ():
        count, columns = indices.numel(), leaf.shape[1]
        columns = chosen(
            [n for n in (*COLUMNS, *[columns] * 6) if max(count, len(table)) <= room(n) or n == columns], turn, 0
        )
        tokens = Tokens.at(turn, indices.reshape(-1), len(table), room(columns), repeats)
        rows = tokens.copies * len(table)
        wide = tiled(table, larger(rows, ROWS, room(columns), turn, 4), columns)
        sign, strides = 1 if (turn - start) % 2 else -1, [STRIDES[place] for place in TURNS[turn % 16]]
        dtype, whole = chosen(WIDER[table.dtype], turn, 6), torch.int32 if turn // 4 % 2 else torch.int64
        given, sent = tokens.given, tokens.sent(tiled(upstream.reshape(count, -1), count, columns), grad)
        order = given.argsort(descending=bool(turn % 2), stable=True) if chosen((0, 0, 1), turn, 7) else None
        if order is not None:
            given, sent = given[order], sent[order]
        sign, factor = (digits(table.dtype, dtype) * each for each in (sign, factor))
        given = relaid(ranked(given.to(whole), 1 + turn % 3), strides[0])
        sent = relaid(sent.to(dtype).reshape(*given.shape, columns), strides[1]).mul_(factor)
        hold(leaf, relaid(wide.to(dtype), strides[2]).mul_(sign))
        found, received = once(leaf, call, given, sent)
        if order is not None:
            found = torch.empty_like(found).index_copy_(0, order, found)
        values += departures(found / sign, value)
        grads += departures(received.div_(factor), grad, rows)
    hold(leaf, table)
    result = call(indices)
    (weight_grad,) = torch.autograd.grad(result, leaf, upstream)
    values += departures(result.detach().reshape(value.shape), value)
    grads += departures(filled(weight_grad), grad)
    others = stacked("other_values", value, values, result.shape) | stacked(
        "other_weight_grad", grad, grads, leaf.shape
    )
    return {"value": result, "weight_grad": weight_grad, **others}


def hold(leaf: Tensor, data: Tensor) -> None:
    # The leaf gets other data.  Where a graph of it is still there, its gradient would be of the size that it had: what makes it
    # forget that is another dtype in between.
    leaf.data = data.new_empty(0, dtype=torch.float32 if data.dtype == torch.float64 else torch.float64)
    leaf.data = data


def once(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    # What a call gives and its gradient, both dense, without a graph, for a leaf that has one keeps its shape.
    value = call(indices)
    (grad,) = torch.autograd.grad(value, leaf, upstream)
    return value.detach().reshape(-1, leaf.shape[1]), filled(grad)


def filled(grad: Tensor) -> Tensor:
    # Not to_dense(), which takes the stride of a single entry for the length of its row.
    if not grad.is_sparse:
        return grad
    dense = torch.zeros(grad.shape, dtype=grad.dtype)
    return dense.index_add_(0, grad._indices()[0], grad._values())


def several_counted(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # The same where a gradient is divided by how often its token comes.
    return several(leaf, call, indices, upstream, rebuild, repeats=False)
