"""Operations on a model with tied weights, each with what it does to the tie: those that leave it, copies, those that break
it or make it again, and those that give the Parameters other memory or values.

What the laws expect is in `effects` beside this module.
"""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune
import torch.optim.swa_utils

from embcheck.core.registry import named
from embcheck.families.tie_preservation import effects
from embcheck.families.tie_preservation.effects import EMBEDDING, HEAD, Effect, aliased, forgets_gradients, renewed
from embcheck.families.tie_preservation.oracle import State
from embcheck.families.tie_preservation.programs import Module, Operation, Tensor


class Entry(NamedTuple):
    """An operation and its effect; ``copies`` if it returns another module."""

    act: Operation
    effect: Effect = effects.unchanged
    copies: bool = False

    def after(self, state: State) -> State:
        """What becomes of a state, which stays as it is."""
        own = state.copy()
        self.effect(own)
        return own


def after(model: Module, *done: Any) -> Module:
    """The model, once something was done."""
    return model


def stored(thing: Any, zipped: bool = True, **options: Any) -> Any:
    """What torch.save writes of a thing, as an archive or in the format of releases before 1.6, read again."""
    buffer = io.BytesIO()
    torch.save(thing, buffer, _use_new_zipfile_serialization=zipped)
    buffer.seek(0)
    return torch.load(buffer, **options)


def stored_in_both_formats(state: Any) -> Any:
    """What is read again of a state that was an archive, then a file of the old format."""
    return stored(stored(state, weights_only=True), zipped=False, weights_only=True)


def called_functionally(model: Module, embedding: Module, head: Module) -> Module:
    chain, tokens = torch.nn.Sequential(embedding, head), torch.zeros(2, dtype=torch.int64)
    other = torch.zeros_like(head.weight)
    torch.func.functional_call(chain, {"0.weight": other}, (tokens,))
    try:  # What is raised inside leaves nothing replaced either.
        torch.func.functional_call(chain, {"0.weight": other}, (tokens.double(),))
    except RuntimeError:
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


def deepcopied_compiled(model: Module, embedding: Module, head: Module) -> Module:
    for part in (embedding, head):
        part.compile(backend="eager")
    other = deepcopied(model, embedding, head)
    for part in (embedding, head):
        part._compiled_call_impl = None  # which a copy has not
    return other


def deepcopied(model: Module, embedding: Module, head: Module) -> Module:
    other = copy.deepcopy(model)
    places = {p.data_ptr() for p in model.parameters()}
    if any(p.data_ptr() in places for p in other.parameters()):
        raise AssertionError("a deep copy lies in the memory of its original")
    return other


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


def moved_by_meta(model: Module, device: torch.device) -> Module:
    return without_memory(model, lambda given: given.to("meta").to_empty(device=device))


def tied(model: Module, side: Module, weight: Tensor) -> Module:
    side.weight = weight
    return model


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


def stepped_adam(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    parameters = list(graded(model, embedding, head).parameters())
    # Moments of a half and a quarter of ones: both are corrected exactly.
    # One after the other: foreach, which is the default on CUDA, promises nothing of Parameters that share their memory.
    optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.5, 0.75), eps=0.0, foreach=False)
    return step_once(model, optimizer, parameters)


def stepped_sparse_adam(model: Module, embedding: Module, head: Module) -> Module:
    model.zero_grad()
    parameters = list(graded(model, embedding, head).parameters())
    for parameter in parameters:
        parameter.grad = None if parameter.grad is None else parameter.grad.to_sparse(1)
    return step_once(model, torch.optim.SparseAdam(parameters, lr=1.0, betas=(0.5, 0.75), eps=1e-30), parameters)


def accumulated(model: Module, embedding: Module, head: Module) -> Module:
    tokens = torch.arange(len(embedding.weight))
    for _ in range(2):
        if getattr(embedding, "sparse", False):  # a sparse gradient has no memory that could be shared
            rows = torch.nn.functional.embedding(tokens, embedding.weight, embedding.padding_idx)
        else:
            rows = embedding(tokens)
        logits = head(torch.ones(1, head.weight.shape[1], dtype=head.weight.dtype))
        loss = rows.sum() + logits.sum()
        if loss.requires_grad:
            loss.backward()
    return model


