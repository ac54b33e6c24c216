"""Effects: what each operation of `torch.nn` does to the slots, cells and memory of the oracle beside this module.

Each docstring names the operation; where an operation is documented to break a tie, its effect breaks it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from embcheck.core.layout import row_major
from embcheck.families.tie_preservation.oracle import Cell, State, dense

#: What an operation does to (state, embedding's slot, head's slot); returns the state of what the operation returns.
Effect = Callable[[State, str, str], State]


#: What an effect notes when an operation means nothing in that state: no history has it there.
UNFIT = frozenset({"normed_zero_row", "swapped_exported", "overwrote_one_gradient"})


def _renewed(cell: Cell, grad: bool = False, strides: tuple[int, ...] | None = None) -> Cell:
    """Another Parameter with memory of its own."""
    memory = cell.memory.copy()
    kept = cell.grad.copy() if grad and cell.grad is not None else None
    return Cell(memory, strides or dense(cell.strides, cell.values.shape), cell.requires_grad, kept)


def _copied(state: State, cells: dict[Cell, Cell]) -> State:
    slots = {slot: cells[cell] for slot, cell in state.slots.items()}
    return State(slots, state.names, state.dtype, state.training, state.padding_row, set(state.noted))


def swapping(result: Effect) -> Effect:
    """An operation by torch.utils.swap_tensors, which refuses tensors with weak references: an export leaves some."""

    def effect(state: State, embedding: str, head: str) -> State:
        if "exported" in state.noted:
            state.noted.add("swapped_exported")
        return result(state, embedding, head)

    return effect


# -- the same module, unchanged ------------------------------------------------------------------------------------


def unchanged(state: State, embedding: str, head: str) -> State:
    """The tie survives and nothing else happens."""
    return state


def is_called_by_name(state: State, embedding: str, head: str) -> State:
    """torch.func.functional_call with another table under one of its names: nothing is left of it."""
    if sum(slot == embedding for slot in state.names.values()) > 1:
        state.noted.add("replaced_twice")
    return state


def is_loaded(state: State, embedding: str, head: str) -> State:
    """torch.export.save and load of the exported model."""
    state.noted.add("exported")
    if state.slots[embedding] is state.slots[head]:
        state.noted.add("tie_loaded")
    return state


def is_exported(state: State, embedding: str, head: str) -> State:
    """torch.export.export: nothing but weak references to the Parameters is left."""
    state.noted.add("exported")
    return state


def ends_training(state: State, embedding: str, head: str) -> State:
    """Module.eval."""
    state.training = False
    return state


def starts_training(state: State, embedding: str, head: str) -> State:
    """Module.train."""
    state.training = True
    return state


def freezes(state: State, embedding: str, head: str) -> State:
    """Module.requires_grad_(False)."""
    for cell in state.cells():
        cell.requires_grad = False
    return state


def thaws(state: State, embedding: str, head: str) -> State:
    """Module.requires_grad_(True)."""
    for cell in state.cells():
        cell.requires_grad = True
    return state


def freezes_embedding(state: State, embedding: str, head: str) -> State:
    """The embedding's weight alone, and whatever is the same Parameter."""
    state.slots[embedding].requires_grad = False
    return state


def forgets_gradients(state: State, embedding: str, head: str) -> State:
    """zero_grad(set_to_none=True)."""
    for cell in state.cells():
        cell.grad = None
    return state


def zeroes_gradients(state: State, embedding: str, head: str) -> State:
    """zero_grad(set_to_none=False): none stays none."""
    for cell in state.cells():
        cell.grad = None if cell.grad is None else np.zeros_like(cell.grad)
    return state


def gains_gradients(state: State, embedding: str, head: str) -> State:
    """A gradient of ones in every Parameter that requires one."""
    for cell in state.cells():
        if cell.requires_grad:
            cell.grad = np.ones_like(cell.values)
    return state


# -- copies: other Parameters, tied among themselves ---------------------------------------------------------------


def copies_each(state: State, embedding: str, head: str) -> State:
    """copy.deepcopy: one new Parameter for each, with memory of its own and no gradient."""
    return _copied(state, {cell: _renewed(cell) for cell in state.cells()})


def _note_pickling(state: State) -> None:
    if "normed" in state.noted:
        state.noted.add("normed_copied")


