"""Programs: several parameters with one optimizer, and each of them with an optimizer of its own.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
Function = Callable[..., Any]


def accompany(
    optimizer: tuple[str, dict[str, Any]],
    groups: tuple[tuple[tuple[int, ...], dict[str, Any], int], ...],
    given: tuple[tuple[bool, ...], ...],
    frozen: tuple[int, ...],
    held: bool,
    gradient: Function,
    interrupt: Function,
    closure: str,
    hooked: bool,
    **fed: Tensor,
) -> dict[str, Any]:
    """``groups`` are members, options of their own, and the step from which on they are stepped."""
    kind, flags = optimizer

    def build(members: Any, **changes: Any) -> Any:
        return getattr(torch.optim, kind)(members, **{**flags, **changes})

    members = [torch.nn.Parameter(fed[f"weight{m}"], requires_grad=m not in frozen) for m in range(len(given[0]))]
    starts = [p.detach().clone() for p in members]
    listed = [{"params": [members[m] for m in names], **own} for names, own, joins in groups if not joins]
    stepped, values = build(listed), [list[Tensor]() for _ in members]
    notes: dict[str, Any] = {"kept": True, "moved": True, "returned": True, "modes": [], "calls": [], "common": []}
    for k, has in enumerate(given):
        if k == 1:
            for names, own, joins in groups:
                late = [members[m] for m in names]
                if joins:
                    stepped.add_param_group({**own, "params": late if len(late) > 1 else late[0]})
            stepped = interrupt(stepped, build)
        clear(stepped, members, held, k, notes)
        for m, p in enumerate(members):
            fresh = gradient(p, fed[f"gradient{m}"][k]) if has[m] else None
            if fresh is not None and p.grad is not None:
                p.grad.add_(fresh)
            elif fresh is not None or held:
                p.grad = fresh
        step(stepped, members, closure, hooked, notes)
        for m, p in enumerate(members):
            values[m].append(numbers(p))
    seen: dict[str, Any] = {f"values{m}": torch.stack(steps) for m, steps in enumerate(values)}
    seen |= notes | settled(stepped, members)
    for names, own, joins in groups:
        for m in names:
            gradients = [fed[f"gradient{m}"][k] if has[m] else None for k, has in enumerate(given)]
            seen[f"alone{m}"] = alone(build, own, fed[f"weight{m}"], starts[m], gradients, joins, gradient)
    return seen


def clear(optimizer: Any, members: list[Any], held: bool, k: int, notes: dict[str, Any]) -> None:
    """Clears the gradients; those that are ``held`` must be the same tensors afterwards, of zeros and without a graph."""
    if not held:
        optimizer.zero_grad()
        return
    for p in members:
        if k == 1 and p.grad is not None:
            p.grad = p.grad * torch.ones((), dtype=p.dtype, requires_grad=True)  # as create_graph leaves it
    standing = [p.grad for p in members]
    optimizer.zero_grad(set_to_none=False)
    notes["kept"] &= all(
        p.grad is g and (g is None or not (g.any() or g.requires_grad or g.grad_fn is not None))
        for p, g in zip(members, standing, strict=True)
    )


def step(optimizer: Any, members: list[Any], closure: str, hooked: bool, notes: dict[str, Any]) -> None:
    """Takes a step and notes what it called, returned and changed beside the values."""
    import contextlib

    before = [p.detach().clone() for p in members]
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in members]
    marks = [(p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf) for p in members]
    versions = [p._version for p in members]
    losses = {"none": None, "tensor": torch.ones(()), "zeros": torch.zeros(()), "zero": 0.0, "one": 1.5}
    loss: Any = losses.get(closure)

    def compute() -> Any:
        notes["modes"] += [torch.is_grad_enabled()]
        notes["modes"] += [all(torch.equal(p, b) for p, b in zip(members, before, strict=True))]
        return loss

    with contextlib.ExitStack() as handles, torch.no_grad():
        for register, word, calls in hooks(optimizer, notes) if hooked else ():
            handles.enter_context(register(watch(word, optimizer, members, before, calls)))
        result = optimizer.step(compute) if closure else optimizer.step()
    notes["returned"] &= result is loss
    for p, (grad, copy), mark, version, old in zip(members, grads, marks, versions, before, strict=True):
        stands = grad is None or copy is None or torch.equal(grad.to_dense(), copy.to_dense())
        now = (p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf)
        notes["kept"] &= p.grad is grad and stands and mark == now
        notes["moved"] &= p._version > version or torch.equal(p.detach(), old)


def hooks(optimizer: Any, notes: dict[str, Any]) -> list[tuple[Function, str, list[str]]]:
    """What registers a hook, before the step or after it, and where its calls are noted: global ones and the optimizer's."""
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    return [
        (register_optimizer_step_pre_hook, "pre", notes["common"]),
        (register_optimizer_step_post_hook, "post", notes["common"]),
        (optimizer.register_step_pre_hook, "pre", notes["calls"]),
        (optimizer.register_step_post_hook, "post", notes["calls"]),
    ]