#: All of them, in the order in which they are enumerated.
OPERATIONS: dict[str, Entry] = {
    # The tie stays.
    "nothing": Entry(lambda m, e, h: m),
    "moved": Entry(lambda m, e, h: m.to(e.weight.device)),
    "called_functionally": Entry(called_functionally),
    "called_by_name": Entry(called_by_name, effects.is_called_by_name),
    "shared": Entry(lambda m, e, h: m.share_memory()),
    "parametrized": Entry(parametrized_for_a_while),
    "loaded": Entry(lambda m, e, h: after(m, m.load_state_dict(m.state_dict()))),
    "loaded_parameters": Entry(lambda m, e, h: after(m, m.load_state_dict(m.state_dict(keep_vars=True), assign=True))),
    "loaded_saved": Entry(lambda m, e, h: after(m, m.load_state_dict(stored(m.state_dict(), weights_only=True)))),
    "evaluating": Entry(lambda m, e, h: m.eval(), effects.evaluates),
    "frozen": Entry(lambda m, e, h: m.requires_grad_(False), effects.sets(requires_grad=False)),
    "thawed": Entry(lambda m, e, h: m.requires_grad_(True), effects.sets(requires_grad=True)),
    "embedding_frozen": Entry(embedding_frozen, effects.freezes_embedding),
    "zeroed": Entry(lambda m, e, h: after(m, m.zero_grad()), forgets_gradients),
    "zeroed_in_place": Entry(lambda m, e, h: after(m, m.zero_grad(False)), effects.zeroes_gradients),
    "graded": Entry(graded, effects.gains_gradients),
    # Copies.
    "deepcopied": Entry(deepcopied, effects.moves_without_gradients, copies=True),
    "copied": Entry(lambda m, e, h: copy.copy(m), copies=True),
    "pickled": Entry(lambda m, e, h: pickle.loads(pickle.dumps(m)), effects.pickles_each, copies=True),
    "saved": Entry(lambda m, e, h: stored(m, weights_only=False), effects.stores, copies=True),
    # The tie breaks.
    "assigned": Entry(lambda m, e, h: loading(m, m.state_dict(), True), effects.replaces(aliased)),
    "assigned_clones": Entry(lambda m, e, h: loading(m, clones(m), True), effects.replaces(renewed)),
    "assigned_saved": Entry(
        lambda m, e, h: loading(m, stored_in_both_formats(m.state_dict()), True), effects.replaces(aliased)
    ),
    "assigned_head": Entry(
        lambda m, e, h: after(m, h.load_state_dict(h.state_dict(), assign=True)), effects.assigns_head
    ),
    "reassigned": Entry(
        lambda m, e, h: tied(m, e, torch.nn.Parameter(e.weight.detach().clone(), e.weight.requires_grad)),
        effects.puts(EMBEDDING, lambda state: renewed(state.slots[EMBEDDING])),
    ),
    "aliased": Entry(
        lambda m, e, h: tied(m, e, torch.nn.Parameter(h.weight, h.weight.requires_grad)),
        effects.puts(EMBEDDING, lambda state: aliased(state.slots[HEAD])),
    ),
    "normed": Entry(normed, effects.norms_head),
    "through_meta": Entry(lambda m, e, h: moved_by_meta(m, e.weight.device), effects.replaces(renewed)),
    # It is made again.
    "retied": Entry(lambda m, e, h: tied(m, h, e.weight), effects.puts(HEAD, lambda state: state.slots[EMBEDDING])),
    "retied_back": Entry(
        lambda m, e, h: tied(m, e, h.weight), effects.puts(EMBEDDING, lambda state: state.slots[HEAD])
    ),
    "registered": Entry(
        lambda m, e, h: after(m, e.register_parameter("weight", h.weight)),
        effects.puts(EMBEDDING, lambda state: state.slots[HEAD]),
    ),
    # The same Parameters have other memory or values.
    "as_double": Entry(lambda m, e, h: m.double(), effects.casts("float64")),
    "as_half": Entry(lambda m, e, h: m.half(), effects.casts("float16")),
    "to_float32": Entry(lambda m, e, h: m.to(torch.float32), effects.casts("float32")),
    "double_swapped": Entry(lambda m, e, h: swapping_parameters(lambda: m.double()), effects.casts("float64")),
    "emptied": Entry(
        lambda m, e, h: without_memory(m, lambda given: given.to_empty(device=e.weight.device)),
        effects.moves_without_gradients,
    ),
    "loaded_swapped": Entry(lambda m, e, h: swapping_parameters(lambda: loading(m, clones(m))), forgets_gradients),
    "doubled": Entry(doubled, lambda state: state.slots[EMBEDDING].memory.scale(2.0)),
    "data_assigned": Entry(data_assigned, effects.doubles_data),
    "filled": Entry(
        lambda m, e, h: after(m, torch.nn.init.constant_(h.weight, 3.0)),
        lambda state: state.slots[HEAD].memory.fill(3.0),
    ),
    "swapped": Entry(swapped, effects.swaps_doubled),
    "pruned": Entry(pruned, effects.prunes),
    "stepped": Entry(
        lambda m, e, h: after(m, torch.optim.SGD(graded(m, e, h).parameters(), lr=1.0, foreach=False).step()),
        effects.steps,
    ),
    "stepped_adam": Entry(stepped_adam, effects.moves_by_one),
    "stepped_sparse_adam": Entry(
        stepped_sparse_adam, effects.in_turn(effects.note_sparse_vector, effects.moves_by_one)
    ),
    "accumulated": Entry(accumulated, effects.accumulates),
    "forgotten": Entry(lambda m, e, h: after(m, torch.optim.SGD(m.parameters()).zero_grad()), forgets_gradients),
    "forgotten_in_place": Entry(
        lambda m, e, h: after(m, torch.optim.SGD(m.parameters()).zero_grad(False)), effects.zeroes_gradients
    ),
    "saved_for_device": Entry(
        lambda m, e, h: stored(m, weights_only=False, map_location=e.weight.device), effects.stores, copies=True
    ),
    "deepcopied_compiled": Entry(deepcopied_compiled, effects.moves_without_gradients, copies=True),
    "saved_by_function": Entry(
        lambda m, e, h: stored(
            m, weights_only=False, map_location=lambda memory, place: memory if e.weight.is_cpu else memory.cuda()
        ),
        effects.stores,
        copies=True,
    ),
}
named({name: entry.act for name, entry in OPERATIONS.items()})
