"""Faults of nn.EmbeddingBag: its forward and from_pretrained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import Witness, fault, patched
from embcheck.faults.bag_entries import Call
from embcheck.faults.bags import Given
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor

EmbeddingBag = torch.nn.EmbeddingBag


def forward_fault(name: str, sentence: str, change: Callable[[Any, list[Any]], list[Any]], witness: Witness) -> None:
    """Registers a fault of nn.EmbeddingBag.forward: ``change(module, [input, offsets, per_sample_weights])``."""

    def replace(original: Call) -> Call:
        def forward(self: Any, input: Tensor, offsets: Any = None, per_sample_weights: Any = None) -> Any:
            return original(self, *change(self, [input, offsets, per_sample_weights]))

        return forward

    entry(name, "bag", sentence, EmbeddingBag, "forward", replace, witness)


def by_module(training: bool = True, weights: list[float] | None = None, **flags: Any) -> list[list[float]]:
    """What a module makes of the tokens 0 and 1."""
    layer = EmbeddingBag(2, 1, _weight=torch.tensor([[1.0], [2.0]]), **flags).train(training)
    samples = None if weights is None else torch.tensor([weights])
    found: list[list[float]] = layer(torch.tensor([[0, 1]]), None, samples).tolist()
    return found


forward_fault(
    "bage_eval_forgets_weights", "In eval mode per_sample_weights are ignored.",
    lambda module, given: given if module.training else [*given[:2], None],
    lambda: by_module(False, [2.0, 2.0], mode="sum") != [[6.0]],
)  # fmt: skip


@fault("bag", lambda: by_module(False) != [[1.5]])
def bage_eval_is_sum() -> Iterator[None]:
    """In eval mode a mean is the sum."""
    original = EmbeddingBag.forward

    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.training or self.mode != "mean":
            return original(self, *arguments, **keywords)
        self.mode = "sum"
        try:
            return original(self, *arguments, **keywords)
        finally:
            self.mode = "mean"

    with patched(EmbeddingBag, forward=forward):
        yield


def pretrained_fault(name: str, sentence: str, change: Callable[[Given], Given], witness: Witness) -> None:
    """Registers a fault of nn.EmbeddingBag.from_pretrained: its keywords changed."""

    def replace(original: Call) -> Call:
        def from_pretrained(cls: type, embeddings: Tensor, freeze: bool = True, **keywords: Any) -> Any:
            given = change({"embeddings": embeddings, "freeze": freeze} | keywords)
            return original(cls, **given)

        return from_pretrained

    entry(name, "bag", sentence, EmbeddingBag, "from_pretrained", replace, witness)


def pretrained(**flags: Any) -> Any:
    """A bag from a table of ones."""
    return EmbeddingBag.from_pretrained(torch.ones(2, 2), **flags)


pretrained_fault(
    "bage_pretrained_learns", "from_pretrained does not freeze.",
    lambda g: g | {"freeze": False}, lambda: pretrained().weight.requires_grad,
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_copies", "from_pretrained copies the table.",
    lambda g: g | {"embeddings": g["embeddings"].clone()}, lambda: copies(),
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_forgets_sparse", "from_pretrained forgets sparse.",
    lambda g: g | {"sparse": False}, lambda: not pretrained(sparse=True).sparse,
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_forgets_padding", "from_pretrained takes padding_idx=0 for none.",
    lambda g: g | {"padding_idx": g.get("padding_idx") or None}, lambda: pretrained(padding_idx=0).padding_idx is None,
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_forgets_last_offset", "from_pretrained forgets include_last_offset.",
    lambda g: g | {"include_last_offset": False},
    lambda: not pretrained(include_last_offset=True).include_last_offset,
)  # fmt: skip


def copies() -> bool:
    """Whether from_pretrained copies."""
    table = torch.ones(1, 1)
    return bool(EmbeddingBag.from_pretrained(table).weight.data_ptr() != table.data_ptr())
