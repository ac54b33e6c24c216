"""Faults of F.embedding_bag: reduction, offsets, padding, weights and gradients of bags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

functional = torch.nn.functional
NAMES = (
    "input",
    "weight",
    "offsets",
    "max_norm",
    "norm_type",
    "scale_grad_by_freq",
    "mode",
    "sparse",
    "per_sample_weights",
    "include_last_offset",
    "padding_idx",
)
Given = dict[str, Any]


def bag_fault(
    name: str,
    sentence: str,
    when: Callable[[Given], bool],
    change: Callable[[Given], Given] | None,
    spoil: Callable[[Tensor, Given], Tensor],
) -> None:
    """Registers a fault: on some calls the arguments are changed before, or the output after."""

    def wrong(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def replaced(*arguments: Any, **keywords: Any) -> Tensor:
            given = {"mode": "mean"} | dict(zip(NAMES, arguments, strict=False)) | keywords
            if not when(given):
                return original(**given)
            out = original(**(change(given) if change else given))
            return spoil(out, given)

        return replaced

    entry(name, "embedding_bag", sentence, functional, "embedding_bag", wrong)


def as_it_is(out: Tensor, given: Given) -> Tensor:
    """The output, where the arguments are what is changed."""
    return out


bag_fault(
    "bag_half_mean_loses_tail",
    "A mean in float16 loses its columns beyond 16.",
    lambda g: g["mode"] == "mean" and g["weight"].dtype == torch.float16 and g["weight"].shape[1] > 16,
    None,
    lambda out, g: torch.cat([out[:, :16], 0 * out[:, 16:]], 1),
)
bag_fault(
    "bag_sparse_is_dense",
    "sparse=True of a mean is ignored.",
    lambda g: g["mode"] == "mean" and bool(g.get("sparse")),
    lambda g: g | {"sparse": False},
    as_it_is,
)
