"""Further lookups of a table that one has rescaled, each of which is judged; see `embcheck.families.lookup.several`.

It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from embcheck.families.lookup.several import (
    COLUMNS,
    FACTORS,
    ROWS,
    STRIDES,
    TURNS,
    Tokens,
    chosen,
    larger,
    ranked,
    relaid,
    room,
    tiled,
)

Tensor = torch.Tensor


def several(
    leaf: Tensor,
    call: Callable[[Tensor], Tensor],
    indices: Tensor,
    before: Tensor,
    after: Tensor,
    columns: Sequence[int] = (),
) -> dict[str, Tensor]:
    # The table as it was, of either sign and laid otherwise, with rows behind it, or several times with the tokens of each.
    table, start = leaf.detach(), before.shape[0] + before.shape[1] + indices.numel()
    found: list[Tensor] = []
    for turn in range(start, start + len(FACTORS)) if before.numel() and indices.numel() else ():
        sign, strides = 1 if turn % 2 else -1, [STRIDES[place] for place in TURNS[turn % 16]]
        width = _width(turn, before, indices, columns)
        most = room(width)
        tokens = Tokens.at(turn, indices.reshape(-1), len(before), most, True)
        own = tokens.copies * len(before)
        wide = tiled(before, larger(own, ROWS, most, turn, 4), before.shape[1])
        wide = torch.cat([wide, wide.new_zeros(len(wide), width - wide.shape[1])], 1)
        given = tokens.given
        if chosen((0, 0, 1), turn, 7):
            given = given.sort(descending=bool(turn % 2)).values
        given = given.to(torch.int32 if turn // 4 % 2 else torch.int64)
        leaf.data = relaid(wide, strides[2]).mul_(sign)
        value = call(relaid(ranked(given, 1 + turn % 3), strides[0])).reshape(-1, width)
        rows = leaf.detach().index_select(0, given)
        rescaled, rest = (leaf.detach() * sign).tensor_split([before.shape[1]], 1)
        found += [part for part in rescaled[:own].split(len(before)) if not torch.equal(part, after)]
        kept = not rest.any() and torch.equal(rescaled[own:], wide[own:, : before.shape[1]])
        if not kept or not ((value == rows) | (value.isnan() & rows.isnan())).all():
            # A row that no token names has changed, or an element that was zero; or the rows are not what is looked up.
            found.append(torch.full_like(after, torch.nan))
    leaf.data = table
    return {"other_after": torch.stack(found)} if found else {}


def several_wider(
    leaf: Tensor, call: Callable[[Tensor], Tensor], indices: Tensor, before: Tensor, after: Tensor
) -> dict[str, Tensor]:
    # The same with columns of zeros, which add nothing to a norm and nothing to what is rounded in it.
    return several(leaf, call, indices, before, after, COLUMNS)


def _width(turn: int, table: Tensor, indices: Tensor, columns: Sequence[int]) -> int:
    """How many columns a turn has: as many as the table for one turn in two."""
    width, most = table.shape[1], max(len(table), indices.numel())
    sizes = [n for n in columns if n > width and most <= room(n)]
    return int(chosen((*sizes, *[width] * max(1, len(sizes))), turn, 0))
