"""What happens before the call of a bag that is judged: the histories.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.core.registry import into
from embcheck.families.embedding_bag.routes import BagCall, Given, Tensor

BAG_HISTORIES: dict[str, Callable[..., None]] = {}


_history = into(BAG_HISTORIES)


@_history
def fresh(leaf: Tensor, call: BagCall, given: Given) -> None:
    pass


@_history
def repeated(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(*given)


@_history
def weight_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        leaf.zero_()
        call(*given)
        leaf.copy_(kept)


@_history
def indices_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    kept = given[0].clone()
    given[0].zero_()
    call(*given)
    given[0].copy_(kept)


@_history
def other_shape(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(torch.zeros(3, 2, dtype=given[0].dtype))
    call(torch.zeros(1, 5, dtype=given[0].dtype))


@_history
def after_backward(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.enable_grad():
        out = call(*given)
        if out.requires_grad:
            out.sum().backward()


@_history
def after_error(leaf: Tensor, call: BagCall, given: Given) -> None:
    try:
        call(torch.full((1, 2), leaf.shape[0], dtype=given[0].dtype))
    except (IndexError, RuntimeError, ValueError, AssertionError):
        pass


@_history
def after_empty(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(torch.zeros(0, 2, dtype=given[0].dtype))


@_history
def output_overwritten(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(*given).detach().fill_(float("nan"))


@_history
def without_grad(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.no_grad():
        call(*given)
