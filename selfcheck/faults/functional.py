"""Faults of torch.nn.functional.embedding: its flags and its output."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import Wrong, embedding, flags_changed, out_changed
from selfcheck.faults.kernels import Tensor

embedding(
    "negative_padding_off_by_one",
    "padding",
    "A negative padding_idx below −1 counts one row too many from the end.",
    flags_changed(padding_idx=lambda flags, i, w: minus_one_more(flags["padding_idx"], w.shape[0])),
)


def _refuses_minus_v(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
    if flags["padding_idx"] is not None and flags["padding_idx"] == -len(weight) < -1:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return original(input, weight, **flags)


embedding(
    "padding_minus_v_is_refused",
    "padding",
    "padding_idx=−V is refused.",
    _refuses_minus_v,
)


def minus_one_more(padding_idx: int | None, rows: int) -> int | None:
    """A negative padding_idx moved on by one, if there is room."""
    return padding_idx - 1 if padding_idx is not None and -rows < padding_idx < -1 else padding_idx


embedding(
    "version_bumped",
    "lookup",
    "A lookup with padding counts as a write to the table.",
    out_changed(
        lambda i, w, flags: flags["padding_idx"] is not None and not w.is_inference(),
        lambda out, i, w: bumped(out, w),
    ),
)


embedding(
    "vmap_reads_next",
    "gradient",
    "Under vmap an embedding reads the next rows.",
    lambda original, input, weight, **flags: original(
        (input + 1) % len(weight) if torch._C._functorch.peek_interpreter_stack() is not None else input,
        weight,
        **flags,
    ),
)


def bumped(out: Tensor, weight: Tensor) -> Tensor:
    """The output, after the table's version was moved."""
    torch.autograd.graph.increment_version(weight)
    return out
