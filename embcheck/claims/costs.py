"""Programs that count: elements that operators make, precision under autocast.  They import nothing but torch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.layers import table

Tensor = torch.Tensor


def counting() -> Any:
    leaves = torch.utils._pytree.tree_leaves

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        """Counts the elements of what operators allocate; a view has memory already."""

        elements = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            tensors = [
                leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.layout == torch.strided
            ]
            given = {tensor.untyped_storage().data_ptr() for tensor in tensors}
            for made in leaves(out):
                strided = isinstance(made, Tensor) and made.layout == torch.strided
                if strided and made.untyped_storage().data_ptr() not in given:
                    self.elements += made.numel()
            return out

    made: Any = Counting
    return made()


@experiment("forward", "forward and backward", "forward and backward, sparse", sizes=((64, 33), (500, 8), (200, 4)),
            large=True)  # fmt: skip
def elements_made(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight, sparse="sparse" in situation)
    counter = counting()
    with counter:
        value = layer(indices)
        if "backward" in situation:
            torch.autograd.grad(value, layer.weight, torch.ones_like(value))
    return {"elements": counter.elements}


@experiment("table", "with what a lookup makes", sizes=((7, 4), (64, 33), (500, 8)), shapes=((2, 4), (50, 100)),
            seeds=1, dtypes=("float32",))  # fmt: skip
def elements_held(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight)
    held = sum(parameter.numel() for parameter in layer.parameters()) + sum(b.numel() for b in layer.buffers())
    if situation != "table":
        held += layer(indices).numel()
    return {"elements": held}


@experiment("Embedding", "one-hot and Linear", sizes=((7, 4), (64, 33), (500, 8)))
def elements_for_lookup(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    counter = counting()
    with counter:
        if situation == "Embedding":
            torch.nn.functional.embedding(indices, weight)
        else:
            one_hot = torch.nn.functional.one_hot(indices, weight.shape[0]).to(weight.dtype)
            torch.nn.functional.linear(one_hot, weight.T)
    return {"elements": counter.elements}


@experiment(dtypes=("float32",))
def autocast(weight: Tensor, indices: Tensor) -> dict[str, Any]:
    layer = table(weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = layer(indices)
        product = torch.nn.functional.linear(value, weight)
    dtypes = [str(made.dtype).removeprefix("torch.") for made in (value, product)]
    return {"made": dtypes[0], "product": dtypes[1], "value": value}
