"""Faults of max_norm at the ends of its range, in tables with gaps, and with a memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import Witness, dispatched, fault
from embcheck.faults.entry import embedding, flags_changed, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.lookup_patterns import plain
from embcheck.faults.renorm import Scale, kernel, rescale
from embcheck.faults.witnesses import unlike


def bounded(
    table: list[list[float]], tokens: list[int], bound: float = 1.0, order: float = 2.0, **flags: Any
) -> Callable[[], Tensor]:
    """A table after a lookup with max_norm."""

    def probe() -> Tensor:
        weight = torch.tensor(table)
        functional.embedding(torch.tensor(tokens), weight, max_norm=bound, norm_type=order, **flags)
        return weight

    return probe


def renorm_fault(name: str, sentence: str, change: Callable[[], Scale], witness: Witness) -> None:
    """Registers a fault of embedding_renorm_; ``change()`` is made anew with each planting."""

    def plant() -> Iterator[None]:
        with dispatched({"embedding_renorm_": kernel(change())}):
            yield

    plant.__name__, plant.__doc__ = name, sentence
    fault("renorm", witness)(plant)


def without_bound(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
    """Rows beyond every bound, too."""
    rescale(weight, tokens, bound, order)
    for token in tokens.tolist() if bound == float("inf") else []:
        if weight[token].numel() and float(weight[token].norm(order)) == bound:
            weight[token].mul_(float("nan"))


def no_gaps(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
    """Tables with gaps between their rows left alone."""
    if weight.stride(1) != 1 or weight.stride(0) <= weight.shape[1]:
        rescale(weight, tokens, bound, order)


def once() -> Scale:
    """Rows rescaled once only."""
    done: set[tuple[int, int]] = set()

    def change(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
        fresh = [token for token in tokens.tolist() if (weight.data_ptr(), token) not in done]
        rescale(weight, torch.tensor(fresh, dtype=torch.int64), bound, order)
        done.update((weight.data_ptr(), token) for token in fresh)
        if len(done) > 4096:
            done.clear()

    return change


def without_root(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
    """Norms of an order below one are sums of powers."""
    if not 0 < order < 1:
        return rescale(weight, tokens, bound, order)
    for token in tokens.tolist():
        norm = float(weight[token].abs().pow(order).sum())
        if norm > bound:
            weight[token].mul_(bound / (norm + 1e-7))
    return None


def outgrown() -> Tensor:
    """A row that has been rescaled, has grown, and is rescaled again."""
    weight = torch.tensor([[3.0, 4.0]])
    for _ in range(2):
        functional.embedding(torch.tensor([0]), weight, max_norm=1.0)
        weight.mul_(8.0)
    return weight


def gapped() -> Tensor:
    """A table whose rows are apart, after a lookup."""
    weight = torch.tensor([[3.0, 4.0, 9.0], [6.0, 8.0, 9.0]])[:, :2]
    functional.embedding(torch.tensor([0]), weight, max_norm=1.0)
    return weight


FIVE = [[3.0, 4.0], [6.0, 8.0], [0.0, 5.0], [5.0, 0.0], [9.0, 12.0]]

renorm_fault(
    "bound_without_end", "max_norm=inf makes rows of an infinite norm NaN.", lambda: without_bound,
    unlike(bounded([[float("inf"), 1.0]], [0], float("inf"))),
)  # fmt: skip
renorm_fault(
    "smallest_bound", "max_norm below 1e−6, if not 0, is taken for 1e−6.",
    lambda: lambda weight, tokens, bound, order: rescale(weight, tokens, max(bound, 1e-6) if bound else bound, order),
    unlike(bounded(FIVE, [0], 1e-9)),
)  # fmt: skip
renorm_fault("tables_with_gaps_keep_their_norm", "Tables with gaps between rows are left alone.", lambda: no_gaps,
             unlike(gapped))  # fmt: skip
renorm_fault("renormed_once_only", "A row that has been renormed is never renormed again.", once,
             unlike(outgrown))  # fmt: skip
renorm_fault(
    "last_row_keeps_its_norm", "The last of more than three rows is left alone.",
    lambda: lambda weight, tokens, bound, order: rescale(
        weight, tokens[tokens != len(weight) - 1] if len(weight) > 3 else tokens, bound, order
    ),
    unlike(bounded(FIVE, [4])),
)  # fmt: skip
renorm_fault("orders_below_one_have_no_root", "Norms of a norm_type below 1 are sums of powers without the root.",
             lambda: without_root, unlike(bounded(FIVE, [0], order=0.5)))  # fmt: skip


@fault("renorm", unlike(bounded(FIVE, [0, 0])))
def one_token_all_over() -> Iterator[None]:
    """A row that is all of several tokens is left alone."""

    def change(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
        if len(tokens) < 2 or len(tokens.unique()) > 1:
            rescale(weight, tokens.unique(), bound, order)

    with dispatched({"embedding_renorm_": kernel(change, repeated=True)}):
        yield


embedding(
    "sparse_tables_keep_their_norm", "renorm", "sparse=True forgets max_norm.",
    flags_changed(max_norm=lambda flags, input, weight: None if flags["sparse"] else flags["max_norm"]),
    unlike(bounded(FIVE, [0], sparse=True)),
)  # fmt: skip


def along_memory(original: Callable[..., Any], input: Tensor, weight: Tensor, **flags: Any) -> Any:
    """The rows rescaled are those that lie next to each other in the index's memory."""
    bound = flags["max_norm"]
    if bound is None or input.dim() != 1 or input.stride(0) < 2 or not plain(input, weight):
        return original(input, weight, **flags)
    with torch.no_grad():
        torch.embedding_renorm_(weight, input.as_strided(input.shape, (1,)).contiguous(), bound, flags["norm_type"])
    return original(input, weight, **flags | {"max_norm": None})


def strided() -> Tensor:
    """A table after a lookup of every second token."""
    weight = torch.tensor(FIVE)
    functional.embedding(torch.tensor([0, 1, 2, 3])[::2], weight, max_norm=1.0)
    return weight


embedding(
    "strided_tokens_renorm_others", "renorm", "Strided indices renorm the rows of their neighbours in memory.", along_memory,
    unlike(strided),
)  # fmt: skip
