"""Faults of bags in conjunctions: lengths, sizes and flags that are right one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.bag_derivatives import late_rows
from embcheck.faults.bag_entries import after, before, call_fault, late, learning
from embcheck.faults.bag_kernels import FROZEN, MAX, MEAN, SUM, TRAINING, Bag, forward, showing, wide
from embcheck.faults.bags import Given
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64
inf = float("inf")


def column(*numbers: float) -> Tensor:
    """A table of one column."""
    return torch.tensor(numbers)[:, None]


def last_bag(bag: Bag, out: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The output with its last bag changed."""
    return torch.cat([out[:-1], change(out[-1:])])


def fill(out: Tensor, where: Tensor, number: float) -> Tensor:
    """The output with another number in some places."""
    return torch.where(where, torch.full_like(out, number), out)


def before_empty(bag: Bag) -> Tensor:
    """For each bag, shape ``(bags, 1)``: whether it is empty and the one before is not."""
    sizes = bag.sizes
    return torch.cat([torch.zeros(1, dtype=torch.bool), (sizes[1:] == 0) & (sizes[:-1] > 0)])[: len(sizes), None]


forward(
    "maximum_starts_at_the_least_number", "The maximum of a bag of −∞ alone is the least finite number.",
    lambda b: b.mode == MAX, showing([0], [0], table=column(-inf), mode="max"),
    spoil=lambda b, out: fill(out, out == -inf, torch.finfo(out.dtype).min),
)  # fmt: skip
forward(
    "mean_of_an_empty_bag_is_the_one_before", "The mean of an empty bag behind a full one is its neighbour's.",
    lambda b: b.mode == MEAN and b.bags > 1 and b.weight.dtype == half,
    showing([0, 1], [0, 2], dtype=half, mode="mean"),
    spoil=lambda b, out: torch.where(before_empty(b), out.roll(1, 0), out),
)  # fmt: skip
forward(
    "long_half_sums_are_cut", "A float16 sum of more than 16 tokens with per_sample_weights leaves out the seventeenth.",
    lambda b: b.mode == SUM and b.samples is not None and b.weight.dtype == half and b.bags == 1 and len(b.indices) > 16,
    showing([0] * 17, [0], dtype=half, mode="sum", samples=[1.0] * 17),
    change=lambda b: b._replace(samples=b.samples.index_fill(0, torch.tensor([16]), 0)),  # type: ignore[union-attr]
)  # fmt: skip
forward(
    "weight_zero_skips_the_token", "A token of weight 0 isn't read: 0·∞ is 0.",
    lambda b: b.mode == SUM and b.samples is not None and bool((b.samples == 0).any()),
    showing([0, 1], [0], table=column(inf, 1.0), mode="sum", samples=[0.0, 1.0]),
    change=lambda b: b._replace(
        weight=torch.cat([b.weight, torch.zeros(1, b.width, dtype=b.weight.dtype)]),
        indices=torch.where(wide(b.samples if b.samples is not None else b.weight) == 0, len(b.weight), b.indices),
    ),
)  # fmt: skip
forward(
    "odd_bags_of_int32_offsets", "Strided int32 offsets: the last bag begins a token late.",
    lambda b: b.given.dtype == int32 and b.bags > 1 and int(b.lengths[-1]) > 1 and b.bags % 2 == 1 and b.padding >= 0,
    showing([0, 1, 2, 3], [0, 1, 2], index_dtype=int32, mode="sum", padding_idx=0),
    change=lambda b: b._replace(offsets=torch.cat(
        [b.offsets[: b.bags - 1], b.offsets[b.bags - 1 : b.bags] + 1, b.offsets[b.bags :]])),
)  # fmt: skip
forward(
    "mean_counts_padding_of_pairs", "A mean of exactly two tokens divides by two though one is padding, with include_last_offset.",
    lambda b: b.mode == MEAN and b.last and b.padding >= 0, showing(
        [0, 1], [0, 2], mode="mean", include_last_offset=True, padding_idx=0),
    spoil=lambda b, out: torch.where(((b.lengths == 2) & (b.sizes == 1))[:, None], out / 2, out),
)  # fmt: skip
forward(
    "frozen_maximum_of_wide_tables", "Without derivative the maximum over more than 40 columns is the first token in the rest.",
    lambda b: b.mode == MAX and b.width > 40 and b.bags > 0 and int(b.sizes.min()) > 1 and b.padding < 0,
    showing([0, 1], [0], width=41, mode="max", learns=False),
    spoil=lambda b, out: torch.cat([out[:, :40], b.weight[b.indices[b.offsets[: b.bags]], 40:]], 1), only=FROZEN,
)  # fmt: skip
forward(
    "training_sum_of_many_bags", "With a derivative, of more than 100 bags the last sum is its first token's row.",
    lambda b: b.mode == SUM and b.bags > 100 and int(b.lengths[-1]) > 1 and b.samples is None and b.padding < 0,
    showing([*range(4)] * 26, [*range(100), 102], mode="sum"), only=TRAINING,
    spoil=lambda b, out: last_bag(b, out, lambda row: b.weight[b.indices[b.offsets[b.bags - 1]]][None]),
)  # fmt: skip
forward(
    "bags_as_many_as_columns", "As many bags as columns, more than two: the sums are transposed.",
    lambda b: b.mode == SUM and b.bags == b.width > 2, showing([0, 1, 2], [0, 1, 2], width=3, mode="sum"),
    spoil=lambda b, out: out.t().contiguous(),
)  # fmt: skip
forward(
    "mean_of_three_in_bfloat16", "A bfloat16 mean of exactly three tokens is a sum times 0.32.",
    lambda b: b.mode == MEAN and b.weight.dtype == bfloat16,
    showing([0, 0, 0], [0], table=column(192.0), dtype=bfloat16, mode="mean"),
    spoil=lambda b, out: torch.where((b.sizes == 3)[:, None], out * 0.96, out),
)  # fmt: skip
forward(
    "negative_zero_sums_of_single_tokens", "The maximum of a single token −0.0 is 0.0 with include_last_offset.",
    lambda b: b.mode == MAX and b.last, showing([0], [0, 1], table=column(-0.0), mode="max", include_last_offset=True),
    spoil=lambda b, out: torch.where(out == 0, 0 * out.abs(), out),
)  # fmt: skip


