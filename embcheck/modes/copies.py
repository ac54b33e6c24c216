"""Modes in which the layer that is called is another than the one that was built: copied, saved, loaded, converted."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Mapping
from typing import Any

import torch

from embcheck.modes.layer import BOTH, MODULE, Build, through
from embcheck.modes.mode import Program, mode

Module = torch.nn.Module


def emptied(layer: Module) -> Module:
    """A layer alike whose table holds NaN."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(float("nan"))
    return other


@mode("deepcopy", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False)
def deepcopied(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """copy.deepcopy of the layer."""
    return program(build=through(build, copy.deepcopy), **arguments)


@mode("copy", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE)
def copied(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """copy.copy of the layer, which shares its parameter."""
    return program(build=through(build, copy.copy), **arguments)


def pickled_again(layer: Module) -> Module:
    return pickle.loads(pickle.dumps(layer))  # type: ignore[no-any-return]


@mode("pickle", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False)
def pickled(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """pickle.loads(pickle.dumps(layer))."""
    return program(build=through(build, pickled_again), **arguments)


def loaded_again(layer: Module) -> Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


@mode("saved", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False, cost=1.5)
def saved(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.save and torch.load of the layer, weights_only=False."""
    return program(build=through(build, loaded_again), **arguments)


def weights_loaded(layer: Module) -> Module:
    file, other = io.BytesIO(), emptied(layer)
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


@mode("saved_weights", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False, cost=2)
def saved_weights(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.save and torch.load of the state_dict, weights_only=True, into a layer whose table is NaN."""
    return program(build=through(build, weights_loaded), **arguments)


def mapped_again(layer: Module) -> Module:
    other = emptied(layer)
    with tempfile.NamedTemporaryFile() as file:
        torch.save(layer.state_dict(), file.name)
        other.load_state_dict(torch.load(file.name, weights_only=True, mmap=True), assign=True)
    return other


@mode(
    "mapped",
    calls=BOTH,
    rebuilds=True,
    keeps_names=True,
    cannot=MODULE | {"elements=0": "there is nothing to map"},
    aliases=False,
    cost=8,
)
def mapped(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """torch.load with mmap=True, assigned: the table lies in a file that is mapped."""
    return program(build=through(build, mapped_again), **arguments)


def state_loaded(layer: Module) -> Module:
    other = emptied(layer)
    other.load_state_dict(layer.state_dict())
    return other


@mode("state_dict", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False)
def state_dict(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """state_dict loaded into a layer whose table is NaN: a copy."""
    return program(build=through(build, state_loaded), **arguments)


def state_assigned(layer: Module) -> Module:
    other = emptied(layer)
    other.load_state_dict(layer.state_dict(), assign=True)
    return other


@mode("state_dict_assign", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE)
def state_dict_assign(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """state_dict loaded with assign=True into a layer whose table is NaN: the memory is shared."""
    return program(build=through(build, state_assigned), **arguments)


def state_swapped(layer: Module) -> Module:
    other, before = emptied(layer), torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        other.load_state_dict(layer.state_dict())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    return other


@mode("swap_params", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, aliases=False)
def swap_params(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """state_dict loaded while parameters are swapped: torch.__future__.set_swap_module_params_on_conversion."""
    return program(build=through(build, state_swapped), **arguments)


def widened(layer: Module) -> Module:
    (table,) = layer.parameters()
    dtype = table.dtype
    return layer.to(torch.float64).to(dtype)


@mode("to_dtype", calls=BOTH, rebuilds=True, cannot=MODULE | {
    "values=special": "a conversion may change the payload of a NaN",
    "dtype=float64": "no dtype is wider",
}, aliases=False)  # fmt: skip
def to_dtype(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """layer.to(torch.float64).to(dtype): exact, for every smaller number is one of float64."""
    return program(build=through(build, widened), **arguments)


@mode("share_memory", calls=BOTH, rebuilds=True, keeps_names=True, cannot=MODULE, cost=2)
def share_memory(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """layer.share_memory(): the table moves into memory that processes share."""
    return program(build=through(build, Module.share_memory), **arguments)
