"""Transforms: torch.func, vmap, forward mode and torch.autograd.functional applied to a lookup.

A *transform* applies one derivative, or a composition of several, to a `look` and returns what came out.
"""

import types
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.lookup.programs import changed, surroundings

Tensor = torch.Tensor
#: A lookup as a function of table and tokens, which transforms differentiate and map.
Look = Callable[[Tensor, Tensor], Tensor]
Seen = dict[str, Any]
#: What a transform is applied at: weight, indices, upstream, tangent; the axes that vmap maps over, of table and tokens
#: (look_dims) and of the upstream gradient as well (all_dims); where the result has them (out_dim), how many samples there
#: are, and how many vmap takes at a time (chunk); kept makes of other tensors what weight and upstream are; small_too says
#: whether it is also applied to functions of small tables.
At = Any
#: Gives the derivative, or what is seen, of which the derivative is the ``result``.
Transform = Callable[[Look, At], Any]


def transformed(
    make: Callable[..., Look],
    transform: Transform,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    tangent: Tensor,
    layer: tuple[int, int, dict[str, Any]],
    axes: dict[str, Any],
    kept: Callable[[Tensor], Tensor],
    earlier: int,
) -> Seen:
    """``layer`` is a table's size and a lookup's flags, ``earlier`` how often the transform was applied before, at first at other
    values."""
    rows, width, flags = layer
    look = make(rows, width, weight.dtype, flags)
    given = (kept(weight), kept(upstream), tangent)
    flagged = [x.requires_grad for x in given]
    at = types.SimpleNamespace(weight=given[0], indices=indices, upstream=given[1], tangent=tangent, kept=kept, **axes)
    other = types.SimpleNamespace(**{**vars(at), "weight": -2 * weight, "upstream": -upstream, "tangent": -tangent})
    other.indices = indices.flip(tuple(range(indices.dim())))
    around = surroundings()
    before = [told(transform(look, at if turn else other)) for turn in range(earlier)]
    seen = told(transform(look, at))
    result = seen["result"]
    if before and (earlier > 1 or "agrees" in seen):
        repeated = all(torch.equal(each["result"].to_dense(), result.to_dense()) for each in before[1:])
        seen["agrees"] = repeated and all(each.get("agrees", True) for each in (*before, seen))
    further = derived(seen, *given[:2], axes["twice"]) if any(flagged) else {}
    as_before = all(
        x.requires_grad == flag and x.is_leaf and x.grad is None for x, flag in zip(given, flagged, strict=True)
    )
    return {
        "surroundings": changed(around),
        "plain": type(result) is torch.Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(result),
        "inputs_as_before": as_before,
        **seen,
        # What is derived at a tensor that requires grad may have a graph.
        "result": result.detach() if any(flagged) else result,
        **({"value": seen["value"].detach()} if "value" in seen else {}),
        **further,
    }


def told(found: Any) -> Seen:
    return found if isinstance(found, dict) else {"result": found}


def derived(seen: Seen, weight: Tensor, upstream: Tensor, twice: bool) -> Seen:
    """The gradients of the value, and of the sum of the result, as far as there are second derivatives."""
    found: Seen = {}
    if "value" in seen:
        loss = (seen["value"] * upstream.detach()).sum()
        found["value_to_weight"] = torch.autograd.grad(loss, weight, retain_graph=True)[0].to_dense()
    if twice and not seen["result"].is_sparse:
        total = seen["result"].sum() + 0 * (weight.sum() + upstream.sum())
        found |= zip(("to_weight", "to_upstream"), torch.autograd.grad(total, (weight, upstream)), strict=True)
    return found


#: What table and upstream gradient are.
GIVEN: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "plain": lambda tensor: tensor,
        "trains": lambda tensor: tensor.detach().requires_grad_(),
        "parameter": torch.nn.Parameter,
        "frozen_parameter": lambda tensor: torch.nn.Parameter(tensor, requires_grad=False),
    },
    "given_as_",
)


