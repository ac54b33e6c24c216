"""Programs: wrong constructions of a table and wrong calls, and what each must raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def refused(attempt: Callable[..., Any], flags: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    attempt(weight, **flags)
    return {}


#: What ends the process where it is not refused.
FATAL = frozenset({"backward_of_a_far_token_by_frequency"})
#: Wrong constructions and calls, whatever flags they have beside, with what they must raise.
WRONG: dict[str, tuple[Callable[..., Any], tuple[type[Exception], ...]]] = {}


def _wrong(*errors: type[Exception]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        WRONG[function.__name__] = (function, errors)
        return function

    return register


@_wrong(AssertionError)
def padding_is_v(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=weight.shape[0], **flags)


@_wrong(AssertionError)
def padding_below_minus_v(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=-weight.shape[0] - 1, **flags)


@_wrong(AssertionError)
def pretrained_padding_is_v(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding.from_pretrained(weight, padding_idx=weight.shape[0], **flags)


@_wrong(AssertionError)
def functional_padding_is_v(weight: Tensor, **flags: Any) -> Any:
    rows = weight.shape[0]
    return torch.nn.functional.embedding(torch.zeros(0, dtype=torch.int64), weight, padding_idx=rows, **flags)


@_wrong(AssertionError)
def functional_padding_below_minus_v(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(
        torch.zeros(0, dtype=torch.int64), weight, padding_idx=-weight.shape[0] - 1, **flags
    )


@_wrong(AssertionError)
def given_table_transposed(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0] + 1, weight.shape[1], _weight=weight, **flags)


@_wrong(AssertionError)
def given_table_wider(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1] + 1, _weight=weight, **flags)


@_wrong(AssertionError)
def pretrained_vector(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding.from_pretrained(weight.reshape(-1), **flags)


@_wrong(AssertionError)
def pretrained_cube(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding.from_pretrained(weight.unsqueeze(0), **flags)


@_wrong(TypeError)
def other_keywords(weight: Tensor, **flags: Any) -> Any:
    keywords: dict[str, Any] = {"vocab_size": weight.shape[0], "emb_size": weight.shape[1]}
    return torch.nn.Embedding(**keywords, **flags)


@_wrong(TypeError)
def no_width(weight: Tensor, **flags: Any) -> Any:
    arguments: Any = (weight.shape[0],)
    return torch.nn.Embedding(*arguments, **flags)


@_wrong(RuntimeError)
def negative_rows(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(-1, weight.shape[1], **flags)


@_wrong(RuntimeError)
def negative_width(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], -1, **flags)


@_wrong(RuntimeError)
def loads_another_shape(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0] + 1, weight.shape[1], **flags).load_state_dict({"weight": weight})


@_wrong(RuntimeError)
def loads_an_unknown_name(weight: Tensor, **flags: Any) -> Any:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags)
    return layer.load_state_dict({"weight": weight, "bias": weight})


@_wrong(RuntimeError)
def loads_nothing(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags).load_state_dict({})


@_wrong(RuntimeError)
def integers_that_train(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding.from_pretrained(torch.ones(3, 2, dtype=torch.int64), freeze=False, **flags)


@_wrong(AssertionError)
def padding_zero_of_no_rows(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(0, weight.shape[1], padding_idx=0, **flags)


@_wrong(AssertionError)
def padding_zero_of_an_empty_table(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding.from_pretrained(weight[:0], padding_idx=0, **flags)


@_wrong(RuntimeError)
def table_vector(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.tensor([0]), weight.reshape(-1), **flags)


@_wrong(RuntimeError)
def table_cube(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.tensor([0]), weight.unsqueeze(-1), **flags)


@_wrong(RuntimeError)
def index_float32(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.float32), weight, **flags)


@_wrong(RuntimeError)
def index_float64(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.float64), weight, **flags)


@_wrong(RuntimeError)
def index_bool(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.bool), weight, **flags)


@_wrong(RuntimeError)
def index_int16(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.int16), weight, **flags)


@_wrong(RuntimeError)
def index_int8(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.int8), weight, **flags)


@_wrong(RuntimeError)
def index_uint8(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.uint8), weight, **flags)


@_wrong(RuntimeError)
def index_float16(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.float16), weight, **flags)


@_wrong(RuntimeError)
def index_complex(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.complex64), weight, **flags)


@_wrong(RuntimeError)
def index_float32_with_max_norm(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2), weight, max_norm=0.5, **flags)


@_wrong(RuntimeError)
def index_int16_with_max_norm(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.functional.embedding(torch.zeros(2, dtype=torch.int16), weight, max_norm=0.5, **flags)


@_wrong(IndexError, RuntimeError)
def backward_of_a_far_token_by_frequency(weight: Tensor, **flags: Any) -> Any:
    backward = torch.ops.aten.embedding_dense_backward.default
    return backward(torch.zeros(1, weight.shape[1]), torch.tensor([1 << 40]), weight.shape[0], -1, True)


@_wrong(TypeError)
def converted_to_int32(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags).to(torch.int32)


@_wrong(TypeError)
def converted_to_bool(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags).to(dtype=torch.bool, device="cpu")


@_wrong(TypeError)
def converted_to_indices(weight: Tensor, **flags: Any) -> Any:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags).to(torch.tensor([0]))


@_wrong(RuntimeError)
def stacked_trained_and_frozen(weight: Tensor, **flags: Any) -> Any:
    layers = [torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags) for _ in range(2)]
    layers[1].requires_grad_(False)
    return torch.func.stack_module_state(layers)


@_wrong(RuntimeError)
def stacked_frozen_and_trained(weight: Tensor, **flags: Any) -> Any:
    layers = [torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags) for _ in range(3)]
    layers[0].requires_grad_(False)
    return torch.func.stack_module_state(layers)


@_wrong(RuntimeError)
def stacked_in_two_modes(weight: Tensor, **flags: Any) -> Any:
    layers = [torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags) for _ in range(2)]
    layers[1].eval()
    return torch.func.stack_module_state(layers)


@_wrong(RuntimeError)
def stacked_none(weight: Tensor, **flags: Any) -> Any:
    return torch.func.stack_module_state([])


@_wrong(ValueError)
def called_with_a_name_twice(weight: Tensor, **flags: Any) -> Any:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], **flags)
    given = {"weight": weight}
    return torch.func.functional_call(layer, (given, given), (torch.zeros(1, dtype=torch.int64),))
