"""Programs: the spellings of a transposed Parameter: how it is cut from its graph, how it is transposed.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
View = Callable[[Tensor], Tensor]

SPELLINGS: dict[str, View] = {}
CUTS: dict[str, View] = {}

#: Cuts and spellings that copy always; ``contiguous`` copies unless the transposed table is contiguous already.
COPYING = frozenset({"clone", "detach_clone", "clone_contiguous", "stack", "cat", "index_select"})
#: Spellings whose result is contiguous, whatever the table's strides.
COMPACTING = frozenset({"contiguous", "clone_contiguous", "stack", "cat", "index_select"})


def _into(registry: dict[str, Any]) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        registry[function.__name__.removesuffix("_")] = function
        return function

    return register


# -- how it is cut from its graph ----------------------------------------------------------------------------------


@_into(CUTS)
def none(w: Tensor) -> Tensor:
    return w


@_into(CUTS)
def detach(w: Tensor) -> Tensor:
    return w.detach()


@_into(CUTS)
def data(w: Tensor) -> Tensor:
    return w.data


@_into(CUTS)
def clone(w: Tensor) -> Tensor:
    return w.clone()


@_into(CUTS)
def detach_clone(w: Tensor) -> Tensor:
    return w.detach().clone()


@_into(CUTS)
def alias(w: Tensor) -> Tensor:
    return torch.ops.aten.alias.default(w)  # type: ignore[no-any-return]


@_into(CUTS)
def wrapped(w: Tensor) -> Tensor:
    made = torch.nn.Parameter(w)
    if made is w or made.data_ptr() != w.data_ptr() or made.stride() != w.stride() or made.grad_fn is not None:
        raise AssertionError("a Parameter of a Parameter is no leaf of its own in the same memory")
    if type(made) is not torch.nn.Parameter or not made.requires_grad or made.grad is not None:
        raise AssertionError("a Parameter of a Parameter is no trainable one without a gradient")
    return made


@_into(CUTS)
def view_as(w: Tensor) -> Tensor:
    return w.view_as(w)


# -- how it is transposed ------------------------------------------------------------------------------------------


@_into(SPELLINGS)
def T(w: Tensor) -> Tensor:  # noqa: N802
    return w.T


@_into(SPELLINGS)
def t(w: Tensor) -> Tensor:
    return w.t()


@_into(SPELLINGS)
def mT(w: Tensor) -> Tensor:  # noqa: N802
    return w.mT


@_into(SPELLINGS)
def mH(w: Tensor) -> Tensor:  # noqa: N802
    return w.mH


@_into(SPELLINGS)
def H(w: Tensor) -> Tensor:  # noqa: N802
    return w.H


@_into(SPELLINGS)
def adjoint(w: Tensor) -> Tensor:
    return w.adjoint()


@_into(SPELLINGS)
def transpose(w: Tensor) -> Tensor:
    return w.transpose(0, 1)


@_into(SPELLINGS)
def transpose_negative(w: Tensor) -> Tensor:
    return w.transpose(-2, -1)


@_into(SPELLINGS)
def transpose_swapped(w: Tensor) -> Tensor:
    return torch.transpose(w, 1, 0)


@_into(SPELLINGS)
def torch_t(w: Tensor) -> Tensor:
    return torch.t(w)


@_into(SPELLINGS)
def swapaxes(w: Tensor) -> Tensor:
    return w.swapaxes(0, 1)


@_into(SPELLINGS)
def swapdims(w: Tensor) -> Tensor:
    return torch.swapdims(w, -1, 0)


@_into(SPELLINGS)
def permute(w: Tensor) -> Tensor:
    return w.permute(1, 0)


@_into(SPELLINGS)
def permute_negative(w: Tensor) -> Tensor:
    return torch.permute(w, (-1, -2))


@_into(SPELLINGS)
def movedim(w: Tensor) -> Tensor:
    return w.movedim(0, 1)


@_into(SPELLINGS)
def moveaxis(w: Tensor) -> Tensor:
    return torch.moveaxis(w, -1, 0)


@_into(SPELLINGS)
def einsum(w: Tensor) -> Tensor:
    return torch.einsum("vd->dv", w)


@_into(SPELLINGS)
def as_strided(w: Tensor) -> Tensor:
    return w.as_strided((w.size(1), w.size(0)), (w.stride(1), w.stride(0)), w.storage_offset())


@_into(SPELLINGS)
def batched(w: Tensor) -> Tensor:
    return w.unsqueeze(0).mT.squeeze(0)


@_into(SPELLINGS)
def data_T(w: Tensor) -> Tensor:  # noqa: N802
    return w.data.T


@_into(SPELLINGS)
def data_t(w: Tensor) -> Tensor:
    return w.data.t()


@_into(SPELLINGS)
def T_detach(w: Tensor) -> Tensor:  # noqa: N802
    return w.T.detach()


@_into(SPELLINGS)
def T_data(w: Tensor) -> Tensor:  # noqa: N802
    return w.t().data


@_into(SPELLINGS)
def T_slice(w: Tensor) -> Tensor:  # noqa: N802
    return w.T[:]


@_into(SPELLINGS)
def thrice(w: Tensor) -> Tensor:
    return w.T.T.T


@_into(SPELLINGS)
def contiguous(w: Tensor) -> Tensor:
    return w.T.contiguous()


@_into(SPELLINGS)
def clone_(w: Tensor) -> Tensor:
    return w.T.clone()


@_into(SPELLINGS)
def clone_contiguous(w: Tensor) -> Tensor:
    return w.T.clone(memory_format=torch.contiguous_format)


@_into(SPELLINGS)
def stack(w: Tensor) -> Tensor:
    return torch.stack(w.unbind(0), 1)


@_into(SPELLINGS)
def cat(w: Tensor) -> Tensor:
    return torch.cat([w.T])


@_into(SPELLINGS)
def index_select(w: Tensor) -> Tensor:
    return w.T.index_select(1, torch.arange(w.size(0)))


@_into(SPELLINGS)
def to_same(w: Tensor) -> Tensor:
    return w.T.to(w.dtype)


@_into(SPELLINGS)
def parameter(w: Tensor) -> Tensor:
    return torch.nn.Parameter(w.T)
