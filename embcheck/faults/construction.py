"""Faults of a table's construction, its first values and its padding row, and of one_hot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Embedding, entry, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import init, pretrained, weight_of

initialisers = torch.nn.init


def seeded(rows: int = 200, width: int = 50, **flags: Any) -> Tensor:
    """The first values of a table, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Embedding(rows, width, **flags).weight.detach()


def first_values(
    name: str,
    sentence: str,
    change: Callable[[Tensor], Any],
    witness: Callable[[], bool],
    family: str = "initial",
) -> None:
    """A fault of reset_parameters: ``change(weight)`` before the padding row is zeroed."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def reset_parameters(self: Any) -> None:
            original(self)
            if not self.weight.is_meta:
                with torch.no_grad():
                    change(self.weight)
                    if self.padding_idx is not None:
                        self.weight[self.padding_idx].fill_(0)

        return reset_parameters

    entry(name, family, sentence, Embedding, "reset_parameters", wrong, witness)


first_values("first_values_are_uniform", "A table is drawn from U(−√3, √3).",
             lambda weight: weight.uniform_(-(3**0.5), 3**0.5), lambda: float(seeded().abs().max()) < 1.8)  # fmt: skip
first_values("first_values_are_narrow", "A table is drawn from N(0, 0.9²).", lambda weight: weight.mul_(0.9),
             lambda: float(seeded().std()) < 0.95)  # fmt: skip
first_values("first_values_are_truncated", "A table's values beyond two deviations are cut off.",
             lambda weight: weight.clamp_(-2, 2), lambda: float(seeded().abs().max()) <= 2)  # fmt: skip
first_values("neighbouring_rows_are_equal", "Every second row of a table of 64 rows is a copy of the first.",
             lambda weight: weight[1::2].copy_(weight[0:-1:2]) if len(weight) == 64 else None,
             lambda: torch.equal(seeded(64)[0], seeded(64)[1]))  # fmt: skip


def replaced(name: str, family: str, sentence: str, attribute: str, change: Callable[..., Any], witness: Callable[[], bool],
             owner: Any = initialisers) -> None:  # fmt: skip
    """A fault of a function: ``change(original, *arguments)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **more: change(original, *arguments, **more)

    entry(name, family, sentence, owner, attribute, wrong, witness)


def fan_out_only(original: Callable[..., Any], tensor: Tensor, gain: float = 1.0, **more: Any) -> Any:
    """Xavier with twice fan_out in place of fan_in + fan_out."""
    bound = gain * (3 / len(tensor)) ** 0.5
    return torch.nn.init.uniform_(tensor, -bound, bound)


def widest(function: Callable[[Tensor], Any], rows: int = 4, width: int = 1000) -> float:
    """The largest magnitude that an initialiser draws."""
    return float(function(torch.zeros(rows, width)).abs().max())


replaced("xavier_by_fan_out", "initial", "xavier_uniform_ takes fan_out for both fans.", "xavier_uniform_", fan_out_only,
         lambda: widest(torch.nn.init.xavier_uniform_) > 0.5)  # fmt: skip
replaced("kaiming_normal_takes_no_gain", "initial", "kaiming_normal_ leaves out the gain √2.", "kaiming_normal_",
         lambda original, tensor, **more: scaled(original(tensor, **more), 0.5**0.5),
         lambda: float(torch.nn.init.kaiming_normal_(torch.zeros(100, 100)).std()) < 0.12)  # fmt: skip
replaced("initialiser_returns_a_copy", "initial", "uniform_ returns a copy of what it filled.", "uniform_",
         lambda original, *given, **more: original(*given, **more).detach().clone(),
         lambda: not same_returned(torch.nn.init.uniform_))  # fmt: skip
replaced("zeros_freeze", "initial", "zeros_ makes its tensor not require grad.", "zeros_",
         lambda original, tensor: original(tensor).requires_grad_(False),
         lambda: not torch.nn.init.zeros_(torch.ones(1, requires_grad=True)).requires_grad)  # fmt: skip


def scaled(tensor: Tensor, factor: float) -> Tensor:
    """The tensor, multiplied in place."""
    with torch.no_grad():
        return tensor.mul_(factor)


def same_returned(function: Callable[[Tensor], Any]) -> bool:
    """Whether an initialiser returns the tensor it is given."""
    tensor = torch.zeros(2, 2)
    return function(tensor) is tensor


