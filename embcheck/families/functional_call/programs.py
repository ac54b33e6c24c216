"""Programs: a module is called with other tensors in the place of some of its own.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.module_traversal.programs import Module, Node

Tensor = torch.Tensor


def substituted(
    build: Callable[..., Module],
    nodes: tuple[Node, ...],
    chosen: tuple[tuple[str, int], ...],
    surplus: tuple[str, ...],
    tie: bool,
    strict: bool,
    failing: bool,
    passed: str,
    split: bool,
    repeated: bool,
    table: Tensor,
) -> dict[str, Any]:
    model, _ = build(nodes, (), "float32", table)

    def listed() -> list[tuple[str, Tensor]]:
        return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]

    before, inside = listed(), []
    own = dict(before)
    fresh: dict[int, Tensor] = {}
    for name, number in chosen:
        if number not in fresh:
            filled = torch.full_like(own[name].detach(), -1 - number)
            fresh[number] = filled.requires_grad_(filled.is_floating_point())
    given = {name: fresh[number] for name, number in chosen} | {name: torch.zeros(1) for name in surplus}
    contents = dict(given)

    def forward(scale: float) -> Tensor:
        total = torch.zeros(())
        for name, tensor in before:
            path, _, leaf = name.rpartition(".")
            found = getattr(model.get_submodule(path), leaf)
            numbers = [number for number, other in fresh.items() if other is found]
            inside.append((name, numbers[0] if numbers else -1 if found is tensor else -2))
            if found.is_floating_point():
                total = total + scale * found.sum()
        if failing:
            raise LookupError("in forward")
        return total

    model.forward = forward
    attributes = {name: sorted(vars(module)) for name, module in model.named_modules()}
    slots = {name: [*module._parameters, *module._buffers] for name, module in model.named_modules()}
    arguments: Any = {"bare": (2.0,), "tuple": ((2.0,),), "keyword": ((), {"scale": 2.0})}[passed]
    entries = list(given.items())
    dicts: Any = (dict(entries[::2]), dict(entries[1::2])) if split else given
    if repeated:  # the first is given in both, as the same tensor
        dicts[1].update(entries[:1])
    raised = False

    def restored() -> bool:
        after = listed()
        return (
            [name for name, _ in after] == [name for name, _ in before]
            and all(a is b for (_, a), (_, b) in zip(after, before, strict=True))
            and {name: sorted(vars(module)) for name, module in model.named_modules()} == attributes
            and {name: [*module._parameters, *module._buffers] for name, module in model.named_modules()} == slots
        )

    try:
        value = torch.func.functional_call(model, dicts, *arguments, tie_weights=tie, strict=strict)
    except LookupError as error:
        if not failing or isinstance(error, KeyError):
            raise
        raised = True
    except (RuntimeError, ValueError):
        if not restored():
            raise AssertionError("what was refused left another module") from None
        raise
    if not raised and value.requires_grad:
        value.backward()
    return {
        "raised": raised,
        "inside": inside,
        "restored": restored(),
        "given_kept": list(given) == list(contents) and all(given[name] is contents[name] for name in contents),
        "given_grads": {
            number: None if tensor.grad is None else sorted(set(tensor.grad.flatten().tolist()))
            for number, tensor in fresh.items()
        },
        "own_grads": [
            None if tensor.grad is None else sorted(set(tensor.grad.flatten().tolist())) for _, tensor in before
        ],
    }
