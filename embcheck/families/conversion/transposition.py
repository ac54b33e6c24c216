"""Programs: the spellings of a transposed Parameter: how it is cut from its graph, how it is transposed.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor
View = Callable[[Tensor], Tensor]

#: Cuts and spellings that copy always; ``contiguous`` copies unless the transposed table is contiguous already.
COPYING = frozenset({"clone", "detach_clone", "clone_contiguous", "stack", "cat", "index_select"})
#: Spellings whose result is contiguous, whatever the table's strides.
COMPACTING = frozenset({"contiguous", "clone_contiguous", "stack", "cat", "index_select"})


# -- how it is cut from its graph ----------------------------------------------------------------------------------


def wrapped(w: Tensor) -> Tensor:
    made = torch.nn.Parameter(w)
    if made is w or made.data_ptr() != w.data_ptr() or made.stride() != w.stride() or made.grad_fn is not None:
        raise AssertionError("a Parameter of a Parameter is no leaf of its own in the same memory")
    if type(made) is not torch.nn.Parameter or not made.requires_grad or made.grad is not None:
        raise AssertionError("a Parameter of a Parameter is no trainable one without a gradient")
    return made


CUTS: dict[str, View] = named(
    {
        "none": lambda w: w,
        "detach": lambda w: w.detach(),
        "data": lambda w: w.data,
        "clone": lambda w: w.clone(),
        "detach_clone": lambda w: w.detach().clone(),
        "alias": lambda w: torch.ops.aten.alias.default(w),
        "wrapped": wrapped,
        "view_as": lambda w: w.view_as(w),
    }
)


# -- how it is transposed ------------------------------------------------------------------------------------------

SPELLINGS: dict[str, View] = named(
    {
        "T": lambda w: w.T,
        "t": lambda w: w.t(),
        "mT": lambda w: w.mT,
        "mH": lambda w: w.mH,
        "H": lambda w: w.H,
        "adjoint": lambda w: w.adjoint(),
        "transpose": lambda w: w.transpose(0, 1),
        "transpose_negative": lambda w: w.transpose(-2, -1),
        "transpose_swapped": lambda w: torch.transpose(w, 1, 0),
        "torch_t": lambda w: torch.t(w),
        "swapaxes": lambda w: w.swapaxes(0, 1),
        "swapdims": lambda w: torch.swapdims(w, -1, 0),
        "permute": lambda w: w.permute(1, 0),
        "permute_negative": lambda w: torch.permute(w, (-1, -2)),
        "movedim": lambda w: w.movedim(0, 1),
        "moveaxis": lambda w: torch.moveaxis(w, -1, 0),
        "einsum": lambda w: torch.einsum("vd->dv", w),
        "as_strided": lambda w: w.as_strided((w.size(1), w.size(0)), (w.stride(1), w.stride(0)), w.storage_offset()),
        "batched": lambda w: w.unsqueeze(0).mT.squeeze(0),
        "data_T": lambda w: w.data.T,
        "data_t": lambda w: w.data.t(),
        "T_detach": lambda w: w.T.detach(),
        "T_data": lambda w: w.t().data,
        "T_slice": lambda w: w.T[:],
        "thrice": lambda w: w.T.T.T,
        "contiguous": lambda w: w.T.contiguous(),
        "clone": lambda w: w.T.clone(),
        "clone_contiguous": lambda w: w.T.clone(memory_format=torch.contiguous_format),
        "stack": lambda w: torch.stack(w.unbind(0), 1),
        "cat": lambda w: torch.cat([w.T]),
        "index_select": lambda w: w.T.index_select(1, torch.arange(w.size(0))),
        "to_same": lambda w: w.T.to(w.dtype),
        "parameter": lambda w: torch.nn.Parameter(w.T),
    },
    prefix="by_",
)