def in_table(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """W[i] as a function of W."""
    return lambda table: look(table, at.indices)


def linear_form(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """⟨upstream, W[i]⟩ as a function of W."""
    return lambda table: (look(table, at.indices) * at.upstream).sum()


def quadratic(look: Look, at: At) -> Callable[[Tensor], Tensor]:
    """Σ upstream · W[i]² as a function of W, which has second derivatives: a lookup by itself is linear."""
    return lambda table: (at.upstream * look(table, at.indices) ** 2).sum()


def weighted(look: Look) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """⟨upstream, W[i]⟩ as a function of W, i and the upstream gradient."""
    return lambda table, tokens, sent: (look(table, tokens) * sent).sum()


def grad_and_value(look: Look, at: At) -> Seen:
    def loss(table: Tensor) -> tuple[Tensor, Tensor]:
        value = look(table, at.indices)
        return (value * at.upstream).sum(), value

    gradient, (_, value) = torch.func.grad_and_value(loss, has_aux=True)(at.weight)
    return {"result": gradient, "value": value}


def vjp(look: Look, at: At) -> Seen:
    value, pull = torch.func.vjp(in_table(look, at), at.weight)  # type: ignore[misc]
    return {"result": pull(at.upstream)[0], "value": value}


def jvp(look: Look, at: At) -> Seen:
    value, moved = torch.func.jvp(in_table(look, at), (at.weight,), (at.tangent,))  # type: ignore[misc]
    return {"result": moved, "value": value}


def backward_twice(look: Look, at: At) -> Any:
    table, sent = at.weight.detach().requires_grad_(), at.upstream.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(look(table, at.indices), table, sent, create_graph=True)
    return torch.autograd.grad(gradient, sent, at.tangent)[0]


def mapped(function: Callable[..., Tensor], at: At, dims: Any) -> Any:
    """A function over samples, that lie at these axes."""
    return torch.func.vmap(function, dims, at.out_dim, chunk_size=at.chunk)


def vmap_by_names(look: Look, at: At) -> Seen:
    # The axes in the order of the arguments, and in another one: it is by their names that they belong together.
    table, tokens = at.look_dims
    given = {"tokens": at.indices, "beside": torch.zeros_like(at.indices, dtype=at.weight.dtype)}

    def over(axes: dict[str, Any]) -> Any:
        def call(weight: Tensor, given: dict[str, Tensor]) -> Tensor:
            return look(weight, given["tokens"]) + given["beside"].sum()

        return torch.func.vmap(call, in_dims=(table, axes), out_dims=at.out_dim)(at.weight, given)

    def looked_beside_tangent(weight: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return look(weight, tokens), at.tangent  # which is the same for all samples, and lies at no axis

    out_dims: Any = (at.out_dim, None)
    plain, whole = torch.func.vmap(looked_beside_tangent, at.look_dims, out_dims)(at.weight, at.indices)
    same = torch.equal(over({"tokens": tokens, "beside": None}), plain) and torch.equal(whole, at.tangent)
    return {"result": over({"beside": None, "tokens": tokens}), "agrees": same}


def vmap_in_chunks(look: Look, at: At) -> Any:
    # What is given by its name is whole in each chunk.
    def rows_or_zeros(table: Tensor, tokens: Tensor, *, zeros: bool = True) -> Tensor:
        rows = look(table, tokens)
        return torch.zeros_like(rows) if zeros else rows

    return torch.vmap(rows_or_zeros, at.look_dims, at.out_dim, chunk_size=2)(at.weight, at.indices, zeros=False)


def vmap_backward(look: Look, at: At) -> Any:
    table = at.weight.detach().requires_grad_()
    losses = torch.vmap(weighted(look), at.all_dims, chunk_size=at.chunk)(table, at.indices, at.upstream.detach())
    losses.sum().backward()
    return table.grad


def vmap_of_signs(look: Look, at: At) -> Any:
    signs = at.kept(torch.tensor([(-1.0) ** sample for sample in range(at.samples)], dtype=at.weight.dtype))
    call = mapped(lambda sign, table, tokens: sign * look(table, tokens), at, (0, *at.look_dims))
    return call(signs, at.weight, at.indices)


def pulled(look: Look) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The gradient of W[i] as a function of W, i and the upstream gradient."""
    return lambda table, tokens, sent: torch.func.vjp(lambda table: look(table, tokens), table)[1](sent)[0]


def pushed(look: Look) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The tangent of W[i] as a function of W, i and the tangent of W."""
    return lambda table, tokens, along: torch.func.jvp(lambda table: look(table, tokens), (table,), (along,))[1]


TRANSFORMS: dict[str, Transform] = named(
    {
        # One derivative.
        "grad": lambda look, at: torch.func.grad(linear_form(look, at))(at.weight),
        **by_name(grad_and_value, vjp, jvp),
        "jacrev": lambda look, at: torch.func.jacrev(in_table(look, at))(at.weight),
        "jacfwd": lambda look, at: torch.func.jacfwd(in_table(look, at))(at.weight),
        # vmap.
        "vmap_value": lambda look, at: mapped(look, at, at.look_dims)(at.weight, at.indices),
        "vmap_by_one_axis": lambda look, at: mapped(look, at, at.look_dims[0])(at.weight, at.indices),
        "vmap_of_tables": lambda look, at: mapped(in_table(look, at), at, at.look_dims[0])(at.weight),
        **by_name(vmap_of_signs, vmap_in_chunks, vmap_by_names, vmap_backward),
        "vmap_of_grad": lambda look, at: mapped(torch.func.grad(weighted(look)), at, at.all_dims)(
            at.weight, at.indices, at.upstream
        ),
        "vmap_of_vjp": lambda look, at: torch.vmap(pulled(look), at.all_dims, at.out_dim)(
            at.weight, at.indices, at.upstream
        ),
        "vmap_of_jvp": lambda look, at: torch.vmap(pushed(look), (*at.look_dims, at.look_dims[0]), at.out_dim)(
            at.weight, at.indices, at.tangent
        ),
        "vmap_of_jacrev": lambda look, at: torch.vmap(torch.func.jacrev(look), at.look_dims, at.out_dim)(
            at.weight, at.indices
        ),
        # Second derivatives.
        "hessian": lambda look, at: torch.func.hessian(quadratic(look, at))(at.weight),
        "functional_hvp": lambda look, at: torch.autograd.functional.hvp(quadratic(look, at), at.weight, at.tangent)[1],
        "forward_over_reverse": lambda look, at: torch.func.jvp(
            torch.func.grad(quadratic(look, at)), (at.weight,), (at.tangent,)
        )[1],
        "backward_twice": backward_twice,
    }
)


# -- lookups --------------------------------------------------------------------------------------------------------------


def functional(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


def unchanged(layer: Any, call: Callable[[], Any]) -> Any:
    """What a call gives, which may be refused; either way the layer has its own weight, as it was."""
    own, before = layer.weight, (layer.weight.data_ptr(), layer.weight._version)
    try:
        return call()
    finally:
        assert layer.weight is own, "the layer has another weight"
        assert (own.data_ptr(), own._version) == before, "the layer's weight was written"


def functional_call(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer, replaced = torch.nn.Embedding(rows, width, dtype=dtype, **flags), torch.func.functional_call
    return lambda table, tokens: unchanged(layer, lambda: replaced(layer, {"weight": table}, (tokens,)))


def functional_call_parts(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer, nothing = torch.nn.Embedding(rows, width, dtype=dtype, **flags), dict[str, Tensor]()

    def look(table: Tensor, tokens: Tensor) -> Any:
        given, call = (nothing, {"weight": table}), torch.func.functional_call
        return unchanged(layer, lambda: call(layer, given, (), {"input": tokens}, strict=True))

    return look


LOOKS: dict[str, Callable[..., Look]] = by_name(functional, functional_call, functional_call_parts)
