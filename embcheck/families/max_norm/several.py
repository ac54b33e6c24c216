"""Further lookups of a table that one has rescaled, each of which is judged; see `embcheck.families.lookup.several`.

It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.families.lookup.several import (
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
    leaf: Tensor, call: Callable[[Tensor], Tensor], indices: Tensor, before: Tensor, after: Tensor
) -> dict[str, Tensor]:
    # The table as it was, of either sign and laid otherwise, with rows behind it, or several times with the tokens of each.
    table, start = leaf.detach(), before.shape[0] + before.shape[1] + indices.numel()
    found: list[Tensor] = []
    for turn in range(start, start + len(FACTORS)) if before.numel() and indices.numel() else ():
        sign, strides = 1 if turn % 2 else -1, [STRIDES[place] for place in TURNS[turn % 16]]
        most = room(before.shape[1])
        tokens = Tokens.at(turn, indices.reshape(-1), len(before), most, True)
        own = tokens.copies * len(before)
        wide = tiled(before, larger(own, ROWS, most, turn, 4), before.shape[1])
        given = tokens.given
        if chosen((0, 0, 1), turn, 7):
            given = given.sort(descending=bool(turn % 2)).values
        given = given.to(torch.int32 if turn // 4 % 2 else torch.int64)
        leaf.data = relaid(wide, strides[2]).mul_(sign)
        call(relaid(ranked(given, 1 + turn % 3), strides[0]))
        rescaled = leaf.detach() * sign
        found += [part for part in rescaled[:own].split(len(before)) if not torch.equal(part, after)]
        if not torch.equal(rescaled[own:], wide[own:]):
            found.append(torch.full_like(after, torch.nan))  # a row that no token names has changed
    leaf.data = table
    return {"other_after": torch.stack(found)} if found else {}
