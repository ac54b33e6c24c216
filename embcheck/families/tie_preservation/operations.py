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
    """An operation and its effect; ``copies`` if it returns another module."""

    act: Operation
    effect: Effect = unchanged
    copies: bool = False

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


def called_functionally(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = torch.nn.Sequential(embedding, head), torch.zeros(2, dtype=torch.int64)
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


def parametrized_for_a_while(model: Module, embedding: Module, head: Module) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(embedding, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(embedding, "weight", leave_parametrized=False)
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
    "called_functionally": Entry(called_functionally),
    "called_by_name": Entry(called_by_name, effects.is_called_by_name),
    "shared": Entry(lambda model, e, h: model.share_memory()),
    "parametrized": Entry(parametrized_for_a_while),
    "loaded": Entry(lambda model, e, h: after(model, model.load_state_dict(model.state_dict()))),
    "loaded_parameters": Entry(
        lambda model, e, h: after(model, model.load_state_dict(model.state_dict(keep_vars=True), assign=True))
    ),
    "loaded_saved": Entry(
        lambda model, e, h: after(model, model.load_state_dict(stored(model.state_dict(), weights_only=True)))
    ),
    "evaluating": Entry(lambda model, e, h: model.eval(), effects.sets_training(False)),
    "frozen": Entry(lambda model, e, h: model.requires_grad_(False), effects.sets(requires_grad=False)),
    "thawed": Entry(lambda model, e, h: model.requires_grad_(True), effects.sets(requires_grad=True)),
    "embedding_frozen": Entry(embedding_frozen, effects.freezes_embedding),
    "zeroed": Entry(lambda model, e, h: after(model, model.zero_grad()), effects.forgets_gradients),
    "zeroed_in_place": Entry(lambda model, e, h: after(model, model.zero_grad(False)), effects.zeroes_gradients),
    "graded": Entry(graded, effects.gains_gradients),
}


def deepcopied(model: Module, embedding: Module, head: Module) -> Module:
    other = copy.deepcopy(model)
    places = {p.data_ptr() for p in model.parameters()}
    if any(p.data_ptr() in places for p in other.parameters()):
        raise AssertionError("a deep copy lies in the memory of its original")
    return other


COPYING: dict[str, Entry] = {
    "deepcopied": Entry(deepcopied, effects.copies_each, copies=True),
    "copied": Entry(lambda model, e, h: copy.copy(model), copies=True),
    "pickled": Entry(lambda model, e, h: pickle.loads(pickle.dumps(model)), effects.pickles_each, copies=True),
    "saved": Entry(lambda model, e, h: stored(model, weights_only=False), effects.stores, copies=True),
}


# -- training ------------------------------------------------------------------------------------------------------


def graded_with_ones(model: Module) -> list[Any]:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    return list(model.parameters())


def step_once(model: Module, optimizer: Any, parameters: list[Any]) -> Module:
    """A step in which each Parameter has one slot."""
    slots = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if [id(slot) for slot in slots] != [id(parameter) for parameter in parameters]:
        raise AssertionError("the optimizer's slots are not the model's Parameters")
    optimizer.step()
    if len(optimizer.state) > len(parameters):
        raise AssertionError("a Parameter has two states")
    model.zero_grad()
    return model


def stepped_with(model: Module, kind: type, **flags: Any) -> Module:
    parameters = graded_with_ones(model)
    return step_once(model, kind(parameters, **{"lr": 1.0, **flags}), parameters)


def stepped_sparse_adam(model: Module, embedding: Module, head: Module) -> Module:
    parameters = graded_with_ones(model)
    for parameter in parameters:
        parameter.grad = None if parameter.grad is None else parameter.grad.to_sparse(1)
    return step_once(model, torch.optim.SparseAdam(parameters, lr=1.0, betas=(0.5, 0.75), eps=1e-30), parameters)


def accumulated(model: Module, embedding: Module, head: Module) -> Module:
    tokens = torch.arange(len(embedding.weight))
    for _ in range(2):
        rows = torch.nn.functional.embedding(tokens, embedding.weight, embedding.padding_idx)
        logits = head(torch.ones(1, head.weight.shape[1], dtype=head.weight.dtype))
        loss = rows.sum() + logits.sum()
        if loss.requires_grad:
            loss.backward()
    return model


TRAINING: dict[str, Entry] = {
    # Moments of a half and a quarter of ones: both are corrected exactly.
    "stepped_adam": Entry(
        lambda m, e, h: stepped_with(m, torch.optim.Adam, betas=(0.5, 0.75), eps=0.0), effects.moves_by_one
    ),
    "stepped_sparse_adam": Entry(
        stepped_sparse_adam, effects.in_turn(effects.note_sparse_vector, effects.moves_by_one)
    ),
    "accumulated": Entry(accumulated, effects.accumulates),
    "forgotten": Entry(
        lambda m, e, h: after(m, torch.optim.SGD(m.parameters()).zero_grad()), effects.forgets_gradients
    ),
    "forgotten_in_place": Entry(
        lambda m, e, h: after(m, torch.optim.SGD(m.parameters()).zero_grad(False)), effects.zeroes_gradients
    ),
}
