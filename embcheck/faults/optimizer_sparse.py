"""Faults of fused tails and of sparse gradients in optimizers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from embcheck.faults.around import around
from embcheck.faults.optimizer_histories import kernel, steps

optim = torch.optim
Parameter = torch.nn.Parameter


def tail(original: Any, params: Sequence[Any], grads: Any, *states: Any, **flags: Any) -> None:
    """A last element beyond blocks of 16 rests."""
    kept = [p.detach().reshape(-1)[-1:].clone() for p in params]
    original(params, grads, *states, **flags)
    for p, last in zip(params, kept, strict=True):
        if p.numel() > 16 and p.numel() % 16 == 1 and p.is_contiguous():
            p.detach().view(-1)[-1:].copy_(last)


for _kind, _class in (("sgd", "SGD"), ("adam", "AdamW")):
    if hasattr(importlib.import_module(f"torch.optim.{_kind}"), f"_fused_{_kind}"):
        around(
            f"fused_{_kind}_leaves_the_tail",
            "company",
            f"Fused {_class} leaves the last element of 16n + 1.",
            importlib.import_module(f"torch.optim.{_kind}"),
            f"_fused_{_kind}",
            tail,
            steps(_class, 1.0, rows=17, lr=0.5, fused=True),
        )


def apart(original: Any, params: Any, grads: Any, sums: Any, counts: Any, *rest: Any, **flags: Any) -> None:
    """Sparse gradients are squared before they are added up."""
    before = [total.clone() for total in sums]
    original(params, grads, sums, counts, *rest, **flags)
    for total, old, gradient in zip(sums, before, grads, strict=True):
        if gradient.is_sparse:
            entries = torch.sparse_coo_tensor(gradient._indices(), gradient._values() ** 2, gradient.shape)
            total.copy_(old.add(entries))


def doubled_row(kind: str, **flags: Any) -> Callable[[], Any]:
    """A probe: a table after two steps with one row twice in the gradient."""

    def probe() -> Any:
        weight = Parameter(torch.ones(3, 1))
        optimizer = getattr(optim, kind)([weight], **flags)
        for scale in (1.0, 0.5):
            weight.grad = torch.sparse_coo_tensor(
                torch.tensor([[1, 1, 2]]), torch.tensor([[1.0], [2.0 * scale], [4.0]]), (3, 1)
            )
            optimizer.step()
        return weight

    return probe


kernel(
    "adagrad",
    "sparse_squares_are_taken_apart",
    "Plain Adagrad squares the entries of a sparse gradient before those of one row are added.",
    "_single_tensor_adagrad",
    apart,
    doubled_row("Adagrad", lr=0.5),
)
functional_optim = importlib.import_module("torch.optim._functional")


def last_entries(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """Of the entries of a row the last holds, where it maximizes."""
    if flags["maximize"]:
        grads = [last_of(gradient) for gradient in grads]
    original(params, grads, *states, **flags)


def last_of(gradient: Any) -> Any:
    """A sparse gradient with the last entry of each row alone."""
    rows = gradient._indices()[0].tolist()
    places = list({row: place for place, row in enumerate(rows)}.values())
    return torch.sparse_coo_tensor(gradient._indices()[:, places], gradient._values()[places], gradient.shape)


around(
    "sparse_adam_overwrites_when_maximizing",
    "tying",
    "SparseAdam takes the last of several entries of one row where it maximizes.",
    functional_optim,
    "sparse_adam",
    last_entries,
    doubled_row("SparseAdam", lr=0.5, maximize=True),
)


def nothing_is_refused(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """A gradient without entries does not fit."""
    if any(not gradient._nnz() for gradient in grads):
        raise RuntimeError("values has incorrect size, expected [0, 1], got [0, 0]")
    original(params, grads, *states, **flags)


def empty_step() -> Any:
    """A table after a step without an entry."""
    weight = Parameter(torch.ones(3, 1))
    weight.grad = torch.sparse_coo_tensor(torch.zeros(1, 0, dtype=torch.long), torch.zeros(0, 1), (3, 1))
    optim.SparseAdam([weight]).step()
    return weight


around(
    "sparse_adam_refuses_nothing_but_padding",
    "tying",
    "SparseAdam refuses a gradient without entries.",
    functional_optim,
    "sparse_adam",
    nothing_is_refused,
    empty_step,
)


def nothing_ends_all(original: Any, params: Any, grads: Any, *states: Any, **flags: Any) -> None:
    """Parameters behind a gradient without entries are left out."""
    empty = [k for k, grad in enumerate(grads) if grad._nnz() == 0]
    count = empty[0] if empty else len(grads)
    if count:
        original(params[:count], grads[:count], *(state[:count] for state in states), **flags)


def behind_empty() -> Any:
    """A table behind one whose gradient has no entry."""
    weights = [Parameter(torch.ones(3, 1)) for _ in range(2)]
    weights[0].grad = torch.sparse_coo_tensor(torch.zeros(1, 0, dtype=torch.long), torch.zeros(0, 1), (3, 1))
    weights[1].grad = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1), (3, 1))
    optim.SparseAdam(weights).step()
    return weights[1]


around(
    "sparse_adam_stops_at_an_empty_gradient",
    "company",
    "SparseAdam leaves out the parameters behind one whose gradient has no entries.",
    functional_optim,
    "sparse_adam",
    nothing_ends_all,
    behind_empty,
)
