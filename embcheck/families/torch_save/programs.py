"""Programs: weights are written to a file and read from it, by every way there is, while the file changes.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Packs a table for the journey; its tensors by name are what `named` finds in it.
Pack = Callable[[Tensor, bool], Any]
PACKS: dict[str, Pack] = {}
LOCATIONS: dict[str, Callable[[], Any]] = {}


def travelled(
    pack: Pack,
    named: Callable[[Any], dict[str, Tensor]],
    way: str,
    location: Callable[[], Any],
    weights_only: bool,
    mmap: Any,
    zipped: bool,
    frozen: bool,
    weight: Tensor,
    second: Tensor,
) -> dict[str, Any]:
    import io
    import pathlib
    import tempfile

    def look(thing: Any) -> dict[str, Any]:
        parts = named(thing)
        tensors = list(parts.values())
        cells = [id(tensor) for tensor in tensors]
        memory = [(str(t.device), t.untyped_storage().data_ptr()) for t in tensors]
        return {
            "type": type(thing).__name__,
            "names": list(parts),
            "types": [type(t).__name__ for t in tensors],
            "cells": [cells.index(cell) for cell in cells],
            "memory": [memory.index(pointer) for pointer in memory],
            "offsets": [t.storage_offset() for t in tensors],
            "strides": [t.stride() for t in tensors],
            "dtypes": [str(t.dtype).removeprefix("torch.") for t in tensors],
            "trains": [t.requires_grad for t in tensors],
            "leaves": all(t.is_leaf and t.grad is None for t in tensors),
        }

    def values(thing: Any) -> Tensor:
        parts = [t.detach().reshape(-1) for t in named(thing).values()]
        return torch.cat([part for part in parts if not part.is_meta] or [torch.zeros(0, dtype=weight.dtype)]).clone()

    def pointers(thing: Any) -> set[int]:
        return {t.untyped_storage().data_ptr() for t in named(thing).values() if not t.is_meta and t.numel()}

    with tempfile.TemporaryDirectory() as folder:
        path: Any = pathlib.Path(folder, "weights")
        buffer = io.BytesIO()

        def write(thing: Any) -> None:
            if way == "buffer":
                buffer.seek(0)
                buffer.truncate()
                torch.save(thing, buffer, _use_new_zipfile_serialization=zipped)
            elif way == "handle":
                with open(path, "wb") as handle:
                    torch.save(thing, handle, _use_new_zipfile_serialization=zipped)
            else:
                torch.save(thing, path if way == "pathlike" else str(path), _use_new_zipfile_serialization=zipped)

        def read() -> Any:
            options: dict[str, Any] = {"weights_only": weights_only} | ({"mmap": mmap} if mmap is not None else {})
            if way == "handle":
                with open(path, "rb") as handle:
                    return torch.load(handle, map_location=location(), **options)
            if way == "buffer":
                buffer.seek(0)
                return torch.load(buffer, location(), **options)
            return torch.load(path if way == "pathlike" else str(path), location(), **options)

        packed = pack(weight, frozen)
        before, held = look(packed), pointers(packed)
        write(packed)
        kept = look(packed) == before
        found, again = read(), read()
        seen: dict[str, Any] = {
            "kept": kept,
            "sent": before,
            "found": look(found),
            "devices": sorted({str(t.device) for t in named(found).values()}),
            "values": values(found),
            "apart": not pointers(found) & held and not pointers(found) & pointers(again) and found is not again,
        }
        with torch.no_grad():
            for t in named(found).values():
                t.fill_(9.0)
        seen |= {"beside": values(again), "reread": values(read())}
        if not mmap:  # a file that is mapped must not change
            write(pack(second, frozen))
            latest = read()
            seen |= {"rewritten": values(latest), "later": look(latest) == seen["found"], "earlier": values(again)}
    return seen


def named(thing: Any) -> dict[str, Tensor]:
    """The tensors of what was packed, by name, under every name."""
    if isinstance(thing, torch.nn.Module):
        return {**dict(thing.named_parameters(remove_duplicate=False)), **dict(thing.named_buffers())}
    if isinstance(thing, torch.Tensor):
        return {"itself": thing}
    return dict(thing) if isinstance(thing, dict) else {str(k): t for k, t in enumerate(thing)}


_pack = into(PACKS)


@_pack
def state(weight: Tensor, frozen: bool) -> Any:
    model: Any = torch.nn.Module()
    model.words = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=frozen)
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)
    model.head.weight = model.words.weight
    return model.state_dict()


@_pack
def variables(weight: Tensor, frozen: bool) -> Any:
    model: Any = torch.nn.Module()
    model.words = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=frozen)
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)
    model.head.weight = model.words.weight
    return model.state_dict(keep_vars=True)


@_pack
def layer(weight: Tensor, frozen: bool) -> Any:
    return torch.nn.Sequential(torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=frozen))


@_pack
def views(weight: Tensor, frozen: bool) -> Any:
    table = torch.nn.Parameter(weight, requires_grad=not frozen)
    turned = torch.nn.Parameter(table.detach().t(), requires_grad=not frozen)
    return {"table": table, "turned": turned, "row": weight.detach()[1:], "own": weight.detach().clone()}


@_pack
def several(weight: Tensor, frozen: bool) -> Any:
    table = torch.nn.Parameter(weight, requires_grad=not frozen)
    return [table, table, weight.detach(), torch.zeros(2, dtype=weight.dtype)]


@_pack
def parameter(weight: Tensor, frozen: bool) -> Any:
    return torch.nn.Parameter(weight, requires_grad=not frozen)


_location = into(LOCATIONS)


@_location
def nowhere() -> Any:
    return None


@_location
def by_name() -> Any:
    return "cpu"


@_location
def by_device() -> Any:
    return torch.device("cpu")


@_location
def by_function() -> Any:
    return lambda storage, place: storage


@_location
def by_dict() -> Any:
    return {"cuda:0": "cpu"}


@_location
def on_meta() -> Any:
    return "meta"
