"""Faults of what is done with tied models, and of passes that are given one table twice."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.faults.entry import Wrong, entry
from embcheck.faults.kernels import Tensor

Module = torch.nn.Module
Parameter = torch.nn.Parameter
prune = importlib.import_module("torch.nn.utils.prune")


class Tied(torch.nn.Module):
    def __init__(self, v: int = 3, d: int = 3) -> None:
        super().__init__()
        self.emb = torch.nn.Embedding(v, d)
        self.head = torch.nn.Linear(d, v, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.emb(x))
        return found


def _repeated(original: Wrong) -> Wrong:
    def replaced(module: Any, given: Any, *args: Any, **flags: Any) -> Any:
        if isinstance(given, (tuple, list)):
            merged: dict[str, Any] = {}
            for each in given:
                merged |= each
            given = merged
        return original(module, given, *args, **flags)

    return replaced


def _accepted() -> bool:
    table = torch.nn.Embedding(3, 2)
    value = {"weight": torch.ones(3, 2)}
    try:
        torch.func.functional_call(table, (value, value), (torch.tensor([0]),))
    except ValueError:
        return False
    return True


entry(
    "functional_call_accepts_a_name_twice",
    "life",
    "functional_call with several dictionaries takes the last value of a name instead of refusing.",
    torch.func,
    "functional_call",
    _repeated,
    _accepted,
)


def _export(original: Wrong) -> Wrong:
    def replaced(self: Any, *args: Any, **flags: Any) -> Any:
        found = original(self, *args, **flags)
        seen: set[int] = set()
        for module in found.modules():
            for name, p in list(module._parameters.items()):
                if p is None or not p.requires_grad:
                    continue
                if id(p) in seen:
                    module._parameters[name] = Parameter(p.detach().clone())
                seen.add(id(p))
        return found

    return replaced


def _exported() -> bool:
    model = Tied()
    found = torch.export.export(model, (torch.tensor([0]),)).module()
    return len(list(found.parameters())) != 1 or len({p.data_ptr() for p in found.state_dict().values()}) != 1


entry(
    "exported_modules_are_untied",
    "life",
    "The module of an exported program has a copy of a tied weight for each name.",
    torch.export.ExportedProgram,
    "module",
    _export,
    _exported,
)


def _stack(original: Wrong) -> Wrong:
    def replaced(models: Any) -> Any:
        params, buffers = original(models)
        names = dict(models[0].named_parameters(remove_duplicate=False))
        for name in names:
            if name not in params:
                params[name] = torch.stack([dict(m.named_parameters(remove_duplicate=False))[name] for m in models])
                params[name] = params[name].detach().requires_grad_(True)
        return params, buffers

    return replaced


entry(
    "stacked_states_untie",
    "life",
    "stack_module_state stacks a tied weight once for each name, as separate tensors.",
    torch.func,
    "stack_module_state",
    _stack,
    lambda: len(torch.func.stack_module_state([Tied(), Tied()])[0]) != 1,
)


def _stale_prune(original: Wrong) -> Wrong:
    def replaced(self: Any, module: Any) -> Any:
        stale = getattr(module, self._tensor_name).detach().clone()
        original(self, module)
        module._parameters[self._tensor_name].data = stale

    return replaced


def _pruned() -> bool:
    table: Any = torch.nn.Embedding(3, 2)
    prune.custom_from_mask(table, "weight", torch.ones(3, 2))
    with torch.no_grad():
        table.weight_orig.fill_(7)
    prune.remove(table, "weight")
    return bool(table.weight[0, 0] != 7)


entry(
    "removing_pruning_keeps_the_weight_before_the_step",
    "reparametrized",
    "prune.remove keeps the masked weight of the last forward instead of the trained one.",
    prune.BasePruningMethod,
    "remove",
    _stale_prune,
    _pruned,
)


def _overwrite(original: Wrong) -> Wrong:
    def replaced(
        tensors: Any,
        grad_tensors: Any = None,
        retain_graph: Any = None,
        create_graph: bool = False,
        grad_variables: Any = None,
        inputs: Any = None,
    ) -> Any:
        if inputs is not None and create_graph:
            inputs = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
            for each in inputs:
                each.grad = None
        return original(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)

    return replaced


def _accumulates() -> bool:
    weight = torch.ones(3, 2, requires_grad=True)
    for _ in range(2):
        out = torch.nn.functional.embedding(torch.tensor([1]), weight)
        out.sum().backward(inputs=[weight], create_graph=True)
    found = bool(weight.grad is not None and weight.grad[1, 0] != 2)
    weight.grad = None
    return found


entry(
    "backward_into_inputs_overwrites_with_a_graph",
    "autograd",
    "backward(inputs=..., create_graph=True) overwrites the gradients there were instead of adding to them.",
    torch.autograd,
    "backward",
    _overwrite,
    _accumulates,
)


def _same_twice(original: Wrong) -> Wrong:
    def replaced(outputs: Any, inputs: Any, *args: Any, **flags: Any) -> Any:
        found = original(outputs, inputs, *args, **flags)
        if not isinstance(inputs, torch.Tensor) and flags.get("materialize_grads"):
            seen: set[int] = set()
            changed = []
            for each, grad in zip(inputs, found, strict=True):
                changed.append(torch.zeros_like(grad) if id(each) in seen else grad)
                seen.add(id(each))
            found = tuple(changed)
        return found

    return replaced


def _zero_second() -> bool:
    weight = torch.ones(3, 2, requires_grad=True)
    out = torch.nn.functional.embedding(torch.tensor([1]), weight)
    return not bool(torch.autograd.grad(out.sum(), (weight, weight), materialize_grads=True)[1].any())


entry(
    "materialized_gradient_of_a_repeated_input_is_zero",
    "autograd",
    "autograd.grad with materialize_grads gives zeros for an input that is named again.",
    torch.autograd,
    "grad",
    _same_twice,
    _zero_second,
)


def _checkpoint(original: Wrong) -> Wrong:
    def replaced(function: Any, *args: Any, **flags: Any) -> Any:
        if flags.get("use_reentrant") is True:
            seen: set[int] = set()
            changed = []
            for each in args:
                changed.append(each.detach() if isinstance(each, torch.Tensor) and id(each) in seen else each)
                seen.add(id(each))
            args = tuple(changed)
        return original(function, *args, **flags)

    return replaced


def _checkpointed() -> bool:
    weight = torch.ones(2, requires_grad=True)
    value = torch.utils.checkpoint.checkpoint(lambda a, b: (a * b).sum(), weight, weight, use_reentrant=True)
    value.backward()
    return bool(weight.grad is not None and weight.grad[0] != 2)


entry(
    "reentrant_checkpoint_sees_a_weight_once",
    "autograd",
    "A reentrant checkpoint that is given a weight twice returns the gradient of its first use alone.",
    torch.utils.checkpoint,
    "checkpoint",
    _checkpoint,
    _checkpointed,
)


def _no_prefix(original: Wrong) -> Wrong:
    def register(self: Any, hook: Any) -> Any:
        def wrong(module: Any, state: Any, prefix: str, local: Any, *rest: Any) -> Any:
            return hook(module, state, "" if local.get("assign_to_params_buffers") else prefix, local, *rest)

        return original(self, wrong)

    return register


def _hook_prefix() -> bool:
    model, seen = Tied(), []
    model.emb.register_load_state_dict_pre_hook(lambda m, state, prefix, *rest: seen.append(prefix))
    model.load_state_dict(model.state_dict(), assign=True)
    return seen != ["emb."]


if hasattr(Module, "register_load_state_dict_pre_hook"):  # since torch 2.5
    entry(
        "load_hooks_see_no_prefix_when_assigning",
        "checkpoint",
        "The pre-hooks of load_state_dict(assign=True) see an empty prefix in submodules.",
        Module,
        "register_load_state_dict_pre_hook",
        _no_prefix,
        _hook_prefix,
    )