def pickles_each(state: State, embedding: str, head: str) -> State:
    """pickle: one new Parameter for each, with a storage of its own, strides as they were."""
    _note_pickling(state)
    return _copied(state, {c: Cell(c.memory.whole(), c.strides, c.requires_grad) for c in state.cells()})


def _stored(state: State) -> dict[Cell, Cell]:
    """What torch.save writes: views of one storage stay views of one storage."""
    memories = {cell.memory: cell.memory.whole() for cell in state.cells()}
    return {c: Cell(memories[c.memory], c.strides, c.requires_grad) for c in state.cells()}


def stores(state: State, embedding: str, head: str) -> State:
    """torch.save and torch.load of the module: identities and shared storages survive."""
    _note_pickling(state)
    return _copied(state, _stored(state))


def is_shared(state: State, embedding: str, head: str) -> State:
    """copy.copy: another module that holds the same submodules and Parameters."""
    return state


# -- the slots get other Parameters: the tie breaks --------------------------------------------------------------------


def _replaced(state: State, make: Callable[[Cell], Cell]) -> State:
    for slot, cell in state.slots.items():
        state.slots[slot] = make(cell)
    return state


def assigns_views(state: State, embedding: str, head: str) -> State:
    """load_state_dict(assign=True) of one's own state_dict: a Parameter for each name, over the same memory."""
    return _replaced(state, lambda cell: Cell(cell.memory, cell.strides, cell.requires_grad))


def assigns_stored(state: State, embedding: str, head: str) -> State:
    """load_state_dict(assign=True) of a checkpoint: a Parameter for each name, over the storages that were saved."""
    stored = _stored(state)
    return _replaced(state, lambda cell: Cell(stored[cell].memory, cell.strides, cell.requires_grad))


def assigns_copies(state: State, embedding: str, head: str) -> State:
    """load_state_dict(assign=True) of copies: a Parameter with memory of its own for each name."""
    return _replaced(state, _renewed)


def assigns_head(state: State, embedding: str, head: str) -> State:
    """load_state_dict(assign=True) of the head alone: new Parameters in the head, over the same memory."""
    for slot in (head, "H.bias"):
        if slot in state.slots:
            cell = state.slots[slot]
            state.slots[slot] = Cell(cell.memory, cell.strides, cell.requires_grad)
    return state


def resizes(state: State, embedding: str, head: str) -> State:
    """Another vocabulary: a larger table for embedding and head, then one of the old size again."""
    before = state.slots[embedding]
    state.slots[embedding] = state.slots[head] = _renewed(before, strides=row_major(before.values.shape))
    if "H.bias" in state.slots:
        state.slots["H.bias"] = _renewed(state.slots["H.bias"])
    return state


def reassigns(state: State, embedding: str, head: str) -> State:
    """embedding.weight = Parameter(embedding.weight.clone())."""
    state.slots[embedding] = _renewed(state.slots[embedding])
    return state


def aliases(state: State, embedding: str, head: str) -> State:
    """embedding.weight = Parameter(head.weight): another Parameter over the same memory."""
    other = state.slots[head]
    state.slots[embedding] = Cell(other.memory, other.strides, other.requires_grad)
    return state


def ties_head(state: State, embedding: str, head: str) -> State:
    """head.weight = embedding.weight."""
    state.slots[head] = state.slots[embedding]
    return state


def ties_embedding(state: State, embedding: str, head: str) -> State:
    """embedding.weight = head.weight."""
    state.slots[embedding] = state.slots[head]
    return state


def norms_head(state: State, embedding: str, head: str) -> State:
    """weight_norm and its removal: a new Parameter in the head, equal but for rounding."""
    before = state.slots[head]
    state.slots[head] = _renewed(before, strides=row_major(before.values.shape))
    memory = state.slots[head].memory
    # A norm of D terms, a division and a product: (2D + 16) u |w|, beside what was off before.
    share = (2 * before.values.shape[1] + 16) * state.roundoff * np.abs(memory.values)
    memory.error = share if memory.error is None else memory.error + share
    state.noted |= {"normed"} if before.requires_grad else {"normed", "normed_frozen"}
    if not before.values.any(axis=1).all():
        state.noted.add("normed_zero_row")
    return state


# -- the same Parameters with other memory or values -----------------------------------------------------------------


def moves_each(state: State, embedding: str, head: str) -> State:
    """Every Parameter gets memory of its own; the tie by identity survives."""
    for cell in state.cells():
        cell.memory = cell.memory.copy()
        cell.strides = dense(cell.strides, cell.values.shape)
    return state


