"""Programs: a Parameter is made of a tensor, and put into a module."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.multiprocessing import reductions

from embcheck.core.registry import by_name, named
from embcheck.families.module_traversal.changes import given_gradients
from embcheck.families.module_traversal.uses import Module, Tensor
from embcheck.families.tie_preservation.operations import stored


def observations(
    making: tuple[Callable[..., Any], ...],
    before: Callable[..., Any],
    contents: tuple[Callable[[Module], Any], ...],
    registered: bool,
    flags: dict[str, bool],
    slot: str,
    turn: int,
    data: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    origin, under = making
    source = origin(data)
    marks = marks_of(source)
    leaf = under(lambda: nn.Parameter(source, **flags))
    seen: dict[str, Any] = {
        "leaf": leaf,
        "kind": type(leaf) is nn.Parameter and leaf is not source and not leaf._is_view(),
        "rooted": leaf.is_leaf and leaf.grad_fn is None and leaf.grad is None and leaf.output_nr == 0,
        "hookless": not leaf._backward_hooks,
        "trains": leaf.requires_grad,
        "place": leaf.data_ptr() == source.data_ptr() and leaf.storage_offset() == source.storage_offset(),
        "source_kept": marks == marks_of(source),
        "values": leaf.detach().clone(),
    }
    seen["contained"] = contained(leaf, source.detach())
    module: Module = nn.Module()
    placed(module, "first", 1.0)
    for add in contents:
        add(module)
    before(module, slot, data)
    replaced, rest = module._parameters.get(slot), others(module, slot)
    module._parameters["last"] = nn.Parameter(torch.full((1,), 7.0))
    put = module.register_parameter if registered else module.__setattr__
    under(lambda: put(slot, leaf))
    seen |= {} if turn else pickled(data) | {"made": made_to_learn()}
    seen |= held(module, slot, leaf) | sent(leaf) | prompt(data) | {"kinds": kinds(data)} | copied(leaf)
    for _ in range(2):
        module.register_parameter("last", nn.Parameter(module.last.detach() + 1))
        put(slot, leaf)
    seen["rest_kept"] = others(module, slot) == rest and module.last.item() == 9
    seen["replaced_kept"] = replaced is None or not bool(replaced.any())
    if leaf.requires_grad:
        for _ in range(2):
            leaf.backward(upstream) if leaf.dim() == 0 else (leaf * upstream).sum().backward()
    seen |= {"graded": leaf.grad is not None, "own_grad": leaf.grad, "source_graded": source.grad is not marks[-1]}
    return seen | written(source, leaf)


def contained(leaf: Tensor, bare: Tensor) -> list[bool]:
    """Whether a ParameterList and a ParameterDict hold a Parameter itself, and a Parameter of a tensor."""
    holders: list[Any] = [nn.ParameterList([leaf, bare]), nn.ParameterDict({"0": leaf, "1": bare})]
    pairs = [list(holder.parameters()) for holder in holders]
    popped = holders[1].pop("1") is pairs[1][1] and len(list(holders[1].parameters())) == 1
    return [
        popped
        and one is leaf
        and type(other) is nn.Parameter
        and other.requires_grad
        and other.data_ptr() == bare.data_ptr()
        for one, other in pairs
    ]


def marks_of(source: Tensor) -> tuple[Any, ...]:
    base = source._base is None
    return source.requires_grad, source.is_leaf, source.grad_fn, source._version, base, source.grad


def placed(module: Module, name: str, start: float) -> Any:
    """A Parameter of numbers that no narrower dtype holds is put into a module without its help."""
    module._parameters[name] = nn.Parameter(torch.arange(start, start + 6).reshape(3, 2) * (1 + 2.0**-12))
    return module._parameters[name]


def others(module: Module, slot: str) -> dict[str, Any]:
    """What a module has besides a slot and the last Parameter, each tensor with its gradient, and the modes of its parts."""
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    found: dict[str, Any] = {
        name: (id(t), t.data_ptr(), t.stride(), t.requires_grad, id(t.grad), t.tolist()) for name, t in named
    }
    found |= {f"{path}.": [id(part), vars(part).get("padding_idx"), vars(part).get("max_norm"), part.training]
              for path, part in module.named_modules(remove_duplicate=False)}  # fmt: skip
    return {name: told for name, told in found.items() if name not in (slot, f"{slot}.", "last")}


def held(module: Module, slot: str, leaf: Tensor) -> dict[str, Any]:
    state, listed = module.state_dict(), dict(module.named_parameters())
    alone = slot not in module._buffers and slot not in module._modules
    own = all(each is leaf for each in (getattr(module, slot), module._parameters.get(slot), listed.get(slot)))
    return {
        "held": own and alone,
        "names": [name for name in listed if name in ("first", slot, "last")],
        "state": state[slot].data_ptr() == leaf.data_ptr() and state[slot].stride() == leaf.stride(),
    }


def written(source: Tensor, leaf: Tensor) -> dict[str, Any]:
    """What a Parameter shows of a write to its tensor, and the other way round."""
    version, old = leaf._version, source._version
    with torch.no_grad():
        elements(source).mul_(2)
        counted = leaf._version > version and source._version > old
        doubled = leaf.detach().clone()
        elements(leaf).zero_()
        return {"counted": counted, "doubled": doubled, "zeroed": source.detach().clone()}


def elements(tensor: Tensor) -> Tensor:
    """What of a tensor can be written in place: of an expanded one there is one element in memory."""
    steps = zip(tensor.stride(), tensor.shape, strict=True)
    one = tensor.numel() > 0 and any(step == 0 and length > 1 for step, length in steps)
    return tensor.as_strided((1,), (1,), tensor.storage_offset()) if one else tensor


def copied_again(leaf: Tensor, strides: tuple[int, ...]) -> list[bool]:
    """Of three deep copies in a list whether each is one Parameter with these strides and the numbers, others each time."""
    found = []
    for _ in range(3):
        elements(leaf.detach()).neg_()
        one, other = copy.deepcopy([leaf, leaf])
        same = one is other and one is not leaf and type(one) is nn.Parameter and one.stride() == strides
        same = same and one.requires_grad == leaf.requires_grad and one.dtype is leaf.dtype
        found.append(same and repr(one.tolist()) == repr(leaf.tolist()))
    elements(leaf.detach()).neg_()
    return found


def copied(leaf: Tensor) -> dict[str, Any]:
    """A deep copy, a saved one and one that is pickled with an attribute of its own, and whether they are Parameters like the
    other in memory of their own."""
    others = {"deepcopied": copy.deepcopy(leaf), "saved": stored(leaf, weights_only=True)}
    vars(leaf)["label"] = "tied"
    others["labelled"] = pickle.loads(pickle.dumps(leaf))
    del vars(leaf)["label"]
    seen: dict[str, Any] = {"label": vars(others["labelled"])}
    for name, other in others.items():
        seen[name] = other.detach().clone()
        seen[f"{name}_well"] = (
            type(other) is nn.Parameter
            and other.requires_grad == leaf.requires_grad
            and other.is_leaf
            and other.grad is None
            and (not leaf.numel() or other.data_ptr() != leaf.data_ptr())
        )
        seen[f"{name}_strides"] = other.stride()
    return seen | {"copied_again": copied_again(leaf, seen["deepcopied_strides"])}


class Rows(torch.Tensor):
    """A tensor of a class of its own."""


class Tagged(nn.Parameter):
    """A Parameter of a class of its own."""


def kinds(data: Tensor) -> list[bool]:
    """Whether a Parameter of a tensor of a class is both, and the deep copy of one of a class is of it."""
    made: Any = nn.Parameter(data.detach().as_subclass(Rows))
    tagged = Tagged(data.detach())
    return [isinstance(made, nn.Parameter), type(made) is Rows, type(copy.deepcopy(tagged)) is Tagged]


def sent(leaf: Tensor) -> dict[str, Any]:
    """What a process gets to which a Parameter is sent; this process sends it to itself."""
    rebuild, given = reductions.reduce_tensor(leaf)
    other = rebuild(*given)
    return {
        "sent_kind": type(other) is nn.Parameter,
        "sent_trains": other.requires_grad,
        "sent_placed": other.data_ptr() == leaf.data_ptr() and other.stride() == leaf.stride(),
    }


def learns(rows: Tensor) -> bool:
    """Whether a tensor that is no Parameter is a leaf that requires grad."""
    return type(rows) is Tensor and rows.is_leaf and rows.requires_grad


def prompt(data: Tensor) -> dict[str, Any]:
    """The deep copy of a tensor that is no Parameter, learns, and has a gradient and an attribute."""
    rows = data.detach().clone().requires_grad_()
    rows.grad = torch.full_like(rows, 3.0)
    vars(rows)["label"] = "prompt"
    other = copy.deepcopy(rows)
    return {
        "prompt_kind": learns(other),
        "prompt_apart": not rows.numel() or (other.data_ptr() != rows.data_ptr() and other.grad is not rows.grad),
        "prompt_label": vars(other).get("label"),
        "prompt": other.detach(),
        "prompt_grad": other.grad,
    }


def pickled(data: Tensor) -> dict[str, Any]:
    """What is unpickled of a tensor that is no Parameter and learns."""
    rows = pickle.loads(pickle.dumps(data.detach().clone().requires_grad_()))
    return {"pickled_learns": learns(rows), "pickled": rows.detach()}


def made_to_learn() -> list[bool]:
    """Whether each tensor that is made with requires_grad=True learns, also under no_grad."""
    one = torch.ones(2)
    makes: Any = torch.randn, torch.rand, torch.zeros, torch.ones, torch.empty
    likes: Any = torch.randn_like, torch.zeros_like, torch.ones_like, torch.empty_like
    found = [make(2, requires_grad=True) for make in makes]
    found += [make(one, requires_grad=True) for make in likes]
    with torch.no_grad():
        found += [
            torch.full((2,), 0.5, requires_grad=True),
            torch.tensor([1.0, 2.0], requires_grad=True),
            one.new_zeros(2, requires_grad=True),
        ]
    return [learns(rows) for rows in found]


def graded(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.grad = torch.ones_like(made)
    return made


def hooked(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.register_hook(lambda grad: grad * 3)
    return made


#: What it is made of.
ORIGINS: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "plain": lambda data: data,
        "leaf": lambda data: data.requires_grad_(),
        "product": lambda data: data.detach().requires_grad_().view_as(data),
        "frozen": lambda data: nn.Parameter(data, requires_grad=False),
        **by_name(graded, hooked),
    }
)

#: Under which grad mode it is made and put into a module.
UNDER: dict[str, Callable[[Callable[[], Any]], Any]] = named(
    {
        "enabled": lambda act: act(),
        "no_grad": lambda act: torch.no_grad()(act)(),
        "inference": lambda act: torch.inference_mode()(act)(),
    }
)

#: What has the slot's name before.
BEFORE: dict[str, Callable[[Module, str, Tensor], None]] = named(
    {
        "none": lambda m, slot, data: m.register_parameter(slot, None),
        "alike": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data))),
        "frozen": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data), False)),
        "absent": lambda m, slot, data: None,
        "buffer": lambda m, slot, data: m.register_buffer(slot, torch.zeros_like(data)),
        "module": lambda m, slot, data: m.register_module(slot, nn.Module()),
    },
    "before_",
)


def child(module: Module, name: str) -> Module:
    module._modules[name] = nn.Module()
    return module._modules[name]


def tied(module: Module) -> None:
    child(module, "words")._parameters["weight"] = placed(child(module, "head"), "weight", 2.0)


def layers(module: Module) -> None:
    for name, kind in (("embedding", nn.Embedding), ("bag", nn.EmbeddingBag)):
        module._modules[name] = kind(3, 2, padding_idx=1, max_norm=2.0)


def shared(module: Module) -> None:
    placed(child(child(module, "once"), "inner"), "weight", 3.0)
    module._modules["again"] = module._modules["once"]


def viewed(module: Module) -> None:
    module._parameters["view"] = nn.Parameter(module.first.detach().T)


def mixed(module: Module) -> None:
    placed(module, "double", 4.0).data = torch.full((2,), 1 + 2.0**-40, dtype=torch.float64)


#: What a module has before the Parameter comes, put there one by one without register_parameter.
CONTENTS: dict[str, Callable[[Module], Any]] = named(
    {
        **by_name(tied, layers, shared, viewed, mixed),
        "many": lambda module: setattr(placed(module, "many", 5.0), "data", torch.full((40, 30), 1 + 2.0**-12)),
        "buffer": lambda module: module.register_buffer("mean", torch.arange(3.0)),
        "graded": lambda module: given_gradients(module, False),
        "sparse": lambda module: given_gradients(module, True),
        "frozen": lambda module: module.first.requires_grad_(False),
        "evaluating": lambda module: module.eval(),
        "part_evaluating": lambda module: child(module, "other").eval(),
    },
    "has_",
)
