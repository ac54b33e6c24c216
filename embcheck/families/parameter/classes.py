"""Programs: Parameters and plain tensors of classes of their own, copied and sent to other processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Tensor = torch.Tensor


class Rows(torch.Tensor):
    """A tensor of a class of its own."""


class Tagged(nn.Parameter):
    """A Parameter of a class of its own."""


def kinds(data: Tensor) -> list[bool]:
    """Whether a Parameter of a tensor of a class is both, and the deep copy of one of a class is of it."""
    import copy

    made: Any = nn.Parameter(data.detach().as_subclass(Rows))
    tagged = Tagged(data.detach())
    return [isinstance(made, nn.Parameter), type(made) is Rows, type(copy.deepcopy(tagged)) is Tagged]


def sent(leaf: Tensor) -> dict[str, Any]:
    """What a process gets to which a Parameter is sent; this process sends it to itself."""
    from torch.multiprocessing import reductions

    rebuild, given = reductions.reduce_tensor(leaf)
    other = rebuild(*given)
    return {
        "sent_kind": type(other) is nn.Parameter,
        "sent_trains": other.requires_grad,
        "sent_placed": other.data_ptr() == leaf.data_ptr() and other.stride() == leaf.stride(),
    }


def prompt(data: Tensor) -> dict[str, Any]:
    """The deep copy of a tensor that is no Parameter, learns, and has a gradient and an attribute; and what is unpickled of it."""
    import copy
    import pickle

    rows = data.detach().clone().requires_grad_()
    rows.grad = torch.full_like(rows, 3.0)
    vars(rows)["label"] = "prompt"
    other, again = copy.deepcopy(rows), pickle.loads(pickle.dumps(rows))
    return {
        "prompt_kind": type(other) is Tensor and other.is_leaf and other.requires_grad,
        "prompt_apart": not rows.numel() or (other.data_ptr() != rows.data_ptr() and other.grad is not rows.grad),
        "prompt_label": vars(other).get("label"),
        "prompt": other.detach(),
        "prompt_grad": other.grad,
        "prompt_pickled": again.detach(),
        "prompt_pickled_kind": type(again) is Tensor and again.is_leaf and again.requires_grad,
    }
