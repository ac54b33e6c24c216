"""Calls of an embedding bag that must be refused, by the error that says so."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from embcheck.core.registry import by_name, named

Tensor = torch.Tensor
Mistake = Callable[[Tensor], object]

#: Mistakes that end the process where they are not refused.
FATAL = frozenset({"backward_of_a_far_token", "weights_backward_of_a_far_token"})
#: Mistakes that only elements show.
BY_ELEMENTS = FATAL | {"limited_offsets_from_one"}


def mistaken(call: Mistake, weight: Tensor) -> dict[str, object]:
    return {"value": call(weight)}


def mistaken_on_meta(call: Mistake, weight: Tensor) -> dict[str, object]:
    with torch.device("meta"):
        return {"value": call(weight.to("meta"))}


def tokens(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def ones(weight: Tensor, *shape: int) -> Tensor:
    return torch.ones(shape, dtype=weight.dtype)


def other_dtype(weight: Tensor) -> torch.dtype:
    return torch.float32 if weight.dtype == torch.float64 else torch.float64


def sparse_and_scaled(weight: Tensor) -> object:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = weight.detach().clone().requires_grad_()
        out = torch.nn.functional.embedding_bag(tokens(1, 2), leaf, sparse=True, scale_grad_by_freq=True)
        return torch.autograd.grad(out.sum(), leaf)


# -- the derivative's own operators, which take tokens that no forward has seen --------------------------------------


def backward_of_a_far_token(weight: Tensor) -> object:
    backward = torch.ops.aten._embedding_bag_dense_backward.default
    far, none, one = torch.tensor([1 << 40]), tokens(1), tokens(1) + 1
    return backward(weight[:1].detach(), far, none, one, one, len(weight), False, 0, None)


def weights_backward_of_a_far_token(weight: Tensor) -> object:
    backward = torch.ops.aten._embedding_bag_per_sample_weights_backward.default
    far, none = torch.tensor([1 << 40]), tokens(1)
    return backward(weight[:1].detach(), weight.detach(), far, none, none, 0)


def layer(weight: Tensor) -> nn.EmbeddingBag:
    return nn.EmbeddingBag(len(weight), weight.shape[1], _weight=weight)


def bag(*given: Any, **flags: Any) -> Tensor:
    return F.embedding_bag(*given, **flags)


#: The calls, by the error that refuses each.
_REFUSED: dict[type[Exception], dict[str, Mistake]] = {
    ValueError: {
        "batch_with_offsets": lambda w: bag(tokens(2, 2), w, tokens(1)),
        "batch_with_empty_offsets": lambda w: bag(tokens(2, 2), w, tokens(0)),
        "flat_without_offsets": lambda w: bag(tokens(2), w),
        "module_without_offsets": lambda w: layer(w)(tokens(2)),
        "offsets_of_two_axes": lambda w: bag(tokens(2), w, tokens(1, 1)),
        "offsets_without_axis": lambda w: bag(tokens(2), w, tokens()),
        "input_without_axis": lambda w: bag(tokens(), w, tokens(1)),
        "input_of_three_axes": lambda w: bag(tokens(1, 1, 1), w),
        "input_of_three_axes_without_elements": lambda w: bag(tokens(0, 1, 2), w),
        "table_of_three_axes": lambda w: bag(tokens(1, 1), w[None]),
        "table_of_one_axis": lambda w: bag(tokens(1, 1), w[:, 0]),
        "unknown_mode": lambda w: bag(tokens(1, 1), w, mode="min"),
        "sparse_maximum": lambda w: bag(tokens(1, 1), w, mode="max", sparse=True),
        "scaled_maximum": lambda w: bag(tokens(1, 1), w, mode="max", scale_grad_by_freq=True),
        "too_few_samples": lambda w: bag(tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w, 1)),
        "too_many_samples": lambda w: bag(tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w, 3)),
        "samples_of_other_shape": lambda w: bag(tokens(1, 2), w, mode="sum", per_sample_weights=ones(w, 2, 1)),
    },
    NotImplementedError: {
        "weighted_mean": lambda w: bag(tokens(1, 2), w, mode="mean", per_sample_weights=ones(w, 1, 2)),
        "weighted_maximum": lambda w: bag(tokens(1, 2), w, mode="max", per_sample_weights=ones(w, 1, 2)),
        "weighted_default_mode": lambda w: layer(w)(tokens(1, 2), per_sample_weights=ones(w, 1, 2)),
        "limited_weighted_mean": lambda w: bag(
            tokens(1, 2), w.detach(), None, 1e-3, mode="mean", per_sample_weights=ones(w, 1, 2)
        ),
    },
    RuntimeError: {
        "samples_of_other_dtype": lambda w: bag(
            tokens(1, 2), w, mode="sum", per_sample_weights=torch.ones(1, 2, dtype=other_dtype(w))
        ),
        "whole_samples": lambda w: bag(tokens(1, 2), w, mode="sum", per_sample_weights=tokens(1, 2)),
        "floating_tokens": lambda w: bag(torch.zeros(2), w, tokens(1)),
        "floating_offsets": lambda w: bag(tokens(2), w, torch.zeros(1)),
        "no_tokens_float32": lambda w: bag(tokens(0).float(), w, tokens(1)),
        "short_tokens": lambda w: bag(tokens(2).short(), w, tokens(1).short()),
        "tokens_int16_of_long_offsets": lambda w: bag(tokens(2).short(), w, tokens(1)),
        "offsets_bool": lambda w: bag(tokens(2).int(), w, tokens(1).bool()),
        "whole_table": lambda w: bag(tokens(1, 2), w.detach().long().clamp(0, 1)),
        "no_last_offset": lambda w: bag(tokens(0), w, tokens(0), include_last_offset=True),
        "padding_behind_the_table": lambda w: bag(tokens(1, 2), w, padding_idx=len(w)),
        "padding_before_the_table": lambda w: bag(tokens(1, 2), w, padding_idx=-len(w) - 1),
        **by_name(sparse_and_scaled, backward_of_a_far_token, weights_backward_of_a_far_token),
        "limited_offsets_from_one": lambda w: bag(tokens(2), w.detach(), tokens(1) + 1, max_norm=1e-3),
        "limited_padding_behind_the_table": lambda w: bag(tokens(1, 2), w.detach(), max_norm=1e-3, padding_idx=len(w)),
    },
    AssertionError: {
        "module_padding_behind_the_table": lambda w: nn.EmbeddingBag(len(w), w.shape[1], padding_idx=len(w)),
        "module_padding_before_the_table": lambda w: nn.EmbeddingBag(len(w), w.shape[1], padding_idx=-len(w) - 1),
        "padding_zero_of_no_rows": lambda w: nn.EmbeddingBag(0, w.shape[1], padding_idx=0),
        "table_of_other_shape": lambda w: nn.EmbeddingBag(len(w) + 1, w.shape[1], _weight=w),
    },
    TypeError: {"converted_to_int32": lambda w: nn.EmbeddingBag(*w.shape).to(torch.int32)},
}

BAG_MISTAKES = {name: call for calls in _REFUSED.values() for name, call in named(calls).items()}
#: The error that refuses each.
BAG_ERRORS = {name: error for error, calls in _REFUSED.items() for name in calls}
