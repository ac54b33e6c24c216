"""Faults of the derivatives of F.embedding_bag: hooks, graphs, transforms, and tokens that no bag holds."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.bag_entries import Call, after, call_fault, late, learning
from selfcheck.faults.bags import Given
from selfcheck.faults.entry import functional
from selfcheck.faults.kernels import Tensor

call_fault(
    "bage_hooks_fire_in_forward", "A table's hooks are called in forward, too.",
    lambda original, g: (original(**g), [h(torch.zeros(1)) for h in (g["weight"]._backward_hooks or {}).values()])[0],
)  # fmt: skip
call_fault(
    "bage_hook_sees_twice_the_gradient", "A hook on a sum sees twice the gradient.",
    after(lambda g: g["mode"] == "sum" and learning(g), lambda out, g: doubled_before(out)),
)  # fmt: skip
call_fault(
    "bage_tangent_is_zero", "Forward mode gives a tangent of 0.",
    lambda original, g: without_tangent(original, g),
)  # fmt: skip
call_fault(
    "bage_late_padding_has_gradient", "Padding behind the last offset gets a gradient.",
    after(lambda g: late(g) > 0 and learning(g) and g["weight"].requires_grad and len(g["offsets"]) > 1,
          lambda out, g: out + 0 * out.detach() + late_rows(g)),
)  # fmt: skip
call_fault(
    "bage_late_weight_has_gradient", "Weights of padding behind the last offset get a gradient.",
    after(lambda g: late(g) > 0 and learning(g) and g.get("per_sample_weights") is not None,
          lambda out, g: out + late_weight(g["per_sample_weights"])),
)  # fmt: skip


class Halved(torch.autograd.Function):
    """The identity, whose gradient is halved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] / 2


def doubled_before(out: Tensor) -> Tensor:
    """The output whose hooks see twice the gradient that passes."""
    if torch._C._functorch.peek_interpreter_stack() is not None or not out.requires_grad:
        return out
    found: Tensor = Halved.apply(out)  # type: ignore[no-untyped-call]
    found.register_hook(lambda grad: 2 * grad)
    return found


def without_tangent(original: Call, given: Given) -> Any:
    """The value of the primals, in forward mode without a graph."""
    if torch.autograd.forward_ad._current_level < 0:
        return original(**given)
    primal, tangent = torch.autograd.forward_ad.unpack_dual(given["weight"])
    if tangent is None:
        return original(**given)
    out = original(**given | {"weight": primal})
    return torch.autograd.forward_ad.make_dual(out, torch.zeros_like(out))


def tangent() -> float | None:
    """The tangent of a sum; None where it is refused."""
    weight = torch.ones(1, 1)
    try:
        pair = torch.func.jvp(
            lambda w: functional.embedding_bag(torch.tensor([[0]]), w, mode="sum"), (weight,), (weight,)
        )
    except NotImplementedError:
        return None
    return float(pair[1])


def late_rows(given: Given) -> Tensor:
    """0, whose derivative by the row of the last token is 1 where that is padding."""
    padding, weight = given.get("padding_idx"), given["weight"]
    row = weight[int(given["input"][-1])].sum()
    hit = padding is not None and int(given["input"][-1]) == padding % len(weight)
    return (row - row.detach()) * float(hit) if hit else torch.zeros((), dtype=weight.dtype)


def late_weight(samples: Tensor) -> Tensor:
    """0, whose derivative by the last weight is 1."""
    return samples[-1] - samples[-1].detach()
