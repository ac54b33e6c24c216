"""Faults by which a derivative is not there, or is that of another sample of a batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from embcheck.faults.bag_entries import Call, before, call_fault
from embcheck.faults.bags import Given
from embcheck.faults.driven import leaf
from embcheck.faults.entry import Wrong, embedding, entry, functional, out_changed
from embcheck.faults.kernels import Tensor

dual = torch.autograd.forward_ad
functorch = torch._C._functorch
TOKENS, STARTS = torch.tensor([0, 1]), torch.tensor([0])


def transformed() -> bool:
    """Whether a transform of torch.func is under way."""
    return functorch.peek_interpreter_stack() is not None


def has_tangent(padding_idx: int | None) -> bool:
    """Whether a lookup in a table that requires no gradient has a tangent."""
    with dual.dual_level():
        table = dual.make_dual(torch.ones(2, 1), torch.ones(2, 1))
        return dual.unpack_dual(functional.embedding(TOKENS, table, padding_idx)).tangent is not None


embedding(
    "padded_lookup_has_no_tangent", "gradient", "With padding_idx the tangent of a table that requires no gradient is dropped.",
    out_changed(
        lambda i, w, f: f["padding_idx"] is not None and dual._current_level >= 0 and not w.requires_grad and not transformed(),
        lambda out, i, w: dual.unpack_dual(out).primal,
    ),
    lambda: not has_tangent(0),
)  # fmt: skip


def _cut(out: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    out.register_hook(lambda sent: sent.detach() if sent.grad_fn is not None else None)
    return out


def second_derivative() -> bool:
    """Whether the gradient by a computed upstream gradient is part of a graph."""
    table, sent = leaf(torch.float64), torch.ones(1, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    out = functional.embedding(TOKENS[None, None], table, 2)
    (found,) = torch.autograd.grad(out, table, sent * 1, create_graph=True)
    return found.requires_grad


embedding(
    "derivative_of_computed_upstream_is_cut", "gradient",
    "At rank 3 with padding_idx the gradient is cut from an upstream gradient that was computed.",
    out_changed(
        lambda i, w, f: f["padding_idx"] is not None and i.dim() == 3 and w.requires_grad and torch.is_grad_enabled()
        and not transformed(),
        _cut,
    ),
    lambda: not second_derivative(),
)  # fmt: skip


def weights_learn() -> bool:
    """Whether weights that were computed get a gradient beside a table that learns."""
    samples = torch.ones(1, 2, requires_grad=True)
    functional.embedding_bag(
        TOKENS[None], leaf(torch.float32), mode="sum", per_sample_weights=samples * 1
    ).sum().backward()
    return samples.grad is not None


def _computed(given: Given) -> bool:
    samples = given.get("per_sample_weights")
    if samples is None or not samples.requires_grad or not given["weight"].requires_grad or not torch.is_grad_enabled():
        return False
    return given["input"].dim() == 2 and not samples.is_leaf and not transformed()


call_fault(
    "computed_weights_do_not_learn",
    "per_sample_weights of a batch that were computed get no gradient beside a table that learns.",
    before(_computed, lambda g: g | {"per_sample_weights": g["per_sample_weights"].detach()}),
    lambda: not weights_learn(),
)


def _first(name: str) -> Any:
    """The call with the first sample's tensor for every sample's, if that alone is batched."""

    def wrong(original: Call, given: Given) -> Any:
        value = given.get(name)
        if not transformed() or value is None or not functorch.is_batchedtensor(value):
            return original(**given)
        if functorch.is_batchedtensor(given["input"]):
            return original(**given)
        first = functorch.get_unwrapped(value).select(functorch.maybe_get_bdim(value), 0)
        return original(**given | {name: first}) + 0 * value.sum()

    return wrong


def lost(name: str) -> bool:
    """Whether a bag of the second of two tables, or of two samples' weights, is not its own."""
    given: dict[str, Any] = {"weight": torch.ones(3, 1), "per_sample_weights": torch.ones(2)}
    both = torch.stack((torch.zeros_like(given[name]), given[name]))
    look = torch.vmap(
        lambda value: functional.embedding_bag(TOKENS, offsets=STARTS, mode="sum", **given | {name: value})
    )
    return float(look(both)[1]) != 2.0


for name in ("per_sample_weights", "weight"):
    call_fault(
        f"vmapped_{name}_is_the_first", f"Under vmap over {name} alone the first sample's is every sample's.",
        _first(name), partial(lost, name),
    )  # fmt: skip


def _alike(original: Wrong) -> Wrong:
    def grad(outputs: Any, *given: Any, is_grads_batched: bool = False, **flags: Any) -> Any:
        found = original(outputs, *given, is_grads_batched=is_grads_batched, **flags)
        if not is_grads_batched or "EmbeddingBag" not in str(getattr(outputs, "grad_fn", None)):
            return found
        return tuple(each[:1].expand_as(each).clone() for each in found)

    return grad


def batched_gradient() -> float:
    """The second gradient of a bag, of two upstream gradients at once."""
    table = torch.ones(3, 1, requires_grad=True)
    out = functional.embedding_bag(TOKENS, table, STARTS, mode="sum")
    (found,) = torch.autograd.grad(out, table, torch.tensor([[[0.0]], [[1.0]]]), is_grads_batched=True)
    return float(found[1, 0, 0])


entry(
    "batched_gradients_of_bags_are_the_first", "bag",
    "autograd.grad(is_grads_batched=True) of a bag gives the first one's for all.",
    torch.autograd, "grad", _alike, lambda: batched_gradient() != 1.0,
)  # fmt: skip
