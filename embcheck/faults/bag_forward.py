"""Faults of the forward kernels of the embedding bag: one mode, dtype, size or option at a time."""

from __future__ import annotations

import torch

from embcheck.faults.bag_kernels import FROZEN, MAX, MEAN, SUM, TRAINING, Bag, When, forward, showing
from embcheck.faults.kernels import Tensor


def wide_table(rows: int, width: int) -> Tensor:
    """Negative numbers, all different."""
    return -1.0 - torch.arange(float(rows * width)).reshape(rows, width)


def row_changed(out: Tensor, row: int, value: Tensor | float) -> Tensor:
    """The output with one bag replaced."""
    if -len(out) <= row < len(out):
        out[row] = value
    return out


def without(bag: Bag, *places: int) -> Bag:
    """The bag with the weights of some tokens zero: they are left out of the sum."""
    samples = torch.ones(len(bag.indices), dtype=bag.weight.dtype) if bag.samples is None else bag.samples.clone()
    samples[list(places)] = 0
    return bag._replace(samples=samples)


def mode_is(mode: int, dtype: torch.dtype | None = None) -> When:
    """Whether the call is in one mode, and dtype."""
    return lambda bag: bag.mode == mode and dtype in (None, bag.weight.dtype)


forward(
    "bagk_empty_last_repeats", "An empty last bag gets the value of the bag before it.",
    lambda bag: bag.bags > 1 and int(bag.lengths[-1]) == 0, showing([0], [0, 1]),
    spoil=lambda bag, out: row_changed(out, -1, out[-2].clone()),
)  # fmt: skip
forward(
    "bagk_empty_first_is_nan", "An empty first bag of a mean is NaN.",
    lambda bag: bag.mode == MEAN and bag.bags > 1 and int(bag.lengths[0]) == 0, showing([0], [0, 0]),
    spoil=lambda bag, out: row_changed(out, 0, float("nan")),
)  # fmt: skip
forward(
    "bagk_empty_middle_of_max", "An empty bag between others has the maximum of the first row.",
    lambda bag: bag.mode == MAX and bool((bag.lengths[1:-1] == 0).any()), showing([1, 2], [0, 1, 1], mode="max"),
    spoil=lambda bag, out: torch.where((bag.lengths == 0)[:, None], bag.weight[0], out),
)  # fmt: skip
forward(
    "bagk_mean_counts_padding", "A mean divides by a number that counts padding.",
    lambda bag: bag.mode == MEAN and bag.padding >= 0, showing([0, 1], padding_idx=1),
    spoil=lambda bag, out: (out * (bag.sizes / bag.lengths.clamp(min=1))[:, None]).to(out.dtype),
)  # fmt: skip
forward(
    "bagk_mean_of_three_in_double", "float64 means of three tokens divide by four.",
    lambda bag: bag.mode == MEAN and bag.weight.dtype == torch.float64, showing([0, 1, 2], dtype=torch.float64),
    spoil=lambda bag, out: torch.where((bag.sizes == 3)[:, None], out * 0.75, out),
)  # fmt: skip
forward(
    "bagk_mean_of_half_precision_doubles", "A mean of float16 is doubled before it is halved, which is too much for some.",
    mode_is(MEAN, torch.float16), showing([0], table=torch.tensor([[49152.0]]), dtype=torch.float16, mode="mean"),
    spoil=lambda bag, out: out * 2 / 2,
)  # fmt: skip
forward(
    "bagk_max_starts_at_zero", "A maximum is at least 0.",
    mode_is(MAX), showing([0, 1], table=wide_table(2, 1), mode="max"),
    spoil=lambda bag, out: out.clamp(min=0),
)  # fmt: skip
forward(
    "bagk_max_of_padding_is_infinite", "The maximum of a bag of nothing but padding is -inf.",
    lambda bag: bag.mode == MAX and bag.padding >= 0, showing([1], padding_idx=1, mode="max"),
    spoil=lambda bag, out: torch.where(((bag.sizes == 0) & (bag.lengths > 0))[:, None], -torch.inf, out),
)  # fmt: skip
forward(
    "bagk_max_loses_zeros_sign", "A maximum of bfloat16 loses the sign of zero.",
    mode_is(MAX, torch.bfloat16), lambda: not lone_zero().signbit().all(),
    spoil=lambda bag, out: out + 0.0,
)  # fmt: skip
forward(
    "bagk_max_of_float16_is_rounded", "A maximum of float16 is rounded to 7 bits.",
    mode_is(MAX, torch.float16), lambda: float(lone(1.0 + 2.0**-10, torch.float16)) != 1.0 + 2.0**-10,
    spoil=lambda bag, out: out.bfloat16().half(),
)  # fmt: skip
forward(
    "bagk_max_without_first_nan", "A maximum whose first row is NaN is 0 there.",
    lambda bag: bag.mode == MAX and not bag.last, lambda: not torch.isnan(lone(float("nan"), torch.float32)).all(),
    spoil=lambda bag, out: out.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf),
)  # fmt: skip
forward(
    "bagk_sum_forgets_the_65th", "A sum in which 65 tokens or more take part leaves out the 65th.",
    lambda bag: bag.mode == SUM and bag.end >= 65, showing([0] * 65, mode="sum"),
    change=lambda bag: without(bag, 64),
)  # fmt: skip
forward(
    "bagk_sum_of_many_rows", "In tables of more than 1,000 rows the last row reads as 0 in sums.",
    lambda bag: bag.mode == SUM and len(bag.weight) > 1000, showing([1000], rows=1001, mode="sum"),
    change=lambda bag: without(bag, *torch.nonzero(bag.indices == len(bag.weight) - 1).flatten().tolist()),
)  # fmt: skip
forward(
    "bagk_last_offset_is_inclusive", "With include_last_offset the last bag is one token short.",
    lambda bag: bag.last and bag.bags > 0 and bag.mode == SUM and 0 < bag.end > int(bag.offsets[-2]),
    showing([0, 1], [0, 2], mode="sum", include_last_offset=True), change=lambda bag: without(bag, bag.end - 1),
)  # fmt: skip
forward(
    "bagk_last_offset_ignored", "The fast sum reduces the tokens behind the last offset into the last bag.",
    lambda bag: bag.last and bag.mode == SUM and bag.bags > 0,
    showing([0, 1], [0, 1], mode="sum", include_last_offset=True, learns=False),
    change=lambda bag: bag._replace(offsets=torch.cat([bag.offsets[:-1], torch.tensor([len(bag.indices)])])),
)  # fmt: skip
forward(
    "bagk_weights_pass_padding", "With padding, per_sample_weights are taken one token later.",
    lambda bag: bag.samples is not None and bag.padding >= 0,
    showing([0, 1, 2], mode="sum", samples=[1.0, 2.0, 3.0], padding_idx=1),
    change=lambda bag: bag._replace(samples=bag.samples.roll(1)),  # type: ignore[union-attr]
)  # fmt: skip
forward(
    "bagk_weights_are_positive", "per_sample_weights below zero are taken for positive ones.",
    lambda bag: bag.samples is not None, showing([0], mode="sum", samples=[-1.0]),
    change=lambda bag: bag._replace(samples=bag.samples.abs()),  # type: ignore[union-attr]
)  # fmt: skip
forward(
    "bagk_weights_of_zero_are_one", "per_sample_weights of 0 are taken for none given, in bfloat16.",
    lambda bag: bag.samples is not None and bag.weight.dtype == torch.bfloat16,
    showing([0], mode="sum", samples=[0.0], dtype=torch.bfloat16),
    change=lambda bag: bag._replace(samples=torch.where(bag.samples == 0, 1, bag.samples)),  # type: ignore[arg-type]
)  # fmt: skip
forward(
    "bagk_weights_of_strided_memory", "per_sample_weights with gaps are read without them.",
    lambda bag: bag.samples is not None and len(bag.samples) > 1 and bag.samples.stride(0) > 1,
    lambda: gapped() != 5.0,
    change=lambda bag: bag._replace(samples=bag.samples.as_strided(bag.samples.shape, (1,))),  # type: ignore[union-attr]
)  # fmt: skip
forward(
    "bagk_frozen_mean_is_sum", "A mean that needs no derivative is the sum.",
    mode_is(MEAN), showing([0, 1], learns=False), only=FROZEN,
    change=lambda bag: bag._replace(mode=SUM),
)  # fmt: skip
forward(
    "bagk_frozen_max_reduces_padding", "A maximum that needs no derivative reduces padding.",
    lambda bag: bag.mode == MAX and bag.padding >= 0, showing([0, 1], learns=False, mode="max", padding_idx=1),
    only=FROZEN, change=lambda bag: bag._replace(padding=-1),
)  # fmt: skip
forward(
    "bagk_training_double_tail", "Training sums of float64 lose their columns beyond 16.",
    lambda bag: bag.mode == SUM and bag.weight.dtype == torch.float64 and bag.width > 16,
    showing([0], width=17, mode="sum", dtype=torch.float64), only=TRAINING,
    spoil=lambda bag, out: torch.cat([out[:, :16], 0 * out[:, 16:]], 1),
)  # fmt: skip
forward(
    "bagk_padding_times_zero", "Padding is multiplied by 0 instead of left out: NaN and infinity stay.",
    lambda bag: bag.mode == SUM and bag.padding >= 0,
    showing([0, 1], mode="sum", padding_idx=1, table=torch.tensor([[1.0], [float("nan")]])),
    spoil=lambda bag, out: out if not bag.bags else out.index_add(
        0, bag.bag_of, 0 * bag.weight[bag.indices] * (bag.indices == bag.padding)[:, None]
    ) if bag.end == len(bag.indices) else out,
)  # fmt: skip
forward(
    "bagk_transposed_table", "The table's strides are forgotten: a transposed one reads as if it were not.",
    lambda bag: bag.weight.stride() == (1, len(bag.weight)) and bag.width > 1 < len(bag.weight),
    lambda: transposed() != [1.0, 2.0],
    change=lambda bag: bag._replace(weight=bag.weight.as_strided(bag.weight.shape, (bag.width, 1))),
)  # fmt: skip
forward(
    "bagk_short_offsets", "int32 offsets above 127 are taken modulo 128.",
    lambda bag: bag.given.dtype == torch.int32 and bag.bags > 1 and bag.mode == SUM and int(bag.offsets.max()) > 127,
    showing([0, 1] * 80, [0, 130], mode="sum", index_dtype=torch.int32),
    change=lambda bag: bag._replace(offsets=torch.cummax(bag.offsets % 128, 0).values),
)  # fmt: skip
forward(
    "bagk_eight_tokens", "A mean of exactly 8 tokens is that of the first 7.",
    lambda bag: bag.mode == MEAN and bag.bags == 1 and bag.end == 8 and bag.padding < 0, showing([0] * 7 + [1]),
    change=lambda bag: bag._replace(indices=torch.cat([bag.indices[:7], bag.indices[6:7], bag.indices[8:]])),
)  # fmt: skip
forward(
    "bagk_output_is_wide", "A sum of float16 comes in float32 where nothing learns.",
    mode_is(SUM, torch.float16), showing([0], mode="sum", dtype=torch.float16, learns=False),
    only=FROZEN, spoil=lambda bag, out: out.float(),
)  # fmt: skip
forward(
    "bagk_output_is_transposed", "Means of 8 columns lie in memory column by column.",
    lambda bag: bag.mode == MEAN and bag.width == 8 and bag.bags > 1, lambda: not two_means().is_contiguous(),
    spoil=lambda bag, out: out.t().contiguous().t(),
)  # fmt: skip
forward(
    "bagk_one_token_is_a_view", "A sum of one bag of one token is the table's own row.",
    lambda bag: bag.mode == SUM and bag.bags == 1 and len(bag.indices) == 1 and bag.samples is None
    and bag.padding < 0 and not bag.last, lambda: is_view(), only=FROZEN,
    spoil=lambda bag, out: bag.weight.detach()[int(bag.indices[0]):int(bag.indices[0]) + 1],
)  # fmt: skip
forward(
    "bagk_sorts_its_tokens", "A maximum of one bag sorts its tokens in place.",
    lambda bag: bag.mode == MAX and bag.bags == 1 and not bag.last, lambda: sorts(),
    spoil=lambda bag, out: (out, bag.given.copy_(bag.given.sort().values))[0],
)  # fmt: skip
forward(
    "bagk_clears_padding", "The forward of a mean sets the padding row to 0.",
    lambda bag: bag.mode == MEAN and bag.padding >= 0, lambda: clears(),
    spoil=lambda bag, out: (out, bag.weight.detach()[bag.padding].zero_())[0],
)  # fmt: skip
forward(
    "bagk_one_bag_too_many", "With include_last_offset and no token there is a bag more.",
    lambda bag: bag.last and not len(bag.indices) and bag.bags > 0, showing([], [0, 0], include_last_offset=True),
    spoil=lambda bag, out: torch.cat([out, out[:1]]),
)  # fmt: skip


