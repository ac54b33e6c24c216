"""Calls of an embedding bag that must be refused, by the error that says so.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from embcheck.core.registry import named

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


# A group may come again: the order is that of the cases.
_REFUSED: list[tuple[type[Exception], dict[str, Mistake]]] = [
    (
        ValueError,
        {
            "batch_with_offsets": lambda w: F.embedding_bag(tokens(2, 2), w, tokens(1)),
            "flat_without_offsets": lambda w: F.embedding_bag(tokens(2), w),
            "module_without_offsets": lambda w: nn.EmbeddingBag(len(w), w.shape[1], _weight=w)(tokens(2)),
            "offsets_of_two_axes": lambda w: F.embedding_bag(tokens(2), w, tokens(1, 1)),
            "offsets_without_axis": lambda w: F.embedding_bag(tokens(2), w, tokens()),
            "input_without_axis": lambda w: F.embedding_bag(tokens(), w, tokens(1)),
            "input_of_three_axes": lambda w: F.embedding_bag(tokens(1, 1, 1), w),
            "table_of_three_axes": lambda w: F.embedding_bag(tokens(1, 1), w[None]),
            "table_of_one_axis": lambda w: F.embedding_bag(tokens(1, 1), w[:, 0]),
            "unknown_mode": lambda w: F.embedding_bag(tokens(1, 1), w, mode="min"),
            "sparse_maximum": lambda w: F.embedding_bag(tokens(1, 1), w, mode="max", sparse=True),
            "scaled_maximum": lambda w: F.embedding_bag(tokens(1, 1), w, mode="max", scale_grad_by_freq=True),
        },
    ),
    (
        NotImplementedError,
        {
            "weighted_mean": lambda w: F.embedding_bag(tokens(1, 2), w, mode="mean", per_sample_weights=ones(w, 1, 2)),
            "weighted_maximum": lambda w: F.embedding_bag(
                tokens(1, 2), w, mode="max", per_sample_weights=ones(w, 1, 2)
            ),
            "weighted_default_mode": lambda w: nn.EmbeddingBag(len(w), w.shape[1], _weight=w)(
                tokens(1, 2), per_sample_weights=ones(w, 1, 2)
            ),
        },
    ),
    (
        ValueError,
        {
            "too_few_samples": lambda w: F.embedding_bag(
                tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w, 1)
            ),
            "samples_of_other_shape": lambda w: F.embedding_bag(
                tokens(1, 2), w, mode="sum", per_sample_weights=ones(w, 2, 1)
            ),
        },
    ),
    (
        RuntimeError,
        {
            "samples_of_other_dtype": lambda w: F.embedding_bag(
                tokens(1, 2), w, mode="sum", per_sample_weights=torch.ones(1, 2, dtype=other_dtype(w))
            ),
            "floating_tokens": lambda w: F.embedding_bag(torch.zeros(2), w, tokens(1)),
            "floating_offsets": lambda w: F.embedding_bag(tokens(2), w, torch.zeros(1)),
            "short_tokens": lambda w: F.embedding_bag(tokens(2).short(), w, tokens(1).short()),
            "no_last_offset": lambda w: F.embedding_bag(tokens(0), w, tokens(0), include_last_offset=True),
            "padding_behind_the_table": lambda w: F.embedding_bag(tokens(1, 2), w, padding_idx=len(w)),
            "padding_before_the_table": lambda w: F.embedding_bag(tokens(1, 2), w, padding_idx=-len(w) - 1),
        },
    ),
    (
        AssertionError,
        {
            "module_padding_behind_the_table": lambda w: nn.EmbeddingBag(len(w), w.shape[1], padding_idx=len(w)),
            "module_padding_before_the_table": lambda w: nn.EmbeddingBag(len(w), w.shape[1], padding_idx=-len(w) - 1),
            "table_of_other_shape": lambda w: nn.EmbeddingBag(len(w) + 1, w.shape[1], _weight=w),
        },
    ),
    (
        RuntimeError,
        {"sparse_and_scaled": sparse_and_scaled},
    ),
    # ranks and dtypes
    (
        ValueError,
        {
            "input_of_four_axes": lambda w: F.embedding_bag(tokens(1, 1, 1, 1), w),
            "input_of_three_axes_with_offsets": lambda w: F.embedding_bag(tokens(1, 1, 1), w, tokens(1)),
            "input_of_three_axes_without_elements": lambda w: F.embedding_bag(tokens(0, 1, 2), w),
            "offsets_of_three_axes": lambda w: F.embedding_bag(tokens(2), w, tokens(1, 1, 1)),
            "table_without_axis": lambda w: F.embedding_bag(tokens(1, 1), w.reshape(-1)[0]),
            "batch_with_offsets_in_module": lambda w: nn.EmbeddingBag(len(w), w.shape[1], _weight=w)(
                tokens(2, 2), tokens(2)
            ),
            "batch_with_empty_offsets": lambda w: F.embedding_bag(tokens(2, 2), w, tokens(0)),
            "empty_without_offsets": lambda w: F.embedding_bag(tokens(0), w),
            "too_many_samples": lambda w: F.embedding_bag(
                tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w, 3)
            ),
            "samples_of_a_batch": lambda w: F.embedding_bag(
                tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w, 1, 2)
            ),
            "one_sample_for_all": lambda w: F.embedding_bag(
                tokens(2), w, tokens(1), mode="sum", per_sample_weights=ones(w)
            ),
        },
    ),
    (
        RuntimeError,
        {
            "whole_samples": lambda w: F.embedding_bag(tokens(1, 2), w, mode="sum", per_sample_weights=tokens(1, 2)),
            "tokens_int16": lambda w: F.embedding_bag(tokens(1, 2).short(), w),
            "tokens_int8": lambda w: F.embedding_bag(tokens(2).to(torch.int8), w, tokens(1).to(torch.int8)),
            "tokens_uint8": lambda w: F.embedding_bag(tokens(2).to(torch.uint8), w, tokens(1).to(torch.uint8)),
            "tokens_bool": lambda w: F.embedding_bag(tokens(2).bool(), w, tokens(1).bool()),
            "tokens_int16_of_long_offsets": lambda w: F.embedding_bag(tokens(2).short(), w, tokens(1)),
            "tokens_uint8_of_long_offsets": lambda w: F.embedding_bag(tokens(2).to(torch.uint8), w, tokens(1)),
            "tokens_bool_of_long_offsets": lambda w: F.embedding_bag(tokens(2).bool(), w, tokens(1)),
            "offsets_int16": lambda w: F.embedding_bag(tokens(2), w, tokens(1).short()),
            "offsets_uint8": lambda w: F.embedding_bag(tokens(2), w, tokens(1).to(torch.uint8)),
            "offsets_bool": lambda w: F.embedding_bag(tokens(2).int(), w, tokens(1).bool()),
            "tokens_float16": lambda w: F.embedding_bag(tokens(1, 2).half(), w),
            "tokens_float64": lambda w: F.embedding_bag(tokens(1, 2).double(), w),
            "tokens_complex": lambda w: F.embedding_bag(tokens(1, 2).to(torch.complex64), w),
            "offsets_float64": lambda w: F.embedding_bag(tokens(2), w, torch.zeros(1, dtype=torch.float64)),
            "whole_table": lambda w: F.embedding_bag(tokens(1, 2), w.detach().long().clamp(0, 1)),
            "complex_table": lambda w: F.embedding_bag(tokens(1, 2), torch.zeros(w.shape, dtype=torch.complex64)),
        },
    ),
    (
        AssertionError,
        {
            "pretrained_padding_behind_the_table": lambda w: nn.EmbeddingBag.from_pretrained(
                w.detach(), padding_idx=len(w)
            ),
            "pretrained_vector": lambda w: nn.EmbeddingBag.from_pretrained(w.detach()[:, 0]),
            "padding_zero_of_no_rows": lambda w: nn.EmbeddingBag(0, w.shape[1], padding_idx=0),
        },
    ),
    (
        TypeError,
        {
            "other_keywords": lambda w: nn.EmbeddingBag(vocab_size=len(w), emb_size=w.shape[1]),  # type: ignore[call-arg]
            "converted_to_int32": lambda w: nn.EmbeddingBag(*w.shape).to(torch.int32),
        },
    ),
    (
        RuntimeError,
        {
            "no_tokens_float32": lambda w: F.embedding_bag(tokens(0).float(), w, tokens(1)),
            "no_columns_int16": lambda w: F.embedding_bag(tokens(0, 2).short(), w),
            "backward_of_a_far_token": backward_of_a_far_token,
            "weights_backward_of_a_far_token": weights_backward_of_a_far_token,
        },
    ),
    (
        NotImplementedError,
        {
            "limited_weighted_mean": lambda w: F.embedding_bag(
                tokens(1, 2), w.detach(), None, 1e-3, mode="mean", per_sample_weights=ones(w, 1, 2)
            ),
        },
    ),
    (
        RuntimeError,
        {
            "limited_offsets_from_one": lambda w: F.embedding_bag(tokens(2), w.detach(), tokens(1) + 1, max_norm=1e-3),
            "limited_padding_behind_the_table": lambda w: F.embedding_bag(
                tokens(1, 2), w.detach(), max_norm=1e-3, padding_idx=len(w)
            ),
        },
    ),
    (
        ValueError,
        {
            "limited_unknown_mode": lambda w: F.embedding_bag(tokens(1, 2), w.detach(), max_norm=1e-3, mode="min"),
        },
    ),
]

BAG_MISTAKES = {name: call for _, calls in _REFUSED for name, call in named(calls).items()}
#: The error that refuses each.
BAG_ERRORS = {name: error for error, calls in _REFUSED for name in calls}
