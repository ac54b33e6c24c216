"""Programs: several parameters with one optimizer, and each of them with an optimizer of its own.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor


def accompany(
    kind: str,
    flags: dict[str, Any],
    groups: tuple[tuple[tuple[int, ...], dict[str, Any]], ...],
    late: int,
    given: tuple[tuple[bool, ...], ...],
    frozen: tuple[int, ...],
    held: bool,
    crosswise: bool,
    sparse: bool,
    interrupt: Callable[[Any, Callable[..., Any]], Any],
    closure: str,
    hooked: bool,
    watch: Callable[..., Callable[..., None]],
    alone: Callable[..., dict[str, Any]],
    settled: Callable[..., dict[str, Any]],
    **fed: Tensor,
) -> dict[str, Any]:
    def build(members: Any, **changes: Any) -> Any:
        return getattr(torch.optim, kind)(members, **{**flags, **changes})

    count = len(given[0])
    members = [torch.nn.Parameter(fed[f"weight{m}"], requires_grad=m not in frozen) for m in range(count)]
    starts = [p.detach().clone() for p in members]
    listed = [{"params": [members[m] for m in names], **own} for names, own in groups]
    calls: list[str] = []
    common: list[str] = []
    optimizer = build(listed[:late])
    values: list[list[Tensor]] = [[] for _ in members]
    kept = moved = returned = True
    modes = []
    for k, gradients in enumerate(given):
        if k == 1:
            for group in listed[late:]:
                lone = group["params"] if len(group["params"]) > 1 else group["params"][0]
                optimizer.add_param_group({**group, "params": lone})
            optimizer = interrupt(optimizer, build)
        if held:
            for p in members:
                if k == 1 and p.grad is not None:
                    p.grad = p.grad * torch.ones((), dtype=p.dtype, requires_grad=True)  # as create_graph leaves it
            standing = [p.grad for p in members]
            optimizer.zero_grad(set_to_none=False)
            kept = kept and all(
                p.grad is g and (g is None or not (g.any() or g.requires_grad or g.grad_fn is not None))
                for p, g in zip(members, standing, strict=True)
            )
        else:
            optimizer.zero_grad()
        for m, p in enumerate(members):
            if gradients[m]:
                fresh = room(p, crosswise).copy_(fed[f"gradient{m}"][k])
                fresh = fresh.to_sparse(1) if sparse and fresh.dim() > 1 else fresh
                if p.grad is None:
                    p.grad = fresh
                else:
                    p.grad.add_(fresh)
            elif held:
                p.grad = None
        before = [p.detach().clone() for p in members]
        grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in members]
        marks = [(p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf) for p in members]
        versions = [p._version for p in members]
        handles = contextlib.ExitStack()
        loss = {"": None, "none": None, "tensor": torch.ones(()), "zeros": torch.zeros(()), "zero": 0.0, "one": 1.5}[
            closure
        ]

        def compute(before: Any = before, loss: Any = loss) -> Any:
            modes.append(torch.is_grad_enabled())
            modes.append(all(torch.equal(p, b) for p, b in zip(members, before, strict=True)))
            return loss

        with handles, torch.no_grad():
            if hooked:
                from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

                handles.enter_context(
                    register_optimizer_step_pre_hook(watch("pre", optimizer, members, before, common))
                )
                handles.enter_context(
                    register_optimizer_step_post_hook(watch("post", optimizer, members, before, common))
                )
                handles.enter_context(optimizer.register_step_pre_hook(watch("pre", optimizer, members, before, calls)))
                handles.enter_context(
                    optimizer.register_step_post_hook(watch("post", optimizer, members, before, calls))
                )
            result = optimizer.step(compute) if closure else optimizer.step()
        returned = returned and (result is loss if closure else result is None)
        for p, (grad, copy), mark, version, old in zip(members, grads, marks, versions, before, strict=True):
            kept = (
                kept
                and p.grad is grad
                and (grad is None or copy is None or torch.equal(grad.to_dense(), copy.to_dense()))
            )
            kept = kept and mark == (p.data_ptr(), p.stride(), p.dtype, p.requires_grad, p.is_leaf)
            moved = moved and (p._version > version or torch.equal(p.detach(), old))
        for m, p in enumerate(members):
            values[m].append(numbers(p))
    seen: dict[str, Any] = {f"values{m}": torch.stack(steps) for m, steps in enumerate(values)}
    seen |= {"kept": kept, "moved": moved, "returned": returned, "modes": modes}
    seen |= {"calls": calls, "common": common}
    seen |= settled(optimizer, members)
    for m, start in enumerate(starts):
        place, own = next((i, own) for i, (names, own) in enumerate(groups) if m in names)
        joins = 1 if place >= late else 0
        pairs = [(k, fed[f"gradient{m}"][k] if has[m] else None) for k, has in enumerate(given)]
        seen |= alone(m, build, own, fed[f"weight{m}"], start, pairs, joins, crosswise, sparse)
    return seen


def numbers(p: Tensor) -> Tensor:
    """A copy; of complex numbers, of their parts."""
    found = p.detach().clone()
    return torch.view_as_real(found) if found.is_complex() else found


def room(p: Tensor, crosswise: bool) -> Tensor:
    """Memory for a gradient: as its parameter lies, or with the last two axes in the other order."""
    if not crosswise or p.dim() < 2:
        return torch.empty_like(p)
    return torch.empty(p.mT.shape, dtype=p.dtype).mT if p.is_contiguous() else torch.empty(p.shape, dtype=p.dtype)


def watch(
    word: str, optimizer: Any, members: list[Tensor], before: list[Tensor], calls: list[str]
) -> Callable[..., None]:
    """A hook that notes which one it is, and whether the members moved."""

    def hook(caller: Any, arguments: Any, keywords: Any) -> None:
        stands = all(torch.equal(p, old) for p, old in zip(members, before, strict=True))
        calls.append(word if caller is optimizer else "another")
        calls.append("unmoved" if stands else "moved")

    return hook


def settled(optimizer: Any, members: list[Tensor]) -> dict[str, Any]:
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
    m: int,
    build: Callable[..., Any],
    own: dict[str, Any],
    like: Tensor,
    start: Tensor,
    pairs: list[tuple[int, Tensor | None]],
    joins: int,
    crosswise: bool,
    sparse: bool,
) -> dict[str, Any]:
    p = torch.nn.Parameter(torch.empty_strided(like.shape, like.stride(), dtype=like.dtype).copy_(start))
    optimizer = build([{"params": [p], **own}])
    steps = []
    for k, gradient in pairs:
        if k >= joins:
            p.grad = None if gradient is None else room(p, crosswise).copy_(gradient)
            if p.grad is not None and sparse and p.dim() > 1:
                p.grad = p.grad.to_sparse(1)
            optimizer.step()
        steps.append(numbers(p))
    return {f"alone{m}": torch.stack(steps)}
