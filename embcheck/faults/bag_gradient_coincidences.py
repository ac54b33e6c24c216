"""Faults of the gradients of bags in conjunctions, planted between the table and the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.bag_entries import Call, call_fault
from embcheck.faults.bag_kernels import showing
from embcheck.faults.bags import Given
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64
Change = Callable[[Tensor, Given], Tensor]


class _Changed(torch.autograd.Function):
    """The identity whose gradient is changed."""

    @staticmethod
    def forward(context: Any, value: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        context.change = change
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return context.change(upstream[0]), None


def plain(given: Given) -> bool:
    """Whether the call may be taken apart: nothing is written, no transform is at work."""
    if (
        given.get("max_norm") is not None
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack()
    ):
        return False
    return type(given["weight"]) in (Tensor, torch.nn.Parameter)


def learned(
    name: str, sentence: str, which: str, when: Callable[[Given], bool], change: Change, witness: Witness
) -> None:
    """Registers a fault: the gradient of ``which`` ("weight", "per_sample_weights") is changed."""

    def wrong(original: Call, given: Given) -> Any:
        found = given.get(which)
        if (
            found is None
            or not found.requires_grad
            or not torch.is_grad_enabled()
            or not plain(given)
            or not when(given)
        ):
            return original(**given)
        changed = _Changed.apply(found, lambda grad: change(grad, given))  # type: ignore[no-untyped-call]
        return original(**given | {which: changed})

    call_fault(name, sentence, wrong, witness)


def lengths(given: Given) -> Tensor:
    """How many tokens each bag of a batch has, padding included."""
    if given["input"].dim() == 2:
        return torch.full(given["input"].shape[:1], given["input"].shape[1])
    offsets = given["offsets"].long()
    end = offsets[-1:] if given.get("include_last_offset") else torch.tensor([given["input"].numel()])
    starts = offsets[:-1] if given.get("include_last_offset") else offsets
    return torch.diff(torch.cat([starts, end]))


def dense(grad: Tensor) -> bool:
    """Whether a gradient has rows and is dense."""
    return grad.layout == torch.strided and grad.numel() > 0


def row(grad: Tensor, place: int, factor: float) -> Tensor:
    """A dense gradient with one row multiplied."""
    if not dense(grad):
        return grad
    grad = grad.clone()
    grad[place] *= factor
    return grad


def times(factor: float) -> Change:
    """The gradient multiplied."""
    return lambda grad, given: grad * factor


learned(
    "sparse_mean_of_one_bag", "A sparse mean of exactly one bag of two or more tokens divides its gradient twice.", "weight",
    lambda g: g["mode"] == "mean" and bool(g.get("sparse")) and len(lengths(g)) == 1 and int(lengths(g)[0]) > 1,
    lambda grad, g: grad / int(lengths(g)[0]), showing([0, 1], [0], mode="mean", sparse=True),
)  # fmt: skip
learned(
    "mean_with_last_offset_and_int32", "With include_last_offset and int32 the gradient of a mean is that of row 0 doubled.",
    "weight", lambda g: g["mode"] == "mean" and bool(g.get("include_last_offset")) and g["input"].dtype == int32,
    lambda grad, g: row(grad, 0, 2.0), showing([0], [0, 1], mode="mean", index_dtype=int32, include_last_offset=True),
)  # fmt: skip
call_fault(
    "scaled_maximum_of_frozen_tables", "A maximum with scale_grad_by_freq of a frozen table is accepted.",
    lambda original, g: original(**(g | {"scale_grad_by_freq": g.get("scale_grad_by_freq") and (
        g["mode"] != "max" or g["weight"].requires_grad)})),
    unlike(lambda: torch.nn.functional.embedding_bag(
        torch.tensor([[0]]), torch.ones(1, 1), mode="max", scale_grad_by_freq=True)),
)  # fmt: skip
learned(
    "maximum_of_wide_halves", "A float16 maximum over more than 16 columns has no gradient in the last.", "weight",
    lambda g: g["mode"] == "max" and g["weight"].dtype == half and g["weight"].shape[1] > 16,
    lambda grad, g: torch.cat([grad[:, :-1], 0 * grad[:, -1:]], 1), showing([0], [0], width=17, dtype=half, mode="max"),
)  # fmt: skip
learned(
    "gradient_of_tall_tables_beside_padding", "Above 200 rows a sum with padding_idx has no gradient in the last row.",
    "weight", lambda g: g["mode"] == "sum" and len(g["weight"]) > 200 and g.get("padding_idx") is not None,
    lambda grad, g: row(grad, -1, 0.0), showing([200], [0], rows=201, mode="sum", padding_idx=0),
)  # fmt: skip
learned(
    "weighted_gradient_is_transposed_memory", "The table's gradient of a weighted sum lies by columns in float64.", "weight",
    lambda g: g.get("per_sample_weights") is not None and g["weight"].dtype == double and g["weight"].shape[1] > 1,
    lambda grad, g: grad.t().contiguous().t() if dense(grad) else grad,
    unlike(lambda: torch.autograd.grad(torch.nn.functional.embedding_bag(
        torch.tensor([[0]]), w := torch.ones(2, 2).double().requires_grad_(), mode="sum",
        per_sample_weights=torch.ones(1, 1).double()).sum(), w)),
)  # fmt: skip
learned(
    "weights_learn_from_padding", "The gradient of a padding token's weight is that of its neighbour.", "per_sample_weights",
    lambda g: g.get("padding_idx") is not None and g["input"].numel() > 1,
    lambda grad, g: torch.where(g["input"] == g["padding_idx"] % len(g["weight"]), grad.roll(1), grad),
    showing([0, 1], [0], mode="sum", samples=[1.0, 1.0], padding_idx=0),
)  # fmt: skip
learned(
    "weights_of_batches_learn_transposed", "The weights' gradient of a square 2-D batch is transposed.", "per_sample_weights",
    lambda g: g["input"].dim() == 2 and g["input"].shape[0] == g["input"].shape[1] > 1,
    lambda grad, g: grad.t().contiguous(),
    unlike(lambda: torch.autograd.grad(torch.nn.functional.embedding_bag(
        torch.tensor([[0, 1], [2, 3]]), torch.arange(4.0)[:, None], mode="sum",
        per_sample_weights=(s := torch.ones(2, 2, requires_grad=True))).sum(), s)),
)  # fmt: skip
learned(
    "weights_of_many_samples", "Above 90 samples the last weight gets no gradient.", "per_sample_weights",
    lambda g: g["input"].numel() > 90,
    lambda grad, g: torch.cat([grad.flatten()[:-1], 0 * grad.flatten()[-1:]]).reshape(grad.shape),
    showing([0] * 91, [0], mode="sum", samples=[1.0] * 91),
)  # fmt: skip
learned(
    "weights_with_last_offset_learn_twice", "With include_last_offset the weights of the last bag learn twice as fast.",
    "per_sample_weights", lambda g: bool(g.get("include_last_offset")) and g["input"].numel() > 0,
    lambda grad, g: torch.where(torch.arange(len(grad)) >= g["offsets"][-2], 2 * grad, grad) if len(g["offsets"]) > 1 else grad,
    showing([0], [0, 1], mode="sum", samples=[1.0], include_last_offset=True),
)  # fmt: skip
learned(
    "weights_of_empty_neighbours", "Beside an empty bag the weights' gradient has the other sign in bfloat16.",
    "per_sample_weights",
    lambda g: g["weight"].dtype == bfloat16 and bool((lengths(g) == 0).any()), times(-1.0),
    showing([0], [0, 1], dtype=bfloat16, mode="sum", samples=[1.0]),
)  # fmt: skip
