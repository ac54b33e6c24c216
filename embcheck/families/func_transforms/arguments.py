"""How transforms are called: by which arguments they differentiate, in every spelling, and what they hand through.

Each program takes one derivative in several ways that must agree.
"""

from collections.abc import Sequence
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.func_transforms import programs
from embcheck.families.func_transforms.programs import At, Look, Seen, Tensor, in_table, linear_form
from embcheck.families.func_transforms.several import (
    linearized_in_both,
    refused_to_draw,
    rule_is_told_of_samples,
    takes_keywords,
    writes_to_given,
)

#: How arguments are given: how many, which of them argnums name, and whether more is handed through.  One is the table, two
#: are upstream gradient and table, and a third changes nothing.
SPELLED: tuple[tuple[int, Any, bool], ...] = tuple(
    (count, argnums, aux)
    for count, every in (
        (1, (0, -1, (0,))),
        (2, (1, -1, (0, 1), (1, 0), (1,), 0, -2)),
        (3, (1, -2, (0, 1, 2), (2, 1), 0, -3, 2)),
    )
    for argnums in every
    for aux in (False, True)
)
#: So many of them are called in a case.
_CALLED = 6


def agree(at: At, *ways: Any, lie: bool = False) -> bool:
    """Whether all are the same tensor, as numbers and in kind, with the same gradients by what requires grad; and whether they
    ``lie`` alike."""
    dense = [way.to_dense() for way in ways]
    sums = [] if any(way.is_sparse for way in ways) else [gradients(at, way) for way in ways]
    lying = [each.is_contiguous() for each in dense if lie]
    return (
        all(
            type(a) is type(b) and a.dtype == b.dtype and a.layout == b.layout and torch.equal(x, dense[0])
            for a, b, x in zip(ways, (ways[0],) * len(ways), dense, strict=True)
        )
        and all(torch.equal(a, b) for found in sums for a, b in zip(found, sums[0], strict=True))
        and lying == lying[:1] * len(lying)
    )


def lie_alike(*every: Sequence[Tensor]) -> bool:
    """Whether of each of several the tensors lie alike, for all of one column there is more than one way."""
    wide = [ways for ways in every if ways and ways[0].shape[-1:] > (1,)]
    return all(len({way.is_contiguous() for way in ways}) == 1 for ways in wide)


