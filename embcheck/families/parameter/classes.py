"""Programs: Parameters and plain tensors of classes of their own, copied and sent to other processes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
from torch import nn
from torch.multiprocessing import reductions

Tensor = torch.Tensor


class Rows(torch.Tensor):
    """A tensor of a class of its own."""


class Tagged(nn.Parameter):
    """A Parameter of a class of its own."""


def kinds(data: Tensor) -> list[bool]:
    """Whether a Parameter of a tensor of a class is both, and the deep copy of one of a class is of it."""
    made: Any = nn.Parameter(data.detach().as_subclass(Rows))
    tagged = Tagged(data.detach())
    return [isinstance(made, nn.Parameter), type(made) is Rows, type(copy.deepcopy(tagged)) is Tagged]


def sent(leaf: Tensor) -> dict[str, Any]:
    """What a process gets to which a Parameter is sent; this process sends it to itself."""
    rebuild, given = reductions.reduce_tensor(leaf)
    other = rebuild(*given)
    return {
        "sent_kind": type(other) is nn.Parameter,
        "sent_trains": other.requires_grad,
        "sent_placed": other.data_ptr() == leaf.data_ptr() and other.stride() == leaf.stride(),
    }


def learns(rows: Tensor) -> bool:
    """Whether a tensor that is no Parameter is a leaf that requires grad."""
    return type(rows) is Tensor and rows.is_leaf and rows.requires_grad


def prompt(data: Tensor) -> dict[str, Any]:
    """The deep copy of a tensor that is no Parameter, learns, and has a gradient and an attribute."""
    rows = data.detach().clone().requires_grad_()
    rows.grad = torch.full_like(rows, 3.0)
    vars(rows)["label"] = "prompt"
    other = copy.deepcopy(rows)
    return {
        "prompt_kind": learns(other),
        "prompt_apart": not rows.numel() or (other.data_ptr() != rows.data_ptr() and other.grad is not rows.grad),
        "prompt_label": vars(other).get("label"),
        "prompt": other.detach(),
        "prompt_grad": other.grad,
    }


def pickled(data: Tensor) -> dict[str, Any]:
    """What is unpickled of a tensor that is no Parameter and learns."""
    rows = pickle.loads(pickle.dumps(data.detach().clone().requires_grad_()))
    return {"pickled_learns": learns(rows), "pickled": rows.detach()}


def made_to_learn() -> list[bool]:
    """Whether each tensor that is made with requires_grad=True learns, also under no_grad."""
    one = torch.ones(2)
    makes: Any = torch.randn, torch.rand, torch.zeros, torch.ones, torch.empty
    likes: Any = torch.randn_like, torch.zeros_like, torch.ones_like, torch.empty_like
    found = [make(2, requires_grad=True) for make in makes]
    found += [make(one, requires_grad=True) for make in likes]
    with torch.no_grad():
        found += [
            torch.full((2,), 0.5, requires_grad=True),
            torch.tensor([1.0, 2.0], requires_grad=True),
            one.new_zeros(2, requires_grad=True),
        ]
    return [learns(rows) for rows in found]
