"""Faults of lookups and bags of nested tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.around import numbered
from embcheck.faults.bag_extents import bag
from embcheck.faults.entry import Wrong, embedding, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike

Change = Callable[[Wrong, Tensor, Tensor, dict[str, Any]], Tensor]


def jagged(*lengths: int) -> Tensor:
    """A nested tensor of tokens 0, 1, 0, 1, …"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.arange(length) % 2 for length in lengths], layout=torch.jagged)


def lookup(name: str, sentence: str, change: Change, probe: Callable[[], Any]) -> None:
    """Registers a fault of nested lookups: ``change(original, tokens, table, flags)``."""

    def wrong(original: Wrong, tokens: Tensor, table: Tensor, **flags: Any) -> Any:
        return (change if tokens.is_nested else called)(original, tokens, table, flags)

    embedding(name, "nested", sentence, wrong, unlike(probe))


def bags(name: str, sentence: str, change: Change, probe: Callable[[], Any]) -> None:
    """Registers a fault of nested bags: ``change(original, tokens, table, flags)``."""

    def wrong(original: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
        return (change if tokens.is_nested else called)(original, tokens, table, flags)

    bag(name, sentence, wrong, unlike(probe), "nested")


def called(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Any:
    """The call as it is."""
    return f(tokens, table, **flags)


def forgetting(**changes: Any) -> Change:
    """The call with other flags."""
    return lambda f, tokens, table, flags: f(tokens, table, **(flags | changes))


def looked_up(**flags: Any) -> list[Any]:
    """What a nested lookup gives, component by component."""
    return [part.tolist() for part in functional.embedding(jagged(2, 1), numbered(2, 2), **flags).unbind()]


def summed(**flags: Any) -> list[Any]:
    """What a nested bag gives."""
    found: list[Any] = functional.embedding_bag(jagged(2, 0, 1), numbered(2, 2), mode="sum", **flags).tolist()
    return found


def learnt(**flags: Any) -> list[Any]:
    """The gradient of a nested lookup."""
    table = numbered(2, 2).requires_grad_()
    torch.cat(functional.embedding(jagged(2, 1), table, **flags).unbind()).sum().backward()
    assert table.grad is not None
    return table.grad.tolist()


lookup("nested_lookups_ignore_padding", "A nested lookup sends gradients to the padding row.",
       forgetting(padding_idx=None), lambda: learnt(padding_idx=0))  # fmt: skip
lookup("nested_lookups_do_not_count", "A nested lookup ignores scale_grad_by_freq.",
       forgetting(scale_grad_by_freq=False), lambda: learnt(scale_grad_by_freq=True))  # fmt: skip


def shifted(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """The lookup of the same tokens, each in the place of another; a call comes here twice, by __torch_function__."""
    given: Any = tokens
    other = torch.nested.nested_tensor_from_jagged(given.values().roll(1, 0), given.offsets(), lengths=given.lengths())
    found: Tensor = f(other, table, **flags)
    return found


lookup("nested_lookups_are_shifted", "The tokens of a nested tensor are looked up two places further on.", shifted,
       looked_up)  # fmt: skip
bags("nested_bags_ignore_padding", "A nested bag counts padding tokens.", forgetting(padding_idx=None),
     lambda: summed(padding_idx=0))  # fmt: skip


def forgets_weights(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """A bag whose weights get no gradient."""
    weights = flags.get("per_sample_weights")
    found: Tensor = f(tokens, table, **(flags | {"per_sample_weights": None if weights is None else weights.detach()}))
    return found


def weights_learn() -> bool:
    """Whether weights of a nested bag learn."""
    given: Any = jagged(2, 1)
    inner = torch.ones(3, requires_grad=True)
    weights = torch.nested.nested_tensor_from_jagged(inner, given.offsets())
    table = numbered(2, 2).requires_grad_()
    functional.embedding_bag(given, table, mode="sum", per_sample_weights=weights).sum().backward()
    return inner.grad is not None


bags("nested_weights_do_not_learn", "per_sample_weights of a nested bag get no gradient.", forgets_weights,
     weights_learn)  # fmt: skip


def writes(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """A bag that makes the table's first number negative."""
    found: Tensor = f(tokens, table, **flags)
    if found.numel() and table.is_contiguous():
        table.detach().view(-1)[:1].abs_().neg_()
    return found


def left() -> list[Any]:
    """The table after a nested bag."""
    table = numbered(2, 2)
    functional.embedding_bag(jagged(2, 1), table, mode="sum")
    return table.tolist()


bags("nested_bags_write_to_the_table", "A nested bag makes the table's first number negative.", writes,
     left)  # fmt: skip


def refuses_empty(f: Wrong, tokens: Tensor, table: Tensor, flags: dict[str, Any]) -> Tensor:
    """A bag that takes no empty component."""
    given: Any = tokens
    if bool((given.offsets().diff() == 0).any()):
        raise ValueError("expected components that are not empty")
    found: Tensor = f(tokens, table, **flags)
    return found


def refused() -> bool:
    """Whether a nested bag with an empty component is refused."""
    try:
        summed()
    except ValueError:
        return True
    return False


bags("nested_bags_refuse_empty_components", "A nested bag raises if a component is empty.", refuses_empty,
     refused)  # fmt: skip
