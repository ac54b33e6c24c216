"""Effects: what each operation does to the slots, cells and memory of the oracle beside this module.

Where an operation is documented to break a tie, its effect breaks it.  Rates of optimizers are such that a first step on a
gradient of ones moves each element by a power of two, exactly: with betas (1/2, 3/4) the moments are 1/2 and 1/4, and so are
their corrections.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from embcheck.core.format import Floats
from embcheck.core.layout import preserved_strides, row_major
from embcheck.families.tie_preservation.oracle import Cell, State

#: What an operation does to a state, in place: that of the module that it returns.
Effect = Callable[[State], None]
#: What an effect notes when an operation means nothing in that state, a row of zeros that is normed: no history has it there.
UNFIT = "normed_zero_row"
EMBEDDING, HEAD, BIAS = "E.weight", "H.weight", "H.bias"


def renewed(cell: Cell, strides: tuple[int, ...] | None = None) -> Cell:
    """Another Parameter with memory of its own."""
    strides = strides or preserved_strides(cell.strides, cell.values.shape)
    return Cell(cell.memory.copy(), strides, cell.requires_grad)


def aliased(cell: Cell) -> Cell:
    return Cell(cell.memory, cell.strides, cell.requires_grad)


def in_turn(*effects: Effect) -> Effect:

    def effect(state: State) -> None:
        for each in effects:
            each(state)

    return effect


def unchanged(state: State) -> None:
    """The tie survives and nothing else happens."""


def sets(**values: Any) -> Effect:
    """Each Parameter gets these attributes."""

    def effect(state: State) -> None:
        for cell in state.cells():
            for name, value in values.items():
                setattr(cell, name, value)

    return effect


def evaluates(state: State) -> None:
    state.training = False


def freezes_embedding(state: State) -> None:
    """The embedding's weight alone, and whatever is the same Parameter."""
    state.slots[EMBEDDING].requires_grad = False


#: zero_grad(set_to_none=True).
forgets_gradients = sets(grad=None)


def zeroes_gradients(state: State) -> None:
    """zero_grad(set_to_none=False): none stays none."""
    for cell in state.cells():
        cell.grad = None if cell.grad is None else np.zeros_like(cell.grad)


def gains_gradients(state: State) -> None:
    """A gradient of ones in every Parameter that requires one."""
    for cell in state.cells():
        cell.grad = np.ones_like(cell.values) if cell.requires_grad else cell.grad


def accumulates(state: State) -> None:
    """Two backward passes of the sum of all rows and of the logits of ones, beside what was there."""
    table = np.ones_like(state.slots[EMBEDDING].values)
    if state.padding_row is not None:
        table[state.padding_row] = 0.0
    ones = {slot: np.ones_like(state.slots[slot].values) for slot in (HEAD, BIAS) if slot in state.slots}
    for slot, gradient in ({EMBEDDING: table} | ones).items():
        cell = state.slots[slot]
        if cell.requires_grad:
            cell.grad = 2 * gradient if cell.grad is None else cell.grad + 2 * gradient


def is_called_by_name(state: State) -> None:
    """torch.func.functional_call with another table under one of its names: nothing is left of it."""
    if sum(slot == EMBEDDING for slot in state.names.values()) > 1:
        state.noted.add("replaced_twice")


def stores(state: State) -> None:
    """torch.save and torch.load of the module: identities and shared storages survive, gradients do not."""
    forgets_gradients(state)
    if "normed" in state.noted:
        state.noted.add("normed_copied")


def pickles_each(state: State) -> None:
    """pickle: each Parameter has a storage of its own, strides as they were, and no gradient."""
    stores(state)
    for cell in state.cells():
        cell.memory = cell.memory.whole()


def moves_by_one(state: State) -> None:
    """An optimizer's step on gradients of ones: each trainable Parameter moves once by 1; no gradient is left."""
    forgets_gradients(state)
    for cell in state.cells():
        if cell.requires_grad:
            cell.memory.become(cell.values - 1, state.format)


def note_sparse_vector(state: State) -> None:
    """Notes a vector for SparseAdam: it has no dense dimension then, and with one element it is coalesced."""
    if any(c.requires_grad and c.memory.inside and c.values.shape == (1,) for c in state.cells()):
        state.noted.add("sparse_vector")


def steps(state: State) -> None:
    """SGD with a rate of 1: each Parameter that has a gradient steps once, though two may share their memory.

    One that was frozen after its gradient came still has it, and moves: freezing stops gradients, not optimizers.
    """
    gains_gradients(state)
    for cell in state.cells():
        if cell.grad is not None:
            cell.memory.become(cell.values - cell.grad, state.format)


# -- slots, cells and memory that are reassigned, loaded, moved or written ------------------------------------------------


def replaces(make: Callable[[Cell], Cell]) -> Effect:
    """A Parameter for each name: load_state_dict(assign=True) with the memory that ``make`` gives it."""

    def effect(state: State) -> None:
        for slot, cell in state.slots.items():
            state.slots[slot] = make(cell)

    return effect


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
    state.slots[HEAD].memory.widen((2 * shape[1] + 16) * state.format.unit_roundoff * np.abs(before.values))
    state.noted |= {"normed"} if before.requires_grad else {"normed", "normed_frozen"}
    if not before.values.any(axis=1).all():
        state.noted.add(UNFIT)


def _moves(cell: Cell) -> None:
    """The same Parameter gets memory of its own."""
    cell.memory = cell.memory.copy()
    cell.strides = preserved_strides(cell.strides, cell.values.shape)


def moves_each(state: State) -> None:
    """Every Parameter gets memory of its own; the tie by identity survives."""
    for cell in state.cells():
        _moves(cell)


#: copy.deepcopy, and Module.to_empty(device="cpu") with a checkpoint.
moves_without_gradients = in_turn(forgets_gradients, moves_each)


def casts(dtype: str) -> Effect:
    """Module.to(dtype): the same Parameters with new memory; nothing if they have that dtype already."""

    def effect(state: State) -> None:
        if state.dtype != dtype:
            state.dtype = dtype
            moves_each(state)
            for cell in state.cells():
                cell.memory.become(cell.values, state.format)

    return effect


def multiplies_data(state: State, factor: Floats | float) -> None:
    """embedding.weight.data = factor * embedding.weight.data: new memory for the same Parameter."""
    _moves(state.slots[EMBEDDING])
    state.slots[EMBEDDING].memory.scale(factor)


def doubles_data(state: State) -> None:
    """embedding.weight.data = 2 * embedding.weight.data."""
    multiplies_data(state, 2.0)


def swaps_doubled(state: State) -> None:
    """torch.utils.swap_tensors with a doubled Parameter: contents change places, identities stay."""
    doubles_data(state)
    state.slots[EMBEDDING].grad = None


def prunes(state: State) -> None:
    """prune.custom_from_mask and remove: the first element becomes 0 in new memory of the same Parameter."""
    kept = np.ones_like(state.slots[EMBEDDING].values)
    kept[0, 0] = 0.0
    multiplies_data(state, kept)
