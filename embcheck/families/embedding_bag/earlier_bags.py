"""Further histories of a bag: an earlier call that differs from the judged one in a single way.

They import nothing but torch, as those of `embcheck.families.embedding_bag.prior_calls`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.embedding_bag.prior_calls import BAG_HISTORIES
from embcheck.families.embedding_bag.routes import BagCall, Given, Tensor
from embcheck.families.lookup.prior_calls import learn

BAG_LATER: dict[str, Callable[..., Any]] = {}
#: So many earlier calls and nothing else: what is aimed takes these.
BAG_COUNTED: dict[str, Callable[..., Any]] = {}


_later = into(BAG_LATER)
_counted = into(BAG_COUNTED)


def pooled(leaf: Tensor, given: Given, **flags: Any) -> None:
    """The same tokens in the same bags with other flags, and a backward pass."""
    learn(leaf, torch.nn.functional.embedding_bag(given[0], leaf, None if given[0].dim() == 2 else given[1], **flags))


@_later
def as_sums(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum")


@_later
def as_means(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="mean")


@_later
def as_maxima(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="max")


@_later
def padding_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", padding_idx=leaf.shape[0] - 1)


@_later
def weighted_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", per_sample_weights=torch.full(given[0].shape, 2.0, dtype=leaf.dtype))


@_later
def scaled_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", scale_grad_by_freq=True)


@_later
def sparse_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf, given, mode="sum", sparse=True)


@_later
def bound_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        pooled(leaf, given, mode="sum", max_norm=0.25)
        leaf.copy_(kept)


@_later
def wider_table(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf.detach().double(), given, mode="sum")


@_later
def narrower_table(leaf: Tensor, call: BagCall, given: Given) -> None:
    pooled(leaf.detach().bfloat16(), given, mode="sum")


@_later
def lookup_before(leaf: Tensor, call: BagCall, given: Given) -> None:
    torch.nn.functional.embedding(given[0], leaf)


@_later
def data_written(leaf: Tensor, call: BagCall, given: Given) -> None:
    # What is written through .data doesn't count as a new version of the table.
    kept = leaf.detach().clone()
    leaf.data.zero_()
    call(*given)
    leaf.data.copy_(kept)


@_later
def data_exchanged(leaf: Tensor, call: BagCall, given: Given) -> None:
    # Neither is another memory: it keeps the identity of the table, too.
    own = leaf.data
    leaf.data = torch.zeros_like(own)
    call(*given)
    leaf.data = own


@_later
def table_alike(leaf: Tensor, call: BagCall, given: Given) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    pooled(other, given, mode="sum")
    copy = other.detach().clone()
    return lambda: torch.equal(other.nan_to_num(), copy.nan_to_num())


@_later
def indices_refilled(leaf: Tensor, call: BagCall, given: Given) -> None:
    # The same tensor of tokens with others in it: what was counted or sorted for a gradient no longer fits.
    if 0 in given[0].stride() or not given[0].numel():
        return
    kept = given[0].clone()
    given[0].copy_(kept.reshape(-1)[0].expand(kept.shape))
    learn(leaf, call(*given))
    given[0].copy_(kept)


@_later
def offsets_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    # All bags but the first and the last are empty; where the last one ends stays as it is.
    if given[1] is None or len(given[1]) < 3 or 0 in given[1].stride():
        return
    kept = given[1].clone()
    given[1][1:-1] = given[1][-1]
    call(*given)
    given[1].copy_(kept)


@_later
def shorter_bags(leaf: Tensor, call: BagCall, given: Given) -> None:
    # As many bags of fewer tokens.
    if given[0].dim() == 2 and given[0].shape[1] > 1:
        call(given[0][:, :1])


@_later
def weights_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    if given[2] is None or 0 in given[2].stride():
        return
    with torch.no_grad():
        kept = given[2].clone()
        given[2].fill_(1.0)
        call(*given)
        given[2].copy_(kept)


@_later
def third_alike(leaf: Tensor, call: BagCall, given: Given) -> None:
    for ahead in (1, 2):
        call((given[0] + ahead) % leaf.shape[0], *given[1:])


@_later
def output_held(leaf: Tensor, call: BagCall, given: Given) -> Callable[[], bool]:
    first = call((given[0] + 1) % leaf.shape[0], *given[1:]).detach()
    copy = first.clone()
    return lambda: torch.equal(first.nan_to_num(), copy.nan_to_num())


# -- so many earlier calls, each with its backward pass ----------------------------------------------------------------


def called(leaf: Tensor, call: BagCall, given: Given, times: int) -> None:
    """So many calls with other tokens, and their backward passes."""
    for ahead in range(times, 0, -1):
        learn(leaf, call((given[0] + ahead) % leaf.shape[0], *given[1:]))


@_counted
def once_alike(leaf: Tensor, call: BagCall, given: Given) -> None:
    called(leaf, call, given, 1)


@_counted
def twice_alike(leaf: Tensor, call: BagCall, given: Given) -> None:
    called(leaf, call, given, 2)


@_counted
def thrice_alike(leaf: Tensor, call: BagCall, given: Given) -> None:
    called(leaf, call, given, 3)


#: All histories of a bag.
BAG_PASTS = BAG_HISTORIES | BAG_LATER | BAG_COUNTED
