"""A tied model to which operations happen, as a case: what is built, what happens, and the state that should come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core import oracle, stream
from embcheck.core.axes import Axes, Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Floats
from embcheck.core.layout import LAYOUTS, preserved_strides, view_of
from embcheck.families.tie_preservation import oracle as tie
from embcheck.families.tie_preservation.operations import OPERATIONS
from embcheck.families.tie_preservation.programs import STRUCTURES

#: Rows of the head's input.
_HIDDEN = 3
#: What effects note that is a fact.
NOTED = ("normed", "normed_copied", "normed_frozen", "sparse_vector", "replaced_twice")

#: Single states in which the operations find the model.
PRIORS = ("nothing", "graded", "frozen", "embedding_frozen", "evaluating")


class TiePreservationCase(Axes):
    """An embedding and a head with one weight, after some operations."""

    num_embeddings: Annotated[int, (3, 1, 2, 5)] = 3
    embedding_dim: Annotated[int, (2, 1, 3)] = 2
    structure: Annotated[str, tuple(STRUCTURES)] = "flat"
    #: the state in which the operations find the model: graded, frozen, evaluating…
    prior: Annotated[str, PRIORS] = "nothing"
    first: Annotated[str, tuple(OPERATIONS)] = "nothing"
    second: Annotated[str, tuple(OPERATIONS)] = "nothing"
    #: the operations after these two
    later: tuple[str, ...] = ()
    #: whether the laws look after each operation, not only after the last
    watched: Annotated[bool, (False, True)] = False
    from_head: Annotated[bool, (False, True)] = False
    bias: Annotated[bool, (False, True)] = False
    indices: Annotated[str, ("cycle", "same", "padding", "unequal", "ends")] = "cycle"
    shape: Annotated[tuple[int, ...], ((3,), (), (1,), (0,), (2, 2), (5,))] = (3,)
    padding_idx: Annotated[int | None, (None, 0, 1, -1, "last")] = None
    scale_grad_by_freq: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    seed: int = 0

    @property
    def history(self) -> tuple[str, ...]:
        """The operations that happen, in order."""
        return tuple(name for name in (self.prior, self.first, self.second, *self.later) if name != "nothing")

    def after(self, history: Sequence[str]) -> TiePreservationCase:
        """The case with these operations, beside the one before them all."""
        first, second, *later = [*history, "nothing", "nothing"][: max(2, len(history))]
        return self.but(first=first, second=second, later=tuple(later))

    @cached_property
    def lookup(self) -> LookupCase:
        return LookupCase(
            self.num_embeddings, self.embedding_dim, self.indices, self.shape, self.padding_idx,
            self.scale_grad_by_freq, dtype=self.dtype, seed=self.seed,
        )  # fmt: skip

    @cached_property
    def hidden(self) -> Floats:
        """The head's input, integers −2…2, shape (3, D)."""
        return stream.small("hidden", self.seed % 64, (_HIDDEN, self.embedding_dim), 2)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient of the rows that are looked up, integers −2…2, shape (N, D)."""
        return stream.small("upstream", self.seed % 64, (math.prod(self.shape), self.embedding_dim), 2)

    @cached_property
    def upstream_head(self) -> Floats:
        """The upstream gradient of the logits, integers −2…2, shape (3, V)."""
        return stream.small("logits", self.seed % 64, (_HIDDEN, self.num_embeddings), 2)

    @cached_property
    def bias_values(self) -> Floats:
        """The head's bias, shape (V,)."""
        return np.arange(1.0, self.num_embeddings + 1)

    def inputs(self) -> dict[str, Input]:
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

    def born(self) -> tie.State:
        """The model as it is built."""
        shape = (self.num_embeddings, self.embedding_dim)
        strides = view_of(shape, self.layout).strides
        weight = tie.Cell(tie.Memory(self.lookup.weight_values, inside=True), strides)

        def own(values: Floats, requires_grad: bool = True, inside: bool = False) -> tie.Cell:
            kept = preserved_strides(strides[: values.ndim], values.shape)
            return tie.Cell(tie.Memory(values.copy(), inside=inside), kept, requires_grad)

        paths = STRUCTURES[self.structure].paths
        slots: dict[str, tie.Cell] = {}
        for kind in paths:
            slots[f"{kind}.weight"] = own(weight.values, False) if kind == "O" else weight
        if self.structure == "untied":
            slots["E.weight"] = own(weight.values)
        if self.bias:
            slots["H.bias"] = own(self.bias_values, inside=True)
        names = {f"{path}.{slot[2:]}": slot for slot in slots for path in paths[slot[0]]}
        return tie.State(slots, dict(sorted(names.items())), self.dtype, padding_row=self.lookup.padding_row)

    @cached_property
    def states(self) -> list[tie.State]:
        """The model as it is built and after each operation; not to be written to."""
        grown = [self.born()]
        for name in self.history:
            grown.append(OPERATIONS[name].after(grown[-1]))
        return grown

    @property
    def expected(self) -> tie.State:
        """The model after all operations; not to be written to."""
        return self.states[-1]

    def logits(self, state: tie.State, rows: Floats, weight: Floats | None = None) -> oracle.Expected:
        """rows @ Wᵀ + b, shape (N, V); W is the head's own unless it is given."""
        bias = state.slots["H.bias"].values if self.bias else np.zeros(self.num_embeddings)
        table = state.slots["H.weight"].values if weight is None else weight
        wide = np.hstack([rows, np.ones((len(rows), 1))])
        return oracle.product(wide, np.vstack([table.T, bias]), state.format)

    def learn(self, state: tie.State) -> tie.State:
        """A copy with the gradients of one backward through lookup and head: each path adds to its own cell."""
        taught = state.copy()
        for cell in taught.cells():
            cell.grad = None
        for slot, gradient in self._paths.items():
            if slot in taught.slots and taught.slots[slot].requires_grad:
                cell = taught.slots[slot]
                cell.grad = gradient if cell.grad is None else cell.grad + gradient
        return taught

    @cached_property
    def _paths(self) -> dict[str, Floats]:
        """What each slot gets from the outputs that it is used for."""
        return self._sums(self.upstream, self.upstream_head, self.hidden)

    def _sums(self, upstream: Floats, upstream_head: Floats, hidden: Floats) -> dict[str, Floats]:
        kept = self.lookup.counted
        looked_up = oracle.accumulate(self.lookup.tokens[kept], self.num_embeddings, upstream[kept])
        return {
            "E.weight": looked_up / oracle.divisor(self.lookup),
            "H.weight": upstream_head.T @ hidden,
            "H.bias": upstream_head.sum(0),
        }

    @cached_property
    def learned(self) -> tie.State:
        """`expected` with the gradients of one backward."""
        return self.learn(self.expected)

    @cached_property
    def stepped(self) -> tie.State:
        """`learned` after a step of SGD with a rate of 1/2."""
        state = self.learned.copy()
        for cell in state.cells():
            if cell.grad is not None:
                cell.memory.values = state.format.rounded(cell.values - cell.grad / 2)
        return state

    @cached_property
    def steps_exactly(self) -> bool:
        """Whether neither an operation nor the step rounds, in whatever order the step adds its terms.

        Each term is an integer divided by twice a row's count, and so is every sum of terms, which must fit into the dtype's
        significand.
        """
        state = self.expected
        terms = self._sums(*map(np.abs, (self.upstream, self.upstream_head, self.hidden)))
        parts = 2 * oracle.divisor(self.lookup).max(initial=1)
        most = sum(np.abs(term).max(initial=0) / 2 for term in terms.values())
        return state.exact and all(
            np.array_equal(parts * cell.values, np.rint(parts * cell.values))
            and parts * (np.abs(cell.values).max(initial=0) + most) <= state.format.largest_integer
            for cell in state.cells()
        )

    @property
    def copies(self) -> bool:
        return any(OPERATIONS[name].copies for name in self.history)

    def facts(self) -> dict[str, Any]:
        state = self.expected
        embedding, head = state.slots["E.weight"], state.slots["H.weight"]
        lookup = self.lookup.facts()
        return {
            **self.axes,
            "tied": embedding is head,
            "shares": embedding.memory is head.memory,
            "loose": head.memory.error is not None,
            "trainable": embedding.requires_grad,
            "final_dtype": state.dtype,
            "numel": lookup["numel"],
            "padding_hit": lookup["padding_hit"],
            "rank": len(self.shape),
            "padded": self.padding_idx is not None,
            **{name: name in state.noted for name in NOTED},
            "parametrized": "parametrized" in self.history,
            "sparse_gradient": self.sparse or "stepped_sparse_adam" in self.history,
            "copies": self.copies,
            "operations": len(self.history),
        }
