"""Derivatives by torch.autograd.functional, which differentiates backward passes."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.func_transforms import arguments
from embcheck.families.func_transforms.arguments import agree
from embcheck.families.func_transforms.programs import At, Look, Seen, Tensor, in_table, quadratic


def functional_product(product: Any, transposed: Any, look: Look, at: At, along: Tensor, across: Tensor) -> Seen:
    # Without create_graph nothing that it gives is part of a graph; with it the derivative by a vector is the transposed product.
    function, leaf = in_table(look, at), along.detach().requires_grad_()
    value, result = product(function, at.weight, along)
    plain = torch.equal(value, look(at.weight, at.indices)) and not value.requires_grad and not result.requires_grad
    if not at.indices.numel():  # whose double backward raises: see the ledger
        return {"result": result, "agrees": plain}
    _, differentiable = product(function, at.weight, leaf, create_graph=True)
    (back,) = torch.autograd.grad(differentiable, leaf, across)
    same = torch.equal(differentiable, result) and agree(at, back, transposed(function, at.weight, across)[1])
    return {"result": result, "agrees": plain and same}


def functional_jacobian(look: Look, at: At) -> Seen:
    # Row by row, and by vmap of all rows, which can't be of none.
    ways = [
        torch.autograd.functional.jacobian(in_table(look, at), at.weight, vectorize=vectorize)
        for vectorize in (False, True)[: 1 + (at.indices.numel() > 0)]
    ]
    return {"result": ways[0], "agrees": agree(at, *ways)}


TRANSFORMS = arguments.TRANSFORMS | named(
    {
        "functional_vjp": lambda look, at: functional_product(
            torch.autograd.functional.vjp, torch.autograd.functional.jvp, look, at, at.upstream, at.tangent
        ),
        "functional_jvp": lambda look, at: functional_product(
            torch.autograd.functional.jvp, torch.autograd.functional.vjp, look, at, at.tangent, at.upstream
        ),
        "functional_jacobian": functional_jacobian,
        "functional_vhp": lambda look, at: torch.autograd.functional.vhp(quadratic(look, at), at.weight, at.tangent)[1],
    }
)
