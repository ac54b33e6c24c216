"""Faults of lookups in tables that several processes share."""

from __future__ import annotations

from typing import Any

from selfcheck.faults.entry import Wrong, embedding
from selfcheck.faults.kernels import Tensor


def lookup(name: str, sentence: str, wrong: Wrong) -> None:
    """A fault of lookups whose table is distributed: ``wrong(original, tokens, table, flags)``."""

    def call(original: Wrong, tokens: Tensor, table: Tensor, **flags: Any) -> Any:
        if not hasattr(table, "placements"):
            return original(tokens, table, **flags)
        return wrong(original, tokens, table, flags)

    embedding(name, "dtensor", sentence, call)


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
lookup("pieces_are_written", "A lookup makes the first number of each piece negative.", written)
lookup("uneven_pieces_are_refused", "A table whose pieces are of two sizes can't be looked up.", even)
