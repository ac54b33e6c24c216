"""Faults of state dicts and of loading them, in conjunctions: ties, prefixes, hooks, writes that autograd must see."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

Module = torch.nn.Module


def loading(name: str, sentence: str, before: Any, probe: Any, family: str = "checkpoint") -> None:
    """A fault of Module.load_state_dict: ``before(original, self, state, strict, assign)``."""

    def wrong(original: Any, self: Any, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return before(original, self, state_dict, strict, assign)

    around(name, family, sentence, Module, "load_state_dict", wrong, probe)


def loads(model: Any, state: Any, **flags: Any) -> Any:
    """What loading tells, and the weights then."""
    told = model.load_state_dict(state, **flags)
    return list(told.missing_keys), list(told.unexpected_keys), dict(model.state_dict())


def cast(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Half precision is assigned in the module's own."""
    if assign:
        own = self.state_dict()
        state = {
            k: v.to(own[k].dtype) if k in own and getattr(v, "dtype", None) == torch.bfloat16 else v
            for k, v in state.items()
        }
    return original(self, state, strict, assign)


def unseen(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """The weights are written where autograd does not look."""
    own = {name: value for name, value in self.named_parameters() if not assign}
    versions = {name: value._version for name, value in own.items()}
    told = original(self, state, strict, assign)
    for name, value in own.items():
        if value._version != versions[name] and not value.is_inference():
            torch._C._autograd._unsafe_set_version_counter((value,), (versions[name],))
    return told
