"""Effects: what each operation of `torch.nn` does to the slots, cells and memory of the oracle beside this module.

Each docstring names the operation; where an operation is documented to break a tie, its effect breaks it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from embcheck.core.layout import preserved_strides
from embcheck.families.tie_preservation.oracle import Cell, State

#: What an operation does to (state, embedding's slot, head's slot); returns the state of what the operation returns.
Effect = Callable[[State, str, str], State]


#: What an effect notes when an operation means nothing in that state: no history has it there.
UNFIT = frozenset({"normed_zero_row", "swapped_exported", "overwrote_one_gradient"})


def renewed(cell: Cell, grad: bool = False, strides: tuple[int, ...] | None = None) -> Cell:
    """Another Parameter with memory of its own."""
    memory = cell.memory.copy()
    kept = cell.grad.copy() if grad and cell.grad is not None else None
    return Cell(memory, strides or preserved_strides(cell.strides, cell.values.shape), cell.requires_grad, kept)


def note_flattening(state: State) -> None:
    """Notes that some Parameter can't be flattened by view(-1), which torch uses."""
    if any(not _is_flat(cell) for cell in state.cells()):
        state.noted.add("flattened_strided")


def _is_flat(cell: Cell) -> bool:
    """Whether Tensor.view(-1) is possible: each axis longer than one steps over the whole of the next."""
    axes = [axis for axis, length in enumerate(cell.values.shape) if length > 1]
    shape, strides = cell.values.shape, cell.strides
    return all(strides[a] == shape[b] * strides[b] for a, b in itertools.pairwise(axes))


def _copied(state: State, cells: dict[Cell, Cell]) -> State:
    slots = {slot: cells[cell] for slot, cell in state.slots.items()}
    return State(slots, state.names, state.dtype, state.training, state.padding_row, set(state.noted))


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
    return _copied(state, {cell: renewed(cell) for cell in state.cells()})


def _note_pickling(state: State) -> None:
    if "normed" in state.noted:
        state.noted.add("normed_copied")


def pickles_each(state: State, embedding: str, head: str) -> State:
    """pickle: one new Parameter for each, with a storage of its own, strides as they were."""
    _note_pickling(state)
    return _copied(state, {c: Cell(c.memory.whole(), c.strides, c.requires_grad) for c in state.cells()})


def stored_cells(state: State) -> dict[Cell, Cell]:
    """What torch.save writes: views of one storage stay views of one storage."""
    memories = {cell.memory: cell.memory.whole() for cell in state.cells()}
    return {c: Cell(memories[c.memory], c.strides, c.requires_grad) for c in state.cells()}


def stores(state: State, embedding: str, head: str) -> State:
    """torch.save and torch.load of the module: identities and shared storages survive."""
    _note_pickling(state)
    return _copied(state, stored_cells(state))


def is_shared(state: State, embedding: str, head: str) -> State:
    """copy.copy: another module that holds the same submodules and Parameters."""
    return state
