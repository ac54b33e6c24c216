"""Further calls of one_hot, each of which is judged; see `embcheck.families.lookup.several`.

It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.lookup.several import (
    LARGEST,
    STRIDES,
    TOKENS,
    TURNS,
    chosen,
    departures,
    larger,
    ranked,
    relaid,
    stacked,
    tiled,
)
from embcheck.families.one_hot.programs import Encode, Tensor

#: How many further calls there are, and numbers of classes that they may have.
CALLS = 6
CLASSES = (2, 8, 17, 65, 257)


def several(encode: Encode, indices: Tensor, value: Tensor) -> dict[str, Any]:
    # Calls with more classes, of which all are moved on, with more tokens, in another order, whose tensors lie otherwise.
    classes, tokens = value.shape[-1], indices.reshape(-1)
    first, start, found = value.reshape(-1, classes), len(tokens) + classes, list[Tensor]()
    for turn in range(start, start + CALLS) if value.numel() else ():
        count = larger(len(tokens), TOKENS, LARGEST // classes, turn, 0)
        total = larger(classes, CLASSES, LARGEST // count, turn, 2)
        moved = chosen(range(total - classes + 1), turn, 4)
        given = tiled(tokens[:, None], count, 1)[:, 0] + moved
        order = (
            given.argsort(descending=bool(turn % 2), stable=True) if chosen((0, 1), turn, 5) else torch.arange(count)
        )
        laid = relaid(ranked(given[order], 1 + turn % 3), STRIDES[TURNS[turn % 16][0]])
        inferred = bool(given.max() == total - 1) and chosen((0, 1), turn, 6)
        hot = encode(laid, None if inferred else total).reshape(count, total)
        hot = torch.empty_like(hot).index_copy_(0, order, hot).roll(-moved, 1)
        found += [part.T for part in departures(hot.T, first.T, classes)]
    return stacked("other_values", value, found, value.shape)
