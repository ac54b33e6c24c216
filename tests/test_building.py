"""How a subject's layer is built: which parameter is its table, and how the sizes are passed."""

import sys
from typing import Any

import pytest
import torch
from test_refused_layers import TwoTables, tied_to
from test_subject_layers import Table, Tensor
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

import embcheck
from embcheck.core.declaration import FLAGS, declaration_of, name_of
from embcheck.core.domain import Unsuited
from embcheck.core.result import Violated
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.families.lookup.spelling import ENTRIES
from embcheck.families.tie_preservation.cases import TiePreservationCase
from embcheck.families.tied_training.cases import TiedTrainingCase
from embcheck.families.tied_training.training_steps import TIES
from embcheck.modes.mode import MODES
from embcheck.runner.preflight import rehearse, unasked
from embcheck.subject.activation import adapted
from embcheck.subject.building import builder_of, table_in
from embcheck.subject.collect import load_families

load_families()


def test_the_table_is_the_one_that_is_declared() -> None:
    for name in ("first", "second.weight"):
        declared = embcheck.declare(table=name)(type("Declared", (TwoTables,), {}))
        builder = builder_of(declared, declaration_of(declared), (), nn.Embedding)
        layer = builder.layer(2, 2, {})
        table = builder.table(layer, (2, 2))
        assert table is layer.get_parameter(name.removesuffix(".weight") + ".weight")
        assert [p.requires_grad for p in layer.parameters()] == [p is table for p in layer.parameters()]


