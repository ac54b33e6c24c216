"""Faults of lookups and bags of nested tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.bag_extents import bag
from selfcheck.faults.entry import Wrong
from selfcheck.faults.kernels import Tensor

Change = Callable[[Wrong, Tensor, Tensor, dict[str, Any]], Tensor]


def bags(name: str, sentence: str, change: Change) -> None:
    """Registers a fault of nested bags: ``change(original, tokens, table, flags)``."""

    def wrong(original: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
        return (change if tokens.is_nested else called)(original, tokens, table, flags)

    bag(name, sentence, wrong, "nested_tensor")


def called(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
    """The call as it is."""
    return f(tokens, table, **flags)


def forgetting(**changes: Any) -> Change:
    """The call with other flags."""
    return lambda f, tokens, table, flags: f(tokens, table, **(flags | changes))


bags("nested_bags_ignore_padding", "A nested bag counts padding tokens.", forgetting(padding_idx=None))  # fmt: skip


def writes(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """A bag that makes the table's first number negative."""
    found: Tensor = f(tokens, table, **flags)
    if found.numel() and table.is_contiguous():
        table.detach().view(-1)[:1].abs_().neg_()
    return found


bags("nested_bags_write_to_the_table", "A nested bag makes the table's first number negative.", writes)  # fmt: skip
