"""Calls of an embedding bag that must be refused, each with the error that says so.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
Mistake = Callable[[Tensor], object]

BAG_MISTAKES: dict[str, Mistake] = {}
#: The error that refuses each.
BAG_ERRORS: dict[str, type[Exception]] = {}


def mistaken(call: Mistake, weight: Tensor) -> dict[str, object]:
    return {"value": call(weight)}


def mistaken_on_meta(call: Mistake, weight: Tensor) -> dict[str, object]:
    with torch.device("meta"):
        return {"value": call(weight.to("meta"))}


def mistake(error: type[Exception]) -> Callable[[Mistake], Mistake]:
    def register(call: Mistake) -> Mistake:
        BAG_MISTAKES[call.__name__] = call
        BAG_ERRORS[call.__name__] = error
        return call

    return register


def tokens(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


@mistake(ValueError)
def batch_with_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2, 2), weight, tokens(1))


@mistake(ValueError)
def flat_without_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight)


@mistake(ValueError)
def module_without_offsets(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], _weight=weight)(tokens(2))


@mistake(ValueError)
def offsets_of_two_axes(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1, 1))


@mistake(ValueError)
def offsets_without_axis(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens())


@mistake(ValueError)
def input_without_axis(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(), weight, tokens(1))


@mistake(ValueError)
def input_of_three_axes(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1, 1), weight)


@mistake(ValueError)
def table_of_three_axes(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight[None])


@mistake(ValueError)
def table_of_one_axis(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight[:, 0])


@mistake(ValueError)
def unknown_mode(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight, mode="min")


@mistake(ValueError)
def sparse_maximum(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight, mode="max", sparse=True)


@mistake(ValueError)
def scaled_maximum(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 1), weight, mode="max", scale_grad_by_freq=True)


@mistake(NotImplementedError)
def weighted_mean(weight: Tensor) -> Tensor:
    samples = torch.ones(1, 2, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, mode="mean", per_sample_weights=samples)


@mistake(NotImplementedError)
def weighted_maximum(weight: Tensor) -> Tensor:
    samples = torch.ones(1, 2, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, mode="max", per_sample_weights=samples)


@mistake(NotImplementedError)
def weighted_default_mode(weight: Tensor) -> object:
    layer = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], _weight=weight)
    return layer(tokens(1, 2), per_sample_weights=torch.ones(1, 2, dtype=weight.dtype))


@mistake(ValueError)
def too_few_samples(weight: Tensor) -> Tensor:
    samples = torch.ones(1, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(2), weight, tokens(1), mode="sum", per_sample_weights=samples)


@mistake(ValueError)
def samples_of_other_shape(weight: Tensor) -> Tensor:
    samples = torch.ones(2, 1, dtype=weight.dtype)
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, mode="sum", per_sample_weights=samples)


@mistake(RuntimeError)
def samples_of_other_dtype(weight: Tensor) -> Tensor:
    other = torch.float32 if weight.dtype == torch.float64 else torch.float64
    samples = torch.ones(1, 2, dtype=other)
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, mode="sum", per_sample_weights=samples)


@mistake(RuntimeError)
def floating_tokens(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(torch.zeros(2), weight, tokens(1))


@mistake(RuntimeError)
def floating_offsets(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2), weight, torch.zeros(1))


@mistake(RuntimeError)
def short_tokens(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(2).short(), weight, tokens(1).short())


@mistake(RuntimeError)
def no_last_offset(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(0), weight, tokens(0), include_last_offset=True)


@mistake(RuntimeError)
def padding_behind_the_table(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, padding_idx=weight.shape[0])


@mistake(RuntimeError)
def padding_before_the_table(weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(tokens(1, 2), weight, padding_idx=-weight.shape[0] - 1)


@mistake(AssertionError)
def module_padding_behind_the_table(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], padding_idx=weight.shape[0])


@mistake(AssertionError)
def module_padding_before_the_table(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], padding_idx=-weight.shape[0] - 1)


@mistake(AssertionError)
def table_of_other_shape(weight: Tensor) -> object:
    return torch.nn.EmbeddingBag(weight.shape[0] + 1, weight.shape[1], _weight=weight)


@mistake(RuntimeError)
def sparse_and_scaled(weight: Tensor) -> object:
    with torch.inference_mode(False), torch.enable_grad():
        leaf = weight.detach().clone().requires_grad_()
        out = torch.nn.functional.embedding_bag(tokens(1, 2), leaf, sparse=True, scale_grad_by_freq=True)
        return torch.autograd.grad(out.sum(), leaf)