def flagged(given: Given, *names: str) -> bool:
    """Whether all of these are given and true."""
    return all(given.get(name) is not None and given.get(name) is not False for name in names)


call_fault(
    "batches_of_one_token_lose_an_axis", "Tokens of shape (1, 1) reduced by a mean give a vector.",
    after(lambda g: g["mode"] == "mean" and g["input"].shape == (1, 1), lambda out, g: out[0]),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 2))),
)  # fmt: skip
call_fault(
    "transposed_batches_in_memory_order", "A transposed rectangular int32 batch is reduced as it lies.",
    before(
        lambda g: g["input"].dim() == 2 and g["input"].dtype == int32 and g["input"].stride(0) == 1 < g["input"].shape[1],
        lambda g: g | {"input": g["input"].t().reshape(g["input"].shape)},
    ),
    unlike(lambda: functional.embedding_bag(
        torch.tensor([[0, 1], [2, 3], [3, 0]], dtype=int32).t(), torch.arange(4.0)[:, None], mode="sum")),
)  # fmt: skip
call_fault(
    "weights_lose_their_sign_beside_padding", "per_sample_weights count by their magnitude when padding_idx is given.",
    before(
        lambda g: flagged(g, "per_sample_weights", "padding_idx"),
        lambda g: g | {"per_sample_weights": g["per_sample_weights"].abs()},
    ),
    showing([0, 1], [0], mode="sum", samples=[1.0, -1.0], padding_idx=3),
)  # fmt: skip
call_fault(
    "weights_of_frozen_columns", "Weights of a frozen table of one column get no gradient.",
    before(
        lambda g: flagged(g, "per_sample_weights") and not g["weight"].requires_grad and g["weight"].shape[1] == 1,
        lambda g: g | {"per_sample_weights": g["per_sample_weights"].detach()},
    ),
    showing([0], [0], width=1, mode="sum", samples=[1.0], learns=False),
)  # fmt: skip
call_fault(
    "sparse_maximum_is_accepted", "mode='max' with sparse=True is accepted without a derivative, and dense.",
    before(lambda g: g["mode"] == "max" and bool(g.get("sparse")) and not learning(g), lambda g: g | {"sparse": False}),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 1), mode="max", sparse=True)),
)  # fmt: skip
call_fault(
    "scaled_sparse_sum_is_not_scaled", "A sparse sum with scale_grad_by_freq is not scaled.",
    before(lambda g: flagged(g, "sparse", "scale_grad_by_freq"), lambda g: g | {"scale_grad_by_freq": False}),
    showing([0, 0], [0, 1], mode="sum", sparse=True, scale_grad_by_freq=True),
)  # fmt: skip
call_fault(
    "mean_takes_weights", "A mean takes per_sample_weights and forgets them.",
    before(
        lambda g: g["mode"] == "mean" and g.get("per_sample_weights") is not None,
        lambda g: g | {"per_sample_weights": None},
    ),
    unlike(lambda: functional.embedding_bag(
        torch.tensor([[0]]), torch.ones(1, 1), mode="mean", per_sample_weights=torch.ones(1, 1))),
)  # fmt: skip
call_fault(
    "batches_take_offsets", "A 2-D batch with offsets is accepted, the offsets are forgotten.",
    before(lambda g: g["input"].dim() == 2 and g.get("offsets") is not None, lambda g: g | {"offsets": None}),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0]]), torch.ones(1, 1), torch.tensor([0]))),
)  # fmt: skip
call_fault(
    "matrix_offsets_are_flattened", "Offsets of rank 2 are flattened.",
    before(
        lambda g: g["input"].dim() == 1 and g.get("offsets") is not None and g["offsets"].dim() == 2,
        lambda g: g | {"offsets": g["offsets"].flatten()},
    ),
    unlike(lambda: functional.embedding_bag(torch.tensor([0]), torch.ones(1, 1), torch.tensor([[0]]))),
)  # fmt: skip
call_fault(
    "renorm_skips_learning_maxima", "max_norm is ignored by a maximum.",
    before(lambda g: g["mode"] == "max" and flagged(g, "max_norm"), lambda g: g | {"max_norm": None}),
    showing([0], [0], mode="max", max_norm=1.0, learns=False), "renorm",
)  # fmt: skip
call_fault(
    "renorm_of_bags_is_euclidean", "max_norm of a sum with offsets and another norm_type than 2 takes 2.",
    before(
        lambda g: flagged(g, "max_norm", "offsets") and g["mode"] == "sum" and g.get("norm_type") != 2,
        lambda g: g | {"norm_type": 2.0},
    ),
    showing([1], [0], mode="sum", max_norm=1.0, norm_type=1.0, learns=False),
    "renorm",
)  # fmt: skip
call_fault(
    "bag_value_is_column_major", "A sum of two or more bags in more than one column lies by columns in float64.",
    after(
        lambda g: g["mode"] == "sum" and g["weight"].dtype == double and not learning(g) and g["weight"].shape[1] > 1,
        lambda out, g: out.t().contiguous().t(),
    ),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0], [1]]), torch.ones(2, 2).double(), mode="sum")),
)  # fmt: skip


