"""Calls of an embedding bag whose ranks or dtypes don't fit, and refusals that come too late, after a row is rescaled.

They import nothing but torch, for their source is what a counterexample's script shows.  Importing this module adds
them to `BAG_MISTAKES`.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.embedding_bag.invalid_calls import Tensor, mistake, tokens

#: Mistakes that end the process where they are not refused.
FATAL = frozenset({"backward_of_a_far_token", "weights_backward_of_a_far_token"})
#: Mistakes that only elements show.
BY_ELEMENTS = FATAL | {"limited_offsets_from_one"}

# -- ranks and dtypes ----------------------------------------------------------------------------------------------


@mistake(ValueError)
def input_of_four_axes(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1, 1, 1), weight)


@mistake(ValueError)
def input_of_three_axes_with_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1, 1), weight, tokens(1))


@mistake(ValueError)
def input_of_three_axes_without_elements(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(0, 1, 2), weight)


@mistake(ValueError)
def offsets_of_three_axes(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1, 1, 1))


@mistake(ValueError)
def table_without_axis(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight.reshape(-1)[0])


@mistake(ValueError)
def batch_with_offsets_in_module(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], _weight=weight)(tokens(2, 2), tokens(2))


@mistake(ValueError)
def batch_with_empty_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2, 2), weight, tokens(0))


@mistake(ValueError)
def empty_without_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(0), weight)


@mistake(ValueError)
def too_many_samples(weight: Tensor) -> Tensor:
    samples = torch.ones(3, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1), mode="sum", per_sample_weights=samples)


@mistake(ValueError)
def samples_of_a_batch(weight: Tensor) -> Tensor:
    samples = torch.ones(1, 2, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1), mode="sum", per_sample_weights=samples)


@mistake(ValueError)
def one_sample_for_all(weight: Tensor) -> Tensor:
    samples = torch.ones((), dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1), mode="sum", per_sample_weights=samples)


@mistake(RuntimeError)
def whole_samples(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, mode="sum", per_sample_weights=tokens(1, 2))


@mistake(RuntimeError)
def tokens_int16(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2).short(), weight)


@mistake(RuntimeError)
def tokens_int8(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).to(torch.int8), weight, tokens(1).to(torch.int8))


@mistake(RuntimeError)
def tokens_uint8(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).to(torch.uint8), weight, tokens(1).to(torch.uint8))


@mistake(RuntimeError)
def tokens_bool(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).bool(), weight, tokens(1).bool())


@mistake(RuntimeError)
def tokens_int16_of_long_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).short(), weight, tokens(1))


@mistake(RuntimeError)
def tokens_uint8_of_long_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).to(torch.uint8), weight, tokens(1))


@mistake(RuntimeError)
def tokens_bool_of_long_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).bool(), weight, tokens(1))


@mistake(RuntimeError)
def offsets_int16(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1).short())


@mistake(RuntimeError)
def offsets_uint8(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1).to(torch.uint8))


@mistake(RuntimeError)
def offsets_bool(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).int(), weight, tokens(1).bool())


@mistake(RuntimeError)
def tokens_float16(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2).half(), weight)


@mistake(RuntimeError)
def tokens_float64(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2).double(), weight)


@mistake(RuntimeError)
def tokens_complex(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2).to(torch.complex64), weight)


@mistake(RuntimeError)
def offsets_float64(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, torch.zeros(1, dtype=torch.float64))


@mistake(RuntimeError)
def whole_table(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight.detach().long().clamp(0, 1))


@mistake(RuntimeError)
def complex_table(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), torch.zeros(weight.shape, dtype=torch.complex64))


@mistake(AssertionError)
def pretrained_padding_behind_the_table(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag.from_pretrained(weight.detach(), padding_idx=weight.shape[0])


@mistake(AssertionError)
def pretrained_vector(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag.from_pretrained(weight.detach()[:, 0])


@mistake(AssertionError)
def padding_zero_of_no_rows(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(0, weight.shape[1], padding_idx=0)


@mistake(TypeError)
def other_keywords(weight: Tensor) -> object:
    given: dict[str, Any] = {"vocab_size": weight.shape[0], "emb_size": weight.shape[1]}
    return torch.nn.EmbeddingBag(**given)


@mistake(TypeError)
def converted_to_int32(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1]).to(torch.int32)


@mistake(RuntimeError)
def no_tokens_float32(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(0).float(), weight, tokens(1))


@mistake(RuntimeError)
def no_columns_int16(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(0, 2).short(), weight)


# -- the derivative's own operators, which take tokens that no forward has seen --------------------------------------


@mistake(RuntimeError)
def backward_of_a_far_token(weight: Tensor) -> object:
    backward = torch.ops.aten._embedding_bag_dense_backward.default
    far, none, one = torch.tensor([1 << 40]), tokens(1), tokens(1) + 1
    return backward(weight[:1].detach(), far, none, one, one, weight.shape[0], False, 0, None)


@mistake(RuntimeError)
def weights_backward_of_a_far_token(weight: Tensor) -> object:
    backward = torch.ops.aten._embedding_bag_per_sample_weights_backward.default
    far, none = torch.tensor([1 << 40]), tokens(1)
    return backward(weight[:1].detach(), weight.detach(), far, none, none, 0)


# -- with max_norm: what is refused must not have rescaled a row ---------------------------------------------------


@mistake(NotImplementedError)
def limited_weighted_mean(weight: Tensor) -> Tensor:
    samples = torch.ones(1, 2, dtype=weight.dtype)
    table = weight.detach()
    return torch.nn.functional.embedding_bag(tokens(1, 2), table, None, 1e-3, mode="mean", per_sample_weights=samples)


@mistake(RuntimeError)
def limited_offsets_from_one(weight: Tensor) -> Tensor:
    offsets = tokens(1) + 1
    return torch.nn.functional.embedding_bag(tokens(2), weight.detach(), offsets, max_norm=1e-3)


@mistake(RuntimeError)
def limited_padding_behind_the_table(weight: Tensor) -> Tensor:
    rows = weight.shape[0]
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight.detach(), max_norm=1e-3, padding_idx=rows)


@mistake(ValueError)
def limited_unknown_mode(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight.detach(), max_norm=1e-3, mode="min")
