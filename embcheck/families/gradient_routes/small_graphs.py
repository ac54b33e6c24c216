"""Gradients of small graphs, whose numbers a law knows, for the routes that ask for them."""

import inspect
from typing import Any

import torch

from embcheck.families.lookup.programs import Tensor


def grads_of(*leaves: Tensor) -> list[Tensor]:
    """What each leaf has in .grad by now, zeros if it has nothing there."""
    return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad.clone() for leaf in leaves]


def written_in_place() -> Tensor:
    """The gradients of words, of their places and of a prompt that takes the place of the first word; the last is padding.

    A sum weights the parts of the rows, of one, one and two columns, by 1, 2 and 4."""
    words, places, prompt = (torch.ones(rows, 4, requires_grad=True) for rows in (3, 3, 1))
    tokens = torch.tensor([1, 2, 0])
    hidden = torch.nn.functional.embedding(tokens, words)
    hidden += places
    hidden[:1] = prompt
    hidden.masked_fill_(tokens[:, None] == 0, 0.0)
    query, key, value = hidden.split([1, 1, 2], -1)
    (query.sum() + 2 * key.sum() + 4 * value.sum()).backward()
    return torch.cat(grads_of(words, places, prompt))


def losses_of(table: Tensor, bias: Tensor) -> list[Tensor]:
    return [2 * table, 5 * table + 3 * bias]


def asked_for_inputs() -> dict[str, Tensor]:
    """The gradients of two losses, 2 t and 5 t + 3 b, by t and b: of both losses, and of the second for what is listed alone; where
    torch takes a dictionary, also by name."""
    table, bias = (torch.ones(1, requires_grad=True) for _ in range(2))
    torch.autograd.backward(losses_of(table, bias))
    found = grads_of(table, bias)
    found += torch.autograd.grad(losses_of(table, bias), [bias, table])
    losses_of(table, bias)[1].backward(inputs=bias)
    found += grads_of(table, bias)
    parts = torch.cat([table, bias]).split(1)
    found += torch.autograd.grad(2 * parts[0] + 7 * parts[1], torch.autograd.graph.get_gradient_edge(parts[1]))
    seen = {"small_grads": torch.cat(found)}
    if "dict" in str(inspect.signature(torch.autograd.grad)):  # since torch 2.13
        named: Any = {"table": table, "bias": bias}
        by_name: Any = torch.autograd.grad(losses_of(table, bias), named)
        losses_of(table, bias)[1].backward(inputs=named)
        seen["grads_by_name"] = torch.cat([by_name["table"], by_name["bias"], *grads_of(table, bias)])
    return seen


class Product(torch.autograd.Function):
    """A product whose backward computes what is needed alone."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(rows, scale)
        ctx.save_for_forward(rows, scale)
        return rows * scale

    @staticmethod
    def backward(ctx: Any, sent: Tensor) -> Any:
        rows, scale = ctx.saved_tensors
        return tuple(
            sent * factor if needed else None
            for factor, needed in zip((scale, rows), ctx.needs_input_grad, strict=True)
        )

    @staticmethod
    def jvp(ctx: Any, of_rows: Tensor, of_scale: Tensor) -> Any:
        rows, scale = ctx.saved_tensors
        return of_rows * scale + rows * of_scale


def through_own_product() -> Tensor:
    """The gradients of rows r w = 3 and of a scale s = 5 by an autograd.Function, that of w of both of them, and a tangent."""
    product: Any = Product.apply
    weight, scale = (torch.tensor(number, requires_grad=True) for number in (3.0, 5.0))
    rows = 1 * weight
    grads = torch.autograd.grad(product(rows, scale), [rows, scale], create_graph=True, materialize_grads=True)
    (rows + sum(grads)).backward()
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(each.detach(), torch.ones(())) for each in (rows, scale)]
        tangent: Any = forward_ad.unpack_dual(product(*duals)).tangent
    return torch.stack([*grads, *grads_of(weight, scale), tangent]).detach()