def lone(value: float, dtype: torch.dtype) -> Tensor:
    """The maximum of one element."""
    weight = torch.tensor([[value]], dtype=dtype)
    return torch.nn.functional.embedding_bag(torch.tensor([[0]]), weight, mode="max")


def lone_zero() -> Tensor:
    """The maximum of -0.0."""
    return lone(-0.0, torch.bfloat16)


def gapped() -> float:
    """2·1 + 1·3 from weights in every second element."""
    samples = torch.tensor([2.0, 9.0, 1.0, 9.0])[::2]
    weight = torch.tensor([[1.0], [3.0]])
    bags = torch.nn.functional.embedding_bag
    out = bags(torch.tensor([0, 1]), weight, torch.tensor([0]), mode="sum", per_sample_weights=samples)
    return float(out)


def transposed() -> list[float]:
    """The first row of a transposed table."""
    weight = torch.tensor([[1.0, 3.0], [2.0, 4.0]]).t()
    found: list[float] = torch.nn.functional.embedding_bag(torch.tensor([[0]]), weight, mode="sum")[0].tolist()
    return found


def two_means() -> Tensor:
    """Two means of eight columns."""
    return torch.nn.functional.embedding_bag(torch.tensor([[0], [1]]), torch.ones(2, 8))


def is_view() -> bool:
    """Whether a bag of one token shares the table's memory."""
    weight = torch.ones(2, 2)
    out = torch.nn.functional.embedding_bag(torch.tensor([[0]]), weight, mode="sum")
    return out.data_ptr() == weight.data_ptr()


