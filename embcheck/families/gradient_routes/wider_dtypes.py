"""Further routes: gradients in another number format than their table's, checkpoints within contexts, and gradients with
a graph that a module zeroes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.families.gradient_routes.programs import Seen, further
from embcheck.families.lookup.programs import Call, Rebuild, Tensor


@further
def widened(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}.get(leaf.dtype)
    small = {None: 1.0, torch.float64: 2.0**-26}.get(wide, 2.0**-12)
    ones = torch.ones_like(upstream)
    (counts,) = torch.autograd.grad(call(indices), leaf, ones)
    given: Any = leaf
    if wide is not None and hasattr(leaf, "grad_dtype"):
        given.grad_dtype = wide
    call(indices).backward(upstream)
    first = leaf.grad
    if first is None:
        return {"weight_grad": None}
    whole = first.clone()
    # What is added is too small for the table's own format.
    call(indices).backward(ones * small)
    last = leaf.grad
    dtype = first.dtype if wide is None or not hasattr(leaf, "grad_dtype") else wide
    expected = (whole.to_dense() + (counts.to_dense() * small).to(dtype)).to(dtype)
    same = last is not None and torch.equal(last.to_dense().nan_to_num(), expected.nan_to_num())
    return {"weight_grad": whole.to(leaf.dtype), "kept": last is not None and last.dtype == dtype and same}


@further
def checkpointed_in_contexts(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    seen: list[str] = []
    drawn: list[float] = []

    @contextlib.contextmanager
    def context(name: str) -> Iterator[None]:
        seen.append(f"{name} begins")
        yield
        seen.append(f"{name} ends")

    def called(tokens: Tensor) -> Any:
        seen.append("call")
        drawn.append(float(torch.rand(())))
        return call(tokens)

    with torch.random.fork_rng(devices=[]):
        value = torch.utils.checkpoint.checkpoint(
            called, indices, use_reentrant=False, context_fn=lambda: (context("forward"), context("again"))
        )
        first = seen == ["forward begins", "call", "forward ends"]
        torch.rand(3)
        value.backward(upstream)
    again = seen[3:5] == ["again begins", "call"] and len(set(drawn)) == 1
    return {"value": value, "weight_grad": leaf.grad, "kept": first and again}


@further
def zeroed_within_graph(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    holder: Any = torch.nn.Module()
    holder._parameters["table"] = leaf
    sent = torch.ones_like(upstream, requires_grad=True)
    call(indices).backward(sent, create_graph=True)
    first = leaf.grad
    holder.zero_grad(set_to_none=False)
    kept = leaf.grad is first and (first is None or not (first.requires_grad or bool(first.to_dense().any())))
    leaf.grad = first if first is None or not first.is_sparse else None  # sparse gradients add up in any order
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": kept}


@further
def merged_and_zeroed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(torch.ones_like(upstream))
    if leaf.grad is not None and leaf.grad.is_sparse:
        leaf.grad = leaf.grad.coalesce()
    torch.optim.SGD([leaf]).zero_grad(set_to_none=False)
    kept = leaf.grad is None or not bool(leaf.grad.to_dense().any())
    leaf.grad = None
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": kept}
