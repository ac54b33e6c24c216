"""Derivatives of derivatives of a lookup: Hessians, Hessian-vector products, and each mode over each other.

A lookup is linear in its table, so what is differentiated twice is the quadratic form Σ upstream · W[i]².
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.func_transforms.call_variants import Look
from embcheck.families.func_transforms.programs import At, Seen, Tensor, transform


def quadratic(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """Σ upstream · W[i]² as a function of W."""
    return lambda table: (at.upstream * look(table, at.indices) ** 2).sum()


@transform
def hessian(look: Look, at: At) -> Seen:
    return {"result": torch.func.hessian(quadratic(look, at))(at.weight)}


@transform
def jacrev_of_grad(look: Look, at: At) -> Seen:
    gradient = torch.func.grad(quadratic(look, at))
    return {"result": torch.func.jacrev(gradient)(at.weight)}


@transform
def functional_hessian(look: Look, at: At) -> Seen:
    return {"result": torch.autograd.functional.hessian(quadratic(look, at), at.weight)}


@transform
def functional_hvp(look: Look, at: At) -> Seen:
    product: Any = torch.autograd.functional.hvp
    return {"result": product(quadratic(look, at), at.weight, at.tangent)[1]}


@transform
def functional_vhp(look: Look, at: At) -> Seen:
    product: Any = torch.autograd.functional.vhp
    return {"result": product(quadratic(look, at), at.weight, at.tangent)[1]}


@transform
def forward_over_reverse(look: Look, at: At) -> Seen:
    gradient = torch.func.grad(quadratic(look, at))
    return {"result": torch.func.jvp(gradient, (at.weight,), (at.tangent,))[1]}


@transform
def reverse_over_forward(look: Look, at: At) -> Seen:
    def slope(table: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(quadratic(look, at), (table,), (at.tangent,))[1]
        return found

    return {"result": torch.func.grad(slope)(at.weight)}


@transform
def reverse_over_reverse(look: Look, at: At) -> Seen:
    gradient = torch.func.grad(quadratic(look, at))
    _, pull = torch.func.vjp(gradient, at.weight)  # type: ignore[misc]
    return {"result": pull(at.tangent)[0]}


@transform
def forward_over_forward(look: Look, at: At) -> Seen:
    def slope(table: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(lambda x: at.upstream * look(x, at.indices) ** 2, (table,), (at.tangent,))[1]
        return found

    return {"result": torch.func.jvp(slope, (at.weight,), (at.tangent.sign(),))[1]}


@transform
def dual_upstream(look: Look, at: At) -> Seen:
    table = at.weight.detach().requires_grad_()
    value = look(table, at.indices)
    with torch.autograd.forward_ad.dual_level():
        sent = torch.autograd.forward_ad.make_dual(torch.zeros_like(at.upstream), at.upstream)
        (gradient,) = torch.autograd.grad(value, table, sent)
        return {"result": torch.autograd.forward_ad.unpack_dual(gradient).tangent}


@transform
def backward_twice(look: Look, at: At) -> Seen:
    table, sent = at.weight.detach().requires_grad_(), at.upstream.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(look(table, at.indices), table, sent, create_graph=True)
    (result,) = torch.autograd.grad(gradient, sent, at.tangent)
    return {"result": result}


@transform
def backward_thrice(look: Look, at: At) -> Seen:
    table, sent = at.weight.detach().requires_grad_(), torch.zeros_like(at.upstream).requires_grad_()
    along = at.tangent.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(look(table, at.indices), table, sent, create_graph=True)
    (gathered,) = torch.autograd.grad(gradient, sent, along, create_graph=True)
    (result,) = torch.autograd.grad(gathered, along, at.upstream)
    return {"result": result}
