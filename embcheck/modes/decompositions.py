"""Modes that replace operators by what decomposition tables say of them, called directly, with real tensors."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from embcheck.modes.lattice import lattice
from embcheck.modes.lifting import NO_TRANSFORMS, recorded_on
from embcheck.modes.mode import Program, mode

#: The operators that are replaced: those of lookups, and what lookups are made of.
NAMES = ("embedding", "one_hot", "index_select", "renorm", "index_put", "masked_fill", "nonzero")
_DECOMPOSED: dict[str, Any] = recorded_on(lattice(20, 120, 12), NO_TRANSFORMS, cost=2.0)


@mode("decompositions", **_DECOMPOSED)
def decompositions(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """torch._decomp.decomposition_table in place of the kernels."""
    with decomposing(torch._decomp.decomposition_table):
        return program(**arguments)


@mode("core_decompositions", **_DECOMPOSED)
def core_decompositions(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """torch._decomp.core_aten_decompositions in place of the kernels."""
    with decomposing(core_table()):
        return program(**arguments)


@mode("inductor_decompositions", **_DECOMPOSED)
def inductor_decompositions(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """torch._inductor's decompositions in place of the kernels."""
    import torch._inductor.decomposition

    with decomposing(torch._inductor.decomposition.decompositions):
        return program(**arguments)


#: What `core_table` holds, which takes long to put together.
CORE: dict[Any, Callable[..., Any]] = {}


def core_table() -> Mapping[Any, Callable[..., Any]]:
    if not CORE:
        CORE.update(torch._decomp.core_aten_decompositions())
    return CORE


core_table.script = "def core_table():\n    return torch._decomp.core_aten_decompositions()\n"  # type: ignore[attr-defined]


def decomposing(table: Mapping[Any, Callable[..., Any]]) -> TorchDispatchMode:
    class Decomposing(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in table and any(name in str(func) for name in NAMES):
                with self:
                    out = table[func](*args, **(kwargs or {}))
                if out is not NotImplemented:
                    return out
            return func(*args, **(kwargs or {}))

    return Decomposing()  # type: ignore[no-untyped-call]
