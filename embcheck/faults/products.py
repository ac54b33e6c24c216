"""Faults of one_hot and linear."""

from __future__ import annotations

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Spoiled, entry, functional
from embcheck.faults.kernels import Tensor


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


def stray_one_hot(tokens: list[int]) -> Witness:
    """Whether one_hot accepts classes outside its range."""

    def witness() -> bool:
        try:
            functional.one_hot(torch.tensor(tokens), 3)
        except RuntimeError:
            return False
        return True

    return witness


one_hot(
    "one_hot_drops_last_class_of_many",
    "one_hot with more than 500 classes leaves out the last.",
    lambda original, t, n: zero_class(original(t, n), n - 1) if n > 500 else original(t, n),
    lambda: not functional.one_hot(torch.tensor([500]), 501).any(),
    "lookup",
)
one_hot(
    "one_hot_rank3_shifted",
    "one_hot at rank 3 marks the next class.",
    lambda original, t, n: original(t, n).roll(1, -1) if t.dim() == 3 else original(t, n),
    lambda: int(functional.one_hot(torch.tensor([[[0]]]), 2)[0, 0, 0, 0]) == 0,
    "lookup",
)
one_hot(
    "one_hot_accepts_a_class_too_many",
    "one_hot gives zeros for a class beyond the last.",
    lambda original, t, n: (
        original(t.clamp(max=n - 1), n) * (t < n)[..., None] if n > 0 and t.numel() else original(t, n)
    ),
    stray_one_hot([3]),
)
one_hot(
    "one_hot_wraps_negative",
    "one_hot takes −1 for the last class.",
    lambda original, t, n: original(t % n, n) if n > 0 and t.numel() and int(t.max()) < n else original(t, n),
    stray_one_hot([-1]),
)
one_hot(
    "one_hot_scalar_twice",
    "one_hot of a scalar marks two.",
    lambda original, t, n: original(t, n) * 2 if t.dim() == 0 else original(t, n),
    lambda: int(functional.one_hot(torch.tensor(0), 2).sum()) != 1,
)
one_hot(
    "one_hot_of_one_class_is_its_indices",
    "one_hot with one class gives the memory of its indices, made ones.",
    lambda original, t, n: (original(t, n), t.fill_(1).unsqueeze(-1))[1] if n == 1 and t.numel() else original(t, n),
    lambda: one_class_is_view(),
)
one_hot(
    "one_hot_counts_as_a_write",
    "one_hot at rank 2 counts as a write to its indices.",
    lambda original, t, n: (original(t, n), t.add_(0) if t.dim() == 2 and not t.is_inference() else t)[0],
    lambda: one_hot_moves_version(),
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


def one_hot_moves_version() -> bool:
    """Whether one_hot counts as a write."""
    indices = torch.tensor([[0]])
    functional.one_hot(indices, 2)
    return indices._version != 0


def one_hot_draws() -> bool:
    """Whether one_hot moves the random number generator."""
    before = torch.get_rng_state()
    functional.one_hot(torch.tensor([[0]]), 2)
    return not torch.equal(before, torch.get_rng_state())


def zero_class(out: Tensor, number: int) -> Tensor:
    """One class left out."""
    out[..., number] = 0
    return out


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
    "linear_rank1_forgets_bias",
    "conversion",
    "The bias of a linear layer is left out for input of rank 1.",
    lambda original, x, w, b: original(x, w, b if x.dim() != 1 else None),
    linear_differs((3,), bias=True),
)
linear(
    "linear_rank3_adds_bias_twice",
    "conversion",
    "The bias is added twice to input of rank 3.",
    lambda original, x, w, b: original(x, w, b) + b if b is not None and x.dim() == 3 else original(x, w, b),
    linear_differs((1, 2, 3), bias=True),
)
linear(
    "linear_misreads_transposed_square",
    "conversion",
    "A transposed square weight is read along its memory.",
    lambda original, x, w, b: (
        original(x, w.t(), b)
        if w.stride(0) == 1 and w.stride(1) == w.shape[0] > 1 and w.shape[0] == w.shape[1]
        else original(x, w, b)
    ),
    linear_differs((3,), transposed=True),
)
linear(
    "linear_empty_batch_is_none",
    "conversion",
    "An empty batch with a bias gives one row.",
    lambda original, x, w, b: (
        original(x.new_zeros(1, x.shape[-1]), w, b)
        if x.dim() == 2 and not len(x) and b is not None
        else original(x, w, b)
    ),
    lambda: len(functional.linear(torch.ones(0, 3), torch.ones(2, 3), torch.ones(2))) != 0,
)
linear(
    "linear_double_in_single",
    "gradient",
    "float64 is computed in float32 where the weight is not contiguous.",
    lambda original, x, w, b: (
        original(x.float(), w.float(), None if b is None else b.float()).double()
        if x.dtype == w.dtype == torch.float64 and not w.is_contiguous()
        else original(x, w, b)
    ),
    lambda: (
        float(
            functional.linear(
                torch.full((1, 1), 1 / 3, dtype=torch.float64),
                torch.ones(1, 4, dtype=torch.float64)[:, ::4].expand(2, 1).t()[:1].t(),
            ).max()
        )
        != 1 / 3
    ),
)
