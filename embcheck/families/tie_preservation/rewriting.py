"""Operations that break a tie, make it again, or give the Parameters other memory or values.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import io

import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune

from embcheck.families.tie_preservation import effects, rewriting_effects
from embcheck.families.tie_preservation.operations import Module, does

# -- the tie breaks ----------------------------------------------------------------------------------------------------


@does(rewriting_effects.assigns_views)
def assigned(model: Module, embedding: Module, head: Module) -> Module:
    model.load_state_dict(model.state_dict(), assign=True)
    return model


@does(rewriting_effects.assigns_copies)
def assigned_clones(model: Module, embedding: Module, head: Module) -> Module:
    clones = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(clones, assign=True)
    return model


@does(rewriting_effects.assigns_stored)
def assigned_saved(model: Module, embedding: Module, head: Module) -> Module:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    model.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
    return model


@does(rewriting_effects.assigns_head)
def assigned_head(model: Module, embedding: Module, head: Module) -> Module:
    head.load_state_dict(head.state_dict(), assign=True)
    return model


@does(rewriting_effects.reassigns)
def reassigned(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone(), embedding.weight.requires_grad)
    return model


@does(rewriting_effects.aliases)
def aliased(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = torch.nn.Parameter(head.weight, head.weight.requires_grad)
    return model


@does(rewriting_effects.norms_head)
def normed(model: Module, embedding: Module, head: Module) -> Module:
    normed = torch.nn.utils.parametrizations.weight_norm(head)
    if normed.parametrizations.weight.original0.shape != (head.weight.shape[0], 1):
        raise AssertionError("the magnitudes are not those of the rows")
    torch.nn.utils.parametrize.remove_parametrizations(normed, "weight")
    return model


@does(rewriting_effects.casts_overwriting)
def double_overwriting(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return model.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


@does(rewriting_effects.passes_meta)
def through_meta(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta").to_empty(device="cpu")
    model.load_state_dict(kept)
    return model


@does(rewriting_effects.passes_meta)
def meta_assigned(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta")
    model.load_state_dict(kept, assign=True)
    return model


# -- the tie is made again ---------------------------------------------------------------------------------------------


@does(rewriting_effects.ties_head)
def retied(model: Module, embedding: Module, head: Module) -> Module:
    head.weight = embedding.weight
    return model


@does(rewriting_effects.ties_embedding)
def retied_back(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight = head.weight
    return model


@does(rewriting_effects.ties_embedding)
def registered(model: Module, embedding: Module, head: Module) -> Module:
    embedding.register_parameter("weight", head.weight)
    return model


@does(rewriting_effects.resizes)
def resized(model: Module, embedding: Module, head: Module) -> Module:
    (rows, width), trains = embedding.weight.shape, embedding.weight.requires_grad
    for size in (rows + 2, rows):
        kept = min(size, len(embedding.weight))
        weight = torch.zeros(size, width, dtype=embedding.weight.dtype)
        weight[:kept] = embedding.weight.detach()[:kept]
        embedding.weight = torch.nn.Parameter(weight, trains)
        head.weight = embedding.weight
        if getattr(head, "bias", None) is not None:
            bias = torch.zeros(size, dtype=weight.dtype)
            bias[:kept] = head.bias.detach()[:kept]
            head.bias = torch.nn.Parameter(bias, head.bias.requires_grad)
        embedding.num_embeddings = head.out_features = size
        if head(embedding(torch.tensor([size - 1]))).shape != (1, size):
            raise AssertionError("the resized model has logits of another shape")
    return model


# -- the same Parameters, other memory or values -----------------------------------------------------------------------


@does(rewriting_effects.casts("float64"))
def as_double(model: Module, embedding: Module, head: Module) -> Module:
    return model.double()


@does(rewriting_effects.casts("float32"))
def as_float(model: Module, embedding: Module, head: Module) -> Module:
    return model.float()


@does(rewriting_effects.casts("float16"))
def as_half(model: Module, embedding: Module, head: Module) -> Module:
    return model.half()


@does(rewriting_effects.casts("bfloat16"))
def as_bfloat16(model: Module, embedding: Module, head: Module) -> Module:
    return model.bfloat16()


@does(rewriting_effects.casts("float64"))
def to_float64(model: Module, embedding: Module, head: Module) -> Module:
    return model.to(torch.float64)


@does(rewriting_effects.swapping(rewriting_effects.casts("float64")))
def double_swapped(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return model.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@does(rewriting_effects.empties)
def emptied(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.to_empty(device="cpu")
    model.load_state_dict(kept)
    return model


@does(rewriting_effects.swapping(effects.forgets_gradients))
def loaded_swapped(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
        return model
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@does(rewriting_effects.swapping(rewriting_effects.empties))
def assigned_swapped(model: Module, embedding: Module, head: Module) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        return model
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@does(rewriting_effects.flattens_each)
def flattened(model: Module, embedding: Module, head: Module) -> Module:
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.nn.utils.vector_to_parameters(vector, model.parameters())
    return model


@does(rewriting_effects.doubles_in_place)
def doubled(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        embedding.weight.mul_(2)
    return model


@does(rewriting_effects.doubles_in_place)
def doubled_data(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.data.mul_(2)
    return model


@does(rewriting_effects.doubles_data)
def data_assigned(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.data = 2 * embedding.weight.data
    return model


@does(rewriting_effects.fills_head)
def filled(model: Module, embedding: Module, head: Module) -> Module:
    torch.nn.init.constant_(head.weight, 3.0)
    return model


@does(rewriting_effects.swapping(rewriting_effects.swaps_doubled))
def swapped(model: Module, embedding: Module, head: Module) -> Module:
    doubled = torch.nn.Parameter(2 * embedding.weight.detach(), embedding.weight.requires_grad)
    doubled.mark = [1]  # type: ignore[attr-defined]
    torch.utils.swap_tensors(embedding.weight, doubled)
    if getattr(embedding.weight, "mark", None) != [1] or hasattr(doubled, "mark"):
        raise AssertionError("what Python keeps of a tensor was not swapped")
    del embedding.weight.mark
    return model


@does(rewriting_effects.prunes)
def pruned(model: Module, embedding: Module, head: Module) -> Module:
    mask = torch.ones_like(embedding.weight)
    mask[0, 0] = 0
    torch.nn.utils.prune.custom_from_mask(embedding, "weight", mask)
    torch.nn.utils.prune.remove(embedding, "weight")
    return model


@does(rewriting_effects.steps)
def stepped(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    return model
