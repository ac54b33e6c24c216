"""Damages of kernels, a closed list: `DAMAGES`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from selfcheck.damages import Damage, given, memory
from selfcheck.site import Call, Tensor
from selfcheck.tensor_plans import Spoil

# -- what comes out -----------------------------------------------------------------------------------------------------


def _at(place: Any, change: Callable[[Tensor], Tensor | float]) -> Spoil:
    """The row, or the elements, at a place changed."""

    def spoil(call: Call, rows: Tensor) -> Tensor:
        rows[place] = change(rows[place])
        return rows

    return spoil


def _repeat(call: Call, rows: Tensor) -> Tensor:
    rows[-1] = rows[0]
    return rows


def _through(dtype: torch.dtype) -> Spoil:
    return lambda call, rows: rows.to(dtype).to(rows.dtype)


def _ulp(call: Call, rows: Tensor) -> Tensor:
    rows = rows.resolve_conj().resolve_neg()
    numbers = torch.view_as_real(rows) if rows.is_complex() else rows
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[numbers.element_size()]
    numbers.view(bits)[-1, -1] += 1
    return rows


def _stale(call: Call, rows: Tensor) -> Tensor | None:
    before = call.previous
    return before if before is not None and (before.shape, before.dtype) == (rows.shape, rows.dtype) else None


def _zero_padding(call: Call, rows: Tensor) -> Tensor:
    rows[call.given["indices"].reshape(-1) == call.given["padding_idx"]] = 0
    return rows


# -- what is given ------------------------------------------------------------------------------------------------------


def _first_again(tokens: Tensor) -> Tensor:
    """The last token is taken for the first one."""
    if tokens.numel() < 2:
        return tokens
    found = tokens.detach().clone().contiguous()
    found.view(-1)[-1] = found.view(-1)[0].clone()
    return found


def _other_mode(call: Call) -> dict[str, Any]:
    # Weights of samples go with sums only.
    return {} if call.given["per_sample_weights"] is not None else {"mode": (1, 0, 0)[call.given["mode"]]}


_BAGS = ("_embedding_bag", "_embedding_bag_forward_only")
_BACKWARDS = (
    *("embedding_dense_backward", "embedding_sparse_backward", "_embedding_bag_dense_backward", *_BAGS),
    "_embedding_bag_per_sample_weights_backward",
)
_SCALING = ("embedding_dense_backward", "_embedding_bag_dense_backward")
#: Tokens that are not all alike.
_SEVERAL = ("numel>=2", "num_embeddings>=2", "all_padding=False", "several_in_bags")

#: Damages of kernels.
DAMAGES: Mapping[str, Damage] = {
    damage.name: damage
    for damage in (
        Damage("zero(first)", _at(0, torch.zeros_like)),
        Damage("zero(last)", _at(-1, torch.zeros_like)),
        Damage("zero(column)", _at(np.s_[:, -1], torch.zeros_like)),
        Damage("negate(last)", _at(-1, torch.neg)),
        Damage("double(first)", _at(0, lambda row: 2 * row)),
        Damage("shift", lambda call, rows: rows.roll(1, 0), rows=2),
        Damage("swap", lambda call, rows: torch.cat([rows[1:2], rows[:1], rows[2:]]), rows=2),
        Damage("repeat(first)", _repeat, rows=2),
        Damage("cast(bfloat16)", _through(torch.bfloat16), forbids=("dtype=bfloat16",), floating=True),
        Damage("cast(float32)", _through(torch.float32), needs=("dtype=float64",), floating=True),
        Damage("ulp(last)", _ulp, floating=True, of_zeros=True),
        Damage("nan(last)", _at((-1, -1), lambda element: torch.nan), floating=True, of_zeros=True),
        Damage("stale", _stale, needs=("earlier>=1",), of_zeros=True),
        Damage("zero(padding)", _zero_padding, needs=("padding_hit",), at=("embedding",)),
        given("padding_idx", "none", lambda padding: -1, _BACKWARDS, needs=("padding_hit",)),
        given("scale_grad_by_freq", "other", lambda scaled: not scaled, _SCALING, needs=("max_count>=2",)),
        Damage("give(mode=other)", give=_other_mode, needs=("per_sample_weights=False", "largest_bag>=2"), at=_BAGS),
        given("per_sample_weights", "none", lambda samples: None, _BAGS, needs=("per_sample_weights",)),
        given("indices", "first", _first_again, needs=_SEVERAL),
        # Where their order matters.
        given(
            "indices",
            "sorted",
            lambda tokens: tokens.reshape(-1).sort().values.reshape(tokens.shape),
            ("embedding", *_BACKWARDS),
            needs=_SEVERAL,
        ),
        given("weight", "memory", memory),
        given("grad", "memory", memory, ("_embedding_bag_dense_backward",)),
        given("grad_output", "memory", memory),
        given("mat2", "memory", memory, forbids=("right_layout=contiguous",)),
        given("max_norm", "larger", lambda norm: 1.01 * norm, needs=("rescaled>=1",)),
        given("norm_type", "2", lambda kind: 2.0, needs=("embedding_dim>=2",), forbids=("norm_type=2",)),
    )
}
