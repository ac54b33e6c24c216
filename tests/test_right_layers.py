"""Layers as people write them: right ones are accepted, and what embcheck can't take gets one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_subject_layers import Flagged, Padded, Table, Tensor
from torch import nn
from torch.nn import functional

import embcheck
from embcheck.core.declaration import SubjectError, declaration_of
from embcheck.core.verdict import Status, Verdict
from embcheck.runner.check import LawViolated
from embcheck.subject.building import builder_of

# -- right ones ------------------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """LoRA: a frozen table, and a product of two narrow matrices that is zero at first and learns.

    With two columns, or as many rows as the rank, the factors have the shape of the table.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, rank: int = 2) -> None:
        super().__init__()
        self.base = nn.Embedding(num_embeddings, embedding_dim, padding_idx).requires_grad_(False)
        self.a = nn.Parameter(torch.randn(num_embeddings, rank))
        self.b = nn.Parameter(torch.zeros(rank, embedding_dim))

    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = self.base(indices)
        return rows + functional.embedding(indices, self.a) @ self.b


class ByTheWidth(Padded):
    """Initialised by 1/√d, which no table without columns has."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        nn.init.normal_(self.table.weight, std=embedding_dim**-0.5)


@embcheck.declare(ranks={2})
class Batches(Table):
    def forward(self, indices: Tensor) -> Tensor:
        batch, length = indices.shape
        return super().forward(indices).reshape(batch, length, -1) if indices.numel() else super().forward(indices)


@embcheck.declare(modes={"eval"})
class DropsInTraining(Padded):
    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        self.drop = nn.Dropout(0.5)

    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = self.drop(super().forward(indices))
        return rows


@embcheck.declare(product=True, dtypes={torch.float32, "int64"})
class Product(Table):
    """A product with one-hot vectors, which knows int64 only; it refuses other numbers."""

    def forward(self, indices: Tensor) -> Tensor:
        assert self.weight.dtype == torch.float32, "single precision only"
        return functional.one_hot(indices, self.weight.shape[0]).float() @ self.weight


class Particular(Table):
    """Its constructor refuses odd widths but 3; and a token that is none by a ValueError."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if embedding_dim % 2 and embedding_dim != 3:
            raise ValueError(f"embedding_dim must be even, not {embedding_dim}")
        super().__init__(num_embeddings, embedding_dim)

    def forward(self, indices: Tensor) -> Tensor:
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.weight.shape[0]:
            raise ValueError("no such token")
        return super().forward(indices)


class Frozen(nn.Module):
    """Never learns: no gradient can be asked of it."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim), requires_grad=False)

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight.detach())


class DenseOnly(Table):
    def __init__(self, num_embeddings: int, embedding_dim: int, sparse: bool = False) -> None:
        if sparse:
            raise NotImplementedError("dense gradients only")
        super().__init__(num_embeddings, embedding_dim)


class EuclideanFromTheFront(Flagged):
    """One norm, of positive size; padding is counted from the front."""

    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        if p != 2.0:
            raise TypeError("the Euclidean norm only")
        if norm is not None and norm <= 0.0:
            raise ValueError("max_norm must be positive")
        assert padding is None or padding >= 0, "padding_idx must not be negative"


class NeitherNormNorPadding(Flagged):
    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        if norm is not None or padding is not None:
            raise NotImplementedError("rows stay as they are")


class NotBoth(Flagged):
    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        if scale and sparse:
            raise ValueError("frequencies of dense gradients only")


@embcheck.declare("bag")
class SumsFromTheFront(nn.Module):
    def __init__(
        self, num_embeddings: int, embedding_dim: int, mode: str = "sum", padding_idx: int | None = None
    ) -> None:
        super().__init__()
        if mode != "sum":
            raise ValueError("sums only")
        if padding_idx is not None and padding_idx < 0:
            raise ValueError("padding_idx must not be negative")
        self.table = nn.EmbeddingBag(num_embeddings, embedding_dim, mode=mode, padding_idx=padding_idx)

    def forward(self, indices: Tensor, offsets: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        bags: Tensor = self.table(indices, offsets, samples)
        return bags


@embcheck.declare("tied", table="table")
class TiedFromTheFront(nn.Module):
    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, sparse: bool = False
    ) -> None:
        super().__init__()
        if sparse or (padding_idx is not None and padding_idx < 0):
            raise ValueError("dense, and from the front")
        self.table = nn.Embedding(num_embeddings, embedding_dim, padding_idx)
        self.head = nn.Linear(embedding_dim, num_embeddings, bias=False)
        self.head.weight = self.table.weight

    def forward(self, indices: Tensor) -> Tensor:
        scores: Tensor = self.head(self.table(indices))
        return scores


def reasons(verdicts: list[Verdict]) -> str:
    return "\n".join(f"{verdict.law} {verdict.mode}: {reason}" for verdict in verdicts for reason in verdict.reasons)


#: Without --full at least one of so many cases of *quick*'s is judged.
FEW = 10

#: Each layer, how many cases of *quick* it is judged on at least, and what is said of the others.
RIGHT: list[tuple[Any, int, str]] = [
    (LowRank, 15_000, "tables of no columns: min_dim=1 is the default"),
    (ByTheWidth, 15_000, "tables of no columns: min_dim=1 is the default"),
    (Batches, 10_000, "indices of rank 1: ranks={2} is declared"),
    (DropsInTraining, 15_000, "train: not applicable: the layer in train(): modes={'eval'} is declared"),
    (Product, 5_000, "tables of float16: dtypes={'float32'} is declared"),
    (Particular, 10_000, "its constructor refuses such a table: ValueError: embedding_dim must be even"),
    (Frozen, 5_000, "its table is frozen: no gradient reaches weight"),
    (DenseOnly, 10_000, "its constructor refuses sparse=True: NotImplementedError: dense gradients only"),
]


@pytest.mark.parametrize(("layer", "cases", "reason"), RIGHT, ids=[each[0].__name__ for each in RIGHT])
def test_a_right_layer_is_accepted(layer: Any, cases: int, reason: str, profile: str, full: bool) -> None:
    verdicts = embcheck.check(layer, profile=profile)
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN
    assert sum(verdict.cases for verdict in verdicts) > (cases if full else cases // FEW)
    assert reason in reasons(verdicts)
    # One that has parameters beside its table is evaluated, copied, pickled and loaded, too.
    lives = {verdict.mode for verdict in verdicts if verdict.status >= Status.HOLDS}
    assert lives == {"eager", "eval", "serving", "deepcopy", "pickle", "state_dict"}


@pytest.mark.parametrize(
    ("layer", "cases", "said"),
    [
        (
            SumsFromTheFront,
            5_000,
            ("mode='mean': ValueError: sums only", "padding_idx=-1: ValueError: padding_idx must"),
        ),
        (TiedFromTheFront, 1_000, ("sparse=True: ValueError: dense, and", "padding_idx=-1: ValueError: dense, and")),
    ],
)
def test_the_limits_that_a_constructor_states_are_counted(
    layer: Any, cases: int, said: tuple[str, ...], profile: str, full: bool
) -> None:
    verdicts = embcheck.check(layer, profile=profile)
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN
    assert sum(verdict.cases for verdict in verdicts) > (cases if full else cases // FEW)
    assert not [words for words in said if f"its constructor refuses {words}" not in reasons(verdicts)], reasons(
        verdicts
    )


class TwoSizes(Table):
    """Takes what embcheck tries first, and nothing that a law would ask."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if (num_embeddings, embedding_dim) not in ((64, 64), (128, 128)):
            raise ValueError("no such table")
        super().__init__(num_embeddings, embedding_dim)