class Renames(nn.Module):
    """Its table has another name where a row is padding, and so has one more parameter."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__()
        if padding_idx is None:
            self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        else:
            self.padded = nn.Embedding(num_embeddings, embedding_dim, padding_idx)
            self.square = nn.Parameter(torch.zeros(2, 2))

    def forward(self, indices: Tensor) -> Tensor:
        return self.padded(indices) if hasattr(self, "padded") else functional.embedding(indices, self.weight)


def masked(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> nn.Module:
    """Its weight is parametrized where a row is padding."""
    layer = nn.Embedding(num_embeddings, embedding_dim)
    if padding_idx is not None:
        parametrize.register_parametrization(layer, "weight", nn.Identity())
    return layer


@pytest.mark.parametrize(("layer", "name"), [(Renames, "padded.weight"), (masked, "parametrizations.weight.original")])
def test_the_table_is_found_where_a_flag_gives_it_another_name(layer: Any, name: str) -> None:
    builder = builder_of(layer, declaration_of(layer), ("padding_idx",), nn.Embedding)
    built = builder.layer(3, 1, {"padding_idx": 0})
    assert builder.table(built, (3, 1)) is built.get_parameter(name)
    assert builder.table(builder.layer(3, 1, {}), (3, 1)).shape == (3, 1)


def test_where_the_table_is_not_found_the_case_is_not_applicable() -> None:
    builder = builder_of(Renames, declaration_of(Renames), ("padding_idx",), nn.Embedding)
    with pytest.raises(
        Unsuited, match="with some flags it has no parameter weight, and none or several of the table's"
    ):
        builder.table(builder.layer(2, 2, {"padding_idx": 0}), (2, 2))


class ByName(nn.Embedding):
    def __init__(self, *, bias: bool = False, num_embeddings: int, embedding_dim: int, sparse: bool = False) -> None:
        super().__init__(num_embeddings, embedding_dim, sparse=sparse)


class WidthByName(nn.Embedding):
    def __init__(self, rows: int, *, embedding_dim: int, bias: bool = False, sparse: bool = False) -> None:
        super().__init__(rows, embedding_dim, sparse=sparse)


@pytest.mark.parametrize("layer", [ByName, WidthByName])
def test_sizes_that_are_taken_by_name_only_are_passed_so(layer: Any) -> None:
    declared = declaration_of(layer)
    assert rehearse(layer, declared) is None
    assert unasked(layer, declared).endswith("does not know its parameter bias")
    with adapted(layer):
        entry = ENTRIES[name_of(layer)]
        scope: dict[str, Any] = {"sys": sys, "table_in": table_in, "torch": torch}
        exec(entry.build.script, scope)  # type: ignore[attr-defined]
        for build in (entry.build, scope["build"]):
            table, built = build(torch.arange(6.0).view(3, 2), sparse=True)
            assert isinstance(built, layer)
            assert built.sparse
            assert table.tolist() == [[0, 1], [2, 3], [4, 5]]


@embcheck.declare(dtypes={"float32"}, lacks=dict.fromkeys(FLAGS["table"], "none"))
class CastFromHalf(nn.Embedding):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim, dtype=torch.float16)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return super().forward(indices).float()


def test_it_is_told_that_a_layer_is_not_tested_in_the_dtype_in_which_it_is_built() -> None:
    declared = declaration_of(CastFromHalf)
    assert rehearse(CastFromHalf, declared) is None
    assert unasked(CastFromHalf, declared).endswith(
        ":CastFromHalf: its table is built in float16, and tested in float32"
    )


@embcheck.declare("tied")
class TiedByName(nn.Module):
    def __init__(self, *, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.embedding, self.head = (make(num_embeddings, embedding_dim) for make in (nn.Embedding, linear_of))
        self.head.weight = self.embedding.weight


def linear_of(num_embeddings: int, embedding_dim: int) -> nn.Linear:
    return nn.Linear(embedding_dim, num_embeddings, bias=False)


def test_a_model_that_takes_its_sizes_by_name_is_tied_in_scripts_too() -> None:
    assert rehearse(TiedByName, declaration_of(TiedByName)) is None
    with adapted(TiedByName):
        tie: Any = TIES[name_of(TiedByName)]
        scope: dict[str, Any] = {"sys": sys}
        exec(f"from __future__ import annotations\n{tie.script}", scope)
        for one in (tie, scope["tie"]):
            assert one(torch.arange(6.0).view(3, 2), None, sparse=False)[0].head.weight.tolist() == [
                [0, 1],
                [2, 3],
                [4, 5],
            ]


class Masked(Table):
    """Says nothing of its padding row, the first one."""

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight, 0)


class Unmasked(nn.Embedding):
    """Its padding row gets the gradient of the lookup, too."""

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight, sparse=self.sparse)


#: Trainings in which each row is looked up, of both paths and of a sparse lookup alone.
TRAININGS = [
    *(TiedTrainingCase(backward_pass=lap, steps=steps) for lap, steps in (("pair", 3), ("composed", 1))),
    *(TiedTrainingCase(name, uses="lookup", sparse=True, steps=3) for name in ("SGD", "SparseAdam")),
]


@pytest.mark.parametrize(
    ("table", "fixed", "padding"),
    [
        (lambda rows, width: nn.Embedding(rows, width, 0), {}, 0),
        (lambda rows, width: nn.Embedding(rows, width, 0, sparse=True), {}, 0),
        (lambda rows, width: nn.Embedding(rows, width, 1), {"padding_idx": 1}, 1),
        (lambda rows, width: nn.Embedding(rows, width, -1), {"padding_idx": -1}, -1),
        (lambda rows, width: nn.Embedding(rows, width, rows - 1), {}, -1),
        (Masked, {"padding_idx": 0}, 0),
        (lambda rows, width: Unmasked(rows, width, 0), {}, 0),
        (lambda rows, width: Unmasked(rows, width, 0, sparse=True), {}, 0),
    ],
)
def test_the_padding_row_of_a_tied_model_gets_the_heads_gradient_only(table: Any, fixed: Any, padding: int) -> None:
    model = tied_to(table, fixed=fixed)
    wrong = isinstance(table(3, 2), Unmasked)
    with adapted(model) as families:
        told: list[str] = []
        accumulated = TiePreservationCase(first="accumulated")
        given = [
            *((families["tied_training"], each) for each in TRAININGS),
            (families["tie_preservation"], accumulated),
        ]
        for family, case in ((family, family.space.repair(each)) for family, each in given):
            if case is None:  # a dense embedding has no sparse gradient
                continue
            assert case.padding_idx % 3 == padding % 3
            results = evaluate(family, MODES["eager"], case, family.laws, Execution())
            told += [law.name for law, result in zip(family.laws, results, strict=True) if isinstance(result, Violated)]
    assert ("tied_gradient_is_the_sum_of_both_paths" in told) is wrong
    assert wrong or not told
