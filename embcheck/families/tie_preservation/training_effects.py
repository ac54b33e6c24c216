"""Effects of training: what steps, schedules, clipping and accumulation do to a model of slots, cells and memory.

The rates are such that an optimizer's first step on a gradient of ones moves each element by a power of two, exactly:
with betas (1/2, 3/4) the moments are 1/2 and 1/4, and so are their corrections.
"""

from __future__ import annotations

import numpy as np

from embcheck.families.tie_preservation.effects import Effect, forgets_gradients, note_flattening
from embcheck.families.tie_preservation.oracle import Cell, State


def _moves(state: State, cell: Cell, rate: float) -> None:
    cell.memory.become(state.rounded(cell.values - rate), state.roundoff)


def moves_by(*rates: float) -> Effect:
    """Optimizer steps on gradients of ones: each trainable Parameter moves once by each rate; no gradient is left."""

    def effect(state: State, embedding: str, head: str) -> State:
        forgets_gradients(state, embedding, head)
        for rate in rates:
            for cell in state.cells():
                if cell.requires_grad:
                    _moves(state, cell, rate)
        return state

    return effect


def moves_flat_by(rate: float) -> Effect:
    """LBFGS, which flattens what it moves."""
    moves = moves_by(rate)

    def effect(state: State, embedding: str, head: str) -> State:
        note_flattening(state)
        return moves(state, embedding, head)

    return effect


def moves_sparsely_by(rate: float) -> Effect:
    """SparseAdam; a vector has no dense dimension then, and with one element it is coalesced."""
    moves = moves_by(rate)

    def effect(state: State, embedding: str, head: str) -> State:
        if any(c.requires_grad and c.memory.inside and c.values.shape == (1,) for c in state.cells()):
            state.noted.add("sparse_vector")
        return moves(state, embedding, head)

    return effect


def moves_about(rate: float, ulps: int) -> Effect:
    """As `moves_by`, but what it moves by is rounded, in so many operations."""

    def effect(state: State, embedding: str, head: str) -> State:
        forgets_gradients(state, embedding, head)
        for cell in state.cells():
            if cell.requires_grad:
                memory = cell.memory
                off = ulps * state.roundoff * (np.abs(memory.values) + rate)
                memory.error = off if memory.error is None else memory.error + off
                _moves(state, cell, rate)
        return state

    return effect


def moves_matrices_back(state: State, embedding: str, head: str) -> State:
    """A step that is taken back: no gradient is left."""
    return forgets_gradients(state, embedding, head)


def regains_gradients(state: State, embedding: str, head: str) -> State:
    """A gradient of ones in every trainable Parameter, and none in the others."""
    for cell in state.cells():
        cell.grad = np.ones_like(cell.values) if cell.requires_grad else None
    return state


def clips_gradients(state: State, embedding: str, head: str) -> State:
    """clip_grad_value_ with 1/2, after `regains_gradients`."""
    regains_gradients(state, embedding, head)
    if not any(cell.requires_grad for cell in state.cells()):
        state.noted.add("clipped_nothing")
    for cell in state.cells():
        cell.grad = None if cell.grad is None else cell.grad / 2
    return state


def accumulates(state: State, embedding: str, head: str) -> State:
    """Two backward passes of the sum of all rows and of the logits of ones, beside what was there."""
    table = np.ones_like(state.slots[embedding].values)
    if state.padding_row is not None:
        table[state.padding_row] = 0.0
    paths = [(embedding, table), (head, np.ones_like(state.slots[head].values))]
    if "H.bias" in state.slots:
        paths.append(("H.bias", np.ones_like(state.slots["H.bias"].values)))
    for slot, gradient in paths:
        cell = state.slots[slot]
        if cell.requires_grad:
            cell.grad = 2 * gradient if cell.grad is None else cell.grad + 2 * gradient
    return state
