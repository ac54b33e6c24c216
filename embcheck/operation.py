"""Operations on a model with tied weights, each with what it does to the tie.

The operations import nothing but torch, for their source is what a counterexample's script shows; the effects, which
the laws expect, are those of `embcheck.tie`.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune
import torch.optim.swa_utils

from embcheck import tie

#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Operation = Callable[[Module, Module, Module], Module]


class Entry(NamedTuple):
    """An operation, its effect, and where it is documented; ``copies`` if it returns another module."""

    act: Operation
    effect: tie.Effect
    copies: bool = False


OPERATIONS: dict[str, Entry] = {}


def _does(effect: tie.Effect, copies: bool = False) -> Callable[[Operation], Operation]:
    def register(act: Operation) -> Operation:
        OPERATIONS[act.__name__.removesuffix("_")] = Entry(act, effect, copies)
        return act

    return register


# -- nothing happens to the tie ----------------------------------------------------------------------------------------


@_does(tie.unchanged)
def nothing(model: Module, embedding: Module, head: Module) -> Module:
    return model


@_does(tie.unchanged)
def moved(model: Module, embedding: Module, head: Module) -> Module:
    return model.to("cpu")


@_does(tie.unchanged)
def to_cpu(model: Module, embedding: Module, head: Module) -> Module:
    return model.cpu()


@_does(tie.unchanged)
def to_same_dtype(model: Module, embedding: Module, head: Module) -> Module:
    return model.to(head.weight.dtype)


@_does(tie.unchanged)
def applied(model: Module, embedding: Module, head: Module) -> Module:
    return model.apply(lambda module: None)


@_does(tie.unchanged)
def listed(model: Module, embedding: Module, head: Module) -> Module:
    list(model.named_parameters(remove_duplicate=False))
    list(model.modules())
    return model


@_does(tie.unchanged)
def printed(model: Module, embedding: Module, head: Module) -> Module:
    repr(model)
    return model


@_does(tie.unchanged)
def hooked(model: Module, embedding: Module, head: Module) -> Module:
    handles = [embedding.register_forward_hook(lambda *_: None), head.register_forward_pre_hook(lambda *_: None)]
    handles.append(model.register_state_dict_pre_hook(lambda *_: None))
    if head.weight.requires_grad:
        handles.append(head.weight.register_hook(lambda grad: grad))
    for handle in handles:
        handle.remove()
    return model


@_does(tie.unchanged)
def called(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        head(embedding(torch.zeros(2, 1, dtype=torch.int64)))
    return model


@_does(tie.unchanged)
def called_functionally(model: Module, embedding: Module, head: Module) -> Module:
    chain = torch.nn.Sequential(embedding, head)
    other = torch.zeros_like(head.weight)
    torch.func.functional_call(chain, {"0.weight": other}, (torch.zeros(2, dtype=torch.int64),))
    return model


@_does(tie.unchanged)
def shared(model: Module, embedding: Module, head: Module) -> Module:
    return model.share_memory()


@_does(tie.unchanged)
def parametrized(model: Module, embedding: Module, head: Module) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(embedding, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(embedding, "weight", leave_parametrized=False)
    return model


@_does(tie.unchanged)
def parametrized_left(model: Module, embedding: Module, head: Module) -> Module:
    parametrize = torch.nn.utils.parametrize
    parametrize.register_parametrization(head, "weight", torch.nn.Identity())
    parametrize.remove_parametrizations(head, "weight", leave_parametrized=True)
    return model


@_does(tie.unchanged)
def loaded(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict())
    return model


@_does(tie.unchanged)
def loaded_loosely(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict({}, strict=False)
    return model


@_does(tie.unchanged)
def loaded_parameters(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict(keep_vars=True), assign=True)
    return model


@_does(tie.unchanged)
def loaded_saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=True))
    return model


@_does(tie.unchanged)
def loaded_saved_loosely(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=False), strict=False)
    return model


@_does(tie.unchanged)
def optimized(model: Module, embedding: Module, head: Module) -> Module:
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.load_state_dict(optimizer.state_dict())
    return model


# -- flags and gradients -----------------------------------------------------------------------------------------------


@_does(tie.ends_training)
def evaluating(model: Module, embedding: Module, head: Module) -> Module:
    return model.eval()


@_does(tie.starts_training)
def training(model: Module, embedding: Module, head: Module) -> Module:
    return model.train()


@_does(tie.freezes)
def frozen(model: Module, embedding: Module, head: Module) -> Module:
    return model.requires_grad_(False)


@_does(tie.thaws)
def thawed(model: Module, embedding: Module, head: Module) -> Module:
    return model.requires_grad_(True)


@_does(tie.freezes_embedding)
def embedding_frozen(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.requires_grad = False
    return model


@_does(tie.forgets_gradients)
def zeroed(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    return model


@_does(tie.zeroes_gradients)
def zeroed_in_place(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad(set_to_none=False)
    return model


@_does(tie.gains_gradients)
def graded(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    return model


# -- copies ------------------------------------------------------------------------------------------------------------


@_does(tie.copies_each, copies=True)
def deepcopied(model: Module, embedding: Module, head: Module) -> Module:
    return copy.deepcopy(model)


@_does(tie.is_shared, copies=True)
def copied(model: Module, embedding: Module, head: Module) -> Module:
    return copy.copy(model)


@_does(tie.pickles_each, copies=True)
def pickled(model: Module, embedding: Module, head: Module) -> Module:
    return pickle.loads(pickle.dumps(model))


@_does(tie.stores, copies=True)
def saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@_does(tie.copies_each, copies=True)
def averaged(model: Module, embedding: Module, head: Module) -> Module:
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    averaged.update_parameters(model)
    return averaged.module


@_does(tie.copies_each, copies=True)
def transplanted(model: Module, embedding: Module, head: Module) -> Module:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    return other


# -- the tie breaks ----------------------------------------------------------------------------------------------------


@_does(tie.assigns_views)
def assigned(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict(), assign=True)
    return model


@_does(tie.assigns_copies)
def assigned_clones(model: Module, embedding: Module, head: Module) -> Module:
    clones = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(clones, assign=True)
    return model


@_does(tie.assigns_stored)
def assigned_saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
    return model


@_does(tie.reassigns)
def reassigned(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone(), embedding.weight.requires_grad)
    return model


@_does(tie.aliases)
def aliased(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = torch.nn.Parameter(head.weight, head.weight.requires_grad)
    return model


@_does(tie.norms_head)
def normed(model: Module, embedding: Module, head: Module) -> Module:
    normed = torch.nn.utils.parametrizations.weight_norm(head)
    torch.nn.utils.parametrize.remove_parametrizations(normed, "weight")
    return model


@_does(tie.casts_overwriting)
def double_overwriting(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return model.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@_does(tie.passes_meta)
def through_meta(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta").to_empty(device="cpu")
    model.load_state_dict(kept)
    return model


# -- the tie is made again ---------------------------------------------------------------------------------------------


@_does(tie.ties_head)
def retied(model: Module, embedding: Module, head: Module) -> Module:
    head.weight = embedding.weight
    return model


@_does(tie.ties_embedding)
def retied_back(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = head.weight
    return model


@_does(tie.ties_embedding)
def registered(model: Module, embedding: Module, head: Module) -> Module:
    embedding.register_parameter("weight", head.weight)
    return model


# -- the same Parameters, other memory or values -----------------------------------------------------------------------


@_does(tie.casts("float64"))
def as_double(model: Module, embedding: Module, head: Module) -> Module:
    return model.double()


@_does(tie.casts("float32"))
def as_float(model: Module, embedding: Module, head: Module) -> Module:
    return model.float()


@_does(tie.casts("float16"))
def as_half(model: Module, embedding: Module, head: Module) -> Module:
    return model.half()


@_does(tie.casts("bfloat16"))
def as_bfloat16(model: Module, embedding: Module, head: Module) -> Module:
    return model.bfloat16()


@_does(tie.casts("float64"))
def to_float64(model: Module, embedding: Module, head: Module) -> Module:
    return model.to(torch.float64)


@_does(tie.casts("float64"))
def double_swapped(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return model.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@_does(tie.empties)
def emptied(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.to_empty(device="cpu")
    model.load_state_dict(kept)
    return model


@_does(tie.flattens_each)
def flattened(model: Module, embedding: Module, head: Module) -> Module:
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    return model


@_does(tie.doubles_in_place)
def doubled(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        embedding.weight.mul_(2)
    return model


@_does(tie.doubles_in_place)
def doubled_data(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.data.mul_(2)
    return model


@_does(tie.doubles_data)
def data_assigned(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.data = 2 * embedding.weight.data
    return model


@_does(tie.fills_head)
def filled(model: Module, embedding: Module, head: Module) -> Module:
    torch.nn.init.constant_(head.weight, 3.0)
    return model


@_does(tie.swaps_doubled)
def swapped(model: Module, embedding: Module, head: Module) -> Module:
    doubled = torch.nn.Parameter(2 * embedding.weight.detach(), embedding.weight.requires_grad)
    torch.utils.swap_tensors(embedding.weight, doubled)
    return model


@_does(tie.prunes)
def pruned(model: Module, embedding: Module, head: Module) -> Module:
    mask = torch.ones_like(embedding.weight)
    mask[0, 0] = 0
    torch.nn.utils.prune.custom_from_mask(embedding, "weight", mask)
    torch.nn.utils.prune.remove(embedding, "weight")
    return model


@_does(tie.steps)
def stepped(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    return model
