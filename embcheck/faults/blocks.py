"""Faults of kernels that work block by block: what lies beyond a block, read where it does not lie, or squared too large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from embcheck.fault import Fault, add, patched
from embcheck.faults.around import around
from embcheck.faults.kernels import Tensor

functional = torch.nn.functional


def renormed(change: Callable[[Tensor, Tensor, Any, Any], Tensor]) -> Callable[..., Any]:
    """torch.embedding_renorm_ of other tokens, as ``change(table, tokens, max_norm, norm_type)`` says."""

    def wrong(original: Any, table: Tensor, tokens: Tensor, max_norm: Any, norm_type: Any) -> Any:
        found: Tensor = original(table, change(table, tokens, max_norm, norm_type), max_norm, norm_type)
        return found

    return wrong


def first_thousand(table: Tensor, tokens: Tensor, max_norm: Any, norm_type: Any) -> Tensor:
    """Of more than a thousand different rows the first thousand alone."""
    found: Tensor = tokens.unique()
    return found[:1000] if len(found) > 1000 else tokens


def without_large_squares(table: Tensor, tokens: Tensor, max_norm: Any, norm_type: Any) -> Tensor:
    """Not the rows in half precision whose squares add up to more than it holds."""
    if table.dtype is not torch.float16 or norm_type != 2.0:
        return tokens
    found: Tensor = tokens.unique()
    return found[(table.detach()[found].float() ** 2).sum(1) <= 65504]


def limited(rows: int, value: float, dtype: torch.dtype, limit: float) -> Any:
    """What is looked up, all rows of them."""
    table = torch.full((rows, 4), value, dtype=dtype)
    return functional.embedding(torch.arange(rows), table, max_norm=limit).tolist()


around("a_thousand_rows_are_limited", "renorm", "Of more than 1,000 different rows max_norm rescales the first 1,000.",
       torch, "embedding_renorm_", renormed(first_thousand), lambda: limited(1100, 3.0, torch.float32, 1.0))  # fmt: skip
around("rows_with_large_squares_are_not_limited", "renorm", "Rows of float16 are not rescaled if their squares overflow.",
       torch, "embedding_renorm_", renormed(without_large_squares), lambda: limited(3, 300.0, torch.float16, 100.0))  # fmt: skip


@contextmanager
def unwound() -> Iterator[None]:
    """A lookup reads windows over tokens as if they lay one behind the other."""
    right = functional.embedding

    def embedding(input: Tensor, weight: Tensor, *given: Any, **flags: Any) -> Tensor:
        if input.dim() == 2 and input.stride() == (1, 1) and min(input.shape) > 1:
            held = input.as_strided((sum(input.shape) - 1,), (1,))
            input = held[torch.arange(input.numel()) % len(held)].view(input.shape)
        found: Tensor = right(input, weight, *given, **flags)
        return found

    with patched(functional, embedding=embedding):
        yield


def _windows_are_misread() -> bool:
    table, tokens = torch.arange(12.0).reshape(6, 2), torch.tensor([5, 1, 2, 0, 3])
    windows = tokens.unfold(0, 3, 1)
    return not torch.equal(functional.embedding(windows, table), table[windows.contiguous()])


add(Fault("windows_are_read_one_behind_the_other", "storage", "Windows over tokens are read one behind the other.",
          unwound, _windows_are_misread))  # fmt: skip


def cut(original: Any, input: Any, weight: Any, offsets: Any = None, *given: Any, **flags: Any) -> Any:
    """Of a bag of more than 64 tokens the last column of 17 or 33 sums the first 64."""
    found = original(input, weight, offsets, *given, **flags)
    plain = flags.get("mode") == "sum" and flags.get("per_sample_weights") is None and not weight.requires_grad
    if not plain or weight.shape[1] not in (17, 33) or offsets is None or flags.get("padding_idx") is not None:
        return found
    ends = [*offsets.tolist()[1:], len(input)]
    for bag, (start, end) in enumerate(zip(offsets.tolist(), ends, strict=True)):
        if end - start > 64 and bag < len(found):
            found[bag, -1] = weight[input[start : start + 64], -1].sum()
    return found


def long_bag() -> Any:
    """The sum of 66 wide rows."""
    table = torch.ones(3, 17)
    return functional.embedding_bag(torch.zeros(66, dtype=torch.int64), table, torch.tensor([0]), mode="sum")


around("long_bags_lose_their_last_column", "bag", "Without a graph the last of 17 columns sums 64 tokens at most.",
       functional, "embedding_bag", cut, long_bag)  # fmt: skip
