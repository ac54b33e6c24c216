"""Effects of rewriting: what becomes of slots, cells and memory when weights are reassigned, loaded, moved or written.

Where an operation is documented to break a tie, its effect breaks it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embcheck.core.layout import preserved_strides, row_major
from embcheck.families.tie_preservation.effects import (
    BIAS,
    EMBEDDING,
    HEAD,
    Effect,
    aliased,
    forgets_gradients,
    in_turn,
    renewed,
    stored_cells,
)
from embcheck.families.tie_preservation.oracle import Cell, State


def replaces(make: Callable[[Cell], Cell]) -> Effect:
    """A Parameter for each name: load_state_dict(assign=True) with the memory that ``make`` gives it."""

    def effect(state: State) -> None:
        for slot, cell in state.slots.items():
            state.slots[slot] = make(cell)

    return effect


def assigns_stored(state: State) -> None:
    """load_state_dict(assign=True) of a checkpoint: a Parameter for each name, over the storages that were saved."""
    stored = stored_cells(state)
    replaces(lambda cell: aliased(stored[cell]))(state)


def assigns_head(state: State) -> None:
    """load_state_dict(assign=True) of the head alone: new Parameters in the head, over the same memory."""
    state.slots |= {slot: aliased(state.slots[slot]) for slot in (HEAD, BIAS) if slot in state.slots}


def puts(slot: str, cell_of: Callable[[State], Cell]) -> Effect:
    """A slot gets another Parameter."""

    def effect(state: State) -> None:
        state.slots[slot] = cell_of(state)

    return effect


def norms_head(state: State) -> None:
    """weight_norm and its removal: a new Parameter in the head, equal but for rounding."""
    before = state.slots[HEAD]
    shape = before.values.shape
    state.slots[HEAD] = renewed(before, strides=row_major(shape))
    # A norm of D terms, a division and a product: (2D + 16) u |w|, beside what was off before.
    state.slots[HEAD].memory.widen((2 * shape[1] + 16) * state.roundoff * np.abs(before.values))
    state.noted |= {"normed"} if before.requires_grad else {"normed", "normed_frozen"}
    if not before.values.any(axis=1).all():
        state.noted.add("normed_zero_row")


def moves_each(state: State) -> None:
    """Every Parameter gets memory of its own; the tie by identity survives."""
    for cell in state.cells():
        cell.memory = cell.memory.copy()
        cell.strides = preserved_strides(cell.strides, cell.values.shape)


#: Module.to_empty(device="cpu") and a checkpoint.
empties = in_turn(forgets_gradients, moves_each)


def casts(dtype: str) -> Effect:
    """Module.to(dtype): the same Parameters with new memory; nothing if they have that dtype already."""

    def effect(state: State) -> None:
        if state.dtype != dtype:
            state.dtype = dtype
            moves_each(state)
            for cell in state.cells():
                cell.memory.become(state.rounded(cell.values), state.roundoff)

    return effect


def doubles_in_place(state: State) -> None:
    """embedding.weight.mul_(2), by whatever spelling: seen by whatever shares the memory."""
    state.slots[EMBEDDING].memory.scale(2.0)


def fills_head(state: State) -> None:
    """torch.nn.init.constant_(head.weight, 3)."""
    state.slots[HEAD].memory.fill(3.0)


def doubles_data(state: State) -> None:
    """embedding.weight.data = 2 * embedding.weight.data: new memory for the same Parameter."""
    cell = state.slots[EMBEDDING]
    cell.memory = cell.memory.copy()
    cell.memory.scale(2.0)
    cell.strides = preserved_strides(cell.strides, cell.values.shape)


def swaps_doubled(state: State) -> None:
    """torch.utils.swap_tensors with a doubled Parameter: contents change places, identities stay."""
    doubles_data(state)
    state.slots[EMBEDDING].grad = None


def prunes(state: State) -> None:
    """prune.custom_from_mask and remove: the first element becomes 0 in new memory of the same Parameter."""
    doubles_data(state)
    memory = state.slots[EMBEDDING].memory
    memory.scale(0.5)
    kept = np.ones_like(memory.values)
    kept[0, 0] = 0.0
    memory.values = memory.values * kept
    memory.error = None if memory.error is None else memory.error * kept
