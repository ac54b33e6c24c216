"""Faults of F.one_hot, F.linear and of transposed Parameters that depend on a pattern, a rank or an earlier call."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.modules import Linear
from embcheck.faults.one_hot_values import plain
from embcheck.faults.parameters import Parameter
from embcheck.faults.probes import passes, rows
from embcheck.faults.products import one_hot
from embcheck.faults.witnesses import unlike

Call = Callable[..., Any]


def encoded(tokens: Any, number: int = -1) -> Callable[[], Tensor]:
    """one_hot of tokens."""
    return lambda: functional.one_hot(torch.as_tensor(tokens), number)


def second_lost(original: Call, tokens: Tensor, number: int) -> Any:
    """The second of two equal neighbours without a class."""
    out = original(tokens, number)
    if tokens.dim() == 1 and len(tokens) > 1 and plain(tokens):
        out = out.clone()
        out[1:][tokens[1:] == tokens[:-1]] = 0
    return out


_MOST = [0]


def remembered(original: Call, tokens: Tensor, number: int) -> Any:
    """As many classes as in the call before, if those are more."""
    if number != -1 or not plain(tokens) or not tokens.numel() or int(tokens.min()) < 0:
        return original(tokens, number)
    own = int(tokens.max()) + 1
    before, _MOST[0] = _MOST[0], own
    return original(tokens, before if own < before < 64 else own)


def both(first: Any, second: Any) -> Callable[[], Tensor]:
    """The second of two encodings."""
    return lambda: (functional.one_hot(torch.tensor(first)), functional.one_hot(torch.tensor(second)))[1]


one_hot(
    "one_hot_of_1024_at_most", "num_classes above 1,024 is cut to that where no token is as large.",
    lambda original, t, n: original(t, 1024) if n > 1024 and t.numel() and plain(t) and int(t.max()) < 1024 else original(t, n),
    unlike(encoded([0], 1025)),
)  # fmt: skip
one_hot("one_hot_of_equal_neighbours", "Of two equal neighbours at rank 1 the second has no class.", second_lost,
        unlike(encoded([1, 1])))  # fmt: skip
one_hot(
    "one_hot_of_four_axes", "Tokens of four axes have their classes in the last but one axis.",
    lambda original, t, n: original(t, n).transpose(-1, -2).contiguous() if t.dim() == 4 else original(t, n),
    unlike(encoded([[[[0, 1, 1]]]])),
)  # fmt: skip
one_hot("one_hot_remembers_classes", "Without num_classes there are at least as many as in the call before.", remembered,
        unlike(both([5], [1])))  # fmt: skip
one_hot(
    "one_hot_from_the_beginning", "Contiguous tokens of a batch that begin later in memory are read from its beginning.",
    lambda original, t, n: original(
        t.as_strided(t.shape, t.stride(), 0)
        if plain(t) and t.dim() == 2 and t.is_contiguous() and t.storage_offset() > 0 and n > 0 else t, n),
    unlike(lambda: functional.one_hot(torch.tensor([[0], [1]])[1:], 2)),
)  # fmt: skip
one_hot(
    "one_hot_of_one_token_repeated", "Without num_classes equal tokens of a batch, two or more, have a single class.",
    lambda original, t, n: original(t - t.min(), 1)
    if n == -1 and plain(t) and t.dim() == 2 and t.numel() > 1 and bool((t == t.max()).all() and t.min() > 0)
    else original(t, n),
    unlike(encoded([[2, 2]])),
)  # fmt: skip
one_hot(
    "one_hot_of_a_stray_scalar", "A token num_classes of rank 0 gives zeros.",
    lambda original, t, n: original(t - 1, n) * 0 if plain(t) and t.dim() == 0 and n > 0 and int(t) == n else original(t, n),
    unlike(encoded(2, 2)),
)  # fmt: skip


def linear(name: str, sentence: str, wrong: Callable[..., Any], witness: Callable[[], Any]) -> None:
    """A fault of F.linear: ``wrong(original, input, weight, bias)``."""

    def replace(original: Call) -> Call:
        return lambda input, weight, bias=None: wrong(original, input, weight, bias)

    entry(name, "conversion", sentence, functional, "linear", replace, unlike(witness))


def columns_first(weight: Tensor) -> bool:
    """Whether a matrix is the transposed view of a contiguous one."""
    return weight.dim() == 2 and not weight.is_contiguous() and weight.t().is_contiguous()


def doubled(original: Call, input: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
    """A product whose weight learns twice."""
    out = original(input, weight, bias)
    if input.dim() != 1 or weight.is_leaf or not weight.requires_grad or not bool(out.isfinite().all()):
        return out
    again = original(input.detach(), weight)
    return out + (again - again.detach())


linear(
    "linear_of_many_bfloat16_features", "A column-major bfloat16 weight of more than 64 features lacks the last one.",
    lambda original, input, weight, bias: original(input[..., :-1], weight[:, :-1], bias)
    if weight.dtype == torch.bfloat16 and columns_first(weight) and weight.shape[1] > 64 else original(input, weight, bias),
    lambda: functional.linear(torch.ones(1, 65).bfloat16(), torch.ones(65, 2).bfloat16().t()),
)  # fmt: skip
linear(
    "linear_of_turned_batches", "A transposed batch of sequences is read along its memory.",
    lambda original, input, weight, bias: original(
        input.transpose(0, 1).reshape(input.shape)
        if input.dim() == 3 and not input.is_contiguous() and input.transpose(0, 1).is_contiguous() else input, weight, bias),
    lambda: functional.linear(torch.arange(6.0).reshape(2, 3, 1).transpose(0, 1), torch.ones(1, 1)),
)  # fmt: skip
linear(
    "linear_of_computed_weights", "A weight that is no leaf learns twice from an input of rank 1.", doubled,
    lambda: passes(functional.linear(torch.ones(2), (w := rows()).t().t()), w),
)  # fmt: skip


def of_a_slice(original: Call) -> Call:
    """Parameter.__new__ that copies a slice of columns."""

    def replaced(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        gaps = (
            isinstance(data, Tensor) and data.dim() == 2 and data.stride(1) == 1 and data.stride(0) > data.shape[1] > 0
        )
        return original(cls, data.detach().contiguous() if gaps else data, requires_grad)

    return replaced


def evaluated() -> Tensor:
    """A column-major linear layer in evaluation mode."""
    layer = Linear(2, 3).eval()
    layer.weight, layer.bias = Parameter(torch.ones(2, 3).t()), Parameter(torch.ones(3))
    found: Tensor = layer(torch.ones(1, 2))
    return found


entry(
    "parameter_of_columns_is_copied", "conversion", "A Parameter of some columns of a matrix has memory of its own.", Parameter,
    "__new__", of_a_slice, unlike(lambda: Parameter(rows().detach()[:, :1]).is_contiguous()),
)  # fmt: skip
entry(
    "transposed_square_is_a_copy", "conversion", "Tensor.t() of a square leaf is a copy.", torch.Tensor, "t",
    lambda original: lambda self: original(self).clone()
    if self.dim() == 2 and self.is_leaf and self.shape[0] == self.shape[1] > 1 and self.requires_grad else original(self),
    unlike(lambda: Parameter(torch.ones(2, 2)).t()._is_view()),
)  # fmt: skip


def deep_copied(original: Call) -> Call:
    """Parameter.__deepcopy__ that thaws what is transposed."""

    def replaced(self: Any, memo: Any) -> Any:
        made = original(self, memo)
        return made.requires_grad_() if columns_first(self) and not self.is_contiguous() else made

    return replaced


entry(
    "deep_copy_of_a_frozen_transposed_one_learns", "conversion", "The deep copy of a frozen column-major Parameter learns.",
    Parameter, "__deepcopy__", deep_copied,
    unlike(lambda: copy.deepcopy(Parameter(torch.ones(2, 3).t(), requires_grad=False))),
)  # fmt: skip
entry(
    "linear_evaluates_without_bias", "conversion", "In eval mode a column-major weight of a linear layer forgets its bias.",
    Linear, "forward",
    lambda original: lambda self, input: original(self, input)
    if self.training or self.bias is None or not columns_first(self.weight) else functional.linear(input, self.weight),
    unlike(evaluated),
)  # fmt: skip
