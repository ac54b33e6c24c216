"""Effects of rewriting: what becomes of slots, cells and memory when weights are reassigned, loaded, moved or written.

Each docstring names the operation; where an operation is documented to break a tie, its effect breaks it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embcheck.core.layout import preserved_strides, row_major
from embcheck.families.tie_preservation.effects import (
    Effect,
    forgets_gradients,
    gains_gradients,
    note_flattening,
    renewed,
    stored_cells,
)
from embcheck.families.tie_preservation.oracle import Cell, State


def swapping(result: Effect) -> Effect:
    """An operation by torch.utils.swap_tensors, which refuses tensors with weak references: an export leaves some."""

    def effect(state: State, embedding: str, head: str) -> State:
        if "exported" in state.noted:
            state.noted.add("swapped_exported")
        return result(state, embedding, head)

    return effect


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
    stored = stored_cells(state)
    return _replaced(state, lambda cell: Cell(stored[cell].memory, cell.strides, cell.requires_grad))


def assigns_copies(state: State, embedding: str, head: str) -> State:
    """load_state_dict(assign=True) of copies: a Parameter with memory of its own for each name."""
    return _replaced(state, renewed)


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
    state.slots[embedding] = state.slots[head] = renewed(before, strides=row_major(before.values.shape))
    if "H.bias" in state.slots:
        state.slots["H.bias"] = renewed(state.slots["H.bias"])
    return state


def reassigns(state: State, embedding: str, head: str) -> State:
    """embedding.weight = Parameter(embedding.weight.clone())."""
    state.slots[embedding] = renewed(state.slots[embedding])
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
    state.slots[head] = renewed(before, strides=row_major(before.values.shape))
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
        cell.strides = preserved_strides(cell.strides, cell.values.shape)
    return state


def flattens_each(state: State, embedding: str, head: str) -> State:
    """vector_to_parameters: every Parameter becomes a part of one vector."""
    note_flattening(state)
    moves_each(state, embedding, head)
    for cell in state.cells():
        cell.strides = row_major(cell.values.shape)
        cell.memory.inside = True
    return state


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
    return _replaced(state, lambda cell: renewed(cell, grad=True))


def passes_meta(state: State, embedding: str, head: str) -> State:
    """Module.to("meta").to_empty(device="cpu") and a checkpoint: a Parameter for each slot."""
    forgets_gradients(state, embedding, head)
    return _replaced(state, renewed)


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
    cell.strides = preserved_strides(cell.strides, cell.values.shape)
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
