"""The cases of a table's construction, what should come of each, and which program runs it."""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

from embcheck.core.axes import Input, OfDtype, values_of
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.construction.invalid_calls import WRONG, refused
from embcheck.families.construction.programs import ACTS, CASTS, MAKES, OF_TABLES, constructed
from embcheck.families.lookup.cases import padding_of

KINDS = ("Embedding", "EmbeddingBag")
#: What either class is built with beside the sizes; the last two are a bag's alone.
FLAGS = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse", "mode", "include_last_offset")


class ConstructionCase(OfDtype):
    """A table of ``num_embeddings`` rows and ``embedding_dim`` columns that is made, and what is done to it."""

    num_embeddings: Annotated[int, (3, 1, 2, 0, 8, 33, 17)] = 3
    embedding_dim: Annotated[int, (2, 1, 3, 0, 17, 8, 7, 65, 33)] = 2
    padding_idx: Annotated[int | None, (None, 0, 1, -1, -2, "last", "-V")] = None
    max_norm: Annotated[float | None, (None, 0.0, 1.0, 2.5)] = None
    norm_type: Annotated[float, (2.0, 1.0, 0.0, 3.0, float("inf"))] = 2.0
    scale_grad_by_freq: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    make: Annotated[str, tuple(MAKES)] = "keyword"
    act: Annotated[str, tuple(ACTS)] = "nothing"
    #: what is attempted, where that must be refused
    wrong: str | None = None
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    #: what the table that is given or loaded holds
    values: Annotated[str, ("fingerprint", "small", "real", "special")] = "fingerprint"
    #: the class in torch.nn: Embedding or EmbeddingBag, which has the two flags below
    kind: Annotated[str, KINDS] = "Embedding"
    mode: Annotated[str, ("mean", "sum", "max")] = "mean"
    include_last_offset: Annotated[bool, (False, True)] = False
    seed: int = 0

    @cached_property
    def table(self) -> LookupCase:
        """The table that is given or loaded."""
        return LookupCase(self.num_embeddings, self.embedding_dim, values=self.values, dtype=self.dtype, seed=self.seed)

    @property
    def weight_input(self) -> Input:
        return Input(self.table.weight_stored, self.dtype, self.layout)

    @property
    def padding_row(self) -> int | None:
        """padding_idx counted from the front."""
        return None if self.padding_idx is None else self.padding_idx % self.num_embeddings

    @property
    def is_bag(self) -> bool:
        return self.kind == "EmbeddingBag"

    @property
    def flags(self) -> dict[str, Any]:
        """The keywords that differ from their defaults."""
        return {name: getattr(self, name) for name in FLAGS if getattr(self, name) != self._field_defaults[name]}

    @property
    def attributes(self) -> list[Any]:
        """The module's attributes, padding_idx counted from the front."""
        flags = [getattr(self, name) for name in (FLAGS if self.is_bag else FLAGS[:-2])]
        return [self.num_embeddings, self.embedding_dim, self.padding_row, *flags[1:]]

    @property
    def told(self) -> str:
        """The module's repr: sizes, and exactly the flags that differ from their defaults; a bag's mode always, and
        neither whether it is sparse nor whether it has a last offset."""
        flags = self.flags
        if self.is_bag:
            shown = ("max_norm", "norm_type", "scale_grad_by_freq")
            flags = {name: flags[name] for name in shown if name in flags} | {"mode": self.mode}
        flags |= {} if self.padding_idx is None else {"padding_idx": self.padding_row}
        parts = [str(self.num_embeddings), str(self.embedding_dim), *(f"{name}={v!r}" for name, v in flags.items())]
        return f"{self.kind}({', '.join(parts)})"

    def facts(self) -> dict[str, Any]:
        return {
            **self.axes,
            "padded": self.padding_idx is not None,
            "negative_padding": self.padding_idx is not None and self.padding_idx < 0,
            "first_row_padded": self.padding_idx is not None and bool(self.num_embeddings) and self.padding_row == 0,
            "elements": self.num_embeddings * self.embedding_dim,
        }