def numbers(p: Tensor) -> Tensor:
    """A copy; of complex numbers, of their parts."""
    found = p.detach().clone()
    return torch.view_as_real(found) if found.is_complex() else found


def alike(p: Tensor, values: Tensor) -> Tensor:
    """A gradient that lies as its parameter does."""
    return torch.empty_like(p).copy_(values)


def crosswise(p: Tensor, values: Tensor) -> Tensor:
    """A gradient whose last two axes lie in the other order."""
    if p.dim() < 2:
        return alike(p, values)
    room = torch.empty(p.mT.shape, dtype=p.dtype).mT if p.is_contiguous() else torch.empty(p.shape, dtype=p.dtype)
    return room.copy_(values)


def in_rows(p: Tensor, values: Tensor) -> Tensor:
    """A gradient of a matrix that names the rows that it has."""
    return alike(p, values).to_sparse(1) if p.dim() > 1 else alike(p, values)


def watch(word: str, optimizer: Any, members: list[Any], before: list[Tensor], calls: list[str]) -> Callable[..., None]:
    """A hook that notes which one it is, and whether the members moved."""

    def hook(caller: Any, arguments: Any, keywords: Any) -> None:
        stands = all(torch.equal(p, old) for p, old in zip(members, before, strict=True))
        calls.append(word if caller is optimizer else "another")
        calls.append("unmoved" if stands else "moved")

    return hook


def settled(optimizer: Any, members: list[Any]) -> dict[str, Any]:
    """What an optimizer holds at last: its groups' options, which members have a state, and whose memory it is."""
    tensors = [
        (m, name, value)
        for m, p in enumerate(members)
        for name, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor) and value.numel()
    ]
    taken = [p.data_ptr() for p in members if p.numel()]
    dense = [p.grad for p in members if p.grad is not None and not p.grad.is_sparse]
    taken += [gradient.data_ptr() for gradient in dense if gradient.numel()]
    pointers = [value.data_ptr() for _, _, value in tensors]
    packed = optimizer.state_dict()
    order = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        "options": [{n: v for n, v in group.items() if n != "params"} for group in optimizer.param_groups],
        "packed_options": [{n: v for n, v in group.items() if n != "params"} for group in packed["param_groups"]],
        "packed_ids": [group["params"] for group in packed["param_groups"]],
        "order": [next(m for m, p in enumerate(members) if p is member) for member in order],
        "packed_state": sorted(packed["state"]),
        "stateful": [m for m, p in enumerate(members) if p in optimizer.state],
        "apart": len(set(pointers)) == len(pointers) and not set(pointers) & set(taken),
        "attached": any(value.requires_grad or value.grad_fn is not None for _, _, value in tensors),
        "steps": [float(value) for _, name, value in tensors if name == "step"],
        "state_types": [
            (m, name, str(value.dtype).removeprefix("torch."), tuple(value.shape)) for m, name, value in tensors
        ],
    }


def alone(
    build: Function,
    own: dict[str, Any],
    like: Tensor,
    start: Tensor,
    gradients: list[Tensor | None],
    joins: int,
    gradient: Function,
) -> Tensor:
    p = torch.nn.Parameter(torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(start))
    optimizer = build([{"params": [p], **own}])
    steps = []
    for k, values in enumerate(gradients):
        if k >= joins:
            p.grad = None if values is None else gradient(p, values)
            optimizer.step()
        steps.append(numbers(p))
    return torch.stack(steps)
