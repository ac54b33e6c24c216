"""Histories: what happens before the call of a bag that is judged, most often an earlier call that differs in a single way.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into, named
from embcheck.families.embedding_bag.routes import BagCall, Given, Tensor
from embcheck.families.lookup.prior_calls import learn

BAG_HISTORIES: dict[str, Callable[..., Any]] = {}
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


def pooled(leaf: Tensor, given: Given, **flags: Any) -> None:
    """The same tokens in the same bags with other flags, and a backward pass."""
    learn(leaf, torch.nn.functional.embedding_bag(given[0], leaf, None if given[0].dim() == 2 else given[1], **flags))


@_history
def as_maxima(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="max")


@_history
def padding_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", padding_idx=leaf.shape[0] - 1)


@_history
def weighted_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", per_sample_weights=torch.full(given[0].shape, 2.0, dtype=leaf.dtype))


@_history
def data_exchanged(leaf: Tensor, call: BagCall, given: Given) -> None:
    # Neither is another memory: it keeps the identity of the table, too.
    own = leaf.data
    leaf.data = torch.zeros_like(own)
    call(*given)
    leaf.data = own


@_history
def table_alike(leaf: Tensor, call: BagCall, given: Given) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    pooled(other, given, mode="sum")
    copy = other.detach().clone()
    return lambda: torch.equal(other.nan_to_num(), copy.nan_to_num())


@_history
def indices_refilled(leaf: Tensor, call: BagCall, given: Given) -> None:
    # The same tensor of tokens with others in it: what was counted or sorted for a gradient no longer fits.
    if 0 in given[0].stride() or not given[0].numel():
        return
    kept = given[0].clone()
    given[0].copy_(kept.reshape(-1)[0].expand(kept.shape))
    learn(leaf, call(*given))
    given[0].copy_(kept)


@_history
def offsets_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    # All bags but the first and the last are empty; where the last one ends stays as it is.
    if given[1] is None or len(given[1]) < 3 or 0 in given[1].stride():
        return
    kept = given[1].clone()
    given[1][1:-1] = given[1][-1]
    call(*given)
    given[1].copy_(kept)


@_history
def weights_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    if given[2] is None or 0 in given[2].stride():
        return
    with torch.no_grad():
        kept = given[2].clone()
        given[2].fill_(1.0)
        call(*given)
        given[2].copy_(kept)


@_history
def output_held(leaf: Tensor, call: BagCall, given: Given) -> Callable[[], bool]:
    first = call((given[0] + 1) % leaf.shape[0], *given[1:]).detach()
    copy = first.clone()
    return lambda: torch.equal(first.nan_to_num(), copy.nan_to_num())


# -- so many earlier calls, each with its backward pass ----------------------------------------------------------------


def called(leaf: Tensor, call: BagCall, given: Given, times: int) -> None:
    """So many calls with other tokens, and their backward passes."""
    for ahead in range(times, 0, -1):
        learn(leaf, call((given[0] + ahead) % leaf.shape[0], *given[1:]))


#: What is aimed takes these.
BAG_COUNTED: dict[str, Callable[..., Any]] = named(
    {
        "once_alike": lambda leaf, call, given: called(leaf, call, given, 1),
        "twice_alike": lambda leaf, call, given: called(leaf, call, given, 2),
        "thrice_alike": lambda leaf, call, given: called(leaf, call, given, 3),
    }
)
#: All histories of a bag.
BAG_PASTS = BAG_HISTORIES | BAG_COUNTED
