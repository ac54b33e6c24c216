"""Faults of one_hot and linear."""

from __future__ import annotations

import torch

from selfcheck.faults.entry import Spoiled, entry, functional


def one_hot(name: str, sentence: str, wrong: Spoiled, family: str = "one_hot") -> None:
    """A fault of F.one_hot: ``wrong(original, tensor, num_classes)``."""
    entry(
        name,
        family,
        sentence,
        functional,
        "one_hot",
        lambda original: lambda tensor, num_classes=-1: wrong(original, tensor, num_classes),
    )


one_hot(
    "one_hot_of_one_class_is_its_indices",
    "one_hot with one class gives the memory of its indices, made ones.",
    lambda original, t, n: (original(t, n), t.fill_(1).unsqueeze(-1))[1] if n == 1 and t.numel() else original(t, n),
)
one_hot(
    "one_hot_draws_random_numbers",
    "one_hot at rank 2 draws a random number.",
    lambda original, t, n: (original(t, n), torch.rand(1) if t.dim() == 2 else t)[0],
)


def linear(name: str, family: str, sentence: str, wrong: Spoiled) -> None:
    """A fault of F.linear: ``wrong(original, input, weight, bias)``."""
    entry(
        name,
        family,
        sentence,
        functional,
        "linear",
        lambda original: lambda input, weight, bias=None: wrong(original, input, weight, bias),
    )


linear(
    "linear_rank3_adds_bias_twice",
    "conversion",
    "The bias is added twice to input of rank 3.",
    lambda original, x, w, b: original(x, w, b) + b if b is not None and x.dim() == 3 else original(x, w, b),
)
