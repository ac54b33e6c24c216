"""Faults of single paths of torch.optim, those of SGD first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, patched
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import zero_behind

Optimizer = torch.optim.Optimizer
Change = Callable[[dict[str, Any]], dict[str, Any]]


def module_of(kind: str) -> Any:
    """The module of torch.optim that holds an optimizer's paths."""
    return importlib.import_module(f"torch.optim.{kind}")


def altered(
    name: str, sentence: str, kind: str, path: str, change: Change, witness: Witness, family: str = "tying"
) -> None:
    """A fault of one path of an optimizer, which works with other hyperparameters."""
    module = module_of(kind)

    def applies() -> bool:
        return hasattr(module, path)

    def plant() -> Any:
        original = getattr(module, path)

        def replaced(*args: Any, **flags: Any) -> Any:
            return original(*args, **flags | change(flags))

        return patched(module, **{path: replaced})

    add(Fault(name, family, sentence, plant, witness, applies=applies))


def disturbed(name: str, sentence: str, kind: str, path: str, disturb: Callable[..., object], witness: Witness) -> None:
    """A fault of one path: ``disturb(before, params, grads, flags)`` after a step; ``before`` are the old values."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, path)

        def replaced(params: Any, grads: Any, *args: Any, **flags: Any) -> Any:
            before = [p.detach().clone() for p in params]
            result = original(params, grads, *args, **flags)
            with torch.no_grad():
                disturb(before, params, grads, flags)
            return result

        return patched(module, **{path: replaced})

    add(Fault(name, "tying", sentence, plant, witness, applies=lambda: hasattr(module, path)))


def after(kind: str, steps: int = 3, sparse: bool = False, dtype: torch.dtype = torch.float32, **flags: Any) -> Tensor:
    """A table of three rows after some steps with gradients in the first two."""
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]], dtype=dtype))
    optimizer = getattr(torch.optim, kind)([weight], **flags)
    for step in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([0, 1, 1][: 1 + step]), weight, sparse=sparse).sum().backward()
        optimizer.step()
    return weight.detach()


def disagree(one: Tensor, other: Tensor) -> bool:
    """Whether two paths differ by more than rounding: a few steps in float32 touch the last 8 of 24 bits."""
    return float((one - other).abs().max()) > 2.0**-16 * float(one.abs().max())


def apart(kind: str, **flags: Any) -> Witness:
    """Whether the plain and the foreach path of an optimizer disagree."""

    def witness() -> bool:
        plain, many = after(kind, foreach=False, **flags), after(kind, foreach=True, **flags)
        return disagree(plain, many)

    return witness


def fused_apart(kind: str, **flags: Any) -> Witness:
    """Whether the plain and the fused path of an optimizer disagree."""

    def witness() -> bool:
        plain, fused = after(kind, foreach=False, fused=False, **flags), after(kind, fused=True, **flags)
        return disagree(plain, fused)

    return witness


def moves(kind: str, row: int = 2, **flags: Any) -> Witness:
    """Whether a row moves that was not looked up."""
    return lambda: not torch.equal(after(kind, **flags)[row], torch.tensor([5.0, -6.0]))


_sgd, _many_sgd = "_single_tensor_sgd", "_multi_tensor_sgd"
altered(
    "sgd_plain_forgets_dampening",
    "Plain SGD forgets dampening.",
    "sgd",
    _sgd,
    lambda f: {"dampening": 0.0},
    apart("SGD", lr=0.5, momentum=0.5, dampening=0.5),
)
altered(
    "sgd_foreach_forgets_nesterov",
    "foreach SGD forgets nesterov.",
    "sgd",
    _many_sgd,
    lambda f: {"nesterov": False},
    apart("SGD", lr=0.5, momentum=0.5, nesterov=True),
)
altered(
    "sgd_foreach_forgets_maximize",
    "foreach SGD minimizes all the same.",
    "sgd",
    _many_sgd,
    lambda f: {"maximize": False},
    apart("SGD", lr=0.5, maximize=True),
)
altered(
    "sgd_decays_twice_with_momentum",
    "Plain SGD doubles weight decay beside momentum.",
    "sgd",
    _sgd,
    lambda f: {"weight_decay": f["weight_decay"] * (2 if f["momentum"] else 1)},
    apart("SGD", lr=0.5, momentum=0.5, weight_decay=0.25),
)
altered(
    "sgd_fused_forgets_decay",
    "Fused SGD forgets weight decay where it maximizes.",
    "sgd",
    "_fused_sgd",
    lambda f: {"weight_decay": 0.0 if f["maximize"] else f["weight_decay"]},
    fused_apart("SGD", lr=0.5, weight_decay=0.25, maximize=True),
    "company",
)
disturbed(
    "sgd_moves_absent_rows",
    "A step of plain SGD moves rows without a gradient a little.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: nudge(params, grads),
    moves("SGD", lr=0.5, foreach=False),
)
disturbed(
    "sgd_sparse_drops_a_duplicate",
    "SGD applies one entry of each row of a sparse gradient.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: first_entries(before, params, grads, flags),
    lambda: not torch.equal(after("SGD", lr=0.5, sparse=True), after("SGD", lr=0.5)),
)
disturbed(
    "sgd_foreach_skips_the_last",
    "foreach SGD does not move the last of several parameters.",
    "sgd",
    _many_sgd,
    lambda before, params, grads, flags: params[-1].copy_(before[-1]) if len(params) > 1 else None,
    lambda: two_moved(True) != (True, True),
)
disturbed(
    "sgd_doubles_bias",
    "Plain SGD moves vectors twice as far.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: [p.add_(p - b) for p, b in zip(params, before, strict=True) if p.dim() == 1],
    lambda: vector_after() != 0.5,
)
disturbed(
    "sgd_bfloat16_rounds_to_four_bits",
    "Plain SGD in bfloat16 keeps half of its digits.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: [p.copy_((p * 16).round() / 16) for p in params if p.dtype == torch.bfloat16],
    lambda: (
        not torch.equal(
            after("SGD", lr=2.0**-6, steps=1, foreach=False, dtype=torch.bfloat16)[0],
            torch.tensor([1 - 2.0**-6, -2 - 2.0**-6]).bfloat16(),
        )
    ),
)


disturbed(
    "adam_moves_absent_rows",
    "foreach Adam moves rows without a gradient a little.",
    "adam",
    "_multi_tensor_adam",
    lambda before, params, grads, flags: nudge(params, grads),
    moves("Adam", lr=0.5, foreach=True),
)


disturbed(
    "sgd_writes_behind",
    "A step of plain SGD zeroes what lies behind a parameter.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: [zero_behind(p.detach()) for p in params],
    lambda: sgd_writes_behind(),
)


def sgd_writes_behind() -> bool:
    """Whether a step writes behind a parameter."""
    memory = torch.ones(3)
    weight = torch.nn.Parameter(memory[:2])
    weight.grad = torch.ones(2)
    torch.optim.SGD([weight], lr=0.5, foreach=False).step()
    return float(memory[2]) != 1.0


def nudge(params: list[Tensor], grads: list[Tensor]) -> None:
    """Moves what has no gradient by 2^-10 of itself."""
    for p, g in zip(params, grads, strict=True):
        if not g.is_sparse and p.dim() == 2:
            p.copy_(torch.where(g == 0, p * (1 - 2.0**-10), p))


def first_entries(before: list[Tensor], params: list[Tensor], grads: list[Tensor], flags: dict[str, Any]) -> None:
    """Redoes a sparse step with the first entry of each row."""
    for old, p, g in zip(before, params, grads, strict=True):
        if g.is_sparse and not flags["momentum"] and not flags["weight_decay"] and not flags["maximize"]:
            p.copy_(old)
            for place, row in enumerate(g._indices()[0].tolist()):
                if row not in g._indices()[0, :place].tolist():
                    p[row] -= float(flags["lr"]) * g._values()[place]


def two_moved(foreach: bool) -> tuple[bool, bool]:
    """Which of two parameters a step of SGD moves."""
    pair = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    for p in pair:
        p.grad = torch.ones(1)
    torch.optim.SGD(pair, lr=0.5, foreach=foreach).step()
    return bool(pair[0] != 1), bool(pair[1] != 1)


def vector_after() -> float:
    """A vector of one after a step of SGD down a gradient of one."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    torch.optim.SGD([weight], lr=0.5, foreach=False).step()
    return float(weight)
