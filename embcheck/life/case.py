"""The case of a tied model's life: what is built, what happens to it, and the state that should come of it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck import oracle, stream
from embcheck.case import Axes, Case, Input
from embcheck.format import FORMATS, Floats, Format
from embcheck.layout import view_of
from embcheck.life import tie
from embcheck.life.program import STRUCTURES
from embcheck.life.rewriting import OPERATIONS

#: Rows of the head's input.
_HIDDEN = 3


class _LifeAxes(NamedTuple):
    """The axes of a life, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    structure: str = "flat"
    #: the state in which the operations find the model: graded, frozen, evaluating…
    prior: str = "nothing"
    first: str = "nothing"
    second: str = "nothing"
    from_head: bool = False
    bias: bool = False
    indices: str = "cycle"
    shape: tuple[int, ...] = (3,)
    padding_idx: int | None = None
    scale_grad_by_freq: bool = False
    sparse: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    seed: int = 0


class LifeCase(Axes, _LifeAxes):  # type: ignore[misc]
    """An embedding and a head with one weight, after two operations."""

    @cached_property
    def lookup(self) -> Case:
        """The lookup in the embedding."""
        return Case(
            self.num_embeddings, self.embedding_dim, self.indices, self.shape, self.padding_idx,
            self.scale_grad_by_freq, dtype=self.dtype, seed=self.seed,
        )  # fmt: skip

    @cached_property
    def hidden(self) -> Floats:
        """The head's input, integers −2…2, shape (3, D)."""
        return _small("hidden", self.seed, (_HIDDEN, self.embedding_dim), 5)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient of the rows that are looked up, integers −2…2, shape (N, D)."""
        return _small("upstream", self.seed, (math.prod(self.shape), self.embedding_dim), 5)

    @cached_property
    def upstream_head(self) -> Floats:
        """The upstream gradient of the logits, integers −2…2, shape (3, V)."""
        return _small("logits", self.seed, (_HIDDEN, self.num_embeddings), 5)

    @cached_property
    def bias_values(self) -> Floats:
        """The head's bias, shape (V,)."""
        return np.arange(1.0, self.num_embeddings + 1)

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed."""
        lookup, fmt = self.lookup, FORMATS[self.dtype]
        fed = {
            "weight": Input(lookup.weight_stored, self.dtype, self.layout),
            "indices": lookup.index_input,
            "hidden": Input(self.hidden.astype(np.float32), "float32"),
            "upstream": Input(self.upstream.astype(np.float32).reshape(*self.shape, self.embedding_dim), "float32"),
            "upstream_head": Input(self.upstream_head.astype(np.float32), "float32"),
        }
        if self.bias:
            fed["bias"] = Input(fmt.encode(self.bias_values), self.dtype)
        return fed

    # -- what should come of it --------------------------------------------------------------------------------

    def born(self) -> tie.State:
        """The model as it is built."""
        shape = (self.num_embeddings, self.embedding_dim)
        strides = view_of(shape, self.layout).strides
        weight = tie.Cell(tie.Memory(self.lookup.weight_values), strides)

        def own(values: Floats, requires_grad: bool = True) -> tie.Cell:
            return tie.Cell(tie.Memory(values.copy()), tie.dense(strides[: values.ndim], values.shape), requires_grad)

        slots: dict[str, tie.Cell] = {}
        for kind in STRUCTURES[self.structure].paths:
            match kind:
                case "N":
                    slots["N.weight"], slots["N.bias"] = own(np.ones(shape[1])), own(np.zeros(shape[1]))
                case "O":
                    slots["O.weight"] = own(weight.values, False)
                case _:
                    slots[f"{kind}.weight"] = weight
        if self.structure == "untied":
            slots["E.weight"] = own(weight.values)
        if self.bias:
            slots["H.bias"] = own(self.bias_values)
        paths = STRUCTURES[self.structure].paths
        names = {f"{path}.{slot[2:]}": slot for slot in slots for path in paths[slot[0]]}
        return tie.State(slots, dict(sorted(names.items())), self.dtype)

    def grown(self) -> tie.State:
        """The model after its prior state and both operations."""
        state = self.born()
        for name in (self.prior, self.first, self.second):
            state = OPERATIONS[name].effect(state, "E.weight", "H.weight")
        return state

    @cached_property
    def expected(self) -> tie.State:
        """`grown`, made once; not to be written to."""
        return self.grown()

    @property
    def format(self) -> Format:
        """The number format of the model after both operations."""
        return FORMATS[self.expected.dtype]

    @cached_property
    def cells(self) -> list[tie.Cell]:
        """The Parameter of each name after both operations, in order of the names."""
        return [self.expected.cell(name) for name in self.expected.names]

    @cached_property
    def identities(self) -> list[int]:
        """For each name, the position of the first name of the same Parameter."""
        return tie.groups(self.cells)

    @cached_property
    def is_exact(self) -> bool:
        """Whether no value was computed with rounding."""
        return not any(cell.memory.loose for cell in self.cells)

    def logits(self, state: tie.State, rows: Floats, weight: Floats | None = None) -> oracle.Expected:
        """rows @ Wᵀ + b, shape (N, V); W is the head's own unless it is given."""
        bias = state.slots["H.bias"].values if self.bias else np.zeros(self.num_embeddings)
        table = state.slots["H.weight"].values if weight is None else weight
        wide = np.hstack([rows, np.ones((len(rows), 1))])
        return oracle.product(wide, np.vstack([table.T, bias]), self.format)

    @cached_property
    def learned(self) -> tie.State:
        """`grown` with the gradients of one backward through lookup and head: each path adds to its own cell."""
        state = self.grown()
        kept = self.lookup.counted
        looked_up = oracle.accumulate(self.lookup.tokens[kept], self.num_embeddings, self.upstream[kept])
        paths = {
            "E.weight": looked_up / oracle.divisor(self.lookup),
            "H.weight": self.upstream_head.T @ self.hidden,
            "H.bias": self.upstream_head.sum(0),
        }
        for cell in state.cells():
            cell.grad = None
        for slot, gradient in paths.items():
            if slot in state.slots and state.slots[slot].requires_grad:
                cell = state.slots[slot]
                cell.grad = gradient if cell.grad is None else cell.grad + gradient
        return state

    @cached_property
    def stepped(self) -> tie.State:
        """`learned` after a step of SGD with a rate of 1/2: exact, for all numbers are multiples of 1/2.

        It takes `learned` along: both hold the same gradients, and `expected` has the values before the step.
        """
        state = self.learned
        for cell in state.cells():
            if cell.grad is not None:
                cell.memory.values = state.rounded(cell.values - cell.grad / 2)
        return state

    def facts(self) -> dict[str, Any]:
        """The axes and: tied, shares, loose, copies, numel, padding_hit."""
        state = self.expected
        embedding, head = state.slots["E.weight"], state.slots["H.weight"]
        lookup = self.lookup.facts()
        return {
            **self.axes,
            "tied": embedding is head,
            "shares": embedding.memory is head.memory,
            "loose": head.memory.loose,
            "trainable": embedding.requires_grad,
            "final_dtype": state.dtype,
            "numel": lookup["numel"],
            "padding_hit": lookup["padding_hit"],
            "rank": len(self.shape),
            "padded": self.padding_idx is not None,
            "normed_copied": "normed_copied" in state.noted,
            "normed_frozen": "normed_frozen" in state.noted,
            "flattened_strided": "flattened_strided" in state.noted,
            "copies": OPERATIONS[self.first].copies or OPERATIONS[self.second].copies,
        }


def _small(name: str, seed: int, shape: tuple[int, ...], span: int) -> Floats:
    """Integers in the middle of zero, −(span−1)/2 … (span−1)/2."""
    code = stream.below(stream.derive(name, seed % 64), math.prod(shape), span).astype(np.float64)
    return (code - span // 2).reshape(shape)
