"""Histories: what happens before the call of a bag that is judged, most often an earlier call that differs in a single way.

Most are those of a lookup.  They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.embedding_bag.routes import BagCall, Tensor
from embcheck.families.lookup.prior_calls import COUNTED, PASTS, learn, unchanged


def other_shape(leaf: Tensor, call: BagCall, indices: Tensor, *rest: Any) -> None:
    call(torch.zeros(3, 2, dtype=indices.dtype))
    call(torch.zeros(1, 5, dtype=indices.dtype))


def pooled(leaf: Tensor, indices: Tensor, offsets: Tensor | None, **flags: Any) -> None:
    """The same tokens in the same bags with other flags, and a backward pass."""
    learn(leaf, torch.nn.functional.embedding_bag(indices, leaf, None if indices.dim() == 2 else offsets, **flags))


def table_alike(leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, *rest: Any) -> Callable[[], bool]:
    # What holds the other table keeps its identity and its memory apart from this one's.
    other = (leaf.detach() + 1).requires_grad_(leaf.requires_grad)
    pooled(other, indices, offsets, mode="sum")
    return unchanged(other)


def offsets_changed(leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, *rest: Any) -> None:
    # All bags but the first and the last are empty; where the last one ends stays as it is.
    if offsets is None or len(offsets) < 3 or 0 in offsets.stride():
        return
    kept = offsets.clone()
    offsets[1:-1] = offsets[-1]
    call(indices, offsets, *rest)
    offsets.copy_(kept)


def weights_changed(
    leaf: Tensor, call: BagCall, indices: Tensor, offsets: Tensor | None, samples: Tensor | None
) -> None:
    if samples is None or 0 in samples.stride():
        return
    with torch.no_grad():
        kept = samples.clone()
        samples.fill_(1.0)
        call(indices, offsets, samples)
        samples.copy_(kept)


_OWN: dict[str, Callable[..., Any]] = named(
    {
        "other_shape": other_shape,
        "as_maxima": lambda leaf, call, indices, offsets, *rest: pooled(leaf, indices, offsets, mode="max"),
        "padding_before": lambda leaf, call, indices, offsets, *rest: pooled(
            leaf, indices, offsets, mode="sum", padding_idx=leaf.shape[0] - 1
        ),
        "weighted_before": lambda leaf, call, indices, offsets, *rest: pooled(
            leaf, indices, offsets, mode="sum", per_sample_weights=torch.full(indices.shape, 2.0, dtype=leaf.dtype)
        ),
        "table_alike": table_alike,
        "offsets_changed": offsets_changed,
        "weights_changed": weights_changed,
    }
)
_NAMES = (
    *("fresh", "repeated", "weight_changed", "indices_changed", "other_shape", "after_backward", "after_error"),
    *("as_maxima", "padding_before", "weighted_before", "data_exchanged", "table_alike", "indices_refilled"),
    *("offsets_changed", "weights_changed", "output_held"),
)
BAG_HISTORIES = {name: _OWN.get(name) or PASTS[name] for name in _NAMES}
#: All histories of a bag: of those that are counted, what is aimed takes three.
BAG_PASTS = BAG_HISTORIES | COUNTED
