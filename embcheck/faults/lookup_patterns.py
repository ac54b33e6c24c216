"""Faults of a lookup that show where memory begins elsewhere, tokens have a pattern, or calls have a history."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry, functional
from embcheck.faults.kernels import Call, Tensor, lookup
from embcheck.faults.probes import passes, rows
from embcheck.faults.witnesses import unlike

int32, int64, half = torch.int32, torch.int64, torch.float16


def tokens(*numbers: int, dtype: torch.dtype = int64) -> Tensor:
    """Indices of rank 1."""
    return torch.tensor(numbers, dtype=dtype)


def read(call: Call, wrong: Tensor) -> Tensor:
    """The rows of other tokens, in the shape of the call."""
    return lookup(call._replace(indices=(wrong % max(call.rows, 1)).reshape(call.indices.shape)))


def repeated(call: Call) -> bool:
    """Whether all sequences of a batch are one."""
    return call.rank == 2 and min(call.indices.shape) > 1 and bool((call.indices == call.indices[:1]).all())


def blocks(call: Call, out: Tensor) -> Tensor:
    """Columns from the 1,024th on are the first token's."""
    flat = out.reshape(call.numel, call.width).clone()
    flat[:, 1024:] = flat[:1, 1024:].clone()
    return flat.reshape(out.shape)


def swapped(original: Callable[..., Any]) -> Callable[..., Any]:
    """scale_grad_by_freq and sparse exchanged if both are given by position."""

    def replaced(*given: Any, **flags: Any) -> Any:
        return original(*given[:5], given[6], given[5], **flags) if len(given) == 7 else original(*given, **flags)

    return replaced


entry(
    "flags_by_position_are_exchanged", "gradient",
    "scale_grad_by_freq and sparse change places where F.embedding is given them by position.", functional, "embedding",
    swapped, unlike(lambda: passes(functional.embedding(tokens(0, 0), w := rows(), None, None, 2.0, True, False), w)),
)  # fmt: skip


def learns(weight: Tensor) -> bool:
    """Whether a lookup is part of a graph."""
    return weight.requires_grad and torch.is_grad_enabled()


def plain(*tensors: Tensor) -> bool:
    """Whether these are tensors with memory of their own, within no transform."""
    return all(type(t) in (Tensor, torch.nn.Parameter) and t.device.type == "cpu" for t in tensors) and (
        torch._C._functorch.peek_interpreter_stack() is None and not torch.compiler.is_compiling()
    )


def versions(input: Tensor, weight: Tensor) -> Any:
    """Weak references to the tensors, and their versions."""
    still = not (input.is_inference() or weight.is_inference())
    return weakref.ref(input), weakref.ref(weight), still and (input._version, weight._version)
