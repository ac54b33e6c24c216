"""Programs: wrong constructions of a table and wrong calls, and what each must raise."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from embcheck.core.registry import named

Tensor = torch.Tensor
Attempt = Callable[..., Any]


def refused(attempt: Attempt, flags: dict[str, Any], weight: Tensor) -> dict[str, Any]:
    attempt(weight, **flags)
    return {}


#: What ends the process where it is not refused.
FATAL = frozenset({"backward_of_a_far_token_by_frequency"})


def stacked(change: Callable[[Any], Any], weight: Tensor, flags: dict[str, Any]) -> Any:
    layers = [nn.Embedding(*weight.shape, **flags) for _ in range(2)]
    change(layers[1])
    return torch.func.stack_module_state(layers)


def called_with_a_name_twice(weight: Tensor, **flags: Any) -> Any:
    layer = nn.Embedding(*weight.shape, **flags)
    given = {"weight": weight}
    return torch.func.functional_call(layer, (given, given), (torch.zeros(1, dtype=torch.int64),))


def far(weight: Tensor, **flags: Any) -> Any:
    backward = torch.ops.aten.embedding_dense_backward.default
    return backward(torch.zeros(1, weight.shape[1]), torch.tensor([1 << 40]), len(weight), -1, True)


def pretrained(weight: Tensor, **flags: Any) -> Any:
    return nn.Embedding.from_pretrained(weight, **flags)


def tokens(dtype: torch.dtype) -> Tensor:
    return torch.zeros(2, dtype=dtype)


def none() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


def mixed(value: Tensor) -> Tensor:
    """What a call of tensors on the CPU and on meta gave, if that lies on the CPU: on meta it has no numbers, as is right."""
    if value.is_meta:
        raise RuntimeError("a result on meta")
    return value


def weighted_bag_on_meta(weight: Tensor, **flags: Any) -> Any:
    samples = torch.ones(1, 2, dtype=weight.dtype, device="meta")
    return mixed(F.embedding_bag(tokens(torch.int64)[None], weight, mode="sum", per_sample_weights=samples))


layer: Any = nn.Embedding
#: Wrong constructions and calls, whatever flags they have beside, by what they must raise.
_REFUSED: dict[tuple[type[Exception], ...], dict[str, Attempt]] = {
    (AssertionError,): {
        "padding_is_v": lambda w, **flags: layer(len(w), w.shape[1], padding_idx=len(w), **flags),
        "padding_below_minus_v": lambda w, **flags: layer(len(w), w.shape[1], padding_idx=-len(w) - 1, **flags),
        "pretrained_padding_is_v": lambda w, **flags: pretrained(w, padding_idx=len(w), **flags),
        "functional_padding_is_v": lambda w, **flags: F.embedding(none(), w, padding_idx=len(w), **flags),
        "functional_padding_below_minus_v": lambda w, **flags: F.embedding(none(), w, padding_idx=-len(w) - 1, **flags),
        "given_table_transposed": lambda w, **flags: layer(len(w) + 1, w.shape[1], _weight=w, **flags),
        "given_table_wider": lambda w, **flags: layer(len(w), w.shape[1] + 1, _weight=w, **flags),
        "pretrained_vector": lambda w, **flags: pretrained(w.reshape(-1), **flags),
        "padding_zero_of_no_rows": lambda w, **flags: layer(0, w.shape[1], padding_idx=0, **flags),
        "padding_zero_of_an_empty_table": lambda w, **flags: pretrained(w[:0], padding_idx=0, **flags),
    },
    (TypeError,): {
        "other_keywords": lambda w, **flags: layer(vocab_size=len(w), emb_size=w.shape[1], **flags),
        "converted_to_int32": lambda w, **flags: layer(*w.shape, **flags).to(torch.int32),
    },
    (RuntimeError,): {
        "negative_rows": lambda w, **flags: layer(-1, w.shape[1], **flags),
        "loads_another_shape": lambda w, **flags: layer(len(w) + 1, w.shape[1], **flags).load_state_dict({"weight": w}),
        "loads_an_unknown_name": lambda w, **flags: layer(*w.shape, **flags).load_state_dict({"weight": w, "bias": w}),
        "loads_nothing": lambda w, **flags: layer(*w.shape, **flags).load_state_dict({}),
        "integers_that_train": lambda w, **flags: pretrained(w.detach().long(), freeze=False, **flags),
        "table_vector": lambda w, **flags: F.embedding(torch.tensor([0]), w.reshape(-1), **flags),
        "index_float32_with_max_norm": lambda w, **flags: F.embedding(torch.zeros(2), w, max_norm=0.5, **flags),
        "index_float32": lambda w, **flags: F.embedding(tokens(torch.float32), w, **flags),
        "index_bool": lambda w, **flags: F.embedding(tokens(torch.bool), w, **flags),
        "index_uint8": lambda w, **flags: F.embedding(tokens(torch.uint8), w, **flags),
        "table_of_three_axes": lambda w, **flags: F.embedding(tokens(torch.int64), w[None], **flags),
        "index_int16": lambda w, **flags: F.embedding(tokens(torch.int16), w, **flags),
        "index_complex": lambda w, **flags: F.embedding(tokens(torch.complex64), w, **flags),
        "tokens_on_meta": lambda w, **flags: mixed(F.embedding(tokens(torch.int64).to("meta"), w, **flags)),
        "tokens_on_meta_index": lambda w, **flags: mixed(w[tokens(torch.int64).to("meta")]),
        "bag_of_tokens_on_meta": lambda w, **flags: mixed(F.embedding_bag(tokens(torch.int64)[None].to("meta"), w)),
        "samples_on_meta": weighted_bag_on_meta,
        "table_on_meta": lambda w, **flags: mixed(F.embedding(tokens(torch.int64), w.to("meta"), **flags)),
        "head_on_meta": lambda w, **flags: mixed(F.linear(w, w.to("meta"))),
        "batch_on_meta": lambda w, **flags: mixed(torch.bmm(w[None].to("meta"), w.t()[None])),
        "stacked_trained_and_frozen": lambda w, **flags: stacked(lambda one: one.requires_grad_(False), w, flags),
        "stacked_in_two_modes": lambda w, **flags: stacked(lambda one: one.eval(), w, flags),
        "stacked_none": lambda w, **flags: torch.func.stack_module_state([]),
    },
    (IndexError, RuntimeError): {"backward_of_a_far_token_by_frequency": far},
    (ValueError,): {"called_with_a_name_twice": called_with_a_name_twice},
}

#: The same by name: the attempt and what it must raise.
WRONG: dict[str, tuple[Attempt, tuple[type[Exception], ...]]] = {
    name: (attempt, errors) for errors, attempts in _REFUSED.items() for name, attempt in named(attempts).items()
}
