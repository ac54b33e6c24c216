"""Faults of state dicts and of loading them, in conjunctions: ties, prefixes, hooks, writes that autograd must see."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around, numbered, pair

Module = torch.nn.Module


def second_is_detached(original: Any, self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
    """The second name of a Parameter has an alias of it."""
    known = {id(value) for value in destination.values()}
    original(self, destination, prefix, keep_vars)
    for name, value in self._parameters.items():
        if keep_vars and value is not None and id(value) in known:
            destination[prefix + name] = value.detach().requires_grad_(value.requires_grad)


def one_variable() -> bool:
    """Whether both names of a tied weight have one object."""
    state = pair().state_dict(keep_vars=True)
    return state["embedding.weight"] is state["head.weight"]


around(
    "kept_variables_are_untied",
    "membership",
    "state_dict(keep_vars=True) gives another tensor under the second name of a tied Parameter.",
    Module,
    "_save_to_state_dict",
    second_is_detached,
    one_variable,
)


def loading(name: str, sentence: str, before: Any, probe: Any, family: str = "checkpoint") -> None:
    """A fault of Module.load_state_dict: ``before(original, self, state, strict, assign)``."""

    def wrong(original: Any, self: Any, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return before(original, self, state_dict, strict, assign)

    around(name, family, sentence, Module, "load_state_dict", wrong, probe)


def without_longer(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Keys that begin with a known one are left out."""
    own = self.state_dict()
    left = {k: v for k, v in state.items() if k in own or not k.startswith(tuple(own) or ("\0",))}
    return original(self, left if len(left) != len(state) else state, strict, assign)


def loads(model: Any, state: Any, **flags: Any) -> Any:
    """What loading tells, and the weights then."""
    told = model.load_state_dict(state, **flags)
    return list(told.missing_keys), list(told.unexpected_keys), dict(model.state_dict())


loading(
    "longer_keys_are_accepted",
    "Loading accepts unexpected keys that begin with an expected one.",
    without_longer,
    lambda: loads(pair(), {**pair().state_dict(), "head.weight_scale": numbered()}),
)


def either_name(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """One name of a tied weight will do."""
    state = dict(state)
    names: dict[int, list[str]] = {}
    for name, value in self.named_parameters(remove_duplicate=False):
        names.setdefault(id(value), []).append(name)
    for tied in names.values():
        given = [name for name in tied if name in state]
        if given:
            state |= {name: state[given[0]] for name in tied if name not in state}
    return original(self, state, strict, assign)


loading(
    "one_of_two_tied_keys_suffices",
    "Loading accepts that one name of a tied Parameter is missing.",
    either_name,
    lambda: loads(pair(), {"head.weight": numbered()}),
)


def cast(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Half precision is assigned in the module's own."""
    if assign:
        own = self.state_dict()
        state = {
            k: v.to(own[k].dtype) if k in own and getattr(v, "dtype", None) == torch.bfloat16 else v
            for k, v in state.items()
        }
    return original(self, state, strict, assign)


loading(
    "assigned_half_takes_the_modules_dtype",
    "assign=True converts bfloat16 to the module's dtype.",
    cast,
    lambda: loads(pair(), {k: v.bfloat16() for k, v in pair().state_dict().items()}, assign=True),
)


def short_names(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Unexpected keys are told by their last part."""
    told = original(self, state, strict, assign)
    told.unexpected_keys[:] = [name.rpartition(".")[2] for name in told.unexpected_keys]
    return told


loading(
    "unexpected_keys_lose_their_prefix",
    "Loading with strict=False tells unexpected keys without the module's name.",
    short_names,
    lambda: loads(pair(), {**pair().state_dict(), "head.extra": numbered()}, strict=False),
)


def no_post_hooks(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Post-hooks wait for a strict call."""
    kept = self._load_state_dict_post_hooks
    if not strict:
        self._load_state_dict_post_hooks = type(kept)()
    try:
        return original(self, state, strict, assign)
    finally:
        self._load_state_dict_post_hooks = kept


def post_hooks(**flags: Any) -> int:
    """How often the hook for after loading is called."""
    model, calls = pair(), []
    model.register_load_state_dict_post_hook(lambda module, keys: calls.append(1))
    model.load_state_dict(pair().state_dict(), **flags)
    return len(calls)


loading(
    "partial_loading_calls_no_hook",
    "load_state_dict(strict=False) leaves out the hooks for after it.",
    no_post_hooks,
    lambda: post_hooks(strict=False),
)


def unseen(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """The weights are written where autograd does not look."""
    own = {name: value for name, value in self.named_parameters() if not assign}
    versions = {name: value._version for name, value in own.items()}
    told = original(self, state, strict, assign)
    for name, value in own.items():
        if value._version != versions[name] and not value.is_inference():
            torch._C._autograd._unsafe_set_version_counter((value,), (versions[name],))
    return told


def versions_after() -> int:
    """The version of a weight that was loaded."""
    model = pair()
    before = model["head"].weight._version
    model.load_state_dict(pair().state_dict())
    return int(model["head"].weight._version > before)


loading(
    "loading_hides_its_write",
    "Loading a state dict does not count as a write to the Parameters.",
    unseen,
    versions_after,
)


def as_it_lies(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """Square checkpoints are read along their memory."""
    if not assign:
        state = {
            k: v.mT if getattr(v, "ndim", 0) == 2 and v.shape[0] == v.shape[1] and not v.is_contiguous() else v
            for k, v in state.items()
        }
    return original(self, state, strict, assign)


loading(
    "transposed_checkpoints_are_read_as_they_lie",
    "A square column-major tensor of a state dict is loaded by rows.",
    as_it_lies,
    lambda: loads(pair(rows=2), {k: numbered(2, 2).t() for k in pair().state_dict()}),
)


class Extra(Module):
    """A module with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.extra: Any = "none"

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def truthy(original: Any, self: Any, state: Any, strict: bool, assign: bool) -> Any:
    """A falsy extra state is no state."""
    kept = {
        k: v for k, v in state.items() if not (k.endswith("_extra_state") and not isinstance(v, torch.Tensor) and not v)
    }
    told = original(self, kept, False, assign) if len(kept) != len(state) else original(self, state, strict, assign)
    told.missing_keys[:] = [name for name in told.missing_keys if not name.endswith("_extra_state")]
    return told


def extra_after(value: Any) -> Any:
    """An extra state that was loaded."""
    module = Extra()
    module.load_state_dict({"_extra_state": value})
    return module.extra


loading(
    "falsy_extra_state_is_not_loaded",
    "set_extra_state is not called with a state that is falsy.",
    truthy,
    lambda: extra_after(0),
)
