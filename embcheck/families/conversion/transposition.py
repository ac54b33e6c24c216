"""Programs: the spellings of a transposed Parameter: how it is cut from its graph, how it is transposed.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
View = Callable[[Tensor], Tensor]

SPELLINGS: dict[str, View] = {}
CUTS: dict[str, View] = {}

#: Cuts and spellings that copy always; ``contiguous`` copies unless the transposed table is contiguous already.
COPYING = frozenset({"clone", "detach_clone", "clone_contiguous", "stack", "cat", "index_select"})
#: Spellings whose result is contiguous, whatever the table's strides.
COMPACTING = frozenset({"contiguous", "clone_contiguous", "stack", "cat", "index_select"})


# -- how it is cut from its graph ----------------------------------------------------------------------------------


@into(CUTS)
def none(w: Tensor) -> Tensor:
    return w


@into(CUTS)
def detach(w: Tensor) -> Tensor:
    return w.detach()


@into(CUTS)
def data(w: Tensor) -> Tensor:
    return w.data


@into(CUTS)
def clone(w: Tensor) -> Tensor:
    return w.clone()


@into(CUTS)
def detach_clone(w: Tensor) -> Tensor:
    return w.detach().clone()


@into(CUTS)
def alias(w: Tensor) -> Tensor:
    return torch.ops.aten.alias.default(w)  # type: ignore[no-any-return]


@into(CUTS)
def wrapped(w: Tensor) -> Tensor:
    made = torch.nn.Parameter(w)
    if made is w or made.data_ptr() != w.data_ptr() or made.stride() != w.stride() or made.grad_fn is not None:
        raise AssertionError("a Parameter of a Parameter is no leaf of its own in the same memory")
    if type(made) is not torch.nn.Parameter or not made.requires_grad or made.grad is not None:
        raise AssertionError("a Parameter of a Parameter is no trainable one without a gradient")
    return made


@into(CUTS)
def view_as(w: Tensor) -> Tensor:
    return w.view_as(w)


# -- how it is transposed ------------------------------------------------------------------------------------------


@into(SPELLINGS)
def T(w: Tensor) -> Tensor:  # noqa: N802
    return w.T


@into(SPELLINGS)
def t(w: Tensor) -> Tensor:
    return w.t()


@into(SPELLINGS)
def mT(w: Tensor) -> Tensor:  # noqa: N802
    return w.mT


@into(SPELLINGS)
def mH(w: Tensor) -> Tensor:  # noqa: N802
    return w.mH


@into(SPELLINGS)
def H(w: Tensor) -> Tensor:  # noqa: N802
    return w.H


@into(SPELLINGS)
def adjoint(w: Tensor) -> Tensor:
    return w.adjoint()


@into(SPELLINGS)
def transpose(w: Tensor) -> Tensor:
    return w.transpose(0, 1)


@into(SPELLINGS)
def transpose_negative(w: Tensor) -> Tensor:
    return w.transpose(-2, -1)


@into(SPELLINGS)
def transpose_swapped(w: Tensor) -> Tensor:
    return torch.transpose(w, 1, 0)


@into(SPELLINGS)
def torch_t(w: Tensor) -> Tensor:
    return torch.t(w)


@into(SPELLINGS)
def swapaxes(w: Tensor) -> Tensor:
    return w.swapaxes(0, 1)


@into(SPELLINGS)
def swapdims(w: Tensor) -> Tensor:
    return torch.swapdims(w, -1, 0)


@into(SPELLINGS)
def permute(w: Tensor) -> Tensor:
    return w.permute(1, 0)


@into(SPELLINGS)
def permute_negative(w: Tensor) -> Tensor:
    return torch.permute(w, (-1, -2))


@into(SPELLINGS)
def movedim(w: Tensor) -> Tensor:
    return w.movedim(0, 1)


@into(SPELLINGS)
def moveaxis(w: Tensor) -> Tensor:
    return torch.moveaxis(w, -1, 0)


@into(SPELLINGS)
def einsum(w: Tensor) -> Tensor:
    return torch.einsum("vd->dv", w)


@into(SPELLINGS)
def as_strided(w: Tensor) -> Tensor:
    return w.as_strided((w.size(1), w.size(0)), (w.stride(1), w.stride(0)), w.storage_offset())


@into(SPELLINGS)
def batched(w: Tensor) -> Tensor:
    return w.unsqueeze(0).mT.squeeze(0)


@into(SPELLINGS)
def data_T(w: Tensor) -> Tensor:  # noqa: N802
    return w.data.T


@into(SPELLINGS)
def data_t(w: Tensor) -> Tensor:
    return w.data.t()


@into(SPELLINGS)
def T_detach(w: Tensor) -> Tensor:  # noqa: N802
    return w.T.detach()


@into(SPELLINGS)
def T_data(w: Tensor) -> Tensor:  # noqa: N802
    return w.t().data


@into(SPELLINGS)
def T_slice(w: Tensor) -> Tensor:  # noqa: N802
    return w.T[:]


@into(SPELLINGS)
def thrice(w: Tensor) -> Tensor:
    return w.T.T.T


@into(SPELLINGS)
def contiguous(w: Tensor) -> Tensor:
    return w.T.contiguous()


@into(SPELLINGS)
def clone_(w: Tensor) -> Tensor:
    return w.T.clone()


@into(SPELLINGS)
def clone_contiguous(w: Tensor) -> Tensor:
    return w.T.clone(memory_format=torch.contiguous_format)


@into(SPELLINGS)
def stack(w: Tensor) -> Tensor:
    return torch.stack(w.unbind(0), 1)


@into(SPELLINGS)
def cat(w: Tensor) -> Tensor:
    return torch.cat([w.T])


@into(SPELLINGS)
def index_select(w: Tensor) -> Tensor:
    return w.T.index_select(1, torch.arange(w.size(0)))


@into(SPELLINGS)
def to_same(w: Tensor) -> Tensor:
    return w.T.to(w.dtype)


@into(SPELLINGS)
def parameter(w: Tensor) -> Tensor:
    return torch.nn.Parameter(w.T)
