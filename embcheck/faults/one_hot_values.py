"""Faults of F.one_hot that show at some ranks, sizes, layouts and dtypes only, and of the operators it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.products import one_hot

Call = Callable[..., Tensor]


def classes(tokens: Any, number: int = -1) -> list[Any]:
    """one_hot as a list."""
    found: list[Any] = functional.one_hot(torch.as_tensor(tokens), number).tolist()
    return found


def refuses(tokens: Tensor, number: int = -1) -> bool:
    """Whether one_hot raises."""
    try:
        functional.one_hot(tokens, number)
    except RuntimeError:
        return True
    return False


def plain(tokens: Tensor) -> bool:
    """Whether no transform is at work."""
    return not torch._C._functorch.is_batchedtensor(tokens)


one_hot(
    "one_hot_infers_one_less", "Without num_classes the largest class is left out of several.",
    lambda original, t, n: original(t, n)[..., :-1] if n == -1 and t.numel() > 4 and int(t.max()) > 0 else original(t, n),
    lambda: classes([0, 1, 0, 1, 0])[0] == [1],
)  # fmt: skip
one_hot(
    "one_hot_infers_two", "Without num_classes there are at least two.",
    lambda original, t, n: original(t, 2) if n == -1 and t.numel() and int(t.max()) == 0 else original(t, n),
    lambda: classes([0]) == [[1, 0]],
)  # fmt: skip
one_hot(
    "one_hot_of_nothing_has_no_classes", "An empty index forgets num_classes.",
    lambda original, t, n: original(t, n)[..., :1] if n > 1 and t.numel() == 0 else original(t, n),
    lambda: functional.one_hot(torch.zeros(0, dtype=torch.int64), 3).shape != (0, 3),
)  # fmt: skip
one_hot(
    "one_hot_of_nothing_is_accepted", "An empty index without num_classes has one class.",
    lambda original, t, n: original(t, 1) if n == -1 and t.numel() == 0 and t.dtype == torch.int64 else original(t, n),
    lambda: not refuses(torch.zeros(0, dtype=torch.int64)),
)  # fmt: skip
one_hot(
    "one_hot_forgets_strides", "An index that is not contiguous is read as if it were.",
    lambda original, t, n: original(t.as_strided(t.shape, torch.empty(t.shape).stride()), n)
    if t.dim() == 2 and plain(t) and t.stride() == (1, t.shape[0]) and min(t.shape) > 1 else original(t, n),
    lambda: classes(torch.tensor([[0, 1], [0, 1]]).t(), 2)[0] != [[1, 0], [1, 0]],
)  # fmt: skip
one_hot(
    "one_hot_is_transposed", "At rank 2 the classes lie apart in memory.",
    lambda original, t, n: original(t, n).transpose(-1, -2).contiguous().transpose(-1, -2)
    if t.dim() == 2 and plain(t) else original(t, n),
    lambda: not functional.one_hot(torch.tensor([[0, 1]]), 3).is_contiguous(),
)  # fmt: skip
one_hot(
    "one_hot_is_int32", "Of more than 100 classes comes an int32.",
    lambda original, t, n: original(t, n).int() if n > 100 else original(t, n),
    lambda: functional.one_hot(torch.tensor([0]), 101).dtype != torch.int64,
)  # fmt: skip
one_hot(
    "one_hot_squeezes", "An axis of length 1 in front is lost.",
    lambda original, t, n: original(t, n).squeeze(0) if t.dim() > 1 and t.shape[0] == 1 and plain(t) else original(t, n),
    lambda: functional.one_hot(torch.tensor([[0]]), 2).dim() != 3,
)  # fmt: skip
one_hot(
    "one_hot_of_64_tokens", "Of more than 64 tokens the 65th is class 0.",
    lambda original, t, n: original(torch.cat([t[:64], 0 * t[64:65], t[65:]]), n) if t.dim() == 1 and len(t) > 64 and plain(t)
    and int(t.min()) >= 0 and n > int(t.max()) else original(t, n),
    lambda: classes([1] * 65, 2)[64] != [0, 1],
)  # fmt: skip
one_hot(
    "one_hot_takes_int32", "int32 is accepted.",
    lambda original, t, n: original(t.long() if t.dtype == torch.int32 else t, n),
    lambda: not refuses(torch.tensor([0], dtype=torch.int32)),
)  # fmt: skip
one_hot(
    "one_hot_takes_bool", "bool is accepted.",
    lambda original, t, n: original(t.long() if t.dtype == torch.bool else t, n), lambda: not refuses(torch.tensor([True])),
)  # fmt: skip
one_hot(
    "one_hot_of_minus_two_infers", "Any negative num_classes leaves the number to be found.",
    lambda original, t, n: original(t, -1 if n < -1 else n), lambda: not refuses(torch.tensor([0]), -2),
)  # fmt: skip
one_hot(
    "one_hot_of_no_class", "num_classes=0 leaves the number to be found.",
    lambda original, t, n: original(t, n or -1), lambda: not refuses(torch.tensor([0]), 0),
)  # fmt: skip
one_hot(
    "one_hot_changes_default_dtype", "one_hot of a scalar makes float64 the default.",
    lambda original, t, n: (original(t, n), torch.set_default_dtype(torch.float64) if t.dim() == 0 else None)[0],  # type: ignore[func-returns-value]
    lambda: changes_default(),
)  # fmt: skip
one_hot(
    "one_hot_clears_negative_tokens", "A refused index is made valid first.",
    lambda original, t, n: original(t, n) if t.dtype != torch.int64 or not plain(t) or t.numel() == 0 or int(t.min()) >= 0
    else (original(t.clone(), n) if t.is_inference() else cleared(original, t, n)),
    lambda: cleared_after_refusal(),
)  # fmt: skip


def changes_default() -> bool:
    """Whether the default dtype changes."""
    before = torch.get_default_dtype()
    functional.one_hot(torch.tensor(0), 2)
    changed = torch.get_default_dtype() != before
    torch.set_default_dtype(before)
    return changed


def cleared(original: Call, tokens: Tensor, number: int) -> Tensor:
    """A refusal that has written to the index."""
    try:
        return original(tokens, number)
    finally:
        tokens.clamp_(min=0)


def cleared_after_refusal() -> bool:
    """Whether a refused index changes."""
    tokens = torch.tensor([-1])
    refuses(tokens, 3)
    return int(tokens) != -1


def scattered(out: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """scatter_ of a number by other operators."""
    places = torch.arange(out.shape[dim])
    shape = [1] * out.dim()
    shape[dim] = -1
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= out.shape[dim]):
        raise RuntimeError("index out of bounds for dimension")
    if index.shape[dim] == 1 and out.numel():
        out.masked_fill_(index == places.reshape(shape), value)
    return out


@fault("one_hot", lambda: False, control=True)
def one_hot_by_other_operators() -> Iterator[None]:
    """The scatter that one_hot is made of, by other operators."""
    with dispatched({"scatter_.value": scattered}):
        yield


@fault("one_hot", lambda: classes([1], 2) == [[0, 2]])
def one_hot_scatter_adds_twos() -> Iterator[None]:
    """The scatter that one_hot is made of writes 2 into two classes."""
    with dispatched({"scatter_.value": lambda o, d, i, v: scattered(o, d, i, 2 if o.shape[d] == 2 else v)}):
        yield


@fault("one_hot", lambda: classes([[0, 1], [1, 0]], 2)[1][1] != [1, 0])
def one_hot_scatter_loses_the_last() -> Iterator[None]:
    """The scatter that one_hot is made of leaves out the last token at rank 2."""

    def kernel(out: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
        result = scattered(out, dim, index, value)
        if out.dim() == 3 and out.numel():
            result[-1, -1] = 0
        return result

    with dispatched({"scatter_.value": kernel}):
        yield
