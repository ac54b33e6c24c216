"""Faults of a table's construction, its first values and its padding row, and of one_hot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Embedding, entry
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.layers import init

initialisers = torch.nn.init


def first_values(
    name: str,
    sentence: str,
    change: Callable[[Tensor], Any],
    family: str = "default_init",
) -> None:
    """A fault of reset_parameters: ``change(weight)`` before the padding row is zeroed."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def reset_parameters(self: Any) -> None:
            original(self)
            if not self.weight.is_meta:
                with torch.no_grad():
                    change(self.weight)
                    if self.padding_idx is not None:
                        self.weight[self.padding_idx].fill_(0)

        return reset_parameters

    entry(name, family, sentence, Embedding, "reset_parameters", wrong)


first_values("neighbouring_rows_are_equal", "Every second row of a table of 64 rows is a copy of the first.",
             lambda weight: weight[1::2].copy_(weight[0:-1:2]) if len(weight) == 64 else None)  # fmt: skip


def replaced(name: str, family: str, sentence: str, attribute: str, change: Callable[..., Any],
             owner: Any = initialisers) -> None:  # fmt: skip
    """A fault of a function: ``change(original, *arguments)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **more: change(original, *arguments, **more)

    entry(name, family, sentence, owner, attribute, wrong)


replaced("kaiming_normal_takes_no_gain", "default_init", "kaiming_normal_ leaves out the gain √2.", "kaiming_normal_",
         lambda original, tensor, **more: scaled(original(tensor, **more), 0.5**0.5))  # fmt: skip
replaced("zeros_freeze", "default_init", "zeros_ makes its tensor not require grad.", "zeros_",
         lambda original, tensor: original(tensor).requires_grad_(False))  # fmt: skip


def scaled(tensor: Tensor, factor: float) -> Tensor:
    """The tensor, multiplied in place."""
    with torch.no_grad():
        return tensor.mul_(factor)


init("padding_zero_is_no_attribute", "construction", "padding_idx=0 is stored as None.",
     lambda self, weight, padding: setattr(self, "padding_idx", None) if padding == 0 else None)  # fmt: skip
init("new_table_evaluates", "construction", "A table with padding is made in evaluation mode.",
     lambda self, weight, padding: setattr(self, "training", padding is None))  # fmt: skip
init("last_row_zeroed_with_padding", "construction", "The last row is zeroed besides the padding row.",
     lambda self, weight, padding: zero_last(self) if weight is None and padding is not None else None)  # fmt: skip
init("frozen_table_trains", "construction", "A given table of half precision requires grad though frozen.",
     lambda self, weight, padding: thaw(self.weight) if weight is not None else None)  # fmt: skip


def thaw(weight: Tensor) -> None:
    """Makes a weight of half precision require grad."""
    if weight.dtype == torch.float16:
        weight.requires_grad_()


def zero_last(self: Any) -> None:
    """Zeroes the last row of a table that can be written."""
    if self.num_embeddings and not self.weight.is_meta:
        with torch.no_grad():
            self.weight[-1].fill_(0)