def sorts() -> bool:
    """Whether the tokens change."""
    indices = torch.tensor([[1, 0]])
    torch.nn.functional.embedding_bag(indices, torch.ones(2, 1), mode="max")
    return indices.tolist() != [[1, 0]]


def clears() -> bool:
    """Whether the padding row changes."""
    weight = torch.ones(2, 1)
    torch.nn.functional.embedding_bag(torch.tensor([[0]]), weight, padding_idx=1)
    return weight.tolist() != [[1.0], [1.0]]


def token_by_token(bag: Bag, out: Tensor) -> Tensor:
    """Sums of more than 512 tokens whose others are added in the table's format."""
    for number in torch.nonzero(bag.sizes > 512).flatten().tolist():
        chosen = bag.kept & (bag.bag_of == number)
        terms = bag.weight[bag.indices[chosen]].float()
        if bag.samples is not None:
            terms = terms * bag.samples[chosen].float()[:, None]
        total = terms[:512].sum(0).to(out.dtype)
        for term in terms[512:]:
            total = total + term.to(out.dtype)
        out[number] = total
    return out


forward(
    "sum_of_a_long_last_bag_of_skewed_tokens_stops",
    "Behind its first 512 tokens a sum of float16 is added up in float16, which stops at 2048 to count ones.",
    lambda b: b.mode == SUM and b.weight.dtype == torch.float16,
    showing([0] * 2100, [0], table=torch.ones(1, 1), dtype=torch.float16, mode="sum"),
    spoil=token_by_token,
)
