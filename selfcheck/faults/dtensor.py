"""Faults of lookups in tables that several processes share."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.dtensor.programs import MADE, USES, sharded
from selfcheck.faults.around import numbered
from selfcheck.faults.entry import Wrong, embedding
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.witnesses import unlike


def lookup(name: str, sentence: str, wrong: Wrong, **asked: Any) -> None:
    """A fault of lookups whose table is distributed: ``wrong(original, tokens, table, flags)``; ``asked`` shows it."""

    def call(original: Wrong, tokens: Tensor, table: Tensor, **flags: Any) -> Any:
        if not hasattr(table, "placements"):
            return original(tokens, table, **flags)
        return wrong(original, tokens, table, flags)

    embedding(name, "dtensor", sentence, call, unlike(lambda: looked_up(**asked)))


def looked_up(place: int | None = None, token: int = 1, **flags: Any) -> Any:
    """What two ranks see of a lookup, or that it was refused."""
    if not hasattr(torch.multiprocessing, "get_context"):
        return None
    try:
        seen = sharded(MADE["distributed"], USES["alone"], 2, place, None, flags, numbered(), torch.tensor([token, 0]),
                       torch.tensor([0]), numbered(2))  # fmt: skip
    except (IndexError, ValueError) as error:
        return type(error).__name__
    return {name: value.tolist() for name, value in seen.items()}


def exchanged(f: Wrong, tokens: Tensor, table: Any, flags: dict[str, Any]) -> Tensor:
    """Every rank but the first looks up the next token instead."""
    behind = table.device_mesh.get_rank() > 0 and not any(place.is_shard() for place in table.placements)
    return f((tokens + 1) % table.shape[0] if behind else tokens, table, **flags)  # type: ignore[no-any-return]


def written(f: Wrong, tokens: Tensor, table: Any, flags: dict[str, Any]) -> Tensor:
    """The first number that a rank holds becomes negative."""
    found: Tensor = f(tokens, table, **flags)
    mine = table.detach().to_local()
    if mine.numel() and any(place.is_shard() for place in table.placements):
        mine.view(-1)[:1].abs_().neg_()
    return found


def even(f: Wrong, tokens: Tensor, table: Any, flags: dict[str, Any]) -> Tensor:
    """A table whose pieces are of two sizes is refused."""
    ranks = table.device_mesh.size()
    if any(place.is_shard() and table.shape[place.dim] % ranks for place in table.placements):
        raise ValueError("expected pieces of one size")
    return f(tokens, table, **flags)  # type: ignore[no-any-return]


lookup("ranks_look_up_the_next_token", "In a replicated table every rank but the first looks up the next token.",
       exchanged)  # fmt: skip
lookup("pieces_are_written", "A lookup makes the first number of each piece negative.", written, place=0)
lookup("uneven_pieces_are_refused", "A table whose pieces are of two sizes can't be looked up.", even, place=0)