init("padding_zero_is_no_attribute", "construction", "padding_idx=0 is stored as None.",
     lambda self, weight, padding: setattr(self, "padding_idx", None) if padding == 0 else None,
     lambda: Embedding(3, 2, 0).padding_idx is None)  # fmt: skip
init("max_norm_zero_is_none", "construction", "max_norm=0.0 is stored as None.",
     lambda self, weight, padding: setattr(self, "max_norm", self.max_norm or None),
     lambda: Embedding(3, 2, max_norm=0.0).max_norm is None)  # fmt: skip
init("new_table_evaluates", "construction", "A table with padding is made in evaluation mode.",
     lambda self, weight, padding: setattr(self, "training", padding is None),
     lambda: not Embedding(3, 2, 1).training)  # fmt: skip
init("last_row_zeroed_with_padding", "construction", "The last row is zeroed besides the padding row.",
     lambda self, weight, padding: zero_last(self) if weight is None and padding is not None else None,
     lambda: not bool(seeded(3, 2, padding_idx=0)[2].any()))  # fmt: skip
init("frozen_table_trains", "construction", "A given table of half precision requires grad though frozen.",
     lambda self, weight, padding: thaw(self.weight) if weight is not None else None,
     lambda: Embedding.from_pretrained(weight_of().half()).weight.requires_grad)  # fmt: skip
pretrained("pretrained_forgets_norm_type", "construction", "from_pretrained forgets norm_type.",
           lambda original, cls, embeddings, flags: original(cls, embeddings, **flags | {"norm_type": 2.0}),
           lambda: Embedding.from_pretrained(weight_of(), norm_type=1.0).norm_type == 2.0)  # fmt: skip


def thaw(weight: Tensor) -> None:
    """Makes a weight of half precision require grad."""
    if weight.dtype == torch.float16:
        weight.requires_grad_()


def zero_last(self: Any) -> None:
    """Zeroes the last row of a table that can be written."""
    if self.num_embeddings and not self.weight.is_meta:
        with torch.no_grad():
            self.weight[-1].fill_(0)


replaced("one_hot_of_zero_is_empty", "one_hot", "one_hot gives no 1 for token 0 in tensors of rank 3.", "one_hot",
         lambda original, tokens, *rest, **more: hollow(original(tokens, *rest, **more), tokens),
         lambda: not bool(functional.one_hot(torch.zeros(1, 1, 1, dtype=torch.int64), 2).any()), functional)  # fmt: skip
replaced("one_hot_infers_one_too_many", "one_hot", "one_hot without num_classes makes a class too many for scalars.", "one_hot",
         lambda original, tokens, *rest, **more: one_more(original, tokens, rest, more),
         lambda: functional.one_hot(torch.tensor(1)).numel() == 3, functional)  # fmt: skip
replaced("one_hot_is_narrow", "one_hot", "one_hot with more than 64 classes is int32.", "one_hot",
         lambda original, *given, **more: narrow(original(*given, **more)),
         lambda: functional.one_hot(torch.tensor([1]), 65).dtype == torch.int32, functional)  # fmt: skip
replaced("one_hot_clamps", "one_hot", "one_hot takes an index of num_classes for the last class.", "one_hot",
         lambda original, tokens, num_classes=-1: original(
             tokens.clamp(max=num_classes - 1) if num_classes > 0 and tokens.dtype == torch.int64 else tokens, num_classes),
         lambda: takes_two_of_two(), functional)  # fmt: skip


def takes_two_of_two() -> bool:
    """Whether one_hot accepts the index 2 with two classes."""
    try:
        return bool(functional.one_hot(torch.tensor([2]), 2)[0, 1])
    except RuntimeError:
        return False


def hollow(out: Tensor, tokens: Tensor) -> Tensor:
    """Zeroes the ones of token 0 in rank 3."""
    return out * (tokens != 0)[..., None] if tokens.dim() == 3 else out


def one_more(original: Callable[..., Tensor], tokens: Tensor, rest: tuple[Any, ...], more: dict[str, Any]) -> Tensor:
    """one_hot, with another class if none are given for a scalar."""
    out = original(tokens, *rest, **more)
    inferred = -1 in (*rest, *more.values()) or not (rest or more)
    return functional.pad(out, (0, 1)) if inferred and tokens.dim() == 0 else out


def narrow(out: Tensor) -> Tensor:
    """int32 for many classes."""
    return out.to(torch.int32) if out.shape[-1] > 64 else out
