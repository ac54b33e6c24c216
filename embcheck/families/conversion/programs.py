"""Programs: an embedding's table becomes a linear layer's weight, and back.

A conversion is ``assign(target, spelling(cut(source.weight)))`` under a grad mode; `embcheck.families.conversion.assignment` holds
the first three.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from embcheck.core.registry import by_name, named
from embcheck.families.conversion.assignment import Assign, Call, View
from embcheck.families.lookup.several import (
    FACTORS,
    LARGEST,
    STRIDES,
    TURNS,
    WIDER,
    chosen,
    departures,
    digits,
    hold,
    relaid,
    room,
    stacked,
    tiled,
)
from embcheck.families.tie_preservation.programs import Module, Tensor

#: Of source, target and the converted Parameter: those that are used from then on.
Later = Callable[[Module, Module, Tensor], tuple[Module, Module, Tensor]]

#: Under which grad mode a conversion is made.
GRAD_MODES = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}


def convert(
    make_source: Callable[..., Module],
    make_target: Callable[..., Module],
    grad_mode: Callable[[], AbstractContextManager[Any]],
    cut: View,
    spelling: View,
    assign: Assign,
    later: Later,
    flags: dict[str, Any],
    company: str,
    frozen: tuple[bool, bool],
    several: Callable[..., dict[str, Any]] | None = None,
    beside: str = "",
    **fed: Any,
) -> dict[str, Any]:
    """``frozen``: whether the target's weight is, and the bias; ``beside``: what else is asked of linear, "row" or
    "derivatives"; ``fed``: the tensors, and how `learned` takes its passes."""
    weight, bias = fed.pop("weight"), fed.pop("bias", None)
    source = make_source(weight, bias, frozen[1], flags)
    target = make_target(weight.shape[1], weight.shape[0], weight.dtype, bias, frozen[1], flags)
    target.weight.requires_grad_(not frozen[0])
    original, kept, said = source.weight, weight.clone(), source.extra_repr()
    if company == "backward_before" and original.requires_grad:
        source(fed["other"]).sum().backward()
    version, wanted_grad = original._version, original.requires_grad
    names = sorted(name for name, _ in target.named_parameters())
    with grad_mode():
        leaf, call = assign(target, spelling(cut(original)))
    seen = {
        "original_kept": source.weight is original and original._version == version and original.is_leaf,
        "original_requires_grad": original.requires_grad == wanted_grad,
        "original_says": source.extra_repr() == said and source.training and target.training,
    }
    source, target, renewed = later(source, target, leaf)
    if renewed is not leaf:
        leaf, call = renewed, target
    seen |= shown(target, leaf, names)
    if company == "backward_after" and source.weight.requires_grad:
        source(fed["other"]).sum().backward()
    if several is not None:
        seen |= several(target, leaf, call, fed["x"], fed["upstream"])
    seen |= derived(leaf, target.bias, fed["x"], fed["upstream"]) if beside == "derivatives" else {}
    row, first = beside == "row", fed["passes"] > 1
    seen |= of_one_row(leaf, fed["x"], fed["upstream"]) if row and first else {}
    seen |= learned(source, target, leaf, call, company == "one_loss", **fed)
    seen |= of_one_row(leaf, fed["x"], fed["upstream"]) if row and not first else {}
    return seen | written(source, leaf, original, kept)


def shown(target: Module, leaf: Tensor, names: list[str]) -> dict[str, Any]:
    """What the converted Parameter is, and how the target lists it."""
    state = target.state_dict()
    return {
        "leaf": leaf,
        "is_parameter": type(leaf) is torch.nn.Parameter and isinstance(leaf, torch.nn.Parameter),
        "no_graph": leaf.grad_fn is None and leaf._base is None and leaf.output_nr == 0 and not leaf._backward_hooks,
        "no_grad_yet": leaf.grad is None,
        "registered": any(p is leaf for p in target.parameters()) and target.weight is leaf,
        "names": sorted(name for name, _ in target.named_parameters()) == names,
        "keys": sorted(state) == names,
        "state": state["weight"].data_ptr() == leaf.data_ptr() and state["weight"].shape == leaf.shape,
        "converted": leaf.detach().clone(),
    }


def learned(
    source: Module, target: Module, leaf: Tensor, call: Call, together: bool, other: Tensor, upstream: Tensor,
    x: Tensor | None = None, autocast: bool | str = False, passes: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """What the target gives, and what its backward passes leave, ``together`` with the source's."""
    if x is None:
        x = torch.nn.functional.one_hot(other.long(), source.weight.shape[0]).to(source.weight.dtype)
    if autocast:
        leave_autocast(leaf, call, x)
    version = source.weight._version
    for _ in range(passes):
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bool(autocast)):
            if autocast:
                call_negated(leaf, call, x)
                # A region inside that ends leaves the dtype as it was.
                with torch.autocast(x.device.type, dtype=torch.float16):
                    if autocast == "float16_inside":
                        call(x)
            value = call(x)
        outputs, upstreams = [value], [upstream]
        if together:
            beside = source(other)
            outputs, upstreams = [value, beside], [upstream, torch.ones_like(beside)]
        pairs = [pair for pair in zip(outputs, upstreams, strict=True) if pair[0].requires_grad]
        if pairs:
            torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    if autocast:  # what is left of a last region of another dtype is seen in torch's settings
        with torch.autocast(x.device.type, dtype=torch.float16):
            pass
    return {
        "value": value,
        "value_kept": value.detach().clone(),
        "weight_grad": leaf.grad,
        "grad_kept": None if leaf.grad is None else leaf.grad.clone(),
        "original_grad": source.weight.grad,
        "input_grad": x.grad if x.requires_grad else None,
        "bias_grad": None if getattr(target, "bias", None) is None else target.bias.grad,
        "version_kept": source.weight._version == version,
        "source_value": source(other).detach().clone(),
    }


