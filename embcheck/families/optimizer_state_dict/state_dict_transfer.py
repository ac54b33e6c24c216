"""How the states of a model and its optimizer are read, carried to another pair, and loaded there.

Functions that import nothing but torch, and `torch.distributed.checkpoint`, which takes long, where they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

SAVES: dict[str, Callable[..., Any]] = {}
LOADS: dict[str, Callable[..., None]] = {}
CARRIES: dict[str, Callable[[Any], Any]] = {}


def save_plain(model: Any, optimizer: Any, options: Any) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}


def load_plain(model: Any, optimizer: Any, state: dict[str, Any], options: Any) -> None:
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])


def save_named(model: Any, optimizer: Any, options: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options),
    }


def load_named(model: Any, optimizer: Any, state: dict[str, Any], options: Any) -> None:
    from torch.distributed.checkpoint.state_dict import set_model_state_dict, set_optimizer_state_dict

    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)


SAVES |= {"plain": save_plain, "named": save_named}
LOADS |= {"plain": load_plain, "named": load_named}

_carry = into(CARRIES)


@_carry
def handed(state: Any) -> Any:
    return state


@_carry
def copied(state: Any) -> Any:
    import copy

    return copy.deepcopy(state)


@_carry
def filed(state: Any) -> Any:
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@_carry
def converted(state: Any) -> Any:
    import os
    import tempfile
    import warnings

    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, between, last = (os.path.join(folder, each) for each in ("first.pt", "checkpoint", "last.pt"))
        torch.save(state, first)
        torch_save_to_dcp(first, between)
        dcp_to_torch_save(between, last)
        return torch.load(last, weights_only=True)
