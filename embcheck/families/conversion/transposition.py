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
COPYING = frozenset({"clone", "detach_clone", "clone_contiguous", "cat"})
#: Spellings whose result is contiguous, whatever the table's strides.
COMPACTING = frozenset({"contiguous", "clone_contiguous", "cat"})


CUTS: dict[str, View] = named(
    {
        "none": lambda w: w,
        "detach": lambda w: w.detach(),
        "data": lambda w: w.data,
        "clone": lambda w: w.clone(),
        "detach_clone": lambda w: w.detach().clone(),
    }
)


SPELLINGS: dict[str, View] = named(
    {
        "T": lambda w: w.T,
        "t": lambda w: w.t(),
        "mT": lambda w: w.mT,
        "transpose": lambda w: w.transpose(0, 1),
        "permute": lambda w: w.permute(1, 0),
        "as_strided": lambda w: w.as_strided((w.size(1), w.size(0)), (w.stride(1), w.stride(0)), w.storage_offset()),
        "data_T": lambda w: w.data.T,
        "T_detach": lambda w: w.T.detach(),
        "contiguous": lambda w: w.T.contiguous(),
        "clone": lambda w: w.T.clone(),
        "clone_contiguous": lambda w: w.T.clone(memory_format=torch.contiguous_format),
        "cat": lambda w: torch.cat([w.T]),
        "parameter": lambda w: torch.nn.Parameter(w.T),
    },
    prefix="by_",
)