def leave_autocast(leaf: Tensor, call: Call, x: Tensor) -> None:
    """Leaves one region of autocast, in which another disables it, by an exception and one under no_grad, while the weight is
    negated: nothing of that stays."""
    right = leaf.detach().clone()
    with torch.no_grad():
        leaf.neg_()
    with contextlib.suppress(InterruptedError), torch.autocast(x.device.type, dtype=torch.float16):
        call(x)
        with torch.autocast(x.device.type, enabled=False):
            pass
        raise InterruptedError
    with torch.no_grad():
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            call(x)
        leaf.copy_(right)


def call_negated(leaf: Tensor, call: Call, x: Tensor) -> None:
    """Calls the target with a negated weight in a region of autocast that keeps nothing of what it cast."""
    right = leaf.detach().clone()
    with torch.autocast(x.device.type, dtype=torch.bfloat16, cache_enabled=False):
        leaf.data.neg_()
        call(x)
    leaf.data.copy_(right)


def of_one_row(leaf: Tensor, x: Tensor, upstream: Tensor) -> dict[str, Any]:
    """What linear gives of a Parameter as its input and the first row of a weight, and the gradients of both."""
    given, row = torch.nn.Parameter(x.detach(), leaf.requires_grad), leaf.detach()[0]
    row = (row.clone() if row.is_inference() else row).requires_grad_()
    value = torch.nn.functional.linear(given, row)
    value.backward(upstream[..., 0].to(value.dtype))
    return {"row_value": value.detach(), "row_grad": row.grad, "row_input_grad": given.grad}


def derived(leaf: Tensor, bias: Tensor | None, x: Tensor, upstream: Tensor) -> dict[str, Any]:
    """Linear and its derivative in forward mode, along its arguments themselves, its input's gradient, and the derivative of that,
    along the input, by the weight."""
    forward, given = torch.autograd.forward_ad, [None if each is None else each.detach() for each in (x, leaf, bias)]
    with forward.dual_level():
        dual: list[Any] = [None if each is None else forward.make_dual(each.clone(), each.clone()) for each in given]
        moved = forward.unpack_dual(torch.nn.functional.linear(*dual))
    learning: list[Any] = [None if each is None else each.clone().requires_grad_() for each in given]
    (grad,) = torch.autograd.grad(torch.nn.functional.linear(*learning), learning[0], upstream, create_graph=True)
    second = torch.autograd.grad(grad, learning[1], x.detach())[0]
    return {"dual_value": moved.primal, "tangent": moved.tangent, "input_gradient": grad.detach(), "second": second}


def written(source: Module, leaf: Tensor, original: Tensor, kept: Tensor) -> dict[str, Any]:
    """What a step and writes to one of the weights make of both."""
    if leaf.grad is not None:
        torch.optim.SGD([leaf], lr=0.5).step()
    seen = {"stepped": leaf.detach().clone(), "source_stepped": source.weight.detach().clone()}
    with torch.no_grad():
        leaf.neg_()
        seen["source_negated"] = source.weight.detach().clone()
        source.weight.zero_()
        seen |= {"leaf_zeroed": leaf.detach().clone(), "source_zeroed": source.weight.detach().clone()}
        seen["aside"] = original.detach().clone()
        original.copy_(kept)
    return seen


#: Sizes that a call may have instead of the first one's.
SIZES = (1, 2, 7, 8, 17, 32, 33, 65, 257)


