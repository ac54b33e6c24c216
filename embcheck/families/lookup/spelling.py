"""What is under test: torch's own table in each of its spellings, or a class that a user wrote.

A subject is one more *entry*.  An entry is a function ``(weight, **flags) -> (leaf, call)``: ``call(indices)`` looks
rows up in the table ``weight``, and ``leaf`` is the tensor in which the gradient arrives.  torch's entries import
nothing but torch, since their source becomes part of a counterexample's script.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from embcheck.core import oracle
from embcheck.core.case import LookupCase
from embcheck.core.comparison import identical, is_false, is_true, same, within
from embcheck.core.declaration import FLAGS as FLAGS_OF
from embcheck.core.onednn import PRODUCTS
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.core.weight_map import MATHEMATICS

Lookup = Callable[[torch.Tensor], torch.Tensor]
Build = Callable[..., tuple[torch.Tensor, Lookup]]

#: The axes of a case that are keywords of an embedding.
FLAGS = FLAGS_OF["table"]


@dataclass(frozen=True)
class Entry:
    """One spelling of a lookup: how it is built, which flags it takes, whether it is a product with one_hot, whether its
    leaf is a module's parameter, and whether that lies in the memory of the table that was given.

    One that is not torch's ``own`` refuses by any of `REFUSALS`, and looks up values: the sign of a zero and the payload
    of a NaN are not promised by mathematics.  One that is not ``listed`` is no value of an axis.
    """

    name: str
    build: Build
    flags: frozenset[str] = frozenset(FLAGS)
    product: bool = False
    module: bool = False
    aliases: bool = True
    own: bool = True
    listed: bool = True

    def __post_init__(self) -> None:
        if self.product:
            PRODUCTS.add(self.name)


#: The flags that the operators below the Python function take.
_OF_THE_GRADIENT = ("padding_idx", "scale_grad_by_freq", "sparse")
#: By what a layer may refuse an index or a flag.
REFUSALS = (IndexError, ValueError, RuntimeError, AssertionError)

ENTRIES: dict[str, Entry] = {}


def spelled() -> tuple[str, ...]:
    return tuple(name for name, entry in ENTRIES.items() if entry.listed)


def _entry(flags: tuple[str, ...] = FLAGS, **fields: bool) -> Callable[[Build], Build]:
    """Registers the decorated function; ``fields`` are further ones of `Entry`."""

    def register(build: Build) -> Build:
        ENTRIES[build.__name__] = Entry(build.__name__, build, frozenset(flags), **fields)
        return build

    return register


def flags_of(case: LookupCase, entry: Entry) -> dict[str, Any]:
    """The keywords of a case that differ from their defaults, among those that the entry takes; from_pretrained is always
    told whether to freeze."""
    given = case.keywords(*(name for name in FLAGS if name in entry.flags))
    return given if entry.name != "from_pretrained" else {**given, "freeze": not case.requires_grad}


@_entry()
def functional(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


@_entry(module=True)
def module(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


@_entry(module=True)
def module_eval(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags).eval()
    return layer.weight, layer


@_entry(module=True)
def from_pretrained(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding.from_pretrained(weight.detach(), **flags)
    return layer.weight, layer


@_entry(module=True)
def assigned(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    layer.weight = torch.nn.Parameter(weight)
    for name, value in flags.items():
        setattr(layer, name, value)
    return layer.weight, layer


@_entry(module=True, aliases=False)
def loaded(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    layer.load_state_dict({"weight": weight.detach()})
    return layer.weight, layer


@_entry(module=True)
def nested(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    model = torch.nn.Sequential(torch.nn.ModuleDict({"words": layer})["words"], torch.nn.Identity())
    return model.get_parameter("0.weight"), model


@_entry()
def functional_call(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    return weight, lambda indices: torch.func.functional_call(layer, {"weight": weight}, (indices,))


@_entry(flags=_OF_THE_GRADIENT)
def torch_embedding(
    weight: torch.Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False, sparse: bool = False
) -> tuple[torch.Tensor, Lookup]:
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]
    return weight, lambda indices: torch.embedding(weight, indices, row, scale_grad_by_freq, sparse)


@_entry(flags=_OF_THE_GRADIENT)
def aten(
    weight: torch.Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False, sparse: bool = False
) -> tuple[torch.Tensor, Lookup]:
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]
    lookup = torch.ops.aten.embedding.default
    return weight, lambda indices: lookup(weight, indices, row, scale_grad_by_freq, sparse)


@_entry(flags=(), product=True)
def one_hot_product(weight: torch.Tensor) -> tuple[torch.Tensor, Lookup]:
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.one_hot(indices.long(), rows).to(weight.dtype) @ weight


@_entry(flags=(), product=True)
def linear(weight: torch.Tensor) -> tuple[torch.Tensor, Lookup]:
    one_hot = torch.nn.functional.one_hot
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.linear(one_hot(indices.long(), rows).to(weight.dtype), weight.T)


# Its gradient is index_put's, of which no law outside of graphs speaks; inductor lowers it otherwise than the others.
@_entry(flags=(), listed=False)
def indexed(weight: torch.Tensor) -> tuple[torch.Tensor, Lookup]:
    return weight, lambda indices: weight[indices]


def is_looked_up(case: LookupCase, got: Field, explain: Callable[[Any], str] | None = None) -> Finding:
    """W[i], bit for bit, or as values if the entry is not torch's; of a subject that declares what it makes of its
    weight, f(W)[i] within f's roundings."""
    if case.entry in MATHEMATICS:
        return within(got, *oracle.declared_lookup(case), explain)
    if not ENTRIES[case.entry].own:
        return same(got, oracle.lookup(case), explain)
    return identical(got, oracle.lookup_bits(case), explain)


def shares_table(out: Outcome, elements: int) -> Finding:
    """The leaf lies in the memory of the table that was given, if that has elements; a copied module's does not."""
    if out.keeps_memory:
        return is_true(out.shares_table, "the parameter is a copy of the table that was given")
    return is_false(out.shares_table, "the copy lies in the memory of the table") if elements else UNASKED


def converted(layer: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """The layer, its numbers converted if some have another dtype: some modes can't convert what they build."""
    return layer if all(parameter.dtype == dtype for parameter in layer.parameters()) else layer.to(dtype)
