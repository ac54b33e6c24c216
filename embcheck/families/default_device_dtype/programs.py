"""Programs: an optimizer steps while torch's default device or dtype is another.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor
Setting = Callable[[], AbstractContextManager[Any]]


@contextlib.contextmanager
def of_dtype(dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Setting] = named(
    {
        "nothing": lambda: contextlib.nullcontext(),
        "meta": lambda: torch.device("meta"),
        "double": lambda: of_dtype(torch.float64),
        "half": lambda: of_dtype(torch.float16),
    },
    prefix="default_",
)


def elsewhere(
    kind: str,
    flags: dict[str, Any],
    setting: Setting,
    plain: Setting,
    late: int,
    sparse: bool,
    weight: Tensor,
    grads: Tensor,
) -> dict[str, Any]:
    def trained(around: Setting) -> tuple[Tensor, dict[str, Any]]:
        p = torch.nn.Parameter(weight.detach().clone())
        with plain() if late else around():
            optimizer = getattr(torch.optim, kind)([p], **flags)
        values = []
        for step, grad in enumerate(grads):
            p.grad = grad.to_sparse(1) if sparse else grad.clone()
            with plain() if step < late else around():
                optimizer.step()
            values.append(p.detach().clone())
        return torch.stack(values), optimizer.state[p]

    wanted, before = trained(plain)
    values, state = trained(setting)
    tensors = {name: kept for name, kept in sorted(state.items()) if isinstance(kept, Tensor)}
    return {
        "values": values,
        "wanted": wanted,
        "devices": [name for name, kept in tensors.items() if kept.device != weight.device],
        "differing": [
            name
            for name, kept in tensors.items()
            if kept.device == weight.device and not torch.equal(kept.to(before[name].dtype), before[name])
        ],
    }
