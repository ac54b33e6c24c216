"""Programs: a checkpoint, whole or with something wrong in it, is loaded into a module; hooks, and a state of its own."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from embcheck.core.registry import named
from embcheck.families.lr_scheduler.programs import alike
from embcheck.families.module_traversal.changes import given_gradients
from embcheck.families.tie_preservation.programs import Module, Tensor

Edit = Callable[[Tensor], Any]


def restored(
    edit: Edit,
    prior: Callable[[Module], Any],
    checkpoint: dict[str, Any],
    call: dict[str, bool],
    tied: bool,
    hooks: bool,
    weight: Tensor,
    bias: Tensor,
    **stored: Tensor,
) -> dict[str, Any]:
    model = model_of(weight, bias, tied)
    prior(model)
    state = state_of(model, edit, stored, **checkpoint)
    keys, objects = list(state), list(state.values())
    kept = [value.detach().clone() if isinstance(value, Tensor) else value for value in objects]
    graphs, notes = graphs_of(objects), repr(getattr(state, "_metadata", None))
    before = held(model)
    marks = {name: (thing.data_ptr(), thing._version) for name, thing in before.items()}
    values = {name: thing.detach().clone() for name, thing in before.items()}
    found = loaded(model, state, call)
    after = held(model)
    inside = {name: state.get(name) for name in after}
    seen: dict[str, Any] = {
        "names": list(after),
        "same": [after[name] is before[name] for name in before],
        "in_place": [after[name].data_ptr() == marks[name][0] for name in before],
        "shares": [isinstance(v, Tensor) and after[name].data_ptr() == v.data_ptr() for name, v in inside.items()],
        "is_entry": [after[name] is value for name, value in inside.items()],
        "versions": [
            after[name]._version > marks[name][1] or torch.equal(after[name].detach(), values[name]) for name in before
        ],
        "missing": list(found.missing_keys),
        "unexpected": list(found.unexpected_keys),
        "keys": list(state) == keys and all(a is b for a, b in zip(state.values(), objects, strict=True)),
        "entries": alike(objects, kept),
        "graphs": graphs_of(objects) == graphs,
        "notes": repr(getattr(state, "_metadata", None)) == notes,
    }
    seen |= described(list(after.values())) | ({"hooked": hooked(**call)} if hooks else {})
    return seen | {"again": [loaded_again(model, state, call, found) for _ in range(3)]}


def loaded_again(model: Module, state: Any, call: dict[str, bool], found: Any) -> bool:
    """Whether loading other numbers and then these once more says the same of the keys, and gives a module with others the numbers
    of each, in the same tensors unless it assigns others."""

    def told() -> list[Any]:
        return [
            (name, t.tolist(), t.dtype, t.stride(), type(t), t.requires_grad, call["assign"] or id(t))
            for name, t in held(model).items()
        ]

    before, own = told(), model.state_dict()
    values = {name: t.detach().clone() for name, t in held(model).items() if name in state and name in own}
    other = copy.copy(state)
    other.update({name: -each.detach() for name, each in state.items() if isinstance(each, Tensor)})
    for each, factor in ((other, -1), (state, 1)):
        for name in () if call["assign"] else values:
            held(model)[name].data.zero_()
        again = model.load_state_dict(each, **call)
        if again != found or any(not torch.equal(held(model)[name], factor * due) for name, due in values.items()):
            return False
    return told() == before


def model_of(weight: Tensor, bias: Tensor, tied: bool) -> Module:
    model = nn.Module()
    model.words = nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    model.deep = nn.Sequential(nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype))
    model.deep[0].bias = nn.Parameter(bias)
    model.words.register_parameter("bias", None)
    model.deep[0].register_buffer("mask", None)
    model.deep[0].weight = model.words.weight if tied else nn.Parameter(weight.detach().clone())
    model.register_buffer("mean", torch.zeros(2, dtype=weight.dtype))
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("scratch", torch.full((1,), 5.0), persistent=False)
    return model


def state_of(
    model: Module,
    edit: Edit,
    stored: dict[str, Tensor],
    keys: tuple[str, ...],
    edited: str,
    extra: tuple[str, ...],
    container: str,
) -> Any:
    """The checkpoint: an entry for each key, and for each of ``extra``."""
    slots = {"words.weight": stored["rows"], "deep.0.weight": stored["columns"], "deep.0.bias": stored["vector"],
             "mean": stored["pair"], "count": torch.tensor(11)}  # fmt: skip
    entries = {key: edit(slots[key]) if key == edited else slots[key] for key in keys}
    entries |= {key: torch.ones(1) for key in extra}
    if container == "dict":
        return entries
    state = model.state_dict()
    state.clear()
    state.update(entries)
    return state


def held(model: Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}


def graphs_of(values: list[Any]) -> list[bool | None]:
    return [value.requires_grad if isinstance(value, Tensor) else None for value in values]


def loaded(model: Module, state: Any, call: dict[str, bool]) -> Any:
    """What load_state_dict returns; where it raises the module must be what it was."""
    before = [(name, thing.requires_grad) for name, thing in held(model).items()]
    try:
        return model.load_state_dict(state, **call)
    except RuntimeError:
        if [(name, thing.requires_grad) for name, thing in held(model).items()] != before:
            raise AssertionError("a refused checkpoint left another module") from None
        raise


def described(things: list[Tensor]) -> dict[str, Any]:
    return {
        "parameters": [type(thing) is nn.Parameter for thing in things],
        "leaves": all(thing.is_leaf and thing.grad_fn is None for thing in things),
        "requires_grad": [thing.requires_grad for thing in things],
        "strides": [thing.stride() for thing in things],
        "graded": [thing.grad is not None for thing in things],
        "grads": all(thing.grad is None or bool((thing.grad == 1).all()) for thing in things),
        **{f"value{k}": thing.detach().clone() for k, thing in enumerate(things)},
    }


# -- a module with a state of its own and hooks ---------------------------------------------------------------------


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


# -- edits and states of the module ---------------------------------------------------------------------------------


def remove_keys(module: Module, keys: Any) -> None:
    keys.missing_keys.clear()
    keys.unexpected_keys.clear()


def drop_unexpected(module: Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for key in state.keys() - module.state_dict(prefix=prefix).keys():
        del state[key]


#: In which state the module is; a hook that removes keys runs when all are known, one that drops entries before any is loaded.
PRIORS: dict[str, Callable[[Module], Any]] = named(
    {
        "nothing": lambda model: None,
        "graded": lambda model: given_gradients(model, False),
        "frozen": lambda model: model.words.requires_grad_(False),
        "keys_removed": lambda model: model.deep.register_load_state_dict_post_hook(remove_keys),
        "entries_dropped": lambda model: before_loading(model)(drop_unexpected),
        "entries_dropped_inside": lambda model: before_loading(model.deep)(drop_unexpected),
    }
)
EDITS: dict[str, Edit] = named(
    {
        "fits": lambda value: value,
        "turned": lambda value: (
            value.t().contiguous().t() if value.dim() == 2 else torch.stack([value] * 2, -1)[..., 0]
        ),
        "parameter": lambda value: nn.Parameter(value),
        "in_a_graph": lambda value: value.detach().requires_grad_() * 1,
        "double": lambda value: value.double(),
        "single": lambda value: value.float(),
        "short": lambda value: value.bfloat16(),
        "taller": lambda value: torch.cat([value, value]),
        "first": lambda value: value[:1],
        "scalar": lambda value: value.flatten()[0],
        "absent": lambda value: None,
    },
    "edit_",
)
