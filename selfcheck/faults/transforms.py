"""Faults of transforms: torch.func, vmap, forward mode and torch.autograd.functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry
from selfcheck.faults.kernels import Tensor

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
Change = Callable[[Any, tuple[Any, ...]], Any]


def after(owner: Any, name: str, attribute: str, sentence: str, change: Change) -> None:
    """A fault of a transform that returns a function: what that gives back is changed."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(*given: Any, **flags: Any) -> Any:
            inner = original(*given, **flags)
            return lambda *args, **more: change(inner(*args, **more), args)

        return replaced

    entry(name, "func_transforms", sentence, owner, attribute, wrong)


def at_once(owner: Any, name: str, attribute: str, sentence: str, change: Change) -> None:
    """A fault of a function whose result is changed by ``change(result, arguments)``."""

    def wrong(original: Wrong) -> Wrong:
        return lambda *given, **flags: change(original(*given, **flags), (*given, flags))

    entry(name, "func_transforms", sentence, owner, attribute, wrong)


def table(dtype: torch.dtype = torch.float32) -> Tensor:
    """Three rows of two distinct numbers."""
    return torch.arange(1.0, 7.0).reshape(3, 2).to(dtype)


func, auto = torch.func, torch.autograd.functional


after(func, "func_grad_argnums_in_order", "grad", "torch.func.grad gives two arguments' gradients in ascending order.",
      lambda out, args: out[::-1] if isinstance(out, tuple) and len(out) == 2 else out)  # fmt: skip


# -- vmap ----------------------------------------------------------------------------------------------------------


def other(dims: Any, wanted: Any, instead: Any) -> Any:
    """in_dims with one number replaced, where there is more than one part."""
    if not isinstance(dims, tuple):
        return dims
    return tuple(instead if type(dim) is int and dim == wanted else dim for dim in dims)
