"""What is under test: torch's own table in each of its spellings, or a class that a user wrote.

A subject offers *entries*.  An entry is a function ``(weight, **flags) -> (leaf, call)``: ``call(indices)`` looks
rows up in the table ``weight``, and ``leaf`` is the tensor in which the gradient arrives.  torch's entries import
nothing but torch, since their source becomes part of a counterexample's script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from embcheck import oracle
from embcheck.case import Case
from embcheck.comparison import Finding, identical, same, within
from embcheck.declaration import FLAGS as FLAGS_OF
from embcheck.declaration import Declaration, declaration_of, name_of, passed, unlike
from embcheck.mathematics import MATHEMATICS
from embcheck.outcome import Field

Lookup = Callable[[torch.Tensor], torch.Tensor]
Build = Callable[..., tuple[torch.Tensor, Lookup]]

#: The axes of a case that are keywords of an embedding.
FLAGS = FLAGS_OF["table"]


@dataclass(frozen=True)
class Entry:
    """One spelling of a lookup: how it is built, which flags it takes, whether it is a product with one_hot, whether its
    leaf is a module's parameter, and whether that lies in the memory of the table that was given.

    One that is not torch's ``own`` refuses by any of `REFUSALS`, and looks up values: the sign of a zero and the payload
    of a NaN are not promised by mathematics.
    """

    name: str
    build: Build
    flags: frozenset[str] = frozenset(FLAGS)
    product: bool = False
    module: bool = False
    aliases: bool = True
    own: bool = True


#: By what a layer may refuse an index or a flag.
REFUSALS = (IndexError, ValueError, RuntimeError, AssertionError)


@dataclass(frozen=True)
class Subject:
    """A named set of entries; ``lacks`` says which flags it has not, and why."""

    name: str
    entries: Mapping[str, Entry]
    lacks: Mapping[str, str] = field(default_factory=dict)


ENTRIES: dict[str, Entry] = {}


def _entry(
    name: str, *, flags: tuple[str, ...] = FLAGS, product: bool = False, module: bool = False, aliases: bool = True
) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        ENTRIES[name] = Entry(name, build, frozenset(flags), product, module, aliases)
        return build

    return register


def flags_of(case: Case, entry: Entry) -> dict[str, Any]:
    """The keywords of a case that differ from their defaults, among those that the entry takes."""
    defaults = case._field_defaults
    return {
        name: getattr(case, name) for name in FLAGS if name in entry.flags and getattr(case, name) != defaults[name]
    }


@_entry("functional")
def functional(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    return weight, lambda indices: torch.nn.functional.embedding(indices, weight, **flags)


@_entry("module", module=True)
def module(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    return layer.weight, layer


@_entry("module_eval", module=True)
def module_eval(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags).eval()
    return layer.weight, layer


@_entry("from_pretrained", module=True)
def from_pretrained(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding.from_pretrained(weight.detach(), freeze=False, **flags)
    return layer.weight, layer


@_entry("assigned", module=True)
def assigned(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    layer.weight = torch.nn.Parameter(weight)
    return layer.weight, layer


@_entry("loaded", module=True, aliases=False)
def loaded(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    layer.load_state_dict({"weight": weight.detach()})
    return layer.weight, layer


@_entry("nested", module=True)
def nested(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, **flags)
    model = torch.nn.Sequential(torch.nn.ModuleDict({"words": layer})["words"], torch.nn.Identity())
    return model.get_parameter("0.weight"), model


@_entry("functional_call")
def functional_call(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype, **flags)
    return weight, lambda indices: torch.func.functional_call(layer, {"weight": weight}, (indices,))


@_entry("torch_embedding", flags=("padding_idx", "scale_grad_by_freq", "sparse"))
def torch_embedding(
    weight: torch.Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False, sparse: bool = False
) -> tuple[torch.Tensor, Lookup]:
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]
    return weight, lambda indices: torch.embedding(weight, indices, row, scale_grad_by_freq, sparse)


@_entry("aten", flags=("padding_idx", "scale_grad_by_freq", "sparse"))
def aten(
    weight: torch.Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False, sparse: bool = False
) -> tuple[torch.Tensor, Lookup]:
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]
    lookup = torch.ops.aten.embedding.default
    return weight, lambda indices: lookup(weight, indices, row, scale_grad_by_freq, sparse)


@_entry("one_hot_product", flags=(), product=True)
def one_hot_product(weight: torch.Tensor) -> tuple[torch.Tensor, Lookup]:
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.one_hot(indices.long(), rows).to(weight.dtype) @ weight


@_entry("linear", flags=(), product=True)
def linear(weight: torch.Tensor) -> tuple[torch.Tensor, Lookup]:
    one_hot = torch.nn.functional.one_hot
    rows = weight.shape[0]
    return weight, lambda indices: torch.nn.functional.linear(one_hot(indices.long(), rows).to(weight.dtype), weight.T)


def is_looked_up(case: Case, got: Field, explain: Callable[[Any], str] | None = None) -> Finding:
    """W[i], bit for bit, or as values if the entry is not torch's; of a subject that declares what it makes of its
    weight, f(W)[i] within f's roundings."""
    if case.entry in MATHEMATICS:
        return within(got, *oracle.declared_lookup(case), explain)
    if not ENTRIES[case.entry].own:
        return same(got, oracle.lookup(case), explain)
    return identical(got, oracle.lookup_bits(case), explain)


