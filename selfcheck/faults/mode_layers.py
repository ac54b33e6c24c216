"""Faults of copies, of what is saved and loaded, of settings of a module, of distributed, fake and meta tensors: each
lives in one mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from selfcheck.fault import Fault, Plant, add, dispatched
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.mode_entry import (
    HARMS,
    SPOILS,
    Spoil,
    in_mode,
    last_row_zero,
    layer_harmed,
    padding_lost,
    replacing,
    result_spoiled,
)

Module = torch.nn.Module
Parameter = torch.nn.Parameter
Function = Callable[..., Any]


# -- a method of the layer that harms it -----------------------------------------------------------------------------------

for _name, _owner, _attribute in (
    ("copy", Module, "__setstate__"),
    ("state_dict_assign", Module, "load_state_dict"),
    ("share_memory", Module, "share_memory"),
    ("train", Module, "train"),
    ("eval", Module, "eval"),
    ("module_hooks", Module, "register_forward_hook"),
    ("parametrize", torch.nn.utils.parametrize, "register_parametrization"),
):
    for _what, _harm in HARMS.items():
        in_mode(_name, _what, f"{(_harm.__doc__ or '').rstrip('.')} after {_attribute}.",
                replacing(_owner, _attribute, layer_harmed(_harm)),
                family="lookup" if _what == "copies_the_table" else "gradient")  # fmt: skip


def half_precise(layer: Module) -> None:
    """The table went through half precision."""
    with torch.no_grad():
        for table in layer.parameters():
            table.copy_(table.bfloat16().to(table.dtype))


def rows_swapped(layer: Module) -> None:
    """The table's rows come in the opposite order."""
    with torch.no_grad():
        for table in layer.parameters():
            table.copy_(table.flip(0))


for _name, _owner, _attribute in (
    ("state_dict", Module, "load_state_dict"),
    ("swap_params", Module, "load_state_dict"),
    ("pickle", Module, "__setstate__"),
):
    for _harm in (padding_lost, half_precise, rows_swapped):
        in_mode(_name, _harm.__name__, f"{(_harm.__doc__ or '').rstrip('.')} after {_attribute}.",
                replacing(_owner, _attribute, layer_harmed(_harm)))  # fmt: skip


for _harm in (padding_lost, half_precise, last_row_zero):
    in_mode("to_dtype", _harm.__name__, f"{(_harm.__doc__ or '').rstrip('.')} after to.",
            replacing(Module, "to", layer_harmed(_harm)))  # fmt: skip


def _of_parameter(change: Callable[[Tensor], Tensor]) -> Callable[[Function], Function]:
    return lambda original: lambda self, memo: Parameter(change(original(self, memo).data), self.requires_grad)


in_mode("deepcopy", "shares_the_memory", "The copy of a parameter lies in the memory of the original.",
        replacing(Parameter, "__deepcopy__",
                  lambda original: lambda self, memo: Parameter(self.data, self.requires_grad)),
        family="lookup")  # fmt: skip
in_mode("deepcopy", "reverses_the_rows", "The copy's rows come in the opposite order.",
        replacing(Parameter, "__deepcopy__", _of_parameter(lambda table: table.flip(0))))  # fmt: skip
in_mode("deepcopy", "loses_padding_idx", "A copied layer has no padding_idx.",
        replacing(Module, "__setstate__", layer_harmed(padding_lost)))  # fmt: skip


def _what_is_loaded(harm: Callable[[Any], Any]) -> Callable[[Function], Function]:
    def wrong(original: Function) -> Function:
        def replaced(*given: Any, **flags: Any) -> Any:
            found = original(*given, **flags)
            if isinstance(found, Module):
                harm(found)
                return found
            return {name: harm(table) for name, table in found.items()}

        return replaced

    return wrong


for _harm in (padding_lost, last_row_zero, rows_swapped):
    in_mode("saved", _harm.__name__, f"{(_harm.__doc__ or '').rstrip('.')} after torch.load.",
            replacing(torch, "load", _what_is_loaded(_harm)))  # fmt: skip

_TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "reverses_the_rows": lambda table: table.flip(0),
    "rounds_to_bfloat16": lambda table: table.bfloat16().to(table.dtype),
    "shifts_the_elements": lambda table: table.reshape(-1).roll(1).reshape(table.shape),
}

for _name in ("saved_weights", "mapped"):
    for _what, _change in _TABLES.items():
        in_mode(_name, _what, f"torch.load, of weights only, {_what.replace('_', ' ')}.",
                replacing(torch, "load", _what_is_loaded(_change)))  # fmt: skip


# -- distributed tensors ---------------------------------------------------------------------------------------------------


def _taken_together(spoil: Spoil) -> Plant:
    @contextmanager
    def plant() -> Iterator[None]:
        from torch.distributed.tensor import DTensor

        with replacing(DTensor, "full_tensor", result_spoiled(spoil))():
            yield

    return plant


for _name in ("dtensor_replicate", "dtensor_rows", "dtensor_columns"):
    for _what, _spoil in SPOILS.items():
        in_mode(_name, _what, f"{(_spoil.__doc__ or '').rstrip('.')}: DTensor.full_tensor.", _taken_together(_spoil))


# -- tensors without elements ----------------------------------------------------------------------------------------------


def _kernel(dtype: bool = False, shape: bool = False, stride: bool = False) -> Function:
    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        sizes = [*indices.shape, weight.shape[1]]
        if shape:
            sizes = [*sizes[:-2], *sizes[-1:], *sizes[-2:-1]]
        made = weight.new_empty(sizes, dtype=torch.float64 if dtype else weight.dtype)
        return made.transpose(0, -1).contiguous().transpose(0, -1) if stride else made

    return kernel


def _without_elements(kernel: Function) -> Plant:
    @contextmanager
    def plant() -> Iterator[None]:
        with dispatched({"embedding": kernel}, "Meta"):
            yield

    return plant


def _mistaken(kernel: Function) -> Plant:
    """Fake tensors' own handler of a lookup, with another result."""

    def wrong(original: Function) -> Function:
        def replaced(self: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = original(self, function, types, args, kwargs or {})
            return kernel(*args, **(kwargs or {})) if function is torch.ops.aten.embedding.default else out

        return replaced

    @contextmanager
    def plant() -> Iterator[None]:
        from torch._subclasses.fake_tensor import FakeTensorMode

        with replacing(FakeTensorMode, "__torch_dispatch__", wrong)():
            yield

    return plant


for _name, _planted in (("fake", _mistaken), ("meta", _without_elements)):
    for _what, _wrong in (
        ("gives_another_dtype", _kernel(dtype=True)),
        ("gives_another_shape", _kernel(shape=True)),
        ("gives_other_strides", _kernel(stride=True)),
    ):
        add(Fault(f"{_name}_{_what}", "lookup", f"The kernel of meta tensors {_what.replace('_', ' ')}.",
                  _planted(_wrong), modes=(_name,)))  # fmt: skip