def note_flattening(state: State) -> None:
    """Notes that some Parameter can't be flattened by view(-1), which torch uses."""
    if any(not _is_flat(cell) for cell in state.cells()):
        state.noted.add("flattened_strided")


def flattens_each(state: State, embedding: str, head: str) -> State:
    """vector_to_parameters: every Parameter becomes a part of one vector."""
    note_flattening(state)
    moves_each(state, embedding, head)
    for cell in state.cells():
        cell.strides = row_major(cell.values.shape)
        cell.memory.inside = True
    return state


def _is_flat(cell: Cell) -> bool:
    """Whether Tensor.view(-1) is possible: each axis longer than one steps over the whole of the next."""
    axes = [axis for axis, length in enumerate(cell.values.shape) if length > 1]
    shape, strides = cell.values.shape, cell.strides
    return all(strides[a] == shape[b] * strides[b] for a, b in itertools.pairwise(axes))


def casts(dtype: str) -> Effect:
    """Module.to(dtype): the same Parameters with new memory; nothing if they have that dtype already."""

    def effect(state: State, embedding: str, head: str) -> State:
        if state.dtype == dtype:
            return state
        state.dtype = dtype
        moves_each(state, embedding, head)
        for cell in state.cells():
            cell.memory.become(state.rounded(cell.values), state.roundoff)
        return state

    return effect


def casts_overwriting(state: State, embedding: str, head: str) -> State:
    """Module.double under torch.__future__.set_overwrite_module_params_on_conversion: a Parameter for each slot."""
    if state.dtype == "float64":
        if any(cell.grad is not None for cell in state.cells()) and len(state.cells()) < len(state.slots):
            # Nothing is converted: the Parameters share a gradient as they share memory, and each adds to it.
            state.noted.add("overwrote_one_gradient")
        return _replaced(state, lambda c: Cell(c.memory, c.strides, c.requires_grad, c.grad))
    state.dtype = "float64"
    return _replaced(state, lambda cell: _renewed(cell, grad=True))


def passes_meta(state: State, embedding: str, head: str) -> State:
    """Module.to("meta").to_empty(device="cpu") and a checkpoint: a Parameter for each slot."""
    forgets_gradients(state, embedding, head)
    return _replaced(state, _renewed)


def empties(state: State, embedding: str, head: str) -> State:
    """Module.to_empty(device="cpu") and a checkpoint: the same Parameters with new memory."""
    forgets_gradients(state, embedding, head)
    return moves_each(state, embedding, head)


def doubles_in_place(state: State, embedding: str, head: str) -> State:
    """embedding.weight.mul_(2), by whatever spelling: seen by whatever shares the memory."""
    state.slots[embedding].memory.scale(2.0)
    return state


def fills_head(state: State, embedding: str, head: str) -> State:
    """torch.nn.init.constant_(head.weight, 3)."""
    state.slots[head].memory.fill(3.0)
    return state


def doubles_data(state: State, embedding: str, head: str) -> State:
    """embedding.weight.data = 2 * embedding.weight.data: new memory for the same Parameter."""
    cell = state.slots[embedding]
    cell.memory = cell.memory.copy()
    cell.memory.scale(2.0)
    cell.strides = dense(cell.strides, cell.values.shape)
    return state


def swaps_doubled(state: State, embedding: str, head: str) -> State:
    """torch.utils.swap_tensors with a doubled Parameter: contents change places, identities stay."""
    doubles_data(state, embedding, head).slots[embedding].grad = None
    return state


def prunes(state: State, embedding: str, head: str) -> State:
    """prune.custom_from_mask and remove: the first element becomes 0 in new memory of the same Parameter."""
    doubles_data(state, embedding, head)
    memory = state.slots[embedding].memory
    memory.scale(0.5)
    kept = np.ones_like(memory.values)
    kept[0, 0] = 0.0
    memory.values = memory.values * kept
    memory.error = None if memory.error is None else memory.error * kept
    return state


def steps(state: State, embedding: str, head: str) -> State:
    """SGD with a rate of 1: each Parameter that has a gradient steps once, though two may share their memory.

    One that was frozen after its gradient came still has it, and moves: freezing stops gradients, not optimizers.
    """
    gains_gradients(state, embedding, head)
    for cell in state.cells():
        if cell.grad is not None:
            cell.memory.become(state.rounded(cell.values - cell.grad), state.roundoff)
    return state