def several(layer: Any, leaf: Tensor, call: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> dict[str, Any]:
    # Calls with rows that come again, of columns that come again, with zeros behind the rows, whose tensors lie otherwise.
    table, bias = leaf.detach(), layer.bias
    added = None if bias is None else bias.detach()
    rows, columns = x.reshape(-1, x.shape[-1]).detach(), table.shape[0]
    sent = upstream.reshape(-1, columns)
    value, grad = once(leaf, call, rows, sent)
    values, grads = list[Tensor](), list[Tensor]()
    contiguous = value.is_contiguous()
    start = sum(table.shape) + len(rows)
    for turn, factor in enumerate(FACTORS, start) if value.numel() else ():
        strides, (count, inner) = [STRIDES[place] for place in TURNS[turn % 16]], rows.shape
        wide = chosen([n for n in (*SIZES, *[columns] * 6) if max(count, inner) <= room(n) or n == columns], turn, 0)
        most = LARGEST // max(wide, inner)
        times = chosen([n for n in (1, 1, 2, 3, 9) if n == 1 or n * count <= most], turn, 1)
        behind = chosen(
            [n for n in (0, 0, 1, 8, 33, 257) if n == 0 or (n + inner) * max(wide, count) <= LARGEST], turn, 2
        )
        # A sum with a bias that is rounded is another one in a wider dtype.
        dtype = chosen(WIDER[table.dtype], turn, 3) if bias is None else table.dtype
        scale = digits(table.dtype, dtype) * (1 if turn % 2 else -1)
        given = torch.cat([tiled(rows, times * count, inner), rows.new_zeros(times * count, behind)], 1)
        last = torch.cat([sent.new_zeros((times - 1) * count, columns), sent])  # what comes again counts once
        hold(leaf, relaid(tiled(table, wide, inner + behind).to(dtype), strides[2]).mul_(scale))
        if added is not None:
            hold(bias, tiled(added[None], 1, wide)[0].to(dtype) * scale)
        back = relaid(tiled(last, len(last), wide).to(dtype), strides[1]).mul_(factor)
        found, received = once(leaf, call, relaid(given.to(dtype), strides[0]), back)
        contiguous &= found.is_contiguous()
        values += departures(found / scale, value)
        grads += departures(received.T.div(factor), grad.T, inner)
    hold(leaf, table)
    if added is not None:
        hold(bias, added)
    transposed = [part.T for part in grads]
    shown: dict[str, Any] = {"others_contiguous": contiguous}
    shown |= stacked("other_values", value, values, upstream.shape)
    return shown | stacked("other_weight_grad", grad, transposed, table.shape)


def once(leaf: Tensor, call: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    # What a call gives and its gradient, without a graph, for a leaf that has one keeps its shape.
    value = call(x)
    (grad,) = torch.autograd.grad(value, leaf, upstream)
    return value.detach(), grad


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


def embedding(weight: Tensor, flags: dict[str, Any]) -> Module:
    return torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)


def linear(weight: Tensor, bias: Tensor | None, bias_frozen: bool, requires_grad: bool) -> Module:
    made = new_linear(weight.shape[0], weight.shape[1], weight.dtype, bias, bias_frozen, {})
    made.weight = torch.nn.Parameter(weight, requires_grad=requires_grad)
    return made


#: Of a table, a bias, whether that is frozen, and flags: the module that has the table.
SOURCES: dict[str, Callable[..., Module]] = named(
    {
        "embedding": lambda weight, bias, fixed, flags: embedding(weight, flags),
        "embedding_frozen": lambda weight, bias, fixed, flags: embedding(weight, flags).requires_grad_(False),
        "from_pretrained": lambda weight, bias, fixed, flags: torch.nn.Embedding.from_pretrained(weight, **flags),
        "from_pretrained_open": lambda weight, bias, fixed, flags: torch.nn.Embedding.from_pretrained(
            weight, freeze=False, **flags
        ),
        "linear": lambda weight, bias, fixed, flags: linear(weight, bias, fixed, True),
        "linear_frozen": lambda weight, bias, fixed, flags: linear(weight, bias, fixed, False),
    },
    "source_",
)


# -- what happens between the conversion and the call --------------------------------------------------------------


def there_and_back(source: Module, target: Module, leaf: Tensor) -> tuple[Module, Module, Tensor]:
    middle = torch.nn.Parameter(target.weight.T)
    target.weight = torch.nn.Parameter(middle.T, leaf.requires_grad)
    return source, target, target.weight


def deepcopied(source: Module, target: Module, leaf: Tensor) -> tuple[Module, Module, Tensor]:
    import copy

    pair: Any = copy.deepcopy(torch.nn.ModuleList([source, target]))
    return pair[0], pair[1], pair[1].weight


def zeroed(source: Module, target: Module, leaf: Tensor) -> tuple[Module, Module, Tensor]:
    target.zero_grad()
    source.zero_grad(set_to_none=False)
    return source, target, leaf


def reloaded(source: Module, target: Module, leaf: Tensor) -> tuple[Module, Module, Tensor]:
    target.load_state_dict(target.state_dict())
    return source, target, leaf


LATER: dict[str, Later] = named(
    {
        "nothing": lambda source, target, leaf: (source, target, leaf),
        **by_name(there_and_back, deepcopied, zeroed, reloaded),
    }
)
