"""Programs: a module with a state of its own and hooks is saved and loaded."""

import functools
from typing import Any

import torch
from torch import nn


class Counted(nn.Embedding):
    """A layer whose state has more than tensors, and a version."""

    turns, _version = 0, 2

    def get_extra_state(self) -> Any:
        return {"turns": self.turns}

    def set_extra_state(self, state: Any) -> None:
        self.turns = state["turns"]


class Numbered(nn.Module):
    """A model whose own state is a number, which may be zero."""

    number = 0

    def get_extra_state(self) -> Any:
        return self.number

    def set_extra_state(self, state: Any) -> None:
        self.number = state


def before_loading(module: Any) -> Any:
    """What registers a hook that is called before a module is loaded: public since torch 2.5."""
    register = getattr(module, "register_load_state_dict_pre_hook", None)
    return register or functools.partial(module._register_load_state_dict_pre_hook, with_module=True)


def after_saving(module: Any) -> Any:
    """What registers a hook that is called once a state is made: public since torch 2.5."""
    register = getattr(module, "register_state_dict_post_hook", None)
    return register or module._register_state_dict_hook


def holding(layer: Any) -> Any:
    model: Any = Numbered()
    model.first = nn.Linear(2, 2, bias=False)
    model.inside = nn.Sequential(layer)
    return model


def unwrapped() -> list[str]:
    """The keys of a state of a wrapped model, without the prefix; a part of the model has the wrapper's name."""
    inner = nn.ModuleDict({"first": nn.Embedding(1, 1), "module": nn.Embedding(1, 1)})
    state = nn.ModuleDict({"module": nn.ModuleDict({"inside": inner})}).state_dict()
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    return list(state)


def hooked(strict: bool, assign: bool) -> dict[str, Any]:
    """What hooks are called with, in turn, while a layer's state is made and loaded; and what becomes of its extra state."""
    told: list[Any] = []
    source, target = holding(Counted(3, 2)), holding(Counted(3, 2))
    layer, other = source.inside[0], target.inside[0]
    layer.turns, target.number = 5, 7
    handles = [
        layer.register_state_dict_pre_hook(
            lambda module, prefix, keep: told.append(["pre", module is layer, prefix, keep])
        ),
        after_saving(layer)(
            lambda module, state, prefix, notes: told.append(["post", module is layer, prefix, list(state)])
        ),
        before_loading(other)(
            lambda module, state, prefix, notes, exactly, *lists: told.append(
                ["load pre", module is other, prefix, other.turns, notes.get("version"), *lists]
            )
        ),
        other.register_load_state_dict_post_hook(
            lambda module, keys: told.append(["load post", module is other, other.turns, list(keys.missing_keys)])
        ),
        target.register_load_state_dict_post_hook(
            lambda module, keys: told.append(["whole", module is target, other.turns, list(keys.missing_keys)])
        ),
    ]
    state = source.state_dict(keep_vars=assign)
    target.load_state_dict(state, strict=strict, assign=assign)
    for handle in handles:
        handle.remove()
    called = len(told)
    without = {key: value for key, value in source.state_dict().items() if not key.endswith("extra_state")}
    other.turns = 2
    lacking = target.load_state_dict(without, strict=False, assign=assign)
    surplus = holding(nn.Embedding(3, 2)).load_state_dict(state, strict=False, assign=assign)
    return {
        "told": told,
        "extra": [state["inside.0._extra_state"], other.turns, target.number],
        "keys": [list(lacking.missing_keys), list(lacking.unexpected_keys)],
        "surplus": [list(surplus.missing_keys), list(surplus.unexpected_keys)],
        "unwrapped": unwrapped(),
        "removed": len(told) == called,
        "equal": torch.equal(other.weight, layer.weight),
    }
