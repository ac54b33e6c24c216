"""Operations on a model with tied weights, each with what it does to the tie.

The operations import nothing but torch, for their source is what a counterexample's script shows; the effects, which
the laws expect, are those of `effects`, `rewriting_effects` and `training_effects` beside this module.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.utils.parametrize

from embcheck.families.tie_preservation import effects as effect

#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Operation = Callable[[Module, Module, Module], Module]


class Entry(NamedTuple):
    """An operation and its effect; ``copies`` if it returns another module.

    A ``slow`` one takes a hundred times as long as others: only long histories have it, and few of them.
    """

    act: Operation
    effect: effect.Effect
    copies: bool = False
    slow: bool = False


OPERATIONS: dict[str, Entry] = {}


def does(result: effect.Effect, copies: bool = False, slow: bool = False) -> Callable[[Operation], Operation]:
    """Registers the decorated operation under its name, with its effect."""

    def register(act: Operation) -> Operation:
        OPERATIONS[act.__name__.removesuffix("_")] = Entry(act, result, copies, slow)
        return act

    return register


# -- nothing happens to the tie ----------------------------------------------------------------------------------------


@does(effect.unchanged)
def nothing(model: Module, embedding: Module, head: Module) -> Module:
    return model


@does(effect.unchanged)
def moved(model: Module, embedding: Module, head: Module) -> Module:
    return model.to("cpu")


@does(effect.unchanged)
def to_cpu(model: Module, embedding: Module, head: Module) -> Module:
    return model.cpu()


@does(effect.unchanged)
def to_same_dtype(model: Module, embedding: Module, head: Module) -> Module:
    return model.to(head.weight.dtype)


@does(effect.unchanged)
def applied(model: Module, embedding: Module, head: Module) -> Module:
    return model.apply(lambda module: None)


@does(effect.unchanged)
def listed(model: Module, embedding: Module, head: Module) -> Module:
    list(model.named_parameters(remove_duplicate=False))
    list(model.modules())
    return model


@does(effect.unchanged)
def printed(model: Module, embedding: Module, head: Module) -> Module:
    repr(model)
    return model


@does(effect.unchanged)
def hooked(model: Module, embedding: Module, head: Module) -> Module:
    handles = [embedding.register_forward_hook(lambda *_: None), head.register_forward_pre_hook(lambda *_: None)]
    handles.append(model.register_state_dict_pre_hook(lambda *_: None))
    if head.weight.requires_grad:
        handles.append(head.weight.register_hook(lambda grad: grad))
    for handle in handles:
        handle.remove()
    return model


@does(effect.unchanged)
def called(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        head(embedding(torch.zeros(2, 1, dtype=torch.int64)))
    return model


@does(effect.unchanged)
def called_functionally(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    other = torch.zeros_like(head.weight)
    tokens = torch.zeros(2, dtype=torch.int64)
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


@does(effect.is_called_by_name)
def called_by_name(model: Module, embedding: Module, head: Module) -> Module:
    (name, *_) = (name for name, p in model.named_parameters(remove_duplicate=False) if p is embedding.weight)
    model.forward = lambda tokens: head(embedding(tokens))
    torch.func.functional_call(model, {name: torch.zeros_like(embedding.weight)}, (torch.zeros(2, dtype=torch.int64),))
    del model.forward
    return model


@does(effect.unchanged)
def shared(model: Module, embedding: Module, head: Module) -> Module:
    return model.share_memory()


@does(effect.unchanged)
def parametrized(model: Module, embedding: Module, head: Module) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(embedding, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(embedding, "weight", leave_parametrized=False)
    return model


@does(effect.unchanged)
def parametrized_left(model: Module, embedding: Module, head: Module) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(head, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(head, "weight", leave_parametrized=True)
    return model


@does(effect.unchanged)
def loaded(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict())
    return model


@does(effect.unchanged)
def loaded_loosely(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict({}, strict=False)
    return model


@does(effect.unchanged)
def loaded_parameters(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return model


@does(effect.unchanged)
def loaded_saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=True))
    return model


@does(effect.unchanged)
def loaded_saved_loosely(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=False), strict=False)
    return model


@does(effect.unchanged)
def optimized(model: Module, embedding: Module, head: Module) -> Module:
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.load_state_dict(optimizer.state_dict())
    return model


# -- flags and gradients -----------------------------------------------------------------------------------------------


@does(effect.ends_training)
def evaluating(model: Module, embedding: Module, head: Module) -> Module:
    return model.eval()


@does(effect.starts_training)
def training(model: Module, embedding: Module, head: Module) -> Module:
    return model.train()


@does(effect.freezes)
def frozen(model: Module, embedding: Module, head: Module) -> Module:
    return model.requires_grad_(False)


@does(effect.thaws)
def thawed(model: Module, embedding: Module, head: Module) -> Module:
    return model.requires_grad_(True)


@does(effect.freezes_embedding)
def embedding_frozen(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.requires_grad = False
    return model


@does(effect.forgets_gradients)
def zeroed(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    return model


@does(effect.zeroes_gradients)
def zeroed_in_place(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad(set_to_none=False)
    return model


@does(effect.gains_gradients)
def graded(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model
