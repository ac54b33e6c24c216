"""Modes in which the layer that is called is another than the one that was built: copied, saved, loaded, converted."""

import copy
import io
import pickle
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from embcheck.modes.layer import BOTH, MODULE, Build, Call, as_module, through
from embcheck.modes.mode import build_mode

Module = torch.nn.Module
_COPY: dict[str, Any] = {"calls": BOTH, "rebuilds": True, "keeps_names": True, "cannot": MODULE, "aliases": False}


@build_mode("deepcopy", through, **_COPY)
def deepcopied(layer: Module) -> Module:
    """copy.deepcopy of the layer."""
    return copy.deepcopy(layer)


@build_mode("pickle", through, **_COPY)
def pickled(layer: Module) -> Module:
    """pickle.loads(pickle.dumps(layer))."""
    return pickle.loads(pickle.dumps(layer))  # type: ignore[no-any-return]


@build_mode("saved", through, cost=1.5, **_COPY)
def saved(layer: Module) -> Module:
    """torch.save and torch.load of the layer, weights_only=False."""
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


def reloaded(build: Build, load: Callable[[Module, dict[str, Any]], object]) -> Build:
    """What is called is built as the first was, of NaN, and loads its state: a deep copy would have lost the hooks of a
    parameter, which those who load a state don't lose.  What is frozen is saved, too, and loading freezes nothing."""

    def built(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Call]:
        def trip(layer: Module) -> Module:
            empty = torch.full_like(weight, float("nan")).requires_grad_(weight.requires_grad)
            other = as_module(build, empty, flags)[1]
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.fill_(float("nan"))
            state, learning = layer.state_dict(), [each for each in layer.parameters() if each.requires_grad]
            if layer.requires_grad_(False).state_dict().keys() != state.keys():
                raise RuntimeError("the state_dict of a frozen layer has other keys")
            for each in learning:
                each.requires_grad_()
            before = [each.requires_grad for each in other.parameters()]
            load(other, state)
            if [each.requires_grad for each in other.parameters()] != before:
                raise RuntimeError("loading a state_dict changed requires_grad")
            return other

        return through(build, trip)(weight, **flags)

    return built


@build_mode("state_dict", reloaded, **_COPY)
def loaded_into(other: Module, state: dict[str, Any]) -> None:
    """state_dict loaded into another layer, built with the same arguments, whose table is NaN: a copy."""
    parameters = list(other.parameters())
    other.load_state_dict(state)
    if any(now is not before for now, before in zip(other.parameters(), parameters, strict=True)):
        raise RuntimeError("load_state_dict replaced a Parameter; an optimizer would go on with the old one")


@build_mode("state_dict_assign", reloaded, **_COPY | {"aliases": True})
def assigned_to(other: Module, state: dict[str, Any]) -> None:
    """state_dict loaded with assign=True into another layer, built with the same arguments: the memory is shared."""
    other.load_state_dict(state, assign=True)


@build_mode("mapped", reloaded, cost=8, **_COPY | {"cannot": MODULE | {"elements=0": "there is nothing to map"}})
def mapped(other: Module, state: dict[str, Any]) -> None:
    """torch.load of a state_dict with mmap=True, assigned to another layer, built alike: the table lies in a mapped file."""
    with tempfile.NamedTemporaryFile() as file:
        torch.save(state, file.name)
        other.load_state_dict(torch.load(file.name, weights_only=True, mmap=True), assign=True)


_WIDENED = {"values=special": "a conversion may change the payload of a NaN", "dtype=float64": "no dtype is wider"}


@build_mode("to_dtype", through, **_COPY | {"cannot": MODULE | _WIDENED})
def widened(layer: Module) -> Module:
    """layer.to(torch.float64).to(dtype): exact, for every smaller number is one of float64."""
    dtype = next(layer.parameters()).dtype
    return layer.to(torch.float64).to(dtype)
