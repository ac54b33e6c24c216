"""Programs: a layer with hooks is called, sends gradients back, and gives and takes its state.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import collections
from typing import Any

import torch

Tensor = torch.Tensor
Module = Any


def hooked(
    layer: str,
    depth: int,
    hooks: tuple[tuple[Any, ...], ...],
    given: str,
    learning: bool,
    evaluating: bool,
    prefix: str,
    table: Tensor,
    tokens: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    rows, width = table.shape
    kind: Any = torch.nn.EmbeddingBag if layer == "bag" else torch.nn.Embedding
    flags = {"mode": "sum"} if layer == "bag" else {}
    bottom = kind(rows, width, _weight=table.detach().clone(), **flags)
    path = [bottom]
    for _ in range(depth):
        path.insert(0, torch.nn.Sequential(path[0]))
    model = path[0].train(not evaluating)
    forward: list[Any] = []
    backward: list[Any] = []
    handles: list[Any] = []
    seen: dict[str, Any] = {}
    try:  # hooks common to all modules must not outlive the program
        for k, hook in enumerate(hooks):
            handles.append(registered(k, hook, path, forward, backward))
        for handle, hook in zip(handles, hooks, strict=True):
            if hook[-1]:
                handle.remove()
        with torch.set_grad_enabled(learning):
            try:
                value = model(tokens) if given == "position" else model(input=tokens)
                if learning:
                    value.backward(upstream)
                seen["value"], seen["failed"] = value.detach(), ""
            except (IndexError, RuntimeError) as error:
                seen["value"], seen["failed"] = None, type(error).__name__
    finally:
        for handle in handles:
            handle.remove()
    seen["weight_grad"] = bottom.weight.grad
    # A call without hooks, to see that none is left.
    counts = len(forward), len(backward)
    with torch.no_grad():
        seen["plain"] = bottom(tokens.clamp(0, rows - 1))
    seen["left"] = (len(forward), len(backward)) != counts
    return {**seen, "forward": forward, "backward": backward, **stateful(path, prefix)}


def registered(k: int, hook: tuple[Any, ...], path: list[Module], forward: list[Any], backward: list[Any]) -> Any:
    """Registers the hook at position k; it notes what it sees, and if it acts changes what passes."""
    kind, where, front, keywords, acts, always, _ = hook
    places = {id(module): place for place, module in enumerate(path)}
    common = torch.nn.modules.module

    def changed(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return 2 * tensor + k
        return torch.where(tensor == 99, tensor, (2 * tensor + k) % 5)

    def told(given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        tensors = [*given, *named.values()]
        return tensors[0].tolist() if tensors else None

    def before(module: Module, given: tuple[Any, ...], named: dict[str, Any] | None = None) -> Any:
        forward.append((k, places[id(module)], told(given, named or {}), None))
        if not acts:
            return None
        new = tuple(map(changed, given))
        return new if named is None else (new, {name: changed(value) for name, value in named.items()})

    def after(module: Module, given: tuple[Any, ...], *rest: Any) -> Any:
        named, value = rest if len(rest) == 2 else ({}, rest[0])
        shown = None if value is None else value.tolist()
        forward.append((k, places[id(module)], told(given, named), shown))
        return changed(value) if acts and value is not None else None

    def sent(module: Module, grads: tuple[Any, ...]) -> Any:
        backward.append((k, places[id(module)], grads[0].tolist()))
        return tuple(map(changed, grads)) if acts else None

    def through(module: Module, to_inputs: tuple[Any, ...], grads: tuple[Any, ...]) -> None:
        backward.append((k, places[id(module)], grads[0].tolist()))

    if where == "common":
        if kind == "before":
            return common.register_module_forward_pre_hook(before)
        if kind == "after":
            return common.register_module_forward_hook(after, always_call=always)
        if kind == "sent":
            return common.register_module_full_backward_pre_hook(sent)
        return common.register_module_full_backward_hook(through)
    module = path[0] if where == "root" else path[-1]
    if kind == "before":
        return module.register_forward_pre_hook(before, prepend=front, with_kwargs=keywords)
    if kind == "after":
        return module.register_forward_hook(after, prepend=front, with_kwargs=keywords, always_call=always)
    if kind == "sent":
        return module.register_full_backward_pre_hook(sent, prepend=front)
    return module.register_full_backward_hook(through, prepend=front)


def stateful(path: list[Module], prefix: str) -> dict[str, Any]:
    """What hooks of the state see that every module has, two of each kind."""
    asked: list[Any] = []
    loaded: list[Any] = []
    versions = path[0].state_dict()._metadata
    for place, module in enumerate(path):
        for turn in range(2):
            module.register_state_dict_pre_hook(
                lambda module, prefix, keep, place=place, turn=turn: asked.append(("before", place, turn, prefix, keep))
            )
            module.register_state_dict_post_hook(
                lambda module, state, prefix, metadata, place=place, turn=turn: asked.append(
                    ("after", place, turn, prefix, metadata.get("version"), list(state))
                )
            )
            module._register_load_state_dict_pre_hook(
                lambda state, prefix, metadata, strict, missing, unexpected, errors, place=place, turn=turn: (
                    loaded.append(("before", place, turn, prefix, metadata.get("version")))
                )
            )
            module.register_load_state_dict_post_hook(
                lambda module, keys, place=place, turn=turn: loaded.append(
                    ("after", place, turn, list(keys.missing_keys), list(keys.unexpected_keys))
                )
            )
    path[0].state_dict(prefix=prefix, keep_vars=bool(prefix))
    state: Any = collections.OrderedDict({"0." * (len(path) - 1) + "other": path[-1].weight.detach()})
    state._metadata = versions
    path[0].load_state_dict(state, strict=False)
    return {"asked": asked, "loaded": loaded}