def test_where_nothing_was_judged_nothing_is_right(profile: str) -> None:
    with pytest.raises(LawViolated, match="UNKNOWN lookup_is_accepted: no case was judged; not applicable: its const"):
        embcheck.check(TwoSizes, profile=profile)


# -- what embcheck can't take ------------------------------------------------------------------------------------------


class TwoTables(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.first = nn.Embedding(num_embeddings, embedding_dim)
        self.second = nn.Embedding(num_embeddings, embedding_dim)

    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = self.first(indices)
        return rows


class Noisy(Table):
    def forward(self, indices: Tensor) -> Tensor:
        rows = super().forward(indices)
        return rows + torch.randn_like(rows)


class Dropping(DropsInTraining):
    """Without the declaration."""


class Stumbles(Flagged):
    """Whether that is a limit or a mistake nobody can tell."""

    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        if sparse:
            self.limit = None + 1  # type: ignore[operator]


class RefusesAll(Flagged):
    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        raise ValueError("never")


class PadsAlways(Flagged):
    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int = 0) -> None:
        if padding_idx is None:
            raise ValueError("there is always padding")
        super().__init__(num_embeddings, embedding_dim, padding_idx)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (TwoTables, r'found 2 .*first\.weight \(5, 3\).*say which is the table: declare\(table="…"\)'),
        (
            embcheck.declare(table="third")(type("Third", (TwoTables,), {})),
            r"no parameter 'third'; there are first\.weight",
        ),
        (Noisy, r"two equal calls differ; declare random=True"),
        (Dropping, r'two equal calls differ in training; declare modes=\{"eval"\}'),
        (Stumbles, r'sparse=True is refused: TypeError: unsupported .*declare lacks=\{"sparse": "why"\}'),
        (RefusesAll, r"can't be built as \(num_embeddings, .*: ValueError: never"),
        (PadsAlways, r'padding_idx=None is refused: ValueError: there is always padding; .*fixed=\{"padding_idx": …\}'),
    ],
)
def test_what_embcheck_cannot_take_gets_one_line(layer: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said) as caught:
        embcheck.check(layer)
    assert "\n" not in str(caught.value)


def test_the_table_is_the_one_that_is_declared() -> None:
    for name in ("first", "second.weight"):
        declared = embcheck.declare(table=name)(type("Declared", (TwoTables,), {}))
        builder = builder_of(declared, declaration_of(declared), (), nn.Embedding)
        layer = builder.layer(2, 2, {})
        table = builder.table(layer, (2, 2))
        assert table is layer.get_parameter(name.removesuffix(".weight") + ".weight")
        assert [p.requires_grad for p in layer.parameters()] == [p is table for p in layer.parameters()]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("table", {"ranks": {7}}, r"ranks=\{7\}: expected numbers of axes from 0 to 4"),
        ("table", {"ranks": 2}, r"ranks=2: expected a set, such as \{2\}"),
        ("table", {"rank": {2}}, r"no rank= to declare; did you mean ranks=\?"),
        ("table", {"dtypes": {"float8"}}, r"no dtype 'float8' of a table or of indices; there are float32"),
        ("table", {"modes": {"serving"}}, r"modes=\{'serving'\}: expected \{'eval'\} or \{'train'\}"),
        ("table", {"min_dim": -1}, r"min_dim=-1: expected a number of at least 0"),
        ("tied", {"ranks": {2}}, r"ranks= is declared of a table or a bag, not of a tied"),
        ("conversion", {"table": "weight"}, r"table= is declared of a table or a bag or a tied, not of a conversion"),
    ],
)
def test_a_domain_that_is_none_is_told(kind: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SubjectError, match=said):
        embcheck.declare(kind, **given)
