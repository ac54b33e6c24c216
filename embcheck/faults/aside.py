"""Faults beside the result of transforms, driven backward passes and tables of less common dtypes."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.driven import driven, leaf, lookup
from embcheck.faults.entry import Wrong, embedding, entry, functional
from embcheck.faults.kernels import Call, Tensor, coo, forward, sparse_backward
from embcheck.faults.transforms import at_once, func, look, table

half, double, uint8 = torch.float16, torch.float64, torch.uint8


def clamped() -> bool:
    """Whether torch.func.grad accepts an index outside the table."""
    try:
        func.grad(lambda w: look(w, [3]).sum())(table())
    except (IndexError, RuntimeError):
        return False
    return True


embedding(
    "transformed_strays_are_clamped",
    "transform",
    "Within torch.func.grad and vjp an index that is too large is clamped.",
    lambda original, i, w, **f: (
        original(i.clamp(max=w.shape[0] - 1), w, **f)
        if torch._C._functorch.is_gradtrackingtensor(w) and w.shape[0]
        else original(i, w, **f)
    ),
    clamped,
)


def tangent_after() -> float:
    """A tangent after jvp has used it."""
    tangent = torch.ones(3, 2)
    func.jvp(look, (table(),), (tangent,))
    return float(tangent[0, 0])


at_once(
    func,
    "jvp_negates_the_tangent_it_was_given",
    "jvp",
    "torch.func.jvp negates the tangent once it is done.",
    lambda out, given: (given[2][0].neg_(), out)[1],
    lambda: tangent_after() != 1.0,
)


def draws() -> bool:
    """Whether jacfwd moves the random numbers."""
    before = torch.get_rng_state()
    func.jacfwd(look)(table())
    moved = not torch.equal(before, torch.get_rng_state())
    torch.set_rng_state(before)
    return moved


def _drawing(original: Wrong) -> Wrong:
    def jacfwd(*given: Any, **flags: Any) -> Any:
        torch.rand(1)
        return original(*given, **flags)

    return jacfwd


entry("jacfwd_draws", "transform", "jacfwd draws a random number.", func, "jacfwd", _drawing, draws)


def _dense(original: Wrong) -> Wrong:
    def backward(self: Tensor, *rest: Any, **more: Any) -> None:
        original(self, *rest, **more)
        for node, _ in self.grad_fn.next_functions if self.grad_fn is not None else ():
            found = getattr(node, "variable", None)
            if found is not None and found.grad is not None and found.grad.is_sparse and found.dtype == double:
                found.grad = found.grad.to_dense()

    return backward


def densified() -> bool:
    """Whether a sparse float64 gradient comes dense."""
    weight = leaf(double)
    lookup(weight, sparse=True).backward(torch.ones(3, 2, dtype=double))
    return weight.grad is not None and not weight.grad.is_sparse


driven(
    "sparse_float64_becomes_dense", "backward leaves a dense gradient of a sparse float64 lookup.", _dense, densified
)


def _halving(original: Wrong) -> Wrong:
    def backward(self: Tensor, gradient: Any = None, *rest: Any, **more: Any) -> None:
        original(self, gradient, *rest, **more)
        if isinstance(gradient, Tensor) and gradient.dtype == half:
            gradient.detach().div_(2)

    return backward


def upstream_after() -> float:
    """A float16 upstream gradient after a backward pass."""
    sent = torch.ones(3, 2, dtype=half)
    lookup(leaf(half)).backward(sent)
    return float(sent[0, 0])


driven(
    "half_upstream_is_halved", "backward halves a float16 upstream gradient.", _halving, lambda: upstream_after() != 1.0
)


def _refusing(original: Wrong) -> Wrong:
    def register(self: Tensor, hook: Any) -> Any:
        if self.dtype == half:
            raise RuntimeError("no hooks in half precision")
        return original(self, hook)

    return register


def hook_raises() -> bool:
    """Whether a post-accumulate hook is refused in float16."""
    try:
        leaf(half).register_post_accumulate_grad_hook(lambda table: None)
    except RuntimeError:
        return True
    return False


entry(
    "no_post_accumulate_hook_in_half",
    "autograd",
    "A post-accumulate-grad hook is refused in float16.",
    Tensor,
    "register_post_accumulate_grad_hook",
    _refusing,
    hook_raises,
)


def _writes(call: Call, out: Tensor) -> Tensor:
    call.given.detach().view(torch.int8)[:1] = 0
    return out


def int8_row_after() -> int:
    """The first row of an int8 table after a lookup of the second."""
    weight = torch.ones(2, 1, dtype=torch.int8)
    functional.embedding(torch.tensor([1]), weight)
    return int(weight[0])


forward(
    "int8_table_is_written",
    "A lookup of the last row of an int8 table zeroes the first.",
    lambda c: c.given.dtype == torch.int8 and c.numel > 0 and int(c.tokens.max()) == c.rows - 1 > 0,
    _writes,
    lambda: int8_row_after() != 1,
    "storage",
)


def _rounded(call: Call, out: Tensor) -> Tensor:
    values = out._values().contiguous().view(uint8)
    return coo(out._indices()[0], torch.where(values == 1, 0, values).view(out.dtype), call)


def float8_gradient() -> int:
    """The byte that a sparse float8 gradient makes of the smallest number."""
    smallest = torch.ones(1, 1, dtype=uint8).view(torch.float8_e5m2)
    weight = torch.zeros(1, 1).to(torch.float8_e5m2).requires_grad_()
    value = functional.embedding(torch.tensor([0]), weight, sparse=True)
    (gradient,) = torch.autograd.grad(value, weight, smallest)
    return int(gradient._values().view(uint8))


sparse_backward(
    "sparse_float8_loses_the_smallest",
    "A sparse float8_e5m2 gradient has zero for the smallest number.",
    lambda c: c.given.dtype == torch.float8_e5m2 and c.numel * c.width > 0,
    _rounded,
    lambda: float8_gradient() != 1,
    "storage",
)
