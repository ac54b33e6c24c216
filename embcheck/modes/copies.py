"""Modes in which the layer that is called is another than the one that was built: copied, saved, loaded, converted."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from typing import Any

import torch

from embcheck.modes.layer import BOTH, MODULE, Build, through
from embcheck.modes.mode import add_mode, build_mode

Module = torch.nn.Module
_COPY: dict[str, Any] = {"calls": BOTH, "rebuilds": True, "keeps_names": True, "cannot": MODULE, "aliases": False}


def emptied(layer: Module) -> Module:
    """A layer alike whose table holds NaN."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(float("nan"))
    return other


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


@build_mode("mapped", through, cost=8, **_COPY | {"cannot": MODULE | {"elements=0": "there is nothing to map"}})
def mapped(layer: Module) -> Module:
    """torch.load with mmap=True, assigned: the table lies in a file that is mapped."""
    other = emptied(layer)
    with tempfile.NamedTemporaryFile() as file:
        torch.save(layer.state_dict(), file.name)
        other.load_state_dict(torch.load(file.name, weights_only=True, mmap=True), assign=True)
    return other


def reloaded(build: Build, assign: bool) -> Build:
    def trip(layer: Module) -> Module:
        other = emptied(layer)
        other.load_state_dict(layer.state_dict(), assign=assign)
        return other

    return through(build, trip)


_LOADED = "into a layer whose table is NaN"
add_mode("state_dict", f"state_dict loaded {_LOADED}: a copy.", reloaded, False, **_COPY)
_ASSIGNED = f"state_dict loaded with assign=True {_LOADED}: the memory is shared."
add_mode("state_dict_assign", _ASSIGNED, reloaded, True, **_COPY | {"aliases": True})

_WIDENED = {"values=special": "a conversion may change the payload of a NaN", "dtype=float64": "no dtype is wider"}


@build_mode("to_dtype", through, **_COPY | {"cannot": MODULE | _WIDENED})
def widened(layer: Module) -> Module:
    """layer.to(torch.float64).to(dtype): exact, for every smaller number is one of float64."""
    dtype = next(layer.parameters()).dtype
    return layer.to(torch.float64).to(dtype)