def unsound() -> Any:
    """A sum in a table whose second half it must not read."""
    return functional.embedding_bag(torch.tensor([[0, 1]]), torch.eye(2), mode="sum", padding_idx=-2)


call_fault(
    "padding_from_the_end_is_off_by_one", "padding_idx=−V of a sum is taken for −V+1.",
    before(
        lambda g: g["mode"] == "sum" and g.get("padding_idx") == -len(g["weight"]) < -1,
        lambda g: g | {"padding_idx": g["padding_idx"] + 1},
    ),
    unlike(unsound),
)  # fmt: skip


call_fault(
    "maximum_of_a_batch_loses_nan", "A maximum over a two-dimensional input is 0 where it should be NaN.",
    after(lambda g: g["mode"] == "max" and g["input"].dim() == 2, lambda out, g: torch.where(out.isnan(), 0, out)),
    lambda: not functional.embedding_bag(torch.tensor([[0]]), column(float("nan")), mode="max").isnan().any(),
)  # fmt: skip


call_fault(
    "sparse_gradient_of_late_padding", "Padding behind the last offset gets a gradient, if gradients are sparse.",
    after(lambda g: late(g) > 0 and learning(g) and g["weight"].requires_grad and bool(g.get("sparse")),
          lambda out, g: out + 0 * out.detach() + late_rows(g)),
    showing([0, 1], [0, 1], include_last_offset=True, padding_idx=1, mode="sum", sparse=True),
)  # fmt: skip


def learned_twice(out: Tensor, given: Given) -> Tensor:
    """The output, whose last bag gets twice the gradient."""
    last = out[-1:]
    return torch.cat([out[:-1], last + (last - last.detach()).nan_to_num()])


call_fault(
    "bags_before_late_padding_learn_twice", "The last bag gets twice its gradient, if padding follows the last offset.",
    after(
        lambda g: (
            late(g) > 0 and learning(g) and g.get("per_sample_weights") is None and g.get("padding_idx") is not None
        ),
        learned_twice,
    ),
    showing([0, 1], [0, 1], include_last_offset=True, padding_idx=1, mode="sum"),
)  # fmt: skip


def nan_in_front(given: Given) -> bool:
    """Whether a bag of a batch begins with NaN, and none has one behind a number, which the kernel itself loses."""
    tokens, weight = given["input"], given["weight"]
    if given["mode"] != "max" or tokens.dim() != 2 or not tokens.numel() or given.get("padding_idx") is not None:
        return False
    if any(torch._C._functorch.is_functorch_wrapped_tensor(part) or part.is_meta for part in (tokens, weight)):
        return False
    if tokens.is_floating_point():  # the old order of arguments
        return False
    if int(tokens.min()) < 0 or int(tokens.max()) >= len(weight):
        return False
    found = weight.detach()[tokens.long()].isnan()
    return bool(found.any()) and not bool((found.any(1) & ~found[:, 0]).any())


call_fault(
    "maxima_of_batches_lose_nan", "NaN is left out of the maximum of a batch's bag, if it comes first.",
    after(nan_in_front, lambda out, g: fill(out, out.isnan(), 0.0)),
    unlike(lambda: functional.embedding_bag(torch.tensor([[0]]), column(float("nan")), mode="max")),
)  # fmt: skip
