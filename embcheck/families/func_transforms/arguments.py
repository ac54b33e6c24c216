"""How transforms are called: by which arguments they differentiate, in every spelling, and what they hand through.

Each program takes one derivative in several ways that must agree.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.func_transforms import programs
from embcheck.families.func_transforms.programs import At, Look, Seen, Tensor


def agree(*ways: Any) -> bool:
    """Whether all are the same tensor, as numbers and in kind."""
    dense = [way.to_dense() for way in ways]
    return all(
        type(a) is type(b) and a.dtype == b.dtype and a.layout == b.layout and torch.equal(x, dense[0])
        for a, b, x in zip(ways, (ways[0],) * len(ways), dense, strict=True)
    )


def grad_by_arguments(look: Look, at: At) -> Seen:
    def loss(sent: Tensor, table: Tensor, more: Tensor) -> Tensor:
        return (look(table, at.indices) * sent).sum() + (more * 0).sum()

    def valued(sent: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        value = look(table, at.indices)
        return (value * sent).sum(), value

    grad, beside, given = torch.func.grad, torch.func.grad_and_value, (at.upstream, at.weight, at.tangent)
    to_table = [grad(loss, argnums)(*given) for argnums in (1, -2)]
    to_table += [grad(loss, argnums=(0, 1))(*given)[1], beside(loss, argnums=1)(*given)[0]]
    to_table += [beside(valued, argnums=(0, 1), has_aux=True)(*given[:2])[0][1]]
    to_upstream = [grad(loss)(*given), grad(loss, argnums=(1, 0))(*given)[1], grad(loss, argnums=-3)(*given)]
    gradient, value = grad(valued, argnums=-1, has_aux=True)(*given[:2])
    total = [loss(*given), beside(loss)(*given)[1], beside(loss, argnums=1)(*given)[1], beside(loss, (0, 1))(*given)[1]]
    same = agree(*to_table, gradient) and agree(*to_upstream) and agree(*total)
    return {"result": to_table[0], "value": value, "agrees": same}


def looked_beside(look: Look, at: At) -> Any:
    """W[i] as a function of another argument and W."""
    return lambda beside, table: look(table, at.indices) + 0 * beside


def by_arguments(jacobian: Any, look: Look, at: At, *last: int) -> Seen:
    """A Jacobian by the second of two arguments, which argnums name in several ways."""

    looked, given, nothing = looked_beside(look, at), (at.upstream, at.weight), torch.zeros_like(at.tangent)

    def twice(sent: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        return looked(sent, table), look(table, at.indices)

    ways = [jacobian(looked, argnums)(*given) for argnums in (1, *last)]
    ways += [jacobian(looked, argnums=(0, 1))(*given)[1], jacobian(looked, argnums=(1, 0))(*given)[0]]
    found, value = jacobian(twice, argnums=1, has_aux=True)(*given)
    ways += [found, jacobian(lambda sent, table, more: looked(sent, table) + 0 * more.sum(), 1)(*given, nothing)]
    return {"result": ways[0], "value": value, "agrees": agree(*ways)}


def hessian_by_arguments(look: Look, at: At) -> Seen:
    def loss(sent: Tensor, table: Tensor, *more: Tensor) -> Tensor:
        return (sent * look(table, at.indices) ** 2).sum() + sum((each * 0).sum() for each in more)

    hessian, given = torch.func.hessian, (at.upstream, at.weight)
    # Of -1 it asks jacfwd, as jacfwd_from_the_end does.
    ways = [hessian(loss, 1)(*given), hessian(loss, (0, 1))(*given)[1][1], hessian(loss, argnums=1)(*given, at.tangent)]
    return {"result": ways[0], "agrees": agree(*ways)}


def vjp_by_arguments(look: Look, at: At) -> Seen:
    def product(sent: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        return (look(table, at.indices) * sent).sum(), look(table, at.indices)

    one = torch.ones((), dtype=at.weight.dtype)
    total, pull, value = torch.func.vjp(product, at.upstream, at.weight, has_aux=True)  # type: ignore[misc]
    to_upstream, to_table = pull(one)
    again = pull(one)
    parts = torch.func.vjp(product, at.upstream, at.weight)[1]((one * 0, at.upstream))[1]
    more = torch.func.vjp(lambda *given: product(*given[:2])[0] + given[2].sum(), at.upstream, at.weight, at.tangent)[
        1
    ](one)
    same = agree(to_table, again[1], parts, more[1]) and agree(to_upstream, again[0], value, more[0])
    return {"result": to_table, "value": value, "agrees": same and agree(total, product(at.upstream, at.weight)[0])}


def jvp_by_arguments(look: Look, at: At) -> Seen:
    def looked(more: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        return look(table, at.indices) + more, look(table, at.indices)

    nothing = at.kept(torch.zeros_like(at.upstream))
    given, along = (nothing, at.weight), (at.upstream, at.tangent)
    value, moved, beside = torch.func.jvp(looked, given, along, has_aux=True)  # type: ignore[misc]
    both = torch.func.jvp(looked, given, along)[1]
    more = torch.func.jvp(lambda *given: looked(*given[:2])[0] + given[2].sum(), (*given, nothing), (*along, nothing))[
        1
    ]
    same = agree(moved, both[0], more) and agree(value, beside)
    return {"result": both[1], "value": value, "agrees": same and agree(moved - at.upstream, both[1])}


def stacked_layers(look: Look, at: At) -> Seen:
    rows, width = at.weight.shape
    tables = (at.weight, at.tangent, -at.weight, -at.tangent, at.weight)[: at.samples]
    layers = [torch.nn.Embedding(rows, width, _weight=table.detach().clone()) for table in tables]
    parameters, buffers = torch.func.stack_module_state(layers)

    def call(given: dict[str, Tensor], tokens: Tensor) -> Any:
        return torch.func.functional_call(layers[0], (given, buffers), (tokens,))

    result = torch.vmap(call, (0, None))(parameters, at.indices).detach()
    own = all(agree(layer.weight.detach(), table.detach()) for layer, table in zip(layers, tables, strict=True))
    return {"result": result, "agrees": own and parameters["weight"].is_leaf and parameters["weight"].requires_grad}


TRANSFORMS = programs.TRANSFORMS | named(
    {
        "grad_by_arguments": grad_by_arguments,
        "jacrev_by_arguments": lambda look, at: by_arguments(torch.func.jacrev, look, at, -1),
        "jacfwd_by_arguments": lambda look, at: by_arguments(torch.func.jacfwd, look, at),
        "jacfwd_from_the_end": lambda look, at: torch.func.jacfwd(looked_beside(look, at), argnums=-1)(
            at.upstream, at.weight
        ),
        "hessian_by_arguments": hessian_by_arguments,
        "vjp_by_arguments": vjp_by_arguments,
        "jvp_by_arguments": jvp_by_arguments,
        "stacked_layers": stacked_layers,
    }
)
