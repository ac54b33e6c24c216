"""Faults of sparse gradients that are added or made dense, and of loading with hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from embcheck.fault import Fault, add, patched
from embcheck.faults.around import around, numbered
from embcheck.faults.kernels import Tensor

Module = torch.nn.Module


def overwritten(original: Any, self: Tensor, *given: Any, **flags: Any) -> Any:
    """In a single column the last entry of a row takes the place of their sum."""
    found = original(self, *given, **flags)
    if self.is_sparse and self.sparse_dim() == 1 and self.dim() == 2 and self.shape[1] == 1 and not self.is_coalesced():
        found = found.clone()
        for row, value in zip(self._indices()[0].tolist(), self._values(), strict=True):
            found[row] = value
    return found


def column() -> Any:
    """A sparse gradient of one column, in which a row comes twice, made dense."""
    grad = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), numbered(2, 1), (3, 1))
    return grad.to_dense().tolist()


around("dense_columns_hold_the_last_entry", "gradient", "to_dense of a sparse column keeps the last of a row's entries.",
       Tensor, "to_dense", overwritten, column)  # fmt: skip


def misplaced(original: Any, self: Tensor, other: Any) -> Any:
    """Merged gradients of as many rows are added on the rows of the first."""
    if (
        isinstance(other, Tensor)
        and self.is_sparse
        and other.is_sparse
        and self.is_coalesced()
        and other.is_coalesced()
    ):
        rows = self._indices()
        if self.shape == other.shape and rows.shape == other._indices().shape:
            return torch.sparse_coo_tensor(rows, self._values() + other._values(), self.shape)
    return original(self, other)


def both() -> Any:
    """The sum of two rows' gradients."""
    parts = [torch.sparse_coo_tensor(torch.tensor([[row]]), numbered(1), (3, 2)).coalesce() for row in (0, 2)]
    return (parts[0] + parts[1]).to_dense().tolist()


around("merged_gradients_are_added_on_the_same_rows", "autograd", "Merged gradients are added on the rows of the first.",
       Tensor, "__add__", misplaced, both)  # fmt: skip


def shared(original: Any, self: Tensor, **flags: Any) -> Any:
    """The clone of a merged gradient shares its values."""
    if self.is_sparse and self.is_coalesced():
        return torch.sparse_coo_tensor(self._indices(), self._values(), self.shape, is_coalesced=True)
    return original(self, **flags)


def after_its_clone() -> Any:
    """A merged gradient, once its clone was doubled."""
    grad = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), numbered(2), (3, 2)).coalesce()
    grad.clone().values().mul_(2)
    return grad.to_dense().tolist()


around("clones_of_merged_gradients_share_values", "autograd", "The clone of a merged gradient shares its values.",
       Tensor, "clone", shared, after_its_clone)  # fmt: skip


@contextmanager
def deaf() -> Iterator[None]:
    """What a hook after loading clears comes back before it is looked at."""
    register: Any = Module.register_load_state_dict_post_hook

    def registered(self: Any, hook: Any) -> Any:
        return register(self, lambda module, found: hook(module, type(found)(*map(list, found))))

    with patched(Module, register_load_state_dict_post_hook=registered):
        yield


def _is_unforgiving() -> bool:
    model = torch.nn.Linear(2, 2)
    model.register_load_state_dict_post_hook(lambda module, found: found.missing_keys.clear())
    try:
        model.load_state_dict({"weight": numbered(2)})
    except RuntimeError:
        return True
    return False


add(Fault("hooks_after_loading_forgive_nothing", "checkpoint", "Hooks after loading are told of copies of the keys.", deaf,
          _is_unforgiving))  # fmt: skip


@contextmanager
def unrenamed() -> Iterator[None]:
    """What a hook before loading renames in a submodule's state keeps its name."""
    register: Any = Module.register_load_state_dict_pre_hook

    def registered(self: Any, hook: Any) -> Any:
        return register(self, lambda module, held, *rest: hook(module, dict(held), *rest))

    with patched(Module, register_load_state_dict_pre_hook=registered):
        yield


def _is_not_renamed() -> bool:
    def rename(module: Module, held: dict[str, Any], prefix: str, *rest: Any) -> None:
        held[f"{prefix}weight"] = held.pop(f"{prefix}kernel")

    model = torch.nn.Linear(2, 2, bias=False)
    model.register_load_state_dict_pre_hook(rename)
    try:
        model.load_state_dict({"kernel": numbered(2)})
    except RuntimeError:
        return True
    return False


add(Fault("hooks_before_loading_rename_nothing", "checkpoint", "Hooks before loading are given copies of the state.",
          unrenamed, _is_not_renamed,
          applies=lambda: hasattr(Module, "register_load_state_dict_pre_hook")))  # fmt: skip


def ungraded(original: Any, self: Any, *given: Any, **flags: Any) -> Any:
    """Conversions that swap Parameters drop their gradients."""
    found = original(self, *given, **flags)
    if torch.__future__.get_swap_module_params_on_conversion():
        for p in self.parameters():
            p.grad = None
    return found


def swapped() -> bool:
    """Whether a gradient survives."""
    layer = torch.nn.Embedding(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    return layer.weight.grad is not None


around("swapped_parameters_lose_their_gradients", "membership", "Conversions that swap Parameters drop their gradients.",
       Module, "_apply", ungraded, swapped)  # fmt: skip
