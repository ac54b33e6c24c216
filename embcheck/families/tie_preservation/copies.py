"""Operations that return another model: copies of every kind.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import copy
import io
import pickle

import torch
import torch.optim.swa_utils

from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.operations import Module, does


@does(effects.copies_each, copies=True)
def deepcopied(model: Module, embedding: Module, head: Module) -> Module:
    return copy.deepcopy(model)


@does(effects.copies_each, copies=True)
def deepcopied_hooked(model: Module, embedding: Module, head: Module) -> Module:
    calls: list[str] = []
    path = next(name for name, module in model.named_modules() if module is embedding)
    handles = [
        embedding.register_forward_pre_hook(lambda module, given: calls.append("before")),
        embedding.register_forward_pre_hook(lambda module, given, more: calls.append("with"), with_kwargs=True),
        embedding.register_forward_hook(lambda module, given, value: calls.append("after")),
        embedding.register_state_dict_pre_hook(lambda module, prefix, keep: calls.append("state")),
        embedding.register_load_state_dict_post_hook(lambda module, keys: calls.append("loaded")),
    ]
    other = copy.deepcopy(model)
    for handle in handles:
        handle.remove()
    there = other.get_submodule(path)
    with torch.no_grad():
        there(torch.zeros(1, dtype=torch.int64))
    there.load_state_dict(there.state_dict())
    if calls != ["before", "with", "after", "state", "loaded"]:
        raise AssertionError(f"of the hooks that were copied {calls} were called")
    for hooks in (there._forward_pre_hooks, there._forward_hooks, there._state_dict_pre_hooks):
        hooks.clear()
    there._load_state_dict_post_hooks.clear()
    return other


@does(effects.is_shared, copies=True)
def copied(model: Module, embedding: Module, head: Module) -> Module:
    return copy.copy(model)


@does(effects.pickles_each, copies=True)
def pickled(model: Module, embedding: Module, head: Module) -> Module:
    return pickle.loads(pickle.dumps(model))


@does(effects.stores, copies=True)
def saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@does(effects.copies_each, copies=True)
def averaged(model: Module, embedding: Module, head: Module) -> Module:
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    kept = [parameter.detach().clone() for parameter in averaged.module.parameters()]
    with torch.no_grad():
        for parameter in averaged.module.parameters():
            parameter.zero_()
    averaged.update_parameters(model)
    halves = [(2 * parameter, whole) for parameter, whole in zip(averaged.module.parameters(), kept, strict=True)]
    if len({id(p) for p in model.parameters()}) == len({p.data_ptr() for p in model.parameters()}) and not all(
        torch.equal(twice.nan_to_num(), whole.nan_to_num()) for twice, whole in halves
    ):
        raise AssertionError("the average of nothing and a weight is not half of it")
    with torch.no_grad():
        for parameter, whole in zip(averaged.module.parameters(), kept, strict=True):
            parameter.copy_(whole)
    return averaged.module


@does(effects.copies_each, copies=True)
def transplanted(model: Module, embedding: Module, head: Module) -> Module:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    return other
