"""Operations that break a tie, make it again, or give the Parameters other memory or values."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune

from embcheck.families.tie_preservation import rewriting_effects as effects
from embcheck.families.tie_preservation.effects import EMBEDDING, HEAD, aliased, forgets_gradients, renewed, steps
from embcheck.families.tie_preservation.operations import Entry, Module, after, stored

Tensor = torch.Tensor


def loading(model: Module, state: dict[str, Tensor], assign: bool = False) -> Module:
    model.load_state_dict(state, assign=assign)
    return model


def clones(model: Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def swapping_parameters(act: Callable[[], Module]) -> Module:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return act()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def without_memory(model: Module, empty: Callable[[Module], Module]) -> Module:
    """The model once it had no memory, with its own values."""
    model.zero_grad()
    kept = clones(model)
    return loading(empty(model), kept)


def tied(model: Module, side: Module, weight: Tensor) -> Module:
    side.weight = weight
    return model


def parameter_of(weight: Tensor, trains: bool) -> Tensor:
    return torch.nn.Parameter(weight, trains)


def normed(model: Module, embedding: Module, head: Module) -> Module:
    normed = torch.nn.utils.parametrizations.weight_norm(head)
    if normed.parametrizations.weight.original0.shape != (head.weight.shape[0], 1):
        raise AssertionError("the magnitudes are not those of the rows")
    torch.nn.utils.parametrize.remove_parametrizations(normed, "weight")
    return model


def doubled(model: Module, embedding: Module, head: Module) -> Module:
    with torch.no_grad():
        embedding.weight.mul_(2)
    return model


def data_assigned(model: Module, embedding: Module, head: Module) -> Module:
    embedding.weight.data = 2 * embedding.weight.data
    return model


def swapped(model: Module, embedding: Module, head: Module) -> Module:
    doubled = torch.nn.Parameter(2 * embedding.weight.detach(), embedding.weight.requires_grad)
    doubled.mark = [1]  # type: ignore[attr-defined]
    torch.utils.swap_tensors(embedding.weight, doubled)
    if getattr(embedding.weight, "mark", None) != [1] or hasattr(doubled, "mark"):
        raise AssertionError("what Python keeps of a tensor was not swapped")
    del embedding.weight.mark
    return model


def pruned(model: Module, embedding: Module, head: Module) -> Module:
    mask = torch.ones_like(embedding.weight)
    mask[0, 0] = 0
    torch.nn.utils.prune.custom_from_mask(embedding, "weight", mask)
    torch.nn.utils.prune.remove(embedding, "weight")
    return model


def stepped(model: Module, embedding: Module, head: Module) -> Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    return model


BREAKING: dict[str, Entry] = {
    "assigned": Entry(lambda model, e, h: loading(model, model.state_dict(), True), effects.replaces(aliased)),
    "assigned_clones": Entry(lambda model, e, h: loading(model, clones(model), True), effects.replaces(renewed)),
    "assigned_saved": Entry(
        lambda model, e, h: loading(model, stored(model.state_dict(), weights_only=True), True), effects.assigns_stored
    ),
    "assigned_head": Entry(
        lambda model, e, h: after(model, h.load_state_dict(h.state_dict(), assign=True)), effects.assigns_head
    ),
    "reassigned": Entry(
        lambda model, e, h: tied(model, e, parameter_of(e.weight.detach().clone(), e.weight.requires_grad)),
        effects.puts(EMBEDDING, lambda state: renewed(state.slots[EMBEDDING])),
    ),
    "aliased": Entry(
        lambda model, e, h: tied(model, e, parameter_of(h.weight, h.weight.requires_grad)),
        effects.puts(EMBEDDING, lambda state: aliased(state.slots[HEAD])),
    ),
    "normed": Entry(normed, effects.norms_head),
    "through_meta": Entry(
        lambda model, e, h: without_memory(model, lambda model: model.to("meta").to_empty(device="cpu")),
        effects.replaces(renewed),
    ),
}

TYING: dict[str, Entry] = {
    "retied": Entry(
        lambda model, e, h: tied(model, h, e.weight), effects.puts(HEAD, lambda state: state.slots[EMBEDDING])
    ),
    "retied_back": Entry(
        lambda model, e, h: tied(model, e, h.weight), effects.puts(EMBEDDING, lambda state: state.slots[HEAD])
    ),
    "registered": Entry(
        lambda model, e, h: after(model, e.register_parameter("weight", h.weight)),
        effects.puts(EMBEDDING, lambda state: state.slots[HEAD]),
    ),
}

#: The same Parameters have other memory or values.
REWRITING: dict[str, Entry] = {
    "as_double": Entry(lambda model, e, h: model.double(), effects.casts("float64")),
    "as_half": Entry(lambda model, e, h: model.half(), effects.casts("float16")),
    "to_float32": Entry(lambda model, e, h: model.to(torch.float32), effects.casts("float32")),
    "double_swapped": Entry(lambda model, e, h: swapping_parameters(lambda: model.double()), effects.casts("float64")),
    "emptied": Entry(
        lambda model, e, h: without_memory(model, lambda model: model.to_empty(device="cpu")), effects.empties
    ),
    "loaded_swapped": Entry(
        lambda model, e, h: swapping_parameters(lambda: loading(model, clones(model))), forgets_gradients
    ),
    "doubled": Entry(doubled, effects.doubles_in_place),
    "data_assigned": Entry(data_assigned, effects.doubles_data),
    "filled": Entry(lambda model, e, h: after(model, torch.nn.init.constant_(h.weight, 3.0)), effects.fills_head),
    "swapped": Entry(swapped, effects.swaps_doubled),
    "pruned": Entry(pruned, effects.prunes),
    "stepped": Entry(stepped, steps),
}
