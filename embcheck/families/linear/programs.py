"""Programs: a linear layer is called, as a module or as a function, several times.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embcheck.core.registry import named

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Call = Callable[[Module, Tensor, Tensor, Tensor | None], Tensor]


def affine(
    call: Call,
    doubled: bool,
    trains: tuple[bool, bool, bool],
    grad_mode: str,
    autocast: bool,
    times: int,
    x: Tensor,
    weight: Tensor,
    upstream: Tensor,
    bias: Tensor | None = None,
) -> dict[str, Any]:
    layer: Module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)
    layer.weight = torch.nn.Parameter(weight, requires_grad=trains[1])
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias, requires_grad=trains[2])
    x.requires_grad_(trains[0])
    parts = [x, layer.weight, *([] if bias is None else [layer.bias])]
    versions = [part._version for part in parts]
    guard: Any = {"enabled": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}[grad_mode]
    calls: list[str] = []
    layer.register_forward_pre_hook(lambda *given: calls.append("before"))
    layer.register_forward_hook(lambda *given: calls.append("after"))
    values, strides, kinds = [], [], []
    graded = False
    for turn in range(times):
        if turn:
            with torch.no_grad():
                for part in layer.parameters() if doubled else ():
                    part.mul_(2)
            versions = [part._version for part in parts]
        with guard(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value = call(layer, x, layer.weight, layer.bias)
        values.append(value.detach().clone())
        strides.append(value.stride())
        kinds.append((str(value.dtype).removeprefix("torch."), value.requires_grad, value.is_leaf))
        if value.requires_grad:
            value.backward(upstream)
            graded = True
    unmoved = versions == [part._version for part in parts]
    pointers = [part.data_ptr() for part in parts if part.numel()]
    before = [part.detach().clone() for part in parts]
    apart = not value.numel() or value.data_ptr() not in pointers
    if value.numel():
        with torch.inference_mode(value.is_inference()), torch.no_grad():
            value.fill_(7.0)
    kept = all(
        torch.equal(part.detach().nan_to_num(9.0), old.nan_to_num(9.0)) for part, old in zip(parts, before, strict=True)
    )
    filled = not value.numel() or bool((value == 7).all())
    return {
        "values": torch.stack(values),
        "strides": strides,
        "kinds": kinds,
        "unmoved": unmoved,
        "apart": apart,
        "kept": kept,
        "filled": filled,
        "graded": graded,
        "calls": calls,
        "input_grad": x.grad,
        "weight_grad": layer.weight.grad,
        "bias_grad": None if bias is None else layer.bias.grad,
    }


def misfit(attempt: Callable[[Tensor, Tensor, Tensor], Any], x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Any]:
    return {"accepted": attempt(x, weight, bias)}


def functional_call(layer: Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    given = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return torch.func.functional_call(layer, given, (x,))  # type: ignore[no-any-return]


CALLS: dict[str, Call] = named(
    {
        "module": lambda layer, x, weight, bias: layer(x),
        "function": lambda layer, x, weight, bias: F.linear(x, weight, bias),
        "functional_call": functional_call,
        # A weight without an axis of outputs, a bias without any.
        "vector": lambda layer, x, weight, bias: F.linear(x, weight[0], None if bias is None else bias[0])[..., None],
    }
)


#: What must be refused.
MISFITS: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = named(
    {
        "scalar_input": lambda x, weight, bias: F.linear(x.sum(), weight[:, :1]),
        "wider_input": lambda x, weight, bias: F.linear(torch.cat([x, x[..., :1]], -1), weight, bias),
        "narrower_input": lambda x, weight, bias: F.linear(x[..., 1:], weight, bias),
        "transposed_weight": lambda x, weight, bias: F.linear(x, weight.t(), bias),
        "weight_of_rank_3": lambda x, weight, bias: F.linear(x, weight[None], bias),
        "longer_bias": lambda x, weight, bias: F.linear(x, weight, torch.cat([bias, bias[:1]])),
        "shorter_bias": lambda x, weight, bias: F.linear(x, weight, bias[1:]),
        "integer_input": lambda x, weight, bias: F.linear(x.long(), weight, bias),
        "double_weight": lambda x, weight, bias: F.linear(x.float(), weight.double(), None),
        "double_bias": lambda x, weight, bias: F.linear(x.float(), weight.float(), bias.double()),
        "half_input": lambda x, weight, bias: F.linear(x.bfloat16(), weight.float(), None),
    }
)
