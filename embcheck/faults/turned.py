"""Faults of what lies in another order of memory than that of its axes: square batches, and tables that are loaded."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

functional = torch.nn.functional


def square(batch: torch.Tensor) -> bool:
    """Whether the two leading axes of a batch have one size and lie in memory the other way round."""
    return (
        batch.dim() == 3
        and batch.shape[0] == batch.shape[1] > 1
        and not batch.is_contiguous()
        and batch.transpose(0, 1).is_contiguous()
    )


def diagonal_alone(original: Any, input: Any, weight: Any, bias: Any = None) -> Any:
    """Of such a batch the tokens on both sides of the diagonal are averaged, where no bias is added."""
    out = original(input, weight, bias)
    return (out + out.transpose(0, 1)) / 2 if bias is None and square(input) else out


around(
    "square_batches_are_made_symmetric",
    "affine",
    "Without a bias a batch of n × n tokens that was transposed gives the same on both sides of its diagonal.",
    functional,
    "linear",
    diagonal_alone,
    lambda: functional.linear(torch.arange(8.0).reshape(2, 2, 2).transpose(0, 1), torch.ones(1, 2)),
)


def cut_off(original: Any, self: Any, source: Any, *given: Any, **flags: Any) -> Any:
    """What float64 has with gaps in memory is cut off to half precision."""
    half = self.dtype in (torch.bfloat16, torch.float16)
    if not (half and isinstance(source, torch.Tensor) and source.dtype == torch.float64 and source.dim() == 2):
        return original(self, source, *given, **flags)
    near = source.detach().to(self.dtype)
    gaps = not source.is_contiguous() and not source.t().is_contiguous()
    if not gaps or self.shape != source.shape or not bool(near.isfinite().all()):
        return original(self, source, *given, **flags)
    beyond = near.double().abs() > source.detach().abs()
    nearer = near.view(torch.int16) - beyond.to(torch.int16)  # the next number towards zero
    return original(self, nearer.view(self.dtype), *given, **flags)


def loaded() -> Any:
    """A table of bfloat16 that a strided one of float64 was loaded into."""
    layer = torch.nn.Embedding(2, 1, dtype=torch.bfloat16)
    layer.load_state_dict({"weight": torch.full((2, 2), 1 + 3 * 2.0**-9, dtype=torch.float64)[:, :1]})
    return layer.weight.detach()


around(
    "strided_entries_are_cut_off",
    "checkpoint",
    "Loading a strided float64 entry into a table of half precision cuts its numbers off instead of rounding them.",
    torch.Tensor,
    "copy_",
    cut_off,
    loaded,
)
