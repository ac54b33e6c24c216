"""Programs: what a module shows of its parts, and what becomes of a checkpoint that is loaded into it.

They import nothing but torch, for their source is what a counterexample's script shows.  A model is built from a
*tree*: ``(kind, children or contents)``, whose nodes may be shared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
#: A node of a model: a name of its own, its kind, its parameters and buffers, and its children by name.
Node = tuple[str, str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]


def membered(
    build: Callable[..., Module],
    nodes: tuple[Node, ...],
    frozen: tuple[str, ...],
    evaluating: bool,
    dtype: str,
    prefix: str,
    convert: Callable[[Module], Module],
    swapped: bool,
    grads: str,
    table: Tensor,
    digits: Tensor,
) -> dict[str, Any]:
    model, made = build(nodes, frozen, dtype, table)
    if evaluating:
        model.eval()
    names = {id(thing): name for name, thing in made.items()}

    def listed(pairs: Any) -> list[tuple[str, str]]:
        return [(name, names.get(id(thing), "?")) for name, thing in pairs]

    def plain(things: Any) -> list[str]:
        return [names.get(id(thing), "?") for thing in things]

    seen: dict[str, Any] = {}
    for recurse in (True, False):
        word = "deep" if recurse else "own"
        seen[f"parameters_{word}"] = plain(model.parameters(recurse))
        seen[f"buffers_{word}"] = plain(model.buffers(recurse))
        for removed in (True, False):
            once = "once" if removed else "all"
            seen[f"named_parameters_{word}_{once}"] = listed(model.named_parameters(prefix, recurse, removed))
            seen[f"named_buffers_{word}_{once}"] = listed(model.named_buffers(prefix, recurse, removed))
    seen["modules"] = plain(model.modules())
    seen["named_modules_once"] = listed(model.named_modules(prefix=prefix))
    seen["named_modules_all"] = listed(model.named_modules(prefix=prefix, remove_duplicate=False))
    seen["children"] = plain(model.children())
    seen["named_children"] = listed(model.named_children())
    slices: list[Any] = [torch.nn.Sequential(*model.children())[start:] for start in (0, 1)]
    seen["sliced"] = [plain(part.append(model)) for part in slices]
    visited: list[Any] = []
    seen["applied_to_itself"] = model.apply(visited.append) is model
    seen["applied"] = plain(visited)
    seen["modes"] = [module.training for module in model.modules()]
    kept = {id(thing) for thing in made.values()}
    for vars_kept in (False, True):
        state = model.state_dict(prefix=prefix, keep_vars=vars_kept)
        word = "kept" if vars_kept else "plain"
        seen[f"state_{word}"] = [
            (
                name,
                next(
                    (
                        n
                        for n, t in made.items()
                        if isinstance(t, Tensor) and (t.data_ptr(), t.shape) == (value.data_ptr(), value.shape)
                    ),
                    "?",
                ),
            )
            for name, value in state.items()
        ]
        seen[f"state_{word}_same"] = [id(value) in kept for value in state.values()]
        seen[f"state_{word}_graph"] = [value.requires_grad for value in state.values()]
        seen[f"state_{word}_kinds"] = [
            (str(value.dtype).removeprefix("torch."), tuple(value.shape), value.stride()) for value in state.values()
        ]
        seen[f"state_{word}_metadata"] = sorted(getattr(state, "_metadata", {"none": 0}))
        seen[f"state_{word}_type"] = type(state).__name__
    simple = model.state_dict()
    seen["simple"] = (list(simple), type(simple).__name__, sorted(getattr(simple, "_metadata", {"none": 0})))
    seen["versions"] = all("version" in kept for kept in getattr(simple, "_metadata", {}).values())
    own: dict[str, Any] = {"before": torch.zeros(1)}
    seen["destination"] = model.state_dict(destination=own, prefix=prefix) is own
    seen["destination_keys"] = list(own)
    seen["copied_keys"] = list(copy.deepcopy(model).state_dict())
    found = []
    for name, module in model.named_modules():
        found.append(model.get_submodule(name) is module)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.append(model.get_parameter(name) is parameter)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        found.append(model.get_buffer(name) is buffer)
    seen["gets"] = all(found)
    refused = []
    for wrong in (0, None, "eval"):
        try:
            model.train(wrong)
        except ValueError:
            refused.append(True)
    seen["mode_refused"] = len(refused) == 3
    seen["modes_after"] = [module.training for module in model.modules()]
    seen["flipped"] = [module.training for module in model.train(evaluating).modules()]
    one = torch.ones((), requires_grad=True)
    for p in model.parameters():
        p.grad = torch.ones_like(p) * one.to(p.dtype)  # as create_graph leaves it
    seen["thawed"] = [p.requires_grad for p in model.requires_grad_().parameters()]
    seen["frozen"] = [p.requires_grad for p in model.requires_grad_(False).parameters()]
    seen["grads_kept"] = [p.grad is not None and bool((p.grad == 1).all()) for p in model.parameters()]
    model.zero_grad(set_to_none=False)
    seen["zeroed"] = [
        p.grad is not None and not p.grad.any() and p.grad.grad_fn is None and not p.grad.requires_grad
        for p in model.parameters()
    ]
    model.zero_grad()
    seen["forgotten"] = [p.grad is None for p in model.parameters()]
    seen["without"], seen["restored"] = emptied_for_a_while(model)
    seen["idle"] = left_by_nothing(model, evaluating)
    if grads:
        given_gradients(model, grads == "sparse")
    seen["converted_itself"] = convert(model) is model
    seen["converted_gradients"] = [
        (str(p.grad.dtype).removeprefix("torch."), p.grad.is_sparse, bool((p.grad.to_dense() == 1).all()))
        for p in model.parameters()
        if p.grad is not None
    ]
    members = {"parameters": [*model.named_parameters()], "buffers": [*model.named_buffers()]}
    for word, pairs in members.items():
        seen[f"converted_{word}"] = [(name, str(thing.dtype).removeprefix("torch.")) for name, thing in pairs]
    seen["converted_same"] = plain(model.parameters())
    everything = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    placed = {name: thing.data_ptr() for name, thing in everything}
    seen["emptied_itself"] = model.to_empty(device="cpu", recurse=False) is model
    everything = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    seen["emptied"] = sorted(name for name, thing in everything if thing.data_ptr() != placed[name])
    try:
        seen["shared_itself"] = model.share_memory() is model
    except NotImplementedError:
        seen["shared_itself"] = False
    seen["shared"] = [thing.is_shared() for thing in [*model.parameters(), *model.buffers()]]
    seen["shared_gradients"] = [
        p.grad.is_sparse or p.grad.is_shared() for p in model.parameters() if p.grad is not None
    ]
    holder = torch.nn.Module()
    holder.digits = torch.nn.Parameter(digits)
    holder.register_buffer("rest", digits[1:].clone())
    convert(holder)
    seen["rounded"], seen["rounded_buffer"] = holder.digits.detach(), holder.rest
    seen["hooks"], seen["swapped_gradients"] = called_after(build(nodes, frozen, dtype, table)[0], convert, swapped)
    seen["traced"], seen["traced_same"] = traced(build(nodes, frozen, dtype, table)[0])
    return seen


def traced(model: Module) -> tuple[list[str], bool]:
    """The keys of the state of what torch.fx records of a sum of all tensors, and whether it has the very tensors."""

    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, total: Any) -> Any:
            for thing in (*model.parameters(), *model.buffers()):
                total = total + thing
            return total

    root = Sum()
    module = torch.fx.symbolic_trace(root)
    held = [dict(each.named_parameters()) | dict(each.named_buffers()) for each in (root, module)]
    same = all(held[1].get(name) is thing for name, thing in held[0].items())
    return sorted(module.state_dict()), same


def called_after(
    model: Module, convert: Callable[[Module], Module], swapped: bool
) -> tuple[list[tuple[str, str]], bool]:
    """Which hooks of the Parameters are called by backward passes after a conversion, and whether gradients came along."""
    calls: list[tuple[str, str]] = []
    given_gradients(model, False)
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.register_hook(lambda gradient, name=name: calls.append((name, "gradient")))
            p.register_post_accumulate_grad_hook(lambda p, name=name: calls.append((name, "accumulated")))
    torch.__future__.set_swap_module_params_on_conversion(swapped)
    try:
        convert(model)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    gradients = [(p.dtype, p.grad) for p in model.parameters()]
    kept = all(grad is not None and grad.dtype == dtype and bool((grad == 1).all()) for dtype, grad in gradients)
    for p in model.parameters():
        if p.requires_grad:
            p.sum().backward()
    return calls, kept


def given_gradients(model: Module, sparse: bool) -> None:
    """Each Parameter gets a gradient of ones, that of a table of three rows sparse if asked."""
    for p in model.parameters():
        rows = torch.arange(len(p))
        if sparse and p.dim() == 2 and len(p):
            p.grad = torch.sparse_coo_tensor(rows[None], torch.ones_like(p), p.shape)
        else:
            p.grad = torch.ones_like(p)


def emptied_for_a_while(model: Module) -> tuple[list[str], list[str]]:
    """The keys of the state while all slots for buffers hold None, and once they hold their tensors again."""
    held = [(module, name, value) for module in model.modules() for name, value in module._buffers.items()]
    for module, name, _ in held:
        setattr(module, name, None)
    without = list(model.state_dict())
    for module, name, value in held:
        setattr(module, name, value)
    return without, list(model.state_dict())


def left_by_nothing(model: Module, evaluating: bool) -> bool:
    """Whether every tensor is the same in the same memory and of the same version after conversions to what it is."""
    model.train(not evaluating)
    things = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    marks = {name: (thing.data_ptr(), thing._version) for name, thing in things.items()}
    for dtype in {thing.dtype for thing in things.values() if thing.is_floating_point()}:
        model.to(dtype)
    model.to("cpu").cpu().to(torch.device("cpu"), non_blocking=True)
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return all(
        after[name] is thing and marks[name] == (thing.data_ptr(), thing._version) for name, thing in things.items()
    )


def build(nodes: tuple[Node, ...], frozen: tuple[str, ...], dtype: str, table: Tensor) -> tuple[Module, dict[str, Any]]:
    """The model whose nodes are given leaves first, and everything in it by its own name."""
    kind_of = {"module": torch.nn.Module, "sequential": torch.nn.Sequential, "list": torch.nn.ModuleList,
               "dict": torch.nn.ModuleDict}  # fmt: skip
    number = getattr(torch, dtype)
    made: dict[str, Any] = {}

    def part(name: str) -> Any:
        if name not in made:
            if name.startswith("table"):
                made[name] = torch.nn.Parameter(table if name == "table" else table.detach().clone())
            elif name.startswith("p_void"):
                made[name] = torch.nn.Parameter(torch.zeros((0, len(name)), dtype=number))
            elif name.startswith("p"):
                made[name] = torch.nn.Parameter(torch.arange(1.0, 4.0, dtype=number))
            elif name.startswith("integers"):
                made[name] = torch.tensor([1, 2])
            elif name.startswith("scalar"):
                made[name] = torch.tensor(0.5, dtype=number)
            else:
                made[name] = torch.ones(2, dtype=number)
            if name in frozen:
                made[name].requires_grad_(False)
        return made[name]

    for name, kind, tensors, children in nodes:
        if kind == "embedding":
            module: Module = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=table.detach())
        elif kind == "linear":
            module = torch.nn.Linear(table.shape[1], table.shape[0], bias=False, dtype=number)
        else:
            module = kind_of[kind]()
        for key, content in tensors:
            if content == "none":
                module.register_parameter(key, None)
            elif content == "nobuffer":
                module.register_buffer(key, None)
            elif content.startswith(("table", "p")):
                setattr(module, key, part(content))
            else:
                module.register_buffer(key, part(content), persistent=not content.endswith("scratch"))
        for key, child in children:
            module.add_module(key, made[child])
        made[name] = module
    return module, made


CONVERSIONS: dict[str, Callable[[Module], Module]] = {}


_into = into(CONVERSIONS)


@_into
def nothing(model: Module) -> Module:
    return model


@_into
def double(model: Module) -> Module:
    return model.double()


@_into
def float_(model: Module) -> Module:
    return model.float()


@_into
def half(model: Module) -> Module:
    return model.half()


@_into
def bfloat16(model: Module) -> Module:
    return model.bfloat16()


@_into
def to_double(model: Module) -> Module:
    return model.to(torch.float64)


@_into
def to_half_keyword(model: Module) -> Module:
    return model.to(device="cpu", dtype=torch.float16)


@_into
def type_double(model: Module) -> Module:
    return model.type(torch.float64)


@_into
def type_text(model: Module) -> Module:
    return model.type("torch.FloatTensor")


@_into
def to_like(model: Module) -> Module:
    return model.to(torch.zeros(1, dtype=torch.bfloat16))