def gradients(at: At, way: Tensor) -> list[Tensor]:
    """The gradients of a sum by table and upstream gradient, if these require grad and are ``twice`` derived exactly."""
    leaves = [leaf for leaf in (at.weight, at.upstream) if leaf.requires_grad and at.twice]
    if not (way.requires_grad and leaves):
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(way.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [each.to_dense() for each in found]


def spellings(at: At, *, aux: bool = True, negative: bool = True) -> list[tuple[int, Any, bool]]:
    """Some of the ways to give arguments, from a turn on, the last by both in the other order: without aux where there is none,
    nor argnums from the end."""
    fit = [(n, k, a) for n, k, a in SPELLED if (aux or not a) and (negative or isinstance(k, tuple) or k >= 0)]
    if not at.upstream.numel():  # by nothing jacfwd has no tangents: see the ledger
        fit = [(n, k, a) for n, k, a in fit if n == 1 or k in (1, (1,))]
    last = [(n, k, a) for n, k, a in fit if n == 2 and k == (1, 0)] or fit
    return [*(fit[(at.turn + 5 * k) % len(fit)] for k in range(_CALLED - 1)), last[at.turn % len(last)]]


def asked(
    function: Any, look: Look, at: At, count: int, aux: bool, *, large: bool = False
) -> tuple[Any, tuple[Tensor, ...]]:
    """A function of upstream gradient and table as one of so many arguments, and these, the third perhaps a large one."""

    def call(*given: Tensor) -> Any:
        sent, table = (at.upstream, *given) if count == 1 else given[:2]
        found = function(sent, table)
        return (found, look(table, at.indices)) if aux else found

    more = at.tangent.new_zeros(1100) if large else torch.zeros_like(at.tangent)
    return call, (at.weight,) if count == 1 else (at.upstream, at.weight, more)[:count]


def spelled(transform: Any, function: Any, look: Look, at: At, count: int, argnums: Any, aux: bool) -> Any:
    """What a transform of a function finds by the arguments' names, and what it finds beside."""
    derived = argnums if isinstance(argnums, tuple) else (argnums,)
    call, given = asked(function, look, at, count, aux, large=at.turn % 2 == 1 and not {2, -1} & {*derived})
    names = ("table",) if count == 1 else ("upstream", "table", "more")[:count]
    found = transform(call, argnums=argnums, has_aux=True)(*given) if aux else transform(call, argnums)(*given)
    found, beside = found if aux or transform is torch.func.grad_and_value else (found, None)
    parts = [(argnums, found)] if isinstance(argnums, int) else zip(argnums, found, strict=True)
    return [(names[k], part) for k, part in parts], beside


def grad_by_arguments(look: Look, at: At) -> Seen:
    def loss(sent: Tensor, table: Tensor) -> Tensor:
        return (look(table, at.indices) * sent).sum()

    leaves = [x if x.requires_grad else x.detach().requires_grad_() for x in (at.upstream, at.weight)]
    to_upstream, to_table = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    seen = {"upstream": [to_upstream], "table": [to_table], "more": [torch.zeros_like(at.tangent)]}
    seen |= {"loss": [loss(at.upstream, at.weight)], "value": [look(at.weight, at.indices)]}
    for way in spellings(at):
        for transform in (torch.func.grad, torch.func.grad_and_value):
            parts, beside = spelled(transform, loss, look, at, *way)
            for name, part in parts:
                seen[name].append(part)
            if transform is torch.func.grad_and_value:
                total, beside = beside if way[2] else (beside, None)
                seen["loss"].append(total)
            seen["value"] += [beside] if way[2] else []
    by_name = torch.func.grad(lambda given: loss(given["upstream"], given["table"]))(
        {"upstream": at.upstream, "table": at.weight}
    )
    for name, part in by_name.items():
        seen[name].append(part)
    for transform in (torch.func.grad, torch.func.grad_and_value):
        found = transform(lambda table, sent=-at.upstream: loss(sent, table))(at.weight, sent=at.upstream)
        seen["table"].append(found[0] if isinstance(found, tuple) else found)
    result = torch.func.grad(loss, argnums=1)(at.upstream, at.weight)
    same = all(agree(at, *ways, lie=True) for ways in seen.values())
    return {"result": result, "value": seen["value"][-1], "agrees": same}


def looked_beside(look: Look, at: At) -> Any:
    """W[i] as a function of another argument and W."""
    return lambda beside, table: look(table, at.indices) + 0 * beside


def by_arguments(jacobian: Any, look: Look, at: At, *, negative: bool) -> Seen:
    """A Jacobian by the second of two arguments, and those of upstream · W[i] by what argnums name in several ways."""
    result = jacobian(looked_beside(look, at), 1)(at.upstream, at.weight)
    value = look(at.weight, at.indices)
    seen = {"table": [result * at.upstream[..., None, None]], "value": [value]}
    seen |= {"upstream": [torch.diag(value.flatten()).reshape(2 * value.shape)]}
    seen |= {"more": [torch.zeros((*value.shape, *at.tangent.shape), dtype=value.dtype)]}
    for way in spellings(at, negative=negative):
        parts, beside = spelled(jacobian, lambda sent, table: look(table, at.indices) * sent, look, at, *way)
        for name, part in (*parts, *([("value", beside)] if way[2] else [])):
            seen[name].append(part)
    # The first of each are products.
    own = [ways[1:] for ways in seen.values()] + [[result, *seen["table"][1:]]]
    same = all(agree(at, *ways) for ways in seen.values()) and lie_alike(*own)
    return {"result": result, "value": seen["value"][-1], "agrees": same}


def in_chunks(at: At) -> Any:
    """jacrev that takes all elements of the output together but the last, or of an odd number each by itself."""
    count = at.indices.numel() * at.weight.shape[1]
    most = None if count < 2 else 1 if count % 2 else count - 1
    return lambda *given, **named: torch.func.jacrev(*given, chunk_size=most, **named)


def apart(jacobian: Any, **flags: Any) -> bool:
    """Whether it gives the Jacobians of each of two results."""
    both = jacobian(lambda given: (1 * given, 2 * given), **flags)(torch.arange(3.0))
    return all(torch.equal(found, factor * torch.eye(3)) for factor, found in zip((1, 2), both, strict=True))


def jacrev_by_arguments(look: Look, at: At) -> Seen:
    seen = by_arguments(in_chunks(at), look, at, negative=True)
    return seen | {"agrees": seen["agrees"] and apart(torch.func.jacrev, chunk_size=2)}


def jacfwd_by_arguments(look: Look, at: At) -> Seen:
    seen = by_arguments(torch.func.jacfwd, look, at, negative=False)
    return seen | {"agrees": seen["agrees"] and (not at.small_too or apart(torch.func.jacfwd))}


def hessian_by_arguments(look: Look, at: At) -> Seen:
    def loss(sent: Tensor, table: Tensor) -> Tensor:
        return (sent * look(table, at.indices) ** 2).sum()

    result = torch.func.hessian(loss, 1)(at.upstream, at.weight)
    if not at.twice:
        return {"result": result, "agrees": True}
    found = {
        name: [torch.func.jacrev(torch.func.grad(loss, 1), place)(at.upstream, at.weight)]
        for place, name in enumerate(("upstream", "table"))
    }
    by_name: Any = torch.func.hessian(lambda given: loss(given["upstream"], given["table"]))(
        {"upstream": at.upstream, "table": at.weight}
    )
    found["table"] += [result, by_name["table"]["table"]]
    # Of argnums from the end it asks jacfwd, as jacfwd_from_the_end does.
    for count, argnums, _ in spellings(at, aux=False, negative=False):
        parts, _ = spelled(torch.func.hessian, loss, look, at, count, argnums, False)
        names = [name for name, _ in parts]
        for name, row in parts:
            if name == "table":
                for other, block in zip(names, [row] if isinstance(argnums, int) else row, strict=True):
                    found.setdefault(other, []).append(block)
    # The first of each is a Jacobian of a gradient, and lies in its own way.
    same = all(agree(at, *ways) for ways in found.values()) and lie_alike(*(ways[1:] for ways in found.values()))
    return {"result": result, "agrees": same}


def turned(at: At) -> list[tuple[int, bool]]:
    """How many arguments there are and whether more is handed through, from a turn on."""
    every = [(count, aux) for count in (1, 2, 3) for aux in (False, True)]
    return every[at.turn % 6 :] + every[: at.turn % 6]


def vjp_by_arguments(look: Look, at: At) -> Seen:
    def product(sent: Tensor, table: Tensor) -> Tensor:
        return look(table, at.indices) * sent

    value, ones = look(at.weight, at.indices), torch.ones_like(at.upstream)
    seen, tables = {"made": [product(at.upstream, at.weight)], "value": [value]}, list[Tensor]()
    for count, aux in turned(at):
        call, given = asked(product, look, at, count, aux)
        made, pull, *beside = torch.func.vjp(call, *given, has_aux=aux)
        tables += [pull(ones)[0 if count == 1 else 1] for _ in range(2)]
        seen["made"].append(made)
        seen["value"] += [*beside, *([pull(ones)[0]] if count > 1 else [])]

    # Of two results, to each of which something else is sent.
    def negated_beside(table: Tensor) -> tuple[Tensor, Tensor]:
        rows = look(table, at.indices)
        return -at.upstream * rows, rows

    pull = torch.func.vjp(negated_beside, at.weight)[1]
    both = agree(at, pull((ones, 2 * at.upstream))[0], tables[0])
    same = both and agree(at, *seen["value"]) and all(agree(at, *ways, lie=True) for ways in (seen["made"], tables))
    return {"result": tables[0], "value": seen["value"][1], "agrees": same}


def jvp_by_arguments(look: Look, at: At) -> Seen:
    def product(sent: Tensor, table: Tensor) -> Tensor:
        return look(table, at.indices) * sent

    looked, moved = look(at.weight, at.indices), look(at.tangent, at.indices)
    seen = {"made": [product(at.upstream, at.weight)], "moved": [moved * at.upstream], "value": [looked]}
    for count, aux in turned(at):
        call, given = asked(product, look, at, count, aux)
        along = (at.tangent,) if count == 1 else (torch.zeros_like(at.upstream), at.tangent, at.tangent)[:count]
        made, pushed, *beside = torch.func.jvp(call, given, along, has_aux=aux)
        for name, each in (("made", made), ("moved", pushed), *(("value", other) for other in beside)):
            seen[name].append(each)
    by_name, moving = (
        {"sent": at.upstream, "table": at.weight},
        {"sent": torch.zeros_like(at.upstream), "table": at.tangent},
    )
    seen["moved"].append(torch.func.jvp(lambda given: product(**given), (by_name,), (moving,))[1])
    result = torch.func.jvp(lambda table: look(table, at.indices), (at.weight,), (at.tangent,))[1]
    same = all(agree(at, *ways, lie=True) for ways in seen.values())
    return {"result": result, "value": seen["value"][1], "agrees": same}


def stacked_layers(look: Look, at: At) -> Seen:
    rows, width = at.weight.shape
    tables = (at.weight, at.tangent, -at.weight, -at.tangent, at.weight)[: at.samples]
    layers = [torch.nn.Embedding(rows, width, _weight=table.detach().clone()) for table in tables]
    for layer, table in zip(layers, tables, strict=True):
        layer.register_buffer("seen", table.detach().clone())
        layer.register_parameter("beside", torch.nn.Parameter(-table.detach(), requires_grad=False))
        layer.tied = layer.weight
    parameters, buffers = torch.func.stack_module_state(layers)

    def call(given: dict[str, Tensor], tokens: Tensor) -> Any:
        return torch.func.functional_call(layers[0], (given, buffers), (tokens,))

    result = torch.vmap(call, (0, None))(parameters, at.indices).detach()
    due = {"weight": torch.stack(tables), "beside": -torch.stack(tables)}
    stacked = list(parameters) == list(due) and all(each.is_leaf for each in parameters.values())
    stacked = stacked and all(torch.equal(parameters[name], each) for name, each in due.items())
    stacked = stacked and torch.equal(buffers["seen"], due["weight"])
    calls = writes_to_given() and (not at.small_too or takes_keywords())
    learn = [each.requires_grad for each in parameters.values()] == [True, False]
    alone, _ = torch.func.stack_module_state(layers[:1])
    with torch.no_grad():
        for each in (*parameters.values(), *alone.values()):
            each.fill_(7)  # which changes no layer
    own = all(agree(at, layer.weight.detach(), table.detach()) for layer, table in zip(layers, tables, strict=True))
    return {"result": result, "agrees": own and stacked and learn and calls}


def linearized(look: Look, at: At) -> Seen:
    value, push = torch.func.linearize(lambda table: look(table, at.indices), at.weight)
    first, result = push(-at.tangent), push(at.tangent)
    both = at.turn % 16 != 1 or linearized_in_both()  # which is traced, and takes longer than the lookup
    return {"result": result, "value": value, "agrees": both and agree(at, result, -first)}


def functionalized(look: Look, at: At) -> Any:
    def loss(table: Tensor) -> Tensor:
        rows = look(table, at.indices).clone()
        return rows.mul_(at.upstream).sum()

    return torch.func.functionalize(torch.func.grad(loss))(at.weight)


def without_grad_mode(look: Look, at: At) -> Seen:
    # Outer no_grad is none of a transform's business.
    loss, looked_up = linear_form(look, at), in_table(look, at)
    with torch.no_grad():
        result, (beside, _) = torch.func.grad(loss)(at.weight), torch.func.grad_and_value(loss)(at.weight)
        pulled = torch.func.vjp(looked_up, at.weight)[1](at.upstream)[0]
    return {"result": result, "agrees": agree(at, result, beside, pulled)}


def vmap_with_randomness(look: Look, at: At) -> Seen:
    # One row of random numbers for all samples, or one for each.
    def drawn(table: Tensor, tokens: Tensor) -> Any:
        return look(table, tokens), torch.rand(4)

    def mapped(randomness: str) -> Any:
        how: dict[str, Any] = {"randomness": randomness, "chunk_size": at.chunk}
        return torch.vmap(drawn, at.look_dims, (at.out_dim, 0), **how)(at.weight, at.indices)

    with torch.random.fork_rng(devices=[]):
        (result, same), (other, different), asked = mapped("same"), mapped("different"), refused_to_draw()
    drawn_rows = [len(numbers.unique(dim=0)) for numbers in (same, different)]
    same_rows = agree(at, result, other) and (not at.small_too or rule_is_told_of_samples())
    return {"result": result, "agrees": same_rows, "drawn_rows": drawn_rows, "refused_to_draw": asked}


TRANSFORMS = programs.TRANSFORMS | named(
    {
        **by_name(grad_by_arguments, jacrev_by_arguments, jacfwd_by_arguments),
        "jacfwd_from_the_end": lambda look, at: torch.func.jacfwd(looked_beside(look, at), argnums=-1)(
            at.upstream, at.weight
        ),
        **by_name(hessian_by_arguments, vjp_by_arguments, jvp_by_arguments, stacked_layers),
        "linearize": linearized,
        "functionalize": functionalized,
        **by_name(without_grad_mode, vmap_with_randomness),
    }
)
