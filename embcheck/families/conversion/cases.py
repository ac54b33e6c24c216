"""The case of a conversion, and what follows from it: memory shared, strides, gradients.  Knows no torch.

``to_linear`` is ``linear.weight = Parameter(embedding.weight.T)``, ``to_embedding`` the way back.  V is the number of
rows of the table, D its width, N the number of tokens; the table W has shape (V, D).
"""

import math
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core import oracle, stream
from embcheck.core.axes import Input, OfDtype, OfTokens
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Array, Floats, Format
from embcheck.core.layout import LAYOUTS, UPSTREAM_LAYOUTS, preserved_strides, row_major, shared, view_of
from embcheck.core.onednn import any_reads_on, lookup_reads_on, one_column
from embcheck.families.conversion import assignment
from embcheck.families.conversion.programs import GRAD_MODES, LATER
from embcheck.families.lookup import cases

Strides = tuple[int, ...]

_OF_THE_LOOKUP = ("repeated", "padding_hit", "empty", "zero_width", "elements")


class ConversionCase(OfDtype, OfTokens):
    """A table that becomes a linear layer's weight, or the other way round."""

    num_embeddings: Annotated[int, (3, 1, 2, 5, 17)]
    embedding_dim: Annotated[int, (2, 1, 3, 0, 5, 17)]
    direction: Annotated[str, ("to_linear", "to_embedding")] = "to_linear"
    indices: Annotated[str, cases.PATTERN_NAMES] = "cycle"
    shape: Annotated[tuple[int, ...], cases.SHAPES] = (3,)
    spelling: Annotated[str, tuple(assignment.SPELLINGS)] = "T"
    cut: Annotated[str, tuple(assignment.CUTS)] = "none"
    assign: Annotated[str, tuple(assignment.ASSIGNMENTS)] = "attribute"
    grad_mode: Annotated[str, tuple(GRAD_MODES)] = "enabled"
    source: Annotated[str, ("plain", "embedding_frozen", "from_pretrained", "from_pretrained_open")] = "plain"
    target_frozen: Annotated[bool, (False, True)] = False
    later: Annotated[str, tuple(LATER)] = "nothing"
    #: what the source's own backward does: alone (nothing), backward_before, backward_after, one_loss; or
    #: the layer is called in several other ways before
    company: Annotated[str, ("alone", "backward_before", "backward_after", "one_loss")] = "alone"
    #: none, zero, whole (integers), frozen (integers that collect no gradient)
    bias: Annotated[str, ("none", "zero", "whole", "frozen")] = "none"
    #: one_hot (fed), made (by torch's one_hot) or dense small integers
    input: Annotated[str, ("one_hot", "made", "dense")] = "one_hot"
    input_grad: Annotated[bool, (False, True)] = False
    #: whether it is called in a region of autocast; float16_inside: in one of float16 inside of it, too
    autocast: Annotated[bool | str, (False, True, "float16_inside")] = False
    passes: Annotated[int, (1, 2)] = 1
    padding_idx: Annotated[int | None, (None, 0, 1, -1, "last")] = None
    scale_grad_by_freq: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    index_dtype: Annotated[str, ("int64", "int32")] = "int64"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    input_layout: Annotated[str, LAYOUTS] = "contiguous"
    upstream_layout: Annotated[str, UPSTREAM_LAYOUTS] = "contiguous"
    values: Annotated[str, ("fingerprint", "small", "special", "wide")] = "fingerprint"
    #: the name of something that must be refused
    mistake: Annotated[str | None, (None, *assignment.MISTAKES)] = None
    seed: int = 0
    threads: int = 1

    @property
    def to_linear(self) -> bool:
        return self.direction == "to_linear"

    @cached_property
    def lookup(self) -> LookupCase:
        """The lookup in the embedding of the pair, which speaks for its tokens and its gradient."""
        return LookupCase(
            self.num_embeddings, self.embedding_dim, self.indices, self.shape, self.padding_idx,
            self.scale_grad_by_freq, self.sparse, dtype=self.dtype, index_dtype=self.index_dtype,
            index_layout=self.input_layout if not self.to_linear or self.input == "made" else "contiguous",
            upstream_layout=self.upstream_layout, values=self.values, seed=self.seed,
            upstream="ones" if self.upstream_layout == "expanded" else "code",
        )  # fmt: skip

    @property
    def computed(self) -> Format:
        """The format in which the target computes: autocast turns a linear layer's to bfloat16, but for float64."""
        casts = self.autocast and self.to_linear and self.dtype != "float64"
        return FORMATS["bfloat16"] if casts else self.format

    # -- what is fed -------------------------------------------------------------------------------------------

    @property
    def memory_shape(self) -> tuple[int, int]:
        """The shape of the source's weight: (V, D), or (D, V) when a linear layer is the source."""
        table = (self.num_embeddings, self.embedding_dim)
        return table if self.to_linear else (table[1], table[0])

    @cached_property
    def weight_stored(self) -> Array:
        """The source's weight in storage, of `memory_shape`."""
        stored = self.lookup.weight_stored
        return stored if self.to_linear else np.ascontiguousarray(stored.T)

    @cached_property
    def one_hot(self) -> Floats:
        """The one-hot vectors of all tokens, shape (*shape, V)."""
        return oracle.one_hot(self.lookup).astype(np.float64)

    @cached_property
    def input_values(self) -> Floats:
        """X, the linear layer's input, shape (N, V)."""
        if self.input != "dense" or not self.to_linear:
            return self.one_hot.reshape(self.numel, self.num_embeddings)
        if self.input_layout == "expanded":
            return np.ones((self.numel, self.num_embeddings))
        return stream.small("conversion", self.seed % 64, (self.numel, self.num_embeddings), 3)

    @cached_property
    def upstream_values(self) -> Floats:
        """G, the upstream gradient, shape (N, D): integers whose sums over all tokens fit, even twice and tripled."""
        if not self.to_linear:
            return self.lookup.upstream_values
        if self.upstream_layout == "expanded":
            return np.ones((self.numel, self.embedding_dim))
        room = (self.computed.largest_integer >> 2) // (max(self.numel, 1) * (3 if self.input == "dense" else 1))
        shape = self.numel, self.embedding_dim
        code = stream.words(stream.derive("conversion", self.seed % 64), math.prod(shape)).reshape(shape)
        sign = np.where(code >> np.uint64(63), -1.0, 1.0)
        if room:
            span = np.uint64(min(room, 8 if self.dtype != "float64" else 1 << 36))
            spoken: Floats = sign * (1 + ((code >> np.uint64(8)) % span).astype(np.float64))
            return shared(spoken, self.upstream_layout)
        # Too many tokens for the format: one in so many speaks, another one in each column.
        spread = -(-4 * 3 * max(self.numel, 1) // self.computed.largest_integer)
        phase = np.arange(self.numel)[:, None] + np.arange(self.embedding_dim)[None, :] + self.seed
        return np.where(phase % spread == 0, sign, 0.0)

    @cached_property
    def bias_values(self) -> Floats:
        """b, shape (D,): zeros where there is none."""
        if self.bias in ("none", "zero"):
            return np.zeros(self.embedding_dim)
        return 2 * stream.small("conversion", self.seed % 64 + 64, (self.embedding_dim,), 3) + 1

    def inputs(self) -> dict[str, Input]:
        upstream = self.upstream_values.reshape(*self.shape, self.embedding_dim)
        fed = {
            "weight": Input(self.weight_stored, self.dtype, self.layout),
            "upstream": Input(self.computed.encode(upstream), self.computed.name, self.upstream_layout),
        }
        if not upstream.size or (self.upstream_layout == "expanded" and not self.to_linear):
            fed["upstream"] = fed["upstream"]._replace(layout="contiguous")
        if self.bias != "none":
            # As a column of a table is.
            laid = self.layout if self.layout in ("strided", "offset") else "contiguous"
            fed["bias"] = Input(self.format.encode(self.bias_values), self.dtype, laid)
        if not self.to_linear:
            fed["other"] = Input(self.format.encode(self.one_hot), self.dtype)
            fed["x"] = self.lookup.index_input
            return fed
        fed["other"] = self.lookup.index_input
        if self.input != "made":
            # What autocast converts may have another dtype than the weight; its gradient would be of that, too.
            mixed = self.computed is not self.format and not self.input_grad and not self.by_row
            dtype = (self.dtype, "float16", "bfloat16")[self.seed % 3] if mixed else self.dtype
            stored = FORMATS[dtype].encode(self.input_values.reshape(*self.shape, self.num_embeddings))
            fed["x"] = Input(stored, dtype, self.input_layout, self.input_grad)
        return fed

    # -- what follows ------------------------------------------------------------------------------------------

    @cached_property
    def _steps(self) -> tuple[Strides, bool]:
        """The strides of the converted parameter, and whether it still views the source's memory."""
        shape = self.memory_shape
        strides: Strides = view_of(shape, self.layout).strides
        shared = True
        if self.cut in assignment.COPYING:
            strides, shared = preserved_strides(strides, shape), False
        turned = (shape[1], shape[0])
        strides = strides[::-1]
        if self.spelling == "clone":
            strides, shared = preserved_strides(strides, turned), False
        elif self.spelling in assignment.COPYING:
            shared = False
        if self.spelling in assignment.COMPACTING and not is_contiguous(strides, turned):
            strides, shared = (turned[1], 1), False
        if self.assign in assignment.INTO_PLACE:
            strides, shared = (turned[1], 1), False
        if self.later == "deepcopied":
            strides, shared = preserved_strides(strides, turned), False
        return strides, shared

    @property
    def shares(self) -> bool:
        """Whether writing to one weight shows in the other."""
        return self._steps[1]

    @property
    def strides(self) -> Strides:
        return self._steps[0]

    @property
    def trainable(self) -> bool:
        if self.assign in assignment.FREEZING:
            return False
        return not (self.assign in assignment.KEEPING and self.target_frozen)

    @property
    def _fed(self) -> bool:
        """Whether a linear layer's input is fed to it once."""
        return self.to_linear and self.input != "made" and self.company != "several" and self.mistake is None

    @property
    def by_row(self) -> bool:
        """Whether its first row is multiplied alone, too, which is done for one seed of three."""
        return self._fed and self.embedding_dim > 0 and self.seed % 3 == 0

    @property
    def derives(self) -> bool:
        """Whether further derivatives are taken, too, which is done for another seed of three."""
        return self._fed and not self.autocast and self.seed % 3 == 1

    @property
    def value_requires_grad(self) -> bool:
        """Whether the target's output does."""
        open_bias = self.to_linear and self.bias in ("zero", "whole")
        return self.trainable or open_bias or (self.to_linear and self.input_grad)

    def facts(self) -> dict[str, Any]:
        """casts_kept: autocast keeps what it cast of a weight or a bias that learns, which a region inside casts first;
        reads_on: AMX reads on behind the rows of a product of the linear layer; one_column: it multiplies a matrix of one
        column whose elements lie apart, or may do so with other shapes."""
        lookup = self.lookup.facts()
        return {
            **self.axes,
            **{name: lookup[name] for name in _OF_THE_LOOKUP},
            "numel": self.numel,
            "rank": len(self.shape),
            "shares": self.shares,
            "padded": self.padding_idx is not None,
            "square": self.num_embeddings == self.embedding_dim,
            "refused": self.mistake is not None,
            "trainable": self.trainable,
            "casts_kept": self.autocast == "float16_inside"
            and self.to_linear
            and self.dtype == "float32"
            and (self.trainable or self.bias in ("zero", "whole")),
            "reads_on": lookup_reads_on(self.computed.name, self.numel, self.num_embeddings, self.embedding_dim)
            or any_reads_on(self.computed.name, [(self.numel, self.embedding_dim, self.num_embeddings)]),
            "one_column": self._one_column,
        }

    @property
    def _one_column(self) -> bool:
        rows, columns, dtype = self.num_embeddings, self.embedding_dim, self.computed.name
        return self.to_linear and (
            (dtype == "bfloat16" and self.company == "several")
            or one_column(dtype, rows, columns, self.numel, self.layout, self.upstream_layout)
            or one_column(dtype, columns, rows, self.numel, self.input_layout)
        )


def agree(one: Strides, other: Strides, shape: tuple[int, ...]) -> bool:
    """Whether strides are equal, axes of length one aside."""
    return all(a == b for a, b, length in zip(one, other, shape, strict=True) if length != 1)


def is_contiguous(strides: Strides, shape: tuple[int, ...]) -> bool:
    """torch.Tensor.is_contiguous: row-major; an empty tensor is."""
    return 0 in shape or agree(strides, row_major(shape), shape)


def is_dense(strides: Strides, shape: tuple[int, ...]) -> bool:
    """Non-overlapping and dense: the elements fill their memory without gaps, in some order of the axes."""
    return agree(strides, preserved_strides(strides, shape), shape)
