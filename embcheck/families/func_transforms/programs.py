"""Transforms: torch.func, vmap, forward mode and torch.autograd.functional applied to a lookup.

A *transform* applies one derivative, or a composition of several, to a `look` and returns what came out as ``result``.
They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.lookup.programs import surroundings

Tensor = torch.Tensor
#: A lookup as a function of table and tokens, which transforms differentiate and map.
Look = Callable[[Tensor, Tensor], Tensor]
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
def jvp(look: Look, at: At) -> Seen:
    value, moved = torch.func.jvp(lambda table: look(table, at.indices), (at.weight,), (at.tangent,))  # type: ignore[misc]
    return {"result": moved, "value": value}


# -- Jacobians -----------------------------------------------------------------------------------------------------


@transform
def jacrev(look: Look, at: At) -> Seen:
    return {"result": torch.func.jacrev(lambda table: look(table, at.indices))(at.weight)}


@transform
def jacfwd(look: Look, at: At) -> Seen:
    return {"result": torch.func.jacfwd(lambda table: look(table, at.indices))(at.weight)}


# -- vmap ----------------------------------------------------------------------------------------------------------


@transform
def vmap_value(look: Look, at: At) -> Seen:
    return {"result": torch.vmap(look, at.look_dims, at.out_dim)(at.weight, at.indices)}


@transform
def vmap_in_chunks(look: Look, at: At) -> Seen:
    mapped = torch.vmap(look, at.look_dims, at.out_dim, chunk_size=2)
    return {"result": mapped(at.weight, at.indices)}


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
def vmap_backward(look: Look, at: At) -> Seen:
    table = at.weight.detach().requires_grad_()
    losses = torch.vmap(weighted(look), at.all_dims)(table, at.indices, at.upstream)
    losses.sum().backward()
    return {"result": table.grad}


@transform
def vmap_of_grad(look: Look, at: At) -> Seen:
    mapped = torch.vmap(torch.func.grad(weighted(look)), at.all_dims, at.out_dim)
    return {"result": mapped(at.weight, at.indices, at.upstream)}


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


# -- second derivatives, of the quadratic form Σ upstream · W[i]² where a lookup by itself is linear ----------------------


def quadratic(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """Σ upstream · W[i]² as a function of W."""
    return lambda table: (at.upstream * look(table, at.indices) ** 2).sum()


@transform
def hessian(look: Look, at: At) -> Seen:
    return {"result": torch.func.hessian(quadratic(look, at))(at.weight)}


@transform
def functional_hvp(look: Look, at: At) -> Seen:
    product: Any = torch.autograd.functional.hvp
    return {"result": product(quadratic(look, at), at.weight, at.tangent)[1]}


@transform
def forward_over_reverse(look: Look, at: At) -> Seen:
    gradient = torch.func.grad(quadratic(look, at))
    return {"result": torch.func.jvp(gradient, (at.weight,), (at.tangent,))[1]}


@transform
def backward_twice(look: Look, at: At) -> Seen:
    table, sent = at.weight.detach().requires_grad_(), at.upstream.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(look(table, at.indices), table, sent, create_graph=True)
    (result,) = torch.autograd.grad(gradient, sent, at.tangent)
    return {"result": result}


# -- lookups --------------------------------------------------------------------------------------------------------------

LOOKS: dict[str, Callable[..., Look]] = {}


_look = into(LOOKS)


@_look
def functional(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


class Unchanged:
    """What must hold after a call that may have been refused: the layer has its own weight, as it was."""

    def __init__(self, layer: torch.nn.Embedding) -> None:
        self.layer, self.own = layer, layer.weight
        self.before = layer.weight.data_ptr(), layer.weight._version

    def __enter__(self) -> None:
        pass

    def __exit__(self, *reason: object) -> None:
        assert self.layer.weight is self.own, "the layer has another weight"
        assert (self.own.data_ptr(), self.own._version) == self.before, "the layer's weight was written"


@_look
def functional_call(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer = torch.nn.Embedding(rows, width, dtype=dtype, **flags)

    def look(table: Tensor, tokens: Tensor) -> Tensor:
        with Unchanged(layer):
            found: Tensor = torch.func.functional_call(layer, {"weight": table}, (tokens,))
            return found

    return look


@_look
def functional_call_parts(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer = torch.nn.Embedding(rows, width, dtype=dtype, **flags)
    nothing: dict[str, Tensor] = {}

    def look(table: Tensor, tokens: Tensor) -> Tensor:
        with Unchanged(layer):
            given = (nothing, {"weight": table})
            found: Tensor = torch.func.functional_call(layer, given, (), {"input": tokens}, strict=True)
            return found

    return look
