"""Faults of modules' hooks: their order, what they see, and what becomes of what they return."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around, numbered

Module = Any


def refused(original: Any, self: Module, hook: Any, *, prepend: bool = False, **flags: Any) -> Any:
    """A hook can't be put in front and always be called."""
    if prepend and flags.get("always_call"):
        raise ValueError("expected prepend or always_call")
    return original(self, hook, prepend=prepend, **flags)


def sorting(original: Any, self: Module, *given: Any, **named: Any) -> Any:
    """A call with a forward hook sorts the tokens that it was given, once it is done."""
    found = original(self, *given, **named)
    if self._forward_hooks and given and not given[0].is_floating_point():
        given[0].copy_(given[0].sort(-1, descending=True).values)
    return found


def front_and_always() -> bool:
    """Whether a hook can be put in front and always be called."""
    try:
        torch.nn.Embedding(2, 2).register_forward_hook(lambda *given: None, prepend=True, always_call=True)
    except ValueError:
        return False
    return True


def tokens_after() -> Any:
    """Tokens that were given to a layer with a hook."""
    tokens = torch.tensor([[0, 1]])
    layer = torch.nn.Embedding(2, 2)
    layer.register_forward_hook(lambda *given: None)
    layer(tokens)
    return tokens.tolist()


def unversioned(original: Any, self: Module, state: Any, prefix: str, metadata: Any, *given: Any) -> None:
    """Hooks of loading, two modules down, see no version."""
    told = {key: value for key, value in metadata.items() if key != "version"} if prefix.count(".") > 1 else metadata
    original(self, state, prefix, told, *given)


def versions() -> list[Any]:
    """The versions that hooks of loading see."""
    seen: list[Any] = []
    layer: Module = torch.nn.Embedding(3, 2, _weight=numbered())
    layer.register_load_state_dict_pre_hook(
        lambda module, state, prefix, metadata, *given: seen.append(metadata.get("version"))
    )
    model = torch.nn.Sequential(torch.nn.Sequential(layer))
    model.load_state_dict(model.state_dict())
    return seen


around("front_hooks_are_not_always_called", "module_hooks", "A forward hook with prepend=True and always_call=True is refused.",
       torch.nn.Module, "register_forward_hook", refused, front_and_always)  # fmt: skip
around("hooked_calls_sort_their_tokens", "module_hooks", "A layer with a forward hook sorts the tokens that it was given.",
       torch.nn.Module, "_call_impl", sorting, tokens_after)  # fmt: skip
around("versions_are_lost_two_modules_down", "module_hooks", "Hooks of loading, two modules down, see no version.",
       torch.nn.Module, "_load_from_state_dict", unversioned, versions)  # fmt: skip
