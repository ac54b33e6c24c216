"""Programs: a checkpoint, whole or with something wrong in it, is loaded into a module.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Edit = Callable[[Tensor], Any]

EDITS: dict[str, Edit] = {}


def restored(
    keys: tuple[str, ...],
    edited: str,
    edit: Edit,
    missing: tuple[str, ...],
    extra: tuple[str, ...],
    container: str,
    strict: Any,
    assign: Any,
    passed: str,
    prior: str,
    no_grad: bool,
    tied: bool,
    note: tuple[Any, ...],
    forgives: bool,
    renamed: bool,
    weight: Tensor,
    bias: Tensor,
    **stored: Tensor,
) -> dict[str, Any]:
    from collections import OrderedDict

    model = torch.nn.Module()
    model.words = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    model.deep = torch.nn.Sequential(torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype))
    model.deep[0].bias = torch.nn.Parameter(bias)
    if tied:
        model.deep[0].weight = model.words.weight
    model.register_buffer("mean", torch.zeros(2, dtype=weight.dtype))
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("scratch", torch.full((1,), 5.0), persistent=False)
    if prior == "graded":
        for p in model.parameters():
            p.grad = torch.ones_like(p)
    if prior == "frozen":
        model.requires_grad_(False)
    if prior == "half_frozen":
        model.words.requires_grad_(False)
    if prior == "evaluating":
        model.eval()
    slots = {"words.weight": stored["rows"], "deep.0.weight": stored["columns"], "deep.0.bias": stored["vector"],
             "mean": stored["pair"], "count": torch.tensor(11)}  # fmt: skip
    said = {"deep.0.weight": "deep.0.kernel"} if renamed else {}
    slots = {
        said.get(key, key): edit(slots[key]) if key == edited else slots[key] for key in keys if key not in missing
    }
    slots |= {key: torch.ones(1) for key in extra}
    noted: list[Any] = []
    if note:

        class Noted(torch.nn.Module):
            def get_extra_state(self) -> Any:
                return note[0]

            def set_extra_state(self, state: Any) -> None:
                noted.append(state)

        model.note = Noted()
        slots |= {"note._extra_state": note[0]}
    state: Any = slots
    if container != "dict":
        state = model.state_dict() if container == "state" else OrderedDict()
        state.clear()
        state.update(slots)
    objects = list(state.values())
    kept = [value.detach().clone() if isinstance(value, Tensor) else value for value in objects]
    graphs = [value.requires_grad if isinstance(value, Tensor) else None for value in objects]
    notes = repr(getattr(state, "_metadata", None))

    def look() -> dict[str, Any]:
        return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}

    before = look()
    marks = {name: (thing.data_ptr(), thing.requires_grad, thing._version) for name, thing in before.items()}
    values = {name: thing.detach().clone() for name, thing in before.items()}
    told: list[Any] = []
    model.register_load_state_dict_post_hook(lambda module, found: told.append((module, found)))
    if forgives:
        model.register_load_state_dict_post_hook(lambda module, found: [keys.clear() for keys in found] and None)
    if renamed:

        def rename(module: Module, held: dict[str, Any], prefix: str, *rest: Any) -> None:
            if f"{prefix}0.kernel" in held:
                held[f"{prefix}0.weight"] = held.pop(f"{prefix}0.kernel")

        model.deep.register_load_state_dict_pre_hook(rename)
    prefixes: list[str] = []
    if hasattr(model, "register_load_state_dict_pre_hook"):  # the public name since torch 2.5
        model.deep[0].register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: prefixes.append(prefix))
    else:
        prefixes.append("deep.0.")
    given = {"all": (strict, assign), "strict": (strict,), "none": ()}[passed] if passed != "keyword" else ()
    try:
        with torch.set_grad_enabled(not no_grad):
            if passed == "keyword":
                found = model.load_state_dict(state, strict=strict, assign=assign)
            else:
                found = model.load_state_dict(state, *given)
    except RuntimeError:
        after = look()
        if list(after) != list(before) or any(p.requires_grad != marks[name][1] for name, p in after.items()):
            raise AssertionError("a refused checkpoint left another module") from None
        raise
    after = look()
    inside = {name: state.get(said.get(name, name)) for name in after}
    seen: dict[str, Any] = {
        "names": list(after),
        "same": [after[name] is before[name] for name in before],
        "in_place": [after[name].data_ptr() == marks[name][0] for name in before],
        "shares": [isinstance(v, Tensor) and after[name].data_ptr() == v.data_ptr() for name, v in inside.items()],
        "is_entry": [after[name] is value for name, value in inside.items()],
        "parameters": [type(after[name]) is torch.nn.Parameter for name in before],
        "leaves": all(thing.is_leaf and thing.grad_fn is None for thing in after.values()),
        "requires_grad": [thing.requires_grad for thing in after.values()],
        "dtypes": [str(thing.dtype).removeprefix("torch.") for thing in after.values()],
        "strides": [thing.stride() for thing in after.values()],
        "graded": [thing.grad is not None for thing in after.values()],
        "grads": all(thing.grad is None or bool((thing.grad == 1).all()) for thing in after.values()),
        "versions": [
            after[name]._version > marks[name][2] or torch.equal(after[name].detach(), values[name]) for name in before
        ],
        "missing": list(found.missing_keys),
        "unexpected": list(found.unexpected_keys),
        "whole": "matched successfully" in repr(found),
        "told": len(told) == 1 and told[0][0] is model and prefixes == ["deep.0."],
        "keys": list(state) == list(slots) and all(a is b for a, b in zip(state.values(), objects, strict=True)),
        "entries": all(
            not isinstance(v, Tensor) or torch.equal(v.detach(), k) for v, k in zip(objects, kept, strict=True)
        ),
        "graphs": [v.requires_grad if isinstance(v, Tensor) else None for v in objects] == graphs,
        "notes": repr(getattr(state, "_metadata", None)) == notes,
        "modes": [module.training for module in model.modules()][:4],
        "noted": len(noted) == 1 and noted[0] is note[0] if note else not noted,
    }
    return seen | {f"value{k}": thing.detach().clone() for k, thing in enumerate(after.values())}


_edit = into(EDITS)


@_edit
def fits(value: Tensor) -> Any:
    return value


@_edit
def turned(value: Tensor) -> Any:
    return value.t().contiguous().t() if value.dim() == 2 else torch.stack([value, value], -1)[..., 0]


@_edit
def parameter(value: Tensor) -> Any:
    return torch.nn.Parameter(value)


@_edit
def frozen_parameter(value: Tensor) -> Any:
    return torch.nn.Parameter(value, requires_grad=False)


@_edit
def in_a_graph(value: Tensor) -> Any:
    return value.detach().requires_grad_() * 1


@_edit
def double(value: Tensor) -> Any:
    return value.double()


@_edit
def single(value: Tensor) -> Any:
    return value.float()


@_edit
def short(value: Tensor) -> Any:
    return value.bfloat16()


@_edit
def expanded(value: Tensor) -> Any:
    return value.flatten()[:1].expand(value.shape)


@_edit
def taller(value: Tensor) -> Any:
    return torch.cat([value, value])


@_edit
def flat(value: Tensor) -> Any:
    return value.reshape(1, -1)


@_edit
def first(value: Tensor) -> Any:
    return value[:1]


@_edit
def empty(value: Tensor) -> Any:
    return value[:0]


@_edit
def scalar(value: Tensor) -> Any:
    return value.flatten()[0]


@_edit
def listed(value: Tensor) -> Any:
    return value.tolist()


@_edit
def absent(value: Tensor) -> Any:
    return None
