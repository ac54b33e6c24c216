"""Faults of lookups and bags of nested tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.around import numbered
from selfcheck.faults.bag_extents import bag
from selfcheck.faults.entry import Wrong, functional
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.witnesses import unlike

Change = Callable[[Wrong, Tensor, Tensor, dict[str, Any]], Tensor]


def jagged(*lengths: int) -> Tensor:
    """A nested tensor of tokens 0, 1, 0, 1, …"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.arange(length) % 2 for length in lengths], layout=torch.jagged)


def bags(name: str, sentence: str, change: Change, probe: Callable[[], Any]) -> None:
    """Registers a fault of nested bags: ``change(original, tokens, table, flags)``."""

    def wrong(original: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
        return (change if tokens.is_nested else called)(original, tokens, table, flags)

    bag(name, sentence, wrong, unlike(probe), "nested_tensor")


def called(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
    """The call as it is."""
    return f(tokens, table, **flags)


def forgetting(**changes: Any) -> Change:
    """The call with other flags."""
    return lambda f, tokens, table, flags: f(tokens, table, **(flags | changes))


def summed(**flags: Any) -> list[Any]:
    """What a nested bag gives."""
    found: list[Any] = functional.embedding_bag(jagged(2, 0, 1), numbered(2, 2), mode="sum", **flags).tolist()
    return found


bags("nested_bags_ignore_padding", "A nested bag counts padding tokens.", forgetting(padding_idx=None),
     lambda: summed(padding_idx=0))  # fmt: skip


def writes(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """A bag that makes the table's first number negative."""
    found: Tensor = f(tokens, table, **flags)
    if found.numel() and table.is_contiguous():
        table.detach().view(-1)[:1].abs_().neg_()
    return found


def left() -> list[Any]:
    """The table after a nested bag."""
    table = numbered(2, 2)
    functional.embedding_bag(jagged(2, 1), table, mode="sum")
    return table.tolist()


bags("nested_bags_write_to_the_table", "A nested bag makes the table's first number negative.", writes,
     left)  # fmt: skip