TORCH_TABLE = Subject("torch.nn.Embedding", ENTRIES)


def table_subject(factory: Callable[..., torch.nn.Module], declared: Declaration | None = None) -> Subject:
    """A subject from a user's class or factory ``(num_embeddings, embedding_dim, **flags) -> module``.

    The module must have one parameter of shape ``(num_embeddings, embedding_dim)``, into which the case's table is
    copied.  Flags that neither the signature takes nor the declaration fixes are lacking, with the reason.
    """
    declared = declared or declaration_of(factory)
    name = name_of(factory)
    taken = passed(factory, declared, FLAGS)
    said = unlike(factory, torch.nn.Embedding, taken)

    def build(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
        rows, width = weight.shape
        layer = factory(rows, width, **said | {flag: value for flag, value in flags.items() if flag in taken})
        table = table_of(layer, (rows, width), name)
        with torch.no_grad():
            converted(layer, weight.dtype)
            table = table_of(layer, (rows, width), name)
            table.copy_(weight)
        return table, layer

    place = {"module": factory.__module__, "name": factory.__qualname__, "said": said, "taken": sorted(taken)}
    build.script = _TABLE_SCRIPT.format(**place)  # type: ignore[attr-defined]
    lacks = {
        flag: declared.lacks.get(flag, f"{factory.__qualname__} has no {flag}")
        for flag in FLAGS
        if flag not in taken and flag not in declared.fixed
    }
    flags = taken | declared.fixed.keys()
    held = Entry(name, build, flags, declared.product, module=True, aliases=False, own=False)
    return Subject(name, {name: held}, lacks)


#: What a counterexample's script says in place of `table_subject`'s closure.
_TABLE_SCRIPT = """\
sys.path.insert(0, ".")
from {module} import {name}


def build(weight, **flags):
    flags = {said} | {{flag: value for flag, value in flags.items() if flag in {taken}}}
    layer = {name}(weight.shape[0], weight.shape[1], **flags).to(weight.dtype)
    (table,) = [p for p in layer.parameters() if p.shape == weight.shape]
    with torch.no_grad():
        table.copy_(weight)
    return table, layer
"""


def converted(layer: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """The layer, its numbers converted if some have another dtype: some modes can't convert what they build."""
    return layer if all(parameter.dtype == dtype for parameter in layer.parameters()) else layer.to(dtype)


def table_of(layer: torch.nn.Module, shape: tuple[int, int], name: str) -> torch.nn.Parameter:
    """The one parameter that is a table of ``shape``.

    Raises:
        TypeError: if there is none, or more than one.
    """
    tables = [parameter for parameter in layer.parameters() if tuple(parameter.shape) == shape]
    if len(tables) != 1:
        raise TypeError(f"{name}: expected one parameter of shape {shape}, found {len(tables)}")
    return tables[0]
