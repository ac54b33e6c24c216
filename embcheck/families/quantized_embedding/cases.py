"""A lookup, or a bag, in a table that was quantized: the case, and how far from the table's its rows may be.

A row of extremes lo and hi is stored as integers q of ``bits`` bits, a step s = (hi - lo)/(2^bits - 1) and an offset lo:
an element is q·s + lo, at most s/2 off.  Step and offset of eight bits are float32, of four bits float16, each rounded.
"""

import itertools
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
import torch.ao.nn.quantized
import torch.ao.quantization

from embcheck.core.axes import Axes, Input, values_of
from embcheck.core.case import Ints, LookupCase
from embcheck.core.format import Floats
from embcheck.core.law import Plan
from embcheck.core.oracle import Expected
from embcheck.core.space import Space
from embcheck.families.lookup import cases
from embcheck.families.tie_preservation.programs import Module, Tensor

#: What must be refused: a token outside the table, weights for fewer tokens than there are, a bag that ends too late.
MISTAKES = ("token_V", "token_-1", "token_far", "too_few_weights", "offsets_beyond")


class QuantizedCase(Axes):
    """``numel`` tokens of a quantized table, reduced in bags of ``length`` if the layer is a bag."""

    num_embeddings: Annotated[int, (3, 1, 5, 17)] = 3
    embedding_dim: Annotated[int, (4, 1, 2, 8, 17)] = 4
    layer: Annotated[str, ("embedding", "bag")] = "embedding"
    bits: Annotated[int, (8, 4)] = 8
    mode: Annotated[str, ("sum", "mean", "max")] = "sum"
    numel: Annotated[int, (4, 0, 1, 6)] = 4
    #: how many tokens a bag has
    length: Annotated[int, (2, 1, 3)] = 2
    #: a batch of two axes, without offsets
    batch: Annotated[bool, (False, True)] = False
    include_last_offset: Annotated[bool, (False, True)] = False
    padding_idx: Annotated[int | None, (None, 0, -1)] = None
    weighted: Annotated[bool, (False, True)] = False
    indices: Annotated[str, ("cycle", "uniform", "same", "late_padding")] = "cycle"
    index_dtype: Annotated[str, ("int64", "int32")] = "int64"
    values: Annotated[str, ("fingerprint", "real", "small")] = "fingerprint"
    mistake: str | None = None
    seed: int = 0

    @cached_property
    def lookup(self) -> LookupCase:
        """The lookup of all tokens in the table as it was."""
        return LookupCase(self.num_embeddings, self.embedding_dim, self.indices, (self.numel,), self.padding_idx,
                    index_dtype=self.index_dtype, values=self.values, seed=self.seed)  # fmt: skip

    @cached_property
    def tokens(self) -> Ints:
        """The tokens that are fed, shape ``(numel,)``; the last one may be astray."""
        tokens = self.lookup.tokens.copy()
        out_of_range = {"token_V": self.num_embeddings, "token_-1": -1, "token_far": 1 << 24}.get(self.mistake or "")
        if out_of_range is not None:
            tokens[-1] = out_of_range
        return tokens

    @property
    def refused(self) -> bool:
        return self.mistake is not None

    @property
    def offsets(self) -> Ints:
        """Where the bags start, and with include_last_offset where the last one ends."""
        starts = np.arange(0, self.numel, self.length)
        if self.include_last_offset:
            starts = np.r_[starts, self.numel]
        if self.mistake == "offsets_beyond":
            starts[-1] = self.numel + 1
        return starts.astype(np.int64)

    @property
    def samples(self) -> Floats:
        """per_sample_weights, small integers, shape ``(numel,)``."""
        return np.asarray((np.arange(self.numel) + self.seed) % 4 - 1.0 if self.weighted else np.ones(self.numel))

    def inputs(self) -> dict[str, Input]:
        """What is fed: weight, indices, and for a bag offsets and samples."""
        shape = (-1, self.length) if self.batch else (-1,)
        fed = {
            "weight": self.lookup.weight_input,
            "indices": Input(self.tokens.astype(self.index_dtype).reshape(shape), self.index_dtype),
        }
        if self.layer == "bag" and not self.batch:
            fed["offsets"] = Input(self.offsets.astype(self.index_dtype), self.index_dtype)
        if self.weighted:
            samples = self.samples.astype(np.float32)
            fed["samples"] = Input(
                samples[:-1] if self.mistake == "too_few_weights" else samples.reshape(shape), "float32"
            )
        return fed

    @property
    def table(self) -> Expected:
        """The table and how far each element may be off, shape ``(V, D)``."""
        table = self.lookup.weight_values
        low, high = table.min(1, initial=np.inf), table.max(1, initial=-np.inf)
        size = np.abs(table).max(1, initial=0.0)
        stored = 2.0**-22 if self.bits == 8 else 2.0**-10
        step = np.where(high > low, high - low, 0.0) / (2**self.bits - 1)
        off = step / 2 * (1 + 2.0**-10) + 3 * stored * size + 2.0**-24
        return table, np.broadcast_to(off[:, None], table.shape)

    @property
    def expected(self) -> Expected:
        """What comes out and how far it may be off: the rows, or their reduction in each bag."""
        value, off = (part[self.lookup.tokens] for part in self.table)
        if self.layer == "embedding":
            shape = (self.numel // self.length, self.length) if self.batch else (self.numel,)
            return value.reshape(*shape, self.embedding_dim), off.reshape(*shape, self.embedding_dim)
        kept = self.lookup.counted
        sums, bounds = [], []
        for start in range(0, self.numel, self.length):
            chosen = np.flatnonzero(kept[start : start + self.length]) + start
            part, apart, weight = value[chosen], off[chosen], self.samples[chosen, None]
            if self.mode == "max":
                sums.append(part.max(0, initial=-np.inf) if len(part) else np.zeros(self.embedding_dim))
                bounds.append(apart.max(0, initial=0.0))
                continue
            by = max(len(part), 1) if self.mode == "mean" else 1
            rounding = self.length * 2.0**-22 * np.abs(part * weight).sum(0)
            sums.append((part * weight).sum(0) / by)
            bounds.append(((apart * np.abs(weight)).sum(0) + rounding) / by)
        return np.array(sums).reshape(-1, self.embedding_dim), np.array(bounds).reshape(-1, self.embedding_dim)

    def facts(self) -> dict[str, Any]:
        return {
            **self.axes,
            "refused": self.refused,
            "bag": self.layer == "bag",
            "padding_hit": self.layer == "bag" and not bool(self.lookup.counted.all()),
            "other_mode": self.layer == "bag" and self.mode != "sum",
        }


def quantized(
    layer: str,
    bits: int,
    flags: dict[str, Any],
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor | None = None,
    samples: Tensor | None = None,
) -> dict[str, Any]:
    kind = torch.nn.Embedding if layer == "embedding" else torch.nn.EmbeddingBag
    plain = kind.from_pretrained(weight, **flags)
    quantization: Any = torch.ao.quantization
    config = quantization.float_qparams_weight_only_qconfig
    if bits == 4:
        config = quantization.float_qparams_weight_only_qconfig_4bit
    given = (indices,) if layer == "embedding" else (indices, offsets, samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, in favour of another package
        narrow = from_float(plain, config)
    return {"value": narrow(*given), "unpacked": unpacked(weight, bits)}


def unpacked(weight: Tensor, bits: int) -> Any:
    """The table in bytes of the kernels, and back."""
    name = {8: "byte", 4: "4bit"}[bits]
    pack, unpack = (getattr(torch.ops.quantized, f"embedding_bag_{name}_{end}") for end in ("prepack", "unpack"))
    return unpack(pack(weight))


def from_float(plain: Module, config: Any) -> Module:
    plain.qconfig = config
    narrow: Any = torch.ao.nn.quantized
    return getattr(narrow, type(plain).__name__).from_float(plain)


def plan(case: QuantizedCase) -> Plan:
    names = ("padding_idx",) if case.layer == "embedding" else ("mode", "padding_idx", "include_last_offset")
    flags = {name: case.axes[name] for name in names}
    options = {"layer": case.layer, "bits": case.bits, "flags": flags}
    return Plan(quantized, case.inputs(), options)


def repair(case: QuantizedCase) -> QuantizedCase | None:
    if case.bits == 4 and case.embedding_dim % 2:
        case = case.but(embedding_dim=case.embedding_dim + 1)  # two elements in a byte
    case = case.but(padding_idx=cases.padding_of(case.padding_idx, case.num_embeddings))
    if case.layer == "embedding":
        plain = {"mode": "sum", "include_last_offset": False, "weighted": False, "length": 1, "batch": False}
        case = case.but(**plain)
        if case.bits == 4 and not case.numel:
            case = case.but(numel=1)  # what comes out has a negative width, and can't be read
    if case.batch:
        case = case.but(numel=case.numel - case.numel % case.length)
    if not case.numel or case.mode != "sum":
        case = case.but(weighted=False)
    if case.mistake is not None:
        bagged = case.layer == "bag" and case.numel > 0
        flat = bagged and not case.batch
        # A lone offset is where the first bag starts, of which no document of the quantized bags speaks.
        several = case.numel > case.length or case.include_last_offset
        takes = {"too_few_weights": flat, "offsets_beyond": flat and several}
        if not takes.get(case.mistake, case.numel > 0):
            return None
        case = case.but(padding_idx=None, mode="sum", weighted=case.mistake == "too_few_weights")
    return case


def scope() -> Iterator[QuantizedCase]:
    """Every layer with either width and every mode; every mistake."""
    chosen = itertools.product(("embedding", "bag"), (8, 4), ("sum", "mean", "max"), (None, 0), (False, True))
    for seed, (layer, bits, mode, padding, batch) in enumerate(chosen):
        axes: dict[str, Any] = {"batch": batch, "padding_idx": padding, "seed": seed}
        axes |= {"include_last_offset": bool(seed // 4 % 2), "weighted": bool(seed % 3)}
        yield QuantizedCase(5, 8, layer, bits, mode, 6, **axes)
    for mistake, layer, bits in itertools.product(MISTAKES, ("embedding", "bag"), (8, 4)):
        yield QuantizedCase(3, 4, layer, bits, mistake=mistake)


def fixed_cases() -> Iterator[QuantizedCase]:
    """Widths on both sides of vectors, many tokens, and every mistake."""
    for seed, (width, layer, bits) in enumerate(itertools.product((2, 16, 17, 64, 129), ("embedding", "bag"), (8, 4))):
        case = QuantizedCase(9, width, layer, bits, numel=33, length=4, indices="uniform", seed=seed)
        yield case.but(index_dtype=("int64", "int32")[seed % 2], values=("fingerprint", "real")[seed % 2])
    yield from (QuantizedCase(layer="bag", mistake=mistake) for mistake in MISTAKES)


SPACE = Space(
    QuantizedCase, values_of(QuantizedCase), repair, lambda: filter(None, map(repair, scope())), fixed_cases, strength=2
)
