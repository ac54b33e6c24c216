"""Derivatives by torch.autograd.functional, which differentiates backward passes."""

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


def blocks_of_both() -> bool:
    """Whether Jacobian and Hessian of W[i] x have blocks of both W and x: one_hot(i) xᵀ and W[i], Σ one_hot(i) and zeros."""
    functional, tokens = torch.autograd.functional, torch.tensor([2, 0, 2])
    both = torch.tensor([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]]), torch.tensor([7.0, -8.0])

    def scores(table: Tensor, vector: Tensor) -> Tensor:
        return torch.nn.functional.embedding(tokens, table) @ vector

    hot = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    due = [hot[..., None] * both[1], torch.tensor([[5.0, -6.0], [1.0, -2.0], [5.0, -6.0]])]
    mixed = hot.sum(0)[:, None, None] * torch.eye(2)
    second = [torch.zeros(3, 2, 3, 2), mixed, mixed.permute(2, 0, 1), torch.zeros(2, 2)]
    found: list[Any] = []
    for how in ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        found += functional.jacobian(scores, both, **how)
    found += [block for row in functional.hessian(lambda *given: scores(*given).sum(), both) for block in row]
    sent = torch.tensor([2.0, 3.0, -5.0])
    found += functional.vjp(scores, both, sent)[1]
    backward = [torch.tensordot(sent, block, 1) for block in due]
    return all(torch.equal(*pair) for pair in zip(found, due * 3 + second + backward, strict=True))


def graphs_of_both() -> bool:
    """Whether the Jacobians of W[i]² and W[i]³ are parts of a graph: the gradients of their sums are 2 and 6 W[i]."""
    table, token = torch.tensor([[1.0], [4.0]], requires_grad=True), torch.tensor([1])

    def powers(table: Tensor) -> tuple[Tensor, ...]:
        row = torch.nn.functional.embedding(token, table)
        return row**2, row**3

    found = torch.autograd.functional.jacobian(powers, table, create_graph=True)
    if not all(each.requires_grad for each in found):
        return False
    further = [torch.autograd.grad(each.sum(), table, retain_graph=True)[0].tolist() for each in found]
    return further == [[[0.0], [2.0]], [[0.0], [24.0]]]


def functional_jacobian(look: Look, at: At) -> Seen:
    # Row by row, and by vmap of all rows, which can't be of none; and of a function of a table and a vector.
    ways = [
        torch.autograd.functional.jacobian(in_table(look, at), at.weight, vectorize=vectorize)
        for vectorize in (False, True)[: 1 + (at.indices.numel() > 0)]
    ]
    small = blocks_of_both() and (not at.small_too or graphs_of_both())
    return {"result": ways[0], "agrees": agree(at, *ways) and small}


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
