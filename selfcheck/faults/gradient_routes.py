"""Faults of how autograd is driven: accumulation, threads, grad modes, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry, functional
from selfcheck.faults.hooks import leaves_of
from selfcheck.faults.kernels import Tensor

half, double = torch.float16, torch.float64


def lookup(weight: Tensor, tokens: Any = (0, 1, 1), **flags: Any) -> Tensor:
    """A lookup of some rows, by whatever F.embedding is now."""
    return functional.embedding(torch.as_tensor(tokens), weight, **flags)


def driven(name: str, sentence: str, wrong: Callable[[Wrong], Wrong]) -> None:
    """A fault of Tensor.backward."""
    entry(name, "gradient_routes", sentence, Tensor, "backward", wrong)


def _settled(change: Callable[[Tensor, Tensor | None], None]) -> Callable[[Wrong], Wrong]:
    """backward that changes each leaf afterwards, given what .grad was before."""

    def wrong(original: Wrong) -> Wrong:
        def backward(self: Tensor, *rest: Any, **more: Any) -> None:
            leaves = [x for x in leaves_of(self.grad_fn) if x.dim() == 2]
            before = [x.grad for x in leaves]
            original(self, *rest, **more)
            for variable, was in zip(leaves, before, strict=True):
                change(variable, was)

        return backward

    return wrong


def _densified(variable: Tensor, was: Tensor | None) -> None:
    if variable.grad is not None and variable.grad.is_sparse and was is None:
        variable.grad = variable.grad.to_dense()


driven(
    "first_gradient_is_dense",
    "The first gradient of a table is dense where a sparse one was asked for.",
    _settled(_densified),
)


def _given(change: Callable[[Tensor, dict[str, Any]], None]) -> Callable[[Wrong], Wrong]:
    """backward with its keywords changed, the upstream gradient among them."""

    def wrong(original: Wrong) -> Wrong:
        def backward(
            self: Tensor, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None
        ) -> None:
            flags = {"gradient": gradient, "retain_graph": retain_graph, "create_graph": create_graph, "inputs": inputs}
            change(self, flags)
            original(self, **flags)

        return backward

    return wrong


def _fitted(self: Tensor, flags: dict[str, Any]) -> None:
    sent = flags["gradient"]
    if isinstance(sent, Tensor) and sent.shape != self.shape and sent.dim() == self.dim():
        flags["gradient"] = sent[..., : self.shape[-1]]


driven(
    "longer_upstream_is_cut",
    "An upstream gradient that is too wide is cut to the width.",
    _given(_fitted),
)
