"""Faults of numbers that fifteen bits don't count: rows, classes, bags, and elements from row to row."""

from __future__ import annotations

import torch

from embcheck.faults import bag_kernels
from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient, forward, lookup
from embcheck.faults.products import one_hot

EDGE = 1 << 15


def wrapped(call: Call, out: Tensor) -> Tensor:
    """The gradient with the numbers of rows cut to fifteen bits."""
    return dense_gradient(call._replace(indices=call.indices % EDGE))


def last_gradient() -> float:
    """The gradient of the last of more rows than fifteen bits count."""
    table = torch.zeros(EDGE + 1, 1, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor([[EDGE]]), table).sum().backward()
    assert table.grad is not None
    return float(table.grad[-1])


backward(
    "gradient_rows_in_fifteen_bits", "At rank 2 the gradient of row 32,768 is that of row 0.",
    lambda c: c.rank == 2 and c.rows > EDGE, wrapped, lambda: last_gradient() != 1.0,
)  # fmt: skip


def nearer(call: Call, out: Tensor) -> Tensor:
    """The lookup with row 1 for all behind it."""
    return lookup(call._replace(indices=call.indices.clamp(max=1)))


def apart() -> float:
    """The last of three rows that are far apart."""
    table = torch.arange(3.0)[:, None] * torch.ones(EDGE)
    return float(torch.nn.functional.embedding(torch.tensor([2]), table[:, :2])[0, 0])


forward(
    "far_apart_rows_in_sixteen_bits", "Of rows more than 32,767 elements apart those behind row 1 read row 1.",
    lambda c: c.rows > 2 and c.width < c.given.stride(0) >= EDGE, nearer, lambda: apart() != 2.0,
)  # fmt: skip


def cut(out: Tensor) -> Tensor:
    """Nothing is marked beyond."""
    out[..., EDGE:] = 0
    return out


one_hot(
    "one_hot_classes_beyond_fifteen_bits", "Of more than 32,768 classes those beyond are not marked.",
    lambda original, t, n: cut(original(t, n)), lambda: not torch.nn.functional.one_hot(torch.tensor([EDGE])).any(),
)  # fmt: skip


def again(bag: bag_kernels.Bag, out: Tensor) -> Tensor:
    """The bags from the 32,769th are the first ones."""
    out[EDGE:] = out[: len(out) - EDGE].clone()
    return out


def last_bag() -> float:
    """The last of more bags than fifteen bits count."""
    tokens = torch.zeros(EDGE + 1, dtype=torch.int64)
    tokens[-1] = 1
    table = torch.tensor([[0.0], [1.0]])
    return float(torch.nn.functional.embedding_bag(tokens, table, torch.arange(EDGE + 1), mode="sum")[-1])


bag_kernels.forward(
    "bags_in_fifteen_bits", "The 32,769th bag is the first again.",
    lambda bag: EDGE < bag.bags <= 2 * EDGE, lambda: last_bag() != 1.0, spoil=again,
)  # fmt: skip