# -- which there are, and what is executed for each ----------------------------------------------------------------


def plan(case: ConstructionCase) -> Plan:
    if case.wrong is not None:
        return Plan(refused, {"weight": case.weight_input}, {"attempt": WRONG[case.wrong][0], "flags": case.flags})
    options = {
        "kind": case.kind,
        "make": MAKES[case.make],
        "act": ACTS[case.act],
        "flags": case.flags,
        "seed": case.seed,
    }
    return Plan(constructed, {"weight": case.weight_input}, options)


def repair(case: ConstructionCase) -> ConstructionCase:
    padding = padding_of(case.padding_idx, case.num_embeddings)
    return fitted(case.but(padding_idx=padding), _RULES)


_RULES: tuple[Rule, ...] = (
    (
        lambda c: c.wrong,
        {"kind": "Embedding", "padding_idx": None, "make": "keyword", "act": "nothing", "max_norm": None},
    ),
    (lambda c: c.wrong and not c.num_embeddings, {"num_embeddings": 1}),
    (lambda c: c.wrong and not c.embedding_dim, {"embedding_dim": 1}),
    (lambda c: not c.is_bag, {"mode": "mean", "include_last_offset": False}),
    (lambda c: c.is_bag and c.make in OF_TABLES, {"make": "pretrained_positional"}),
    (lambda c: c.layout == "expanded", {"layout": "column_slice"}),
    # There is nothing to read or fill.
    (lambda c: c.make == "meta" and c.act not in ("nothing", "evaluated"), {"act": "nothing"}),
    # How a NaN is rounded is nobody's promise.
    (lambda c: c.act in CASTS and c.values == "special", {"values": "real"}),
)


def scope() -> Iterator[ConstructionCase]:
    """Every size, padding, make and act; every wrong call."""
    sizes = itertools.product(range(5), range(4))
    for seed, ((rows, width), make, kind) in enumerate(itertools.product(sizes, MAKES, KINDS)):
        for padding in (None, *range(-rows, rows)):
            act = tuple(ACTS)[seed % len(ACTS)]
            yield ConstructionCase(rows, width, padding, make=make, act=act, kind=kind, seed=seed)
    for make, act, padding, dtype, kind in itertools.product(MAKES, ACTS, (None, 0, -1, 2), FORMATS, KINDS):
        yield ConstructionCase(3, 2, padding, make=make, act=act, dtype=dtype, values="special", kind=kind)
    for wrong, (k, dtype), (n, layout) in itertools.product(WRONG, enumerate(FORMATS), enumerate(LAYOUTS[:6])):
        yield ConstructionCase(wrong=wrong, dtype=dtype, layout=layout, scale_grad_by_freq=k % 2 == 1, sparse=n % 2 == 1,
                               norm_type=(2.0, 1.0)[n // 2 % 2])  # fmt: skip


def fixed_cases() -> Iterator[ConstructionCase]:
    """What the obligations ask for, in every profile."""
    for wrong in WRONG:
        yield ConstructionCase(wrong=wrong)
        yield ConstructionCase(wrong=wrong, sparse=True)
    for make, padding, kind in itertools.product(MAKES, (None, 0, 2, -3), KINDS):
        yield ConstructionCase(3, 2, padding, make=make, act="reset" if padding == 2 else "nothing", kind=kind)
        yield ConstructionCase(129, 17, padding, 0.0, 1.0, True, True, make=make, layout="transposed", values="special",
                               kind=kind, include_last_offset=True)  # fmt: skip
    for make, act, kind in itertools.product(MAKES, ACTS, KINDS):
        yield ConstructionCase(4, 3, 1, make=make, act=act, values="real", kind=kind, mode="sum")
        yield ConstructionCase(4, 3, make=make, act=act, values="special", dtype="float16", kind=kind, mode="max")


SPACE = Space(
    ConstructionCase,
    values_of(ConstructionCase),
    repair,
    lambda: map(repair, scope()),
    fixed_cases,
    flags=("make", "act", "padding_idx", "sparse"),
    strength=2,
)
