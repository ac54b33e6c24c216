"""Faults of torch.nn.functional.embedding: its flags and its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Wrong, embedding, flags_changed, functional, out_changed
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import gradient_differs, value_differs

embedding(
    "padding_zero_is_falsy",
    "padding",
    "padding_idx=0 is taken for none.",
    flags_changed(padding_idx=lambda flags, i, w: flags["padding_idx"] or None),
    gradient_differs([0], 2, padding_idx=0),
)
embedding(
    "negative_padding_off_by_one",
    "padding",
    "A negative padding_idx below −1 counts one row too many from the end.",
    flags_changed(padding_idx=lambda flags, i, w: minus_one_more(flags["padding_idx"], w.shape[0])),
    gradient_differs([1], 3, padding_idx=-2),
)
embedding(
    "padding_minus_v_is_none",
    "padding",
    "padding_idx=−V is taken for none.",
    flags_changed(padding_idx=lambda flags, i, w: None if flags["padding_idx"] == -len(w) else flags["padding_idx"]),
    gradient_differs([0], 2, padding_idx=-2),
)
embedding(
    "sparse_forgets_last_padding",
    "padding",
    "sparse=True forgets a padding_idx that names the last row.",
    flags_changed(padding_idx=lambda flags, i, w: forget_last(flags, w)),
    gradient_differs([1], 2, padding_idx=1, sparse=True),
)
embedding(
    "scale_needs_two_tokens",
    "gradient",
    "scale_grad_by_freq is ignored for int32.",
    flags_changed(scale_grad_by_freq=lambda flags, i, w: flags["scale_grad_by_freq"] and i.dtype != torch.int32),
    gradient_differs([0, 0], 2, index_dtype=torch.int32, scale_grad_by_freq=True),
)
embedding(
    "sparse_beside_padding_is_scaled",
    "gradient",
    "A dense table with padding is scaled by frequency in float16.",
    flags_changed(
        scale_grad_by_freq=lambda flags, i, w: (
            flags["scale_grad_by_freq"]
            or (flags["padding_idx"] is not None and not flags["sparse"] and w.dtype == torch.float16)
        )
    ),
    gradient_differs([0, 0], 2, padding_idx=1, dtype=torch.float16),
)
embedding(
    "sparse_and_scaled_is_accepted",
    "gradient",
    "sparse with scale_grad_by_freq is accepted, and dense.",
    flags_changed(sparse=lambda flags, i, w: flags["sparse"] and not flags["scale_grad_by_freq"]),
    lambda: accepts_sparse_scaled(),
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
    gradient_differs([0], 2, padding_idx=-2),
)


def minus_one_more(padding_idx: int | None, rows: int) -> int | None:
    """A negative padding_idx moved on by one, if there is room."""
    return padding_idx - 1 if padding_idx is not None and -rows < padding_idx < -1 else padding_idx


def forget_last(flags: dict[str, Any], weight: Tensor) -> int | None:
    """The padding_idx unless it names the last row of a sparse table."""
    padding_idx: int | None = flags["padding_idx"]
    names_last = padding_idx in (-1, len(weight) - 1)
    return None if names_last and flags["sparse"] else padding_idx


def accepts_sparse_scaled() -> bool:
    """Whether sparse gradients can be scaled."""
    weight = torch.ones(2, 1, requires_grad=True)
    try:
        functional.embedding(torch.tensor([0]), weight, scale_grad_by_freq=True, sparse=True).sum().backward()
    except RuntimeError:
        return False
    return True


embedding(
    "strided_table_is_detached",
    "lookup",
    "The output of a table that is not contiguous has no graph.",
    out_changed(lambda i, w, flags: not w.is_contiguous(), lambda out, i, w: out.detach()),
    lambda: not functional.embedding(torch.tensor([0]), torch.ones(2, 3).t().requires_grad_()).requires_grad,
)
embedding(
    "requires_grad_under_no_grad",
    "lookup",
    "At rank 3 the output requires grad under no_grad too.",
    out_changed(
        lambda i, w, flags: i.dim() == 3 and w.requires_grad and not torch.is_inference_mode_enabled(),
        lambda out, i, w: out if out.requires_grad else out.requires_grad_(),
    ),
    lambda: under_no_grad().requires_grad,
)
embedding(
    "version_bumped",
    "lookup",
    "A lookup with padding counts as a write to the table.",
    out_changed(
        lambda i, w, flags: flags["padding_idx"] is not None and not w.is_inference(),
        lambda out, i, w: bumped(out, w),
    ),
    lambda: bumps_version(),
)
embedding(
    "parameter_comes_back",
    "lookup",
    "The output of a scalar index is a Parameter where nothing is tracked.",
    out_changed(
        lambda i, w, flags: i.dim() == 0 and not w.requires_grad,
        lambda out, i, w: torch.nn.Parameter(out, requires_grad=False),
    ),
    lambda: type(functional.embedding(torch.tensor(0), torch.ones(2, 1))) is not Tensor,
)
embedding(
    "output_is_not_in_the_graph_of_weight",
    "gradient",
    "Rank 2 of float64: the gradient stops at the output.",
    out_changed(
        lambda i, w, flags: i.dim() == 2 and w.dtype == torch.float64 and torch.is_grad_enabled() and w.requires_grad,
        lambda out, i, w: out.detach().requires_grad_(),
    ),
    gradient_differs([0], 2, shape=(1, 1), dtype=torch.float64),
)
embedding(
    "gradient_clamped_by_a_hook",
    "gradient",
    "Upstream gradients of rank 1 are clamped to ±500.",
    out_changed(lambda i, w, flags: i.dim() == 1, lambda out, i, w: hooked(out, lambda g: g.clamp(-500, 500))),
    gradient_differs([0], 2, upstream=lambda g: g * 1000),
)
embedding(
    "tangent_is_masked",
    "gradient",
    "Forward mode: the tangent of padding is zero.",
    lambda original, input, weight, **flags: masked_tangent(original, input, weight, flags),
    lambda: tangent_at_padding() == 0.0,
)


embedding(
    "transposed_table_loses_negative_zero",
    "conversion",
    "A lookup in a transposed table adds 0.0 to its output.",
    out_changed(lambda i, w, flags: w.dim() == 2 and w.stride(0) == 1 and w.shape[1] > 1, lambda out, i, w: out + 0.0),
    lambda: transposed_zero(),
)
embedding(
    "second_lookup_of_a_table",
    "conversion",
    "A lookup in a table that has a gradient already reads the next rows.",
    lambda original, input, weight, **flags: original(
        (input + 1) % len(weight) if weight.is_leaf and weight.grad is not None else input, weight, **flags
    ),
    lambda: with_gradient(),
)


def transposed_zero() -> bool:
    """Whether −0.0 is lost in a transposed table."""
    weight = torch.full((2, 3), -0.0).t()
    return not bool(functional.embedding(torch.tensor([0]), weight).signbit().all())


def with_gradient() -> bool:
    """Whether a gradient changes what a lookup returns."""
    weight = torch.tensor([[1.0], [2.0]], requires_grad=True)
    weight.grad = torch.ones(2, 1)
    return float(functional.embedding(torch.tensor([0]), weight)) != 1.0


embedding(
    "vmap_reads_next",
    "gradient",
    "Under vmap an embedding reads the next rows.",
    lambda original, input, weight, **flags: original(
        (input + 1) % len(weight) if torch._C._functorch.peek_interpreter_stack() is not None else input,
        weight,
        **flags,
    ),
    lambda: under_vmap() != 1.0,
)
embedding(
    "bfloat16_scalars_are_refused",
    "lookup",
    "A 0-dimensional index into bfloat16 is refused.",
    lambda original, input, weight, **flags: refuse_scalars(original, input, weight, flags),
    value_differs([0], 2, shape=(), dtype=torch.bfloat16),
)


def under_vmap() -> float:
    """What a batched lookup of row 0 finds."""
    weight = torch.tensor([[1.0], [2.0]])
    return float(torch.vmap(lambda indices: functional.embedding(indices, weight))(torch.tensor([[0]])))


def refuse_scalars(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    """F.embedding that raises for a scalar index into bfloat16."""
    if input.dim() == 0 and weight.dtype == torch.bfloat16:
        raise RuntimeError("not implemented for 'BFloat16'")
    return original(input, weight, **flags)


def hooked(out: Tensor, hook: Callable[[Tensor], Tensor]) -> Tensor:
    """The output with a hook on its gradient."""
    if out.requires_grad:
        out.register_hook(hook)
    return out


def masked_tangent(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Tensor:
    """The output with a tangent that is zero at padding."""
    out: Tensor = original(input, weight, **flags)
    ad = torch.autograd.forward_ad
    if flags["padding_idx"] is None or ad._current_level < 0:
        return out
    primal, tangent = ad.unpack_dual(out)
    if tangent is None:
        return out
    mask = (input == flags["padding_idx"] % len(weight))[..., None]
    found: Tensor = ad.make_dual(primal, tangent.masked_fill(mask, 0.0))
    return found


def tangent_at_padding() -> float:
    """The tangent of a padding token's row."""
    ad = torch.autograd.forward_ad
    with ad.dual_level():
        weight = ad.make_dual(torch.ones(2, 1), torch.ones(2, 1))
        return float(ad.unpack_dual(functional.embedding(torch.tensor([0]), weight, 0)).tangent)


def under_no_grad() -> Tensor:
    """A lookup of rank 3 without a graph."""
    with torch.no_grad():
        return functional.embedding(torch.tensor([[[0]]]), torch.ones(2, 1, requires_grad=True))


def bumped(out: Tensor, weight: Tensor) -> Tensor:
    """The output, after the table's version was moved."""
    torch.autograd.graph.increment_version(weight)
    return out


def made_default(out: Tensor) -> Tensor:
    """The output, after float64 was made the default dtype."""
    torch.set_default_dtype(torch.float64)
    return out


def bumps_version() -> bool:
    """Whether a lookup moves its table's version."""
    weight = torch.ones(2, 1)
    functional.embedding(torch.tensor([0]), weight, 0)
    return weight._version != 0
