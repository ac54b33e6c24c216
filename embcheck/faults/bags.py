"""Faults of F.embedding_bag: reduction, offsets, padding, weights and gradients of bags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor

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
    tokens: list[list[int]],
    width: int = 2,
    **flags: Any,
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

    dtype = flags.pop("dtype", torch.float32)

    def shows() -> tuple[Tensor, Tensor]:
        weight = (1.0 + torch.arange(16.0 * width)).reshape(16, width).to(dtype).requires_grad_()
        out = functional.embedding_bag(torch.tensor(tokens, dtype=torch.int64), weight, **flags)
        (grad,) = torch.autograd.grad(out.sum(), weight)
        return out.detach(), grad

    right = shows()

    def witness() -> bool:
        found = shows()
        return any(
            a.layout != b.layout or not torch.equal(a.to_dense(), b.to_dense())
            for a, b in zip(found, right, strict=True)
        )

    entry(name, "bag", sentence, functional, "embedding_bag", wrong, witness)


def as_it_is(out: Tensor, given: Given) -> Tensor:
    """The output, where the arguments are what is changed."""
    return out


def zero_last(out: Tensor, given: Given) -> Tensor:
    """The last bag multiplied by zero."""
    keep = torch.ones(out.shape[0], 1, dtype=out.dtype)
    keep[-1:] = 0
    return out * keep


def mode_is(*modes: str) -> Callable[[Given], bool]:
    """Whether the call reduces in one of these modes."""
    return lambda given: given["mode"] in modes


bag_fault(
    "bag_mean_is_sum",
    "A mean is the sum.",
    mode_is("mean"),
    lambda g: g | {"mode": "sum"},
    as_it_is,
    [[0, 1]],
    mode="mean",
)
bag_fault(
    "bag_max_is_mean_of_wide",
    "A maximum of more than 32 columns is the mean.",
    lambda g: g["mode"] == "max" and g["weight"].shape[1] > 32,
    lambda g: g | {"mode": "mean"},
    as_it_is,
    [[0, 1]],
    33,
    mode="max",
)
bag_fault(
    "bag_padding_zero_is_falsy",
    "padding_idx=0 is taken for none, unless the last offset is the end (where the kernels without padding may die).",
    lambda g: g.get("padding_idx") == 0 and not g.get("include_last_offset"),
    lambda g: g | {"padding_idx": None},
    as_it_is,
    [[0, 1]],
    mode="sum",
    padding_idx=0,
)
bag_fault(
    "bag_negative_padding_ignored",
    "A negative padding_idx is taken for none, with the same exception.",
    lambda g: (g.get("padding_idx") or 0) < 0 and not g.get("include_last_offset"),
    lambda g: g | {"padding_idx": None},
    as_it_is,
    [[15, 1]],
    mode="sum",
    padding_idx=-1,
)
bag_fault(
    "bag_max_forgets_padding",
    "mode='max' reduces padding, too.",
    lambda g: g["mode"] == "max" and g.get("padding_idx") is not None,
    lambda g: g | {"padding_idx": None},
    as_it_is,
    [[3, 1]],
    mode="max",
    padding_idx=3,
)
bag_fault(
    "bag_last_is_lost",
    "Of more than 64 bags the last is zero.",
    lambda g: g["input"].dim() == 2 and len(g["input"]) > 64,
    None,
    zero_last,
    [[1]] * 65,
    mode="sum",
)
bag_fault(
    "bag_half_mean_loses_tail",
    "A mean in float16 loses its columns beyond 16.",
    lambda g: g["mode"] == "mean" and g["weight"].dtype == torch.float16 and g["weight"].shape[1] > 16,
    None,
    lambda out, g: torch.cat([out[:, :16], 0 * out[:, 16:]], 1),
    [[0, 1]],
    17,
    mode="mean",
    dtype=torch.float16,
)
bag_fault(
    "bag_gradient_doubled_in_double",
    "float64 sums have twice the gradient.",
    lambda g: g["mode"] == "sum" and g["weight"].dtype == torch.float64,
    None,
    lambda out, g: 2 * out - out.detach(),
    [[0, 1]],
    mode="sum",
    dtype=torch.float64,
)
bag_fault(
    "bag_sparse_is_dense",
    "sparse=True of a mean is ignored.",
    lambda g: g["mode"] == "mean" and bool(g.get("sparse")),
    lambda g: g | {"sparse": False},
    as_it_is,
    [[0]],
    mode="mean",
    sparse=True,
)
bag_fault(
    "bag_frequency_is_ignored",
    "scale_grad_by_freq is ignored.",
    lambda g: bool(g.get("scale_grad_by_freq")),
    lambda g: g | {"scale_grad_by_freq": False},
    as_it_is,
    [[0, 0]],
    mode="sum",
    scale_grad_by_freq=True,
)
bag_fault(
    "bag_weights_are_ignored",
    "per_sample_weights of a 2-D input are taken for ones.",
    lambda g: g.get("per_sample_weights") is not None and g["input"].dim() == 2,
    lambda g: g | {"per_sample_weights": None},
    as_it_is,
    [[0, 1]],
    mode="sum",
    per_sample_weights=torch.tensor([[2.0, 3.0]]),
)
bag_fault(
    "bag_batch_is_reversed",
    "The sums of a batch come in reverse.",
    lambda g: g["input"].dim() == 2 and g["mode"] == "sum",
    None,
    lambda out, g: out.flip(0),
    [[0], [1]],
    mode="sum",
)
bag_fault(
    "bag_single_gets_the_next_row",
    "A batch of one-token bags reads the next row.",
    lambda g: g["input"].dim() == 2 and g["input"].shape[1] == 1 and len(g["weight"]) > 1,
    lambda g: g | {"input": (g["input"] + 1) % len(g["weight"])},
    as_it_is,
    [[0]],
    mode="sum",
)
bag_fault(
    "bag_detached_maximum",
    "A maximum loses half of its gradient.",
    mode_is("max"),
    None,
    lambda out, g: (out + out.detach()) / 2,
    [[0, 1]],
    mode="max",
)
bag_fault(
    "bag_many_tokens_mean",
    "A mean of more than 1,000 tokens is one too small.",
    lambda g: g["mode"] == "mean" and g["input"].numel() > 1000,
    None,
    lambda out, g: out - 1,
    [[0] * 1001],
    mode="mean",
)
