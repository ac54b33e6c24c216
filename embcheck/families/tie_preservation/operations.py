"""Operations on a model with tied weights, each with what it does to the tie: those that leave it, and copies.

The operations import nothing but torch, for their source is what a counterexample's script shows; the effects, which
the laws expect, are those of `effects` and `rewriting_effects` beside this module.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.utils.parametrize
import torch.optim.swa_utils

from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.effects import Effect, unchanged
from embcheck.families.tie_preservation.oracle import State

#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
#: Of a model, its embedding and its head: the model afterwards.
Operation = Callable[[Module, Module, Module], Module]


class Entry(NamedTuple):
    """An operation and its effect; ``copies`` if it returns another module.

    A ``slow`` one takes a hundred times as long as others: only long histories have it, and few of them.
    """

    act: Operation
    effect: Effect = unchanged
    copies: bool = False
    slow: bool = False

    def after(self, state: State) -> State:
        """What becomes of a state, which stays as it is."""
        own = state.copy()
        return self.effect(own) or own


def after(model: Module, *done: Any) -> Module:
    """The model, once something was done."""
    return model


def stored(thing: Any, **options: Any) -> Any:
    """What torch.save writes of a thing, read again."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, **options)


def chained(embedding: Module, head: Module) -> tuple[Module, torch.Tensor]:
    """The two as one model, and tokens for it."""
    return torch.nn.Sequential(embedding, head), torch.zeros(2, dtype=torch.int64)


def hooked(model: Module, embedding: Module, head: Module) -> Module:
    handles = [embedding.register_forward_hook(lambda *_: None), head.register_forward_pre_hook(lambda *_: None)]
    handles.append(model.register_state_dict_pre_hook(lambda *_: None))
    if head.weight.requires_grad:
        handles.append(head.weight.register_hook(lambda grad: grad))
    for handle in handles:
        handle.remove()
    return model


def called(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        head(embedding(torch.zeros(2, 1, dtype=torch.int64)))
    return model


def called_functionally(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = chained(embedding, head)
    other = torch.zeros_like(head.weight)
    torch.func.functional_call(chain, {"0.weight": other}, (tokens,))
    try:  # What is raised inside leaves nothing replaced either.
        torch.func.functional_call(chain, {"0.weight": other}, (tokens + len(embedding.weight),))
    except (IndexError, RuntimeError):
        pass
    names = [name for name, _ in chain.named_parameters()]
    stacked, _ = torch.func.stack_module_state([chain, chain])
    if list(stacked) != names:
        raise AssertionError(f"the stacked state of two models has the names {list(stacked)}, each of them {names}")
    return model


def called_by_name(model: Module, embedding: Module, head: Module) -> Module:
    (name, *_) = (name for name, p in model.named_parameters(remove_duplicate=False) if p is embedding.weight)
    model.forward = lambda tokens: head(embedding(tokens))
    torch.func.functional_call(model, {name: torch.zeros_like(embedding.weight)}, (torch.zeros(2, dtype=torch.int64),))
    del model.forward
    return model


def parametrized_for_a_while(model: Module, part: Module, leave: bool) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(part, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(part, "weight", leave_parametrized=leave)
    return model


def optimized(model: Module, embedding: Module, head: Module) -> Module:
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.load_state_dict(optimizer.state_dict())
    return model


def embedding_frozen(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.requires_grad = False
    return model


def graded(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model


#: Of a model, its embedding and its head.
LEAVING: dict[str, Entry] = {
    "nothing": Entry(lambda model, e, h: model),
    "moved": Entry(lambda model, e, h: model.to("cpu")),
    "to_cpu": Entry(lambda model, e, h: model.cpu()),
    "to_same_dtype": Entry(lambda model, e, h: model.to(h.weight.dtype)),
    "applied": Entry(lambda model, e, h: model.apply(lambda module: None)),
    "listed": Entry(
        lambda model, e, h: after(model, list(model.named_parameters("", True, False)), list(model.modules()))
    ),
    "printed": Entry(lambda model, e, h: after(model, repr(model))),
    "hooked": Entry(hooked),
    "called": Entry(called),
    "called_functionally": Entry(called_functionally),
    "called_by_name": Entry(called_by_name, effects.is_called_by_name),
    "shared": Entry(lambda model, e, h: model.share_memory()),
    "parametrized": Entry(lambda model, e, h: parametrized_for_a_while(model, e, False)),
    "parametrized_left": Entry(lambda model, e, h: parametrized_for_a_while(model, h, True)),
    "loaded": Entry(lambda model, e, h: after(model, model.load_state_dict(model.state_dict()))),
    "loaded_loosely": Entry(lambda model, e, h: after(model, model.load_state_dict({}, strict=False))),
    "loaded_parameters": Entry(
        lambda model, e, h: after(model, model.load_state_dict(model.state_dict(keep_vars=True), assign=True))
    ),
    "loaded_saved": Entry(
        lambda model, e, h: after(model, model.load_state_dict(stored(model.state_dict(), weights_only=True)))
    ),
    "loaded_saved_loosely": Entry(
        lambda model, e, h: after(model, model.load_state_dict(stored(model.state_dict(), weights_only=False), False))
    ),
    "optimized": Entry(optimized),
    "evaluating": Entry(lambda model, e, h: model.eval(), effects.sets_training(False)),
    "training": Entry(lambda model, e, h: model.train(), effects.sets_training(True)),
    "frozen": Entry(lambda model, e, h: model.requires_grad_(False), effects.sets(requires_grad=False)),
    "thawed": Entry(lambda model, e, h: model.requires_grad_(True), effects.sets(requires_grad=True)),
    "embedding_frozen": Entry(embedding_frozen, effects.freezes_embedding),
    "zeroed": Entry(lambda model, e, h: after(model, model.zero_grad()), effects.forgets_gradients),
    "zeroed_in_place": Entry(lambda model, e, h: after(model, model.zero_grad(False)), effects.zeroes_gradients),
    "graded": Entry(graded, effects.gains_gradients),
}


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


def transplanted(model: Module, embedding: Module, head: Module) -> Module:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    return other


COPYING: dict[str, Entry] = {
    "deepcopied": Entry(lambda model, e, h: copy.deepcopy(model), effects.copies_each, copies=True),
    "deepcopied_hooked": Entry(deepcopied_hooked, effects.copies_each, copies=True),
    "copied": Entry(lambda model, e, h: copy.copy(model), copies=True),
    "pickled": Entry(lambda model, e, h: pickle.loads(pickle.dumps(model)), effects.pickles_each, copies=True),
    "saved": Entry(lambda model, e, h: stored(model, weights_only=False), effects.stores, copies=True),
    "averaged": Entry(averaged, effects.copies_each, copies=True),
    "transplanted": Entry(transplanted, effects.copies_each, copies=True),
}
