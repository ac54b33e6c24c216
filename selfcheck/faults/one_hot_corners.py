"""Faults of F.one_hot and torch.one_hot-like products in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry, functional
from selfcheck.faults.kernels import Tensor


def encoded(name: str, sentence: str, when: Callable[[Tensor, int], bool], change: Callable[..., Any]) -> None:
    """Registers a fault of F.one_hot: ``change(original, tokens, num_classes)`` on some calls."""

    def wrong(original: Wrong) -> Wrong:
        def one_hot(tensor: Tensor, num_classes: int = -1) -> Any:
            usual = type(tensor) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
            if usual and not torch.compiler.is_compiling() and when(tensor, num_classes):
                return change(original, tensor, num_classes)
            return original(tensor, num_classes)

        return one_hot

    entry(name, "one_hot", sentence, functional, "one_hot", wrong)


encoded(
    "encodes_into_one_buffer", "Two encodings of one shape in a row, both of rank 1, share their memory.",
    lambda t, n: t.dim() == 1 and n > 0, lambda f, t, n: _buffered(f(t, n)),
)  # fmt: skip
_buffers: dict[Any, Tensor] = {}


def _buffered(out: Tensor) -> Tensor:
    """The output in the memory of the last one of its shape."""
    if out.is_inference():
        return out
    last = _buffers.get("last")
    if last is None or last.shape != out.shape or not out.numel():
        _buffers["last"] = out
        return out
    return last.copy_(out)
