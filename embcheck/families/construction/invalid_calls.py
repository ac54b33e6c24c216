"""Programs: wrong constructions of a table and wrong calls, and what each must raise."""

from __future__ import annotations

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


def stacked_trained_and_frozen(weight: Tensor, **flags: Any) -> Any:
    layers = [nn.Embedding(*weight.shape, **flags) for _ in range(2)]
    layers[1].requires_grad_(False)
    return torch.func.stack_module_state(layers)


def stacked_frozen_and_trained(weight: Tensor, **flags: Any) -> Any:
    layers = [nn.Embedding(*weight.shape, **flags) for _ in range(3)]
    layers[0].requires_grad_(False)
    return torch.func.stack_module_state(layers)


def stacked_in_two_modes(weight: Tensor, **flags: Any) -> Any:
    layers = [nn.Embedding(*weight.shape, **flags) for _ in range(2)]
    layers[1].eval()
    return torch.func.stack_module_state(layers)


def called_with_a_name_twice(weight: Tensor, **flags: Any) -> Any:
    layer = nn.Embedding(*weight.shape, **flags)
    given = {"weight": weight}
    return torch.func.functional_call(layer, (given, given), (torch.zeros(1, dtype=torch.int64),))


#: Wrong constructions and calls, whatever flags they have beside, by what they must raise.
_REFUSED: list[tuple[tuple[type[Exception], ...], dict[str, Attempt]]] = [
    (
        (AssertionError,),
        {
            "padding_is_v": lambda w, **flags: nn.Embedding(len(w), w.shape[1], padding_idx=len(w), **flags),
            "padding_below_minus_v": lambda w, **flags: nn.Embedding(
                len(w), w.shape[1], padding_idx=-len(w) - 1, **flags
            ),
            "pretrained_padding_is_v": lambda w, **flags: nn.Embedding.from_pretrained(w, padding_idx=len(w), **flags),
            "functional_padding_is_v": lambda w, **flags: F.embedding(
                torch.zeros(0, dtype=torch.int64), w, padding_idx=len(w), **flags
            ),
            "functional_padding_below_minus_v": lambda w, **flags: F.embedding(
                torch.zeros(0, dtype=torch.int64), w, padding_idx=-len(w) - 1, **flags
            ),
            "given_table_transposed": lambda w, **flags: nn.Embedding(len(w) + 1, w.shape[1], _weight=w, **flags),
            "given_table_wider": lambda w, **flags: nn.Embedding(len(w), w.shape[1] + 1, _weight=w, **flags),
            "pretrained_vector": lambda w, **flags: nn.Embedding.from_pretrained(w.reshape(-1), **flags),
            "pretrained_cube": lambda w, **flags: nn.Embedding.from_pretrained(w.unsqueeze(0), **flags),
        },
    ),
    (
        (TypeError,),
        {
            "other_keywords": lambda w, **flags: nn.Embedding(vocab_size=len(w), emb_size=w.shape[1], **flags),  # type: ignore[call-arg]
            "no_width": lambda w, **flags: nn.Embedding(*(len(w),), **flags),
        },
    ),
    (
        (RuntimeError,),
        {
            "negative_rows": lambda w, **flags: nn.Embedding(-1, w.shape[1], **flags),
            "negative_width": lambda w, **flags: nn.Embedding(len(w), -1, **flags),
            "loads_another_shape": lambda w, **flags: nn.Embedding(len(w) + 1, w.shape[1], **flags).load_state_dict(
                {"weight": w}
            ),
            "loads_an_unknown_name": lambda w, **flags: nn.Embedding(*w.shape, **flags).load_state_dict(
                {"weight": w, "bias": w}
            ),
            "loads_nothing": lambda w, **flags: nn.Embedding(*w.shape, **flags).load_state_dict({}),
            "integers_that_train": lambda w, **flags: nn.Embedding.from_pretrained(
                torch.ones(3, 2, dtype=torch.int64), freeze=False, **flags
            ),
        },
    ),
    (
        (AssertionError,),
        {
            "padding_zero_of_no_rows": lambda w, **flags: nn.Embedding(0, w.shape[1], padding_idx=0, **flags),
            "padding_zero_of_an_empty_table": lambda w, **flags: nn.Embedding.from_pretrained(
                w[:0], padding_idx=0, **flags
            ),
        },
    ),
    (
        (RuntimeError,),
        {
            "table_vector": lambda w, **flags: F.embedding(torch.tensor([0]), w.reshape(-1), **flags),
            "table_cube": lambda w, **flags: F.embedding(torch.tensor([0]), w.unsqueeze(-1), **flags),
            "index_float32": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.float32), w, **flags),
            "index_float64": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.float64), w, **flags),
            "index_bool": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.bool), w, **flags),
            "index_int16": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.int16), w, **flags),
            "index_int8": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.int8), w, **flags),
            "index_uint8": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.uint8), w, **flags),
            "index_float16": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.float16), w, **flags),
            "index_complex": lambda w, **flags: F.embedding(torch.zeros(2, dtype=torch.complex64), w, **flags),
            "index_float32_with_max_norm": lambda w, **flags: F.embedding(torch.zeros(2), w, max_norm=0.5, **flags),
            "index_int16_with_max_norm": lambda w, **flags: F.embedding(
                torch.zeros(2, dtype=torch.int16), w, max_norm=0.5, **flags
            ),
        },
    ),
    (
        (IndexError, RuntimeError),
        {
            "backward_of_a_far_token_by_frequency": lambda w, **flags: torch.ops.aten.embedding_dense_backward.default(
                torch.zeros(1, w.shape[1]), torch.tensor([1 << 40]), len(w), -1, True
            ),
        },
    ),
    (
        (TypeError,),
        {
            "converted_to_int32": lambda w, **flags: nn.Embedding(*w.shape, **flags).to(torch.int32),
            "converted_to_bool": lambda w, **flags: nn.Embedding(*w.shape, **flags).to(dtype=torch.bool, device="cpu"),
            "converted_to_indices": lambda w, **flags: nn.Embedding(*w.shape, **flags).to(torch.tensor([0])),
        },
    ),
    (
        (RuntimeError,),
        {
            "stacked_trained_and_frozen": stacked_trained_and_frozen,
            "stacked_frozen_and_trained": stacked_frozen_and_trained,
            "stacked_in_two_modes": stacked_in_two_modes,
            "stacked_none": lambda w, **flags: torch.func.stack_module_state([]),
        },
    ),
    (
        (ValueError,),
        {"called_with_a_name_twice": called_with_a_name_twice},
    ),
]

#: The same by name: the attempt and what it must raise.
WRONG: dict[str, tuple[Attempt, tuple[type[Exception], ...]]] = {
    name: (attempt, errors) for errors, attempts in _REFUSED for name, attempt in named(attempts).items()
}
