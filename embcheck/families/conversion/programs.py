"""Programs: an embedding's table becomes a linear layer's weight, and back.

They import nothing but torch, for their source is what a counterexample's script shows.  A conversion is
``assign(target, spelling(cut(source.weight)))`` under a grad mode; `embcheck.families.conversion.transposition` and
`embcheck.families.conversion.assignment` hold the first three.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Call = Callable[[Tensor], Tensor]
View = Callable[[Tensor], Tensor]
Assign = Callable[[Module, Tensor], tuple[Tensor, Call]]
Later = Callable[[Module, Module, Tensor, Call], tuple[Module, Module, Tensor, Call]]

#: Under which grad mode a conversion is made.
GRAD_MODES = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}
SOURCES: dict[str, Callable[..., Module]] = {}
LATER: dict[str, Later] = {}


def convert(
    make_source: Callable[..., Module],
    make_target: Callable[..., Module],
    grad_mode: Callable[[], AbstractContextManager[Any]],
    spelling: View,
    cut: View,
    assign: Assign,
    later: Later,
    weight: Tensor,
    other: Tensor,
    upstream: Tensor,
    x: Tensor | None = None,
    bias: Tensor | None = None,
    flags: dict[str, Any] = {},  # noqa: B006 (never written)
    target_frozen: bool = False,
    bias_frozen: bool = False,
    company: str = "alone",
    autocast: bool = False,
    passes: int = 1,
    several: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    if x is None:
        x = torch.nn.functional.one_hot(other.long(), weight.shape[0]).to(weight.dtype)
    source = make_source(weight, bias, bias_frozen, flags)
    target = make_target(weight.shape[1], weight.shape[0], weight.dtype, bias, bias_frozen, flags)
    target.weight.requires_grad_(not target_frozen)
    original, kept, said = source.weight, weight.clone(), source.extra_repr()
    if company == "backward_before" and original.requires_grad:
        source(other).sum().backward()
    version, wanted_grad = original._version, original.requires_grad
    names = [name for name, _ in target.named_parameters()]
    with grad_mode():
        leaf, call = assign(target, spelling(cut(original)))
    seen = {
        "original_kept": source.weight is original and original._version == version and original.is_leaf,
        "original_requires_grad": original.requires_grad == wanted_grad,
        "original_says": source.extra_repr() == said and source.training and target.training,
    }
    source, target, leaf, call = later(source, target, leaf, call)
    original_after, version = source.weight, source.weight._version
    state = target.state_dict()
    seen |= {
        "leaf": leaf,
        "is_parameter": type(leaf) is torch.nn.Parameter and isinstance(leaf, torch.nn.Parameter),
        "no_graph": leaf.grad_fn is None and leaf._base is None and leaf.output_nr == 0,
        "no_grad_yet": leaf.grad is None,
        "registered": any(p is leaf for p in target.parameters()) and target.weight is leaf,
        "names": sorted(name for name, _ in target.named_parameters()) == sorted(names),
        "keys": sorted(state) == sorted(names),
        "state": state["weight"].data_ptr() == leaf.data_ptr() and state["weight"].shape == leaf.shape,
        "converted": leaf.detach().clone(),
    }
    if company == "backward_after" and original_after.requires_grad:
        source(other).sum().backward()
    if several is not None:
        seen |= several(target, leaf, call, x, upstream)
    for _ in range(passes):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = call(x)
        outputs, upstreams = [value], [upstream]
        if company == "one_loss":
            beside = source(other)
            outputs, upstreams = [value, beside], [upstream, torch.ones_like(beside)]
        pairs = [pair for pair in zip(outputs, upstreams, strict=True) if pair[0].requires_grad]
        if pairs:
            torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    value_kept = value.detach().clone()
    seen |= {
        "value": value,
        "weight_grad": leaf.grad,
        "original_grad": original_after.grad,
        "input_grad": x.grad if x.requires_grad else None,
        "bias_grad": None if getattr(target, "bias", None) is None else target.bias.grad,
        "version_kept": original_after._version == version,
        "source_value": source(other).detach().clone(),
    }
    grad_kept = None if leaf.grad is None else leaf.grad.clone()
    if leaf.grad is not None:
        torch.optim.SGD([leaf], lr=0.5).step()
    seen |= {"stepped": leaf.detach().clone(), "source_stepped": original_after.detach().clone()}
    with torch.no_grad():
        leaf.neg_()
        seen["source_negated"] = original_after.detach().clone()
        original_after.zero_()
        seen |= {"leaf_zeroed": leaf.detach().clone(), "source_zeroed": original_after.detach().clone()}
        seen["aside"] = original.detach().clone()
        original.copy_(kept)
    seen["value_stays"] = torch.equal(value.detach(), value_kept) or bool(value_kept.isnan().any())
    grad = leaf.grad
    seen["grad_stays"] = (
        grad is None
        or grad_kept is None
        or torch.equal(grad.to_dense().nan_to_num(9.0), grad_kept.to_dense().nan_to_num(9.0))
    )
    return seen


def new_linear(
    width: int, rows: int, dtype: torch.dtype, bias: Tensor | None, bias_frozen: bool, flags: dict[str, Any]
) -> Module:
    # `or 1`: initialising nothing warns; the weight is replaced anyhow.
    linear = torch.nn.Linear(rows, width or 1, bias is not None, dtype=dtype)
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias, requires_grad=not bias_frozen)
    return linear


def new_embedding(
    rows: int, width: int, dtype: torch.dtype, bias: Tensor | None, bias_frozen: bool, flags: dict[str, Any]
) -> Module:
    return torch.nn.Embedding(rows, width, dtype=dtype, **flags)


# -- where the table is --------------------------------------------------------------------------------------------


@into(SOURCES)
def embedding(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)


@into(SOURCES)
def embedding_frozen(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    source = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    source.weight.requires_grad = False
    return source


@into(SOURCES)
def from_pretrained(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    return torch.nn.Embedding.from_pretrained(weight, **flags)


@into(SOURCES)
def from_pretrained_open(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    return torch.nn.Embedding.from_pretrained(weight, freeze=False, **flags)


@into(SOURCES)
def linear(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0] or 1, bias is not None, dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight)
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias, requires_grad=not bias_frozen)
    return linear


@into(SOURCES)
def linear_frozen(weight: Tensor, bias: Any, bias_frozen: bool, flags: dict[str, Any]) -> Module:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0] or 1, bias is not None, dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = torch.nn.Parameter(bias, requires_grad=not bias_frozen)
    return linear


# -- what happens between the conversion and the call --------------------------------------------------------------


@into(LATER)
def nothing(source: Module, target: Module, leaf: Tensor, call: Call) -> tuple[Module, Module, Tensor, Call]:
    return source, target, leaf, call


@into(LATER)
def there_and_back(source: Module, target: Module, leaf: Tensor, call: Call) -> tuple[Module, Module, Tensor, Call]:
    middle = torch.nn.Parameter(target.weight.T)
    target.weight = torch.nn.Parameter(middle.T, leaf.requires_grad)
    return source, target, target.weight, target


@into(LATER)
def deepcopied(source: Module, target: Module, leaf: Tensor, call: Call) -> tuple[Module, Module, Tensor, Call]:
    import copy

    pair: Any = copy.deepcopy(torch.nn.ModuleList([source, target]))
    return pair[0], pair[1], pair[1].weight, pair[1]


@into(LATER)
def zeroed(source: Module, target: Module, leaf: Tensor, call: Call) -> tuple[Module, Module, Tensor, Call]:
    target.zero_grad()
    source.zero_grad(set_to_none=False)
    return source, target, leaf, call


@into(LATER)
def reloaded(source: Module, target: Module, leaf: Tensor, call: Call) -> tuple[Module, Module, Tensor, Call]:
    target.load_state_dict(target.state_dict())
    return source, target, leaf, call
