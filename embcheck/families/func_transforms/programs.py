"""Transforms: torch.func, vmap, forward mode and torch.autograd.functional applied to a lookup.

A *transform* applies one derivative, or a composition of several, to a `look` and returns what came out as ``result``.
They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.func_transforms.call_variants import Look
from embcheck.families.lookup.programs import surroundings

Tensor = torch.Tensor
Seen = dict[str, Any]
#: What a transform is applied at: weight, indices, upstream, tangent; the axes that vmap maps over, of table and tokens
#: (look_dims) and of the upstream gradient as well (all_dims); and where the result has them (out_dim).
At = Any
Transform = Callable[[Look, At], Seen]

TRANSFORMS: dict[str, Transform] = {}


def transformed(
    make: Callable[..., Look],
    transform: Transform,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    tangent: Tensor,
    rows: int,
    width: int,
    flags: dict[str, Any],
    dims: tuple[int | None, ...],
    out_dim: int,
) -> Seen:
    look = make(rows, width, weight.dtype, flags)
    at = types.SimpleNamespace(weight=weight, indices=indices, upstream=upstream, tangent=tangent)
    at.all_dims, at.look_dims, at.out_dim = dims, dims[:2], out_dim
    around = surroundings()
    seen = transform(look, at)
    result = seen["result"]
    return {
        "surroundings": surroundings() == around,
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        "inputs_as_before": not any(x.requires_grad or x.grad_fn is not None for x in (weight, upstream, tangent)),
        **seen,
    }


def linear_form(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """⟨upstream, W[i]⟩ as a function of W."""
    return lambda table: (look(table, at.indices) * at.upstream).sum()


def weighted(look: Look) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """⟨upstream, W[i]⟩ as a function of W, i and the upstream gradient."""
    return lambda table, tokens, sent: (look(table, tokens) * sent).sum()


def transform(function: Transform) -> Transform:
    """Registers a transform."""
    TRANSFORMS[function.__name__] = function
    return function


# -- one derivative ------------------------------------------------------------------------------------------------


@transform
def grad(look: Look, at: At) -> Seen:
    return {"result": torch.func.grad(linear_form(look, at))(at.weight)}


@transform
def grad_of_second(look: Look, at: At) -> Seen:
    gradients = torch.func.grad(lambda sent, table: (look(table, at.indices) * sent).sum(), argnums=(1, 0))
    to_table, to_upstream = gradients(at.upstream, at.weight)
    return {"result": to_table, "value": to_upstream}


@transform
def grad_and_value(look: Look, at: At) -> Seen:
    def loss(table: Tensor) -> tuple[Tensor, Tensor]:
        value = look(table, at.indices)
        return (value * at.upstream).sum(), value

    gradient, (_, value) = torch.func.grad_and_value(loss, has_aux=True)(at.weight)
    return {"result": gradient, "value": value}


@transform
def vjp(look: Look, at: At) -> Seen:
    value, pull = torch.func.vjp(lambda table: look(table, at.indices), at.weight)  # type: ignore[misc]
    return {"result": pull(at.upstream)[0], "value": value}


@transform
def vjp_twice(look: Look, at: At) -> Seen:
    _, pull = torch.func.vjp(lambda table: look(table, at.indices), at.weight)  # type: ignore[misc]
    pull(torch.zeros_like(at.upstream))
    return {"result": pull(at.upstream)[0]}


@transform
def jvp(look: Look, at: At) -> Seen:
    value, moved = torch.func.jvp(lambda table: look(table, at.indices), (at.weight,), (at.tangent,))  # type: ignore[misc]
    return {"result": moved, "value": value}


@transform
def linearized(look: Look, at: At) -> Seen:
    value, push = torch.func.linearize(lambda table: look(table, at.indices), at.weight)
    return {"result": push(at.tangent), "value": value}


@transform
def dual(look: Look, at: At) -> Seen:
    with torch.autograd.forward_ad.dual_level():
        value = look(torch.autograd.forward_ad.make_dual(at.weight, at.tangent), at.indices)
        parts = torch.autograd.forward_ad.unpack_dual(value)
        return {"result": parts.tangent, "value": parts.primal}


@transform
def functional_vjp(look: Look, at: At) -> Seen:
    value, pulled = torch.autograd.functional.vjp(lambda table: look(table, at.indices), at.weight, at.upstream)
    return {"result": pulled, "value": value}


@transform
def functional_jvp(look: Look, at: At) -> Seen:
    value, moved = torch.autograd.functional.jvp(lambda table: look(table, at.indices), at.weight, at.tangent)
    return {"result": moved, "value": value}


@transform
def grads_batched(look: Look, at: At) -> Seen:
    table = at.weight.detach().requires_grad_()
    sent = torch.stack([at.upstream, torch.zeros_like(at.upstream), -at.upstream])
    (gradients,) = torch.autograd.grad(look(table, at.indices), table, sent, is_grads_batched=True)
    return {"result": gradients}


# -- Jacobians -----------------------------------------------------------------------------------------------------


@transform
def jacrev(look: Look, at: At) -> Seen:
    return {"result": torch.func.jacrev(lambda table: look(table, at.indices))(at.weight)}


@transform
def jacrev_in_chunks(look: Look, at: At) -> Seen:
    return {"result": torch.func.jacrev(lambda table: look(table, at.indices), chunk_size=2)(at.weight)}


@transform
def jacfwd(look: Look, at: At) -> Seen:
    return {"result": torch.func.jacfwd(lambda table: look(table, at.indices))(at.weight)}


@transform
def functional_jacobian(look: Look, at: At) -> Seen:
    return {"result": torch.autograd.functional.jacobian(lambda table: look(table, at.indices), at.weight)}


@transform
def functional_jacobian_vectorized(look: Look, at: At) -> Seen:
    jacobian: Any = torch.autograd.functional.jacobian
    return {"result": jacobian(lambda table: look(table, at.indices), at.weight, vectorize=True)}


@transform
def functional_jacobian_forward(look: Look, at: At) -> Seen:
    jacobian: Any = torch.autograd.functional.jacobian
    ahead = {"vectorize": True, "strategy": "forward-mode"}
    return {"result": jacobian(lambda table: look(table, at.indices), at.weight, **ahead)}


# -- vmap ----------------------------------------------------------------------------------------------------------


@transform
def vmap_value(look: Look, at: At) -> Seen:
    return {"result": torch.vmap(look, at.look_dims, at.out_dim)(at.weight, at.indices)}


@transform
def vmap_in_chunks(look: Look, at: At) -> Seen:
    mapped = torch.vmap(look, at.look_dims, at.out_dim, chunk_size=2)
    return {"result": mapped(at.weight, at.indices)}


@transform
def vmap_of_trees(look: Look, at: At) -> Seen:
    table, tokens = at.look_dims
    beside = torch.zeros(at.weight.shape[table] if table is not None else at.indices.shape[tokens])
    shapes: list[Any] = []

    def call(given: Any, unmapped: Any, each: Tensor) -> Tensor:
        shapes.extend([given["beside"].shape, unmapped[0].shape, each[None].expand_as(beside).shape])
        return look(given["table"], given["tokens"][0])

    given = {"table": at.weight, "tokens": [at.indices], "beside": beside}
    axes = {"table": table, "tokens": [tokens], "beside": None}
    result = torch.func.vmap(call, in_dims=(axes, [None], 0), out_dims=at.out_dim)(given, [beside], beside)
    return {"result": result, "agrees": shapes == [beside.shape] * 3}


@transform
def vmap_by_names(look: Look, at: At) -> Seen:
    # The axes in the order of the arguments, and in another one: it is by their names that they belong together.
    table, tokens = at.look_dims
    given = {"tokens": at.indices, "beside": torch.zeros_like(at.indices, dtype=at.weight.dtype)}

    def mapped(axes: dict[str, Any]) -> Any:
        def call(weight: Tensor, given: dict[str, Tensor]) -> Tensor:
            return look(weight, given["tokens"]) + given["beside"].sum()

        return torch.func.vmap(call, in_dims=(table, axes), out_dims=at.out_dim)(at.weight, given)

    plain = torch.func.vmap(look, at.look_dims, at.out_dim)(at.weight, at.indices)
    same = torch.equal(mapped({"tokens": tokens, "beside": None}), plain)
    return {"result": mapped({"beside": None, "tokens": tokens}), "agrees": same}


@transform
def vmap_nested(look: Look, at: At) -> Seen:
    mapped = torch.vmap(torch.vmap(look, (None, 0)), at.look_dims, at.out_dim)
    return {"result": mapped(at.weight, at.indices)}


@transform
def vmap_backward(look: Look, at: At) -> Seen:
    table = at.weight.detach().requires_grad_()
    losses = torch.vmap(weighted(look), at.all_dims)(table, at.indices, at.upstream)
    losses.sum().backward()
    return {"result": table.grad}


@transform
def grad_of_vmap(look: Look, at: At) -> Seen:
    losses = torch.vmap(weighted(look), at.all_dims)
    return {"result": torch.func.grad(lambda table: losses(table, at.indices, at.upstream).sum())(at.weight)}


@transform
def vmap_of_grad(look: Look, at: At) -> Seen:
    mapped = torch.vmap(torch.func.grad(weighted(look)), at.all_dims, at.out_dim)
    return {"result": mapped(at.weight, at.indices, at.upstream)}


@transform
def vmap_of_grad_nested(look: Look, at: At) -> Seen:
    inner = torch.vmap(torch.func.grad(weighted(look)), (None, 0, 0))
    return {"result": torch.vmap(inner, at.all_dims, at.out_dim)(at.weight, at.indices, at.upstream)}


@transform
def vmap_of_vjp(look: Look, at: At) -> Seen:
    def pulled(table: Tensor, tokens: Tensor, sent: Tensor) -> Tensor:
        _, pull = torch.func.vjp(lambda table: look(table, tokens), table)  # type: ignore[misc]
        found: Tensor = pull(sent)[0]
        return found

    return {"result": torch.vmap(pulled, at.all_dims, at.out_dim)(at.weight, at.indices, at.upstream)}


@transform
def vmap_of_jvp(look: Look, at: At) -> Seen:
    def pushed(table: Tensor, tokens: Tensor, along: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(lambda table: look(table, tokens), (table,), (along,))[1]
        return found

    axes = (*at.look_dims, at.look_dims[0])
    return {"result": torch.vmap(pushed, axes, at.out_dim)(at.weight, at.indices, at.tangent)}


@transform
def vmap_of_jacrev(look: Look, at: At) -> Seen:
    mapped = torch.vmap(torch.func.jacrev(look), at.look_dims, at.out_dim)
    return {"result": mapped(at.weight, at.indices)}
