"""Faults of one_hot and linear."""

from __future__ import annotations

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import Spoiled, entry, functional


def one_hot(name: str, sentence: str, wrong: Spoiled, witness: Witness, family: str = "one_hot") -> None:
    """A fault of F.one_hot: ``wrong(original, tensor, num_classes)``."""
    entry(
        name,
        family,
        sentence,
        functional,
        "one_hot",
        lambda original: lambda tensor, num_classes=-1: wrong(original, tensor, num_classes),
        witness,
    )


one_hot(
    "one_hot_of_one_class_is_its_indices",
    "one_hot with one class gives the memory of its indices, made ones.",
    lambda original, t, n: (original(t, n), t.fill_(1).unsqueeze(-1))[1] if n == 1 and t.numel() else original(t, n),
    lambda: one_class_is_view(),
)
one_hot(
    "one_hot_draws_random_numbers",
    "one_hot at rank 2 draws a random number.",
    lambda original, t, n: (original(t, n), torch.rand(1) if t.dim() == 2 else t)[0],
    lambda: one_hot_draws(),
)


def one_class_is_view() -> bool:
    """Whether one_hot gives its indices' memory."""
    indices = torch.tensor([0, 0])
    return functional.one_hot(indices, 1).data_ptr() == indices.data_ptr()


def one_hot_draws() -> bool:
    """Whether one_hot moves the random number generator."""
    before = torch.get_rng_state()
    functional.one_hot(torch.tensor([[0]]), 2)
    return not torch.equal(before, torch.get_rng_state())


def linear(name: str, family: str, sentence: str, wrong: Spoiled, witness: Witness) -> None:
    """A fault of F.linear: ``wrong(original, input, weight, bias)``."""
    entry(
        name,
        family,
        sentence,
        functional,
        "linear",
        lambda original: lambda input, weight, bias=None: wrong(original, input, weight, bias),
        witness,
    )


def linear_differs(shape: tuple[int, ...], bias: bool = False, transposed: bool = False, square: int = 3) -> Witness:
    """Whether F.linear departs from a sum of products."""

    def witness() -> bool:
        weight = torch.arange(square * square, dtype=torch.float32).reshape(square, square)
        x = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
        b = torch.arange(1.0, 1 + square) if bias else None
        given = weight.t().contiguous().t() if transposed else weight
        expected = (x[..., None, :] * weight).sum(-1) + (b if b is not None else 0)
        return not torch.equal(functional.linear(x, given, b), expected)

    return witness


linear(
    "linear_rank3_adds_bias_twice",
    "conversion",
    "The bias is added twice to input of rank 3.",
    lambda original, x, w, b: original(x, w, b) + b if b is not None and x.dim() == 3 else original(x, w, b),
    linear_differs((1, 2, 3), bias=True),
)
