"""Layers as people write them: wrong ones are refuted with an explanation that is true, right ones are accepted."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import embcheck
from embcheck.core.declaration import SubjectError, declaration_of
from embcheck.core.verdict import Status, Verdict
from embcheck.runner.check import LawViolated
from embcheck.subject.building import builder_of

Tensor = torch.Tensor


class Table(nn.Module):
    """Rows of a parameter."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight)


class Padded(nn.Module):
    """Rows of a torch embedding."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(num_embeddings, embedding_dim, padding_idx)

    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = self.table(indices)
        return rows


# -- wrong ones ------------------------------------------------------------------------------------------------------


class LearnsPadding(Padded):
    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.table.weight)


class MasksPadding(Padded):
    """Gives zeros for padding, where torch gives its row."""

    def forward(self, indices: Tensor) -> Tensor:
        rows = super().forward(indices)
        if self.table.padding_idx is None:
            return rows
        return rows.masked_fill((indices == self.table.padding_idx).unsqueeze(-1), 0.0)


@embcheck.declare(scale=math.sqrt)
class TimesTheWidth(Table):
    """Declares √d and multiplies by d."""

    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices) * self.weight.shape[1]


class Scaled(Table):
    """Multiplies by √d and does not say so."""

    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices) * math.sqrt(self.weight.shape[1])


class Clamps(Table):
    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices.clamp(0, self.weight.shape[0] - 1))


class LosesTheLastRow(Table):
    """Off by one: the last row is never looked up."""

    def forward(self, indices: Tensor) -> Tensor:
        last = max(self.weight.shape[0] - 2, 0)
        return super().forward(torch.where(indices == last + 1, torch.full_like(indices, last), indices))


class Detached(Table):
    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight.detach())


class DetachedWithMaxNorm(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        self.max_norm = max_norm

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight.detach(), max_norm=self.max_norm)


class CachedInEvaluation(Table):
    kept: Tensor | None = None

    def train(self, mode: bool = True) -> CachedInEvaluation:
        self.kept = None if mode else self.weight.detach().clone()
        return super().train(mode)

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight if self.kept is None else self.kept)


class RescalesAllRows(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        self.max_norm = max_norm

    def forward(self, indices: Tensor) -> Tensor:
        if self.max_norm is not None:
            with torch.no_grad():
                self.weight.renorm_(2, 0, self.max_norm)
        return functional.embedding(indices, self.weight)


class IgnoresFrequency(Table):
    def __init__(self, num_embeddings: int, embedding_dim: int, scale_grad_by_freq: bool = False) -> None:
        super().__init__(num_embeddings, embedding_dim)


class FailsOnInt32(Table):
    def forward(self, indices: Tensor) -> Tensor:
        return (functional.one_hot(indices, self.weight.shape[0]).to(self.weight.dtype)) @ self.weight


@embcheck.declare("tied", head="fc")
class CopiesTheWeight(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)
        self.fc = nn.Linear(embedding_dim, num_embeddings, bias=False)
        self.fc.weight = nn.Parameter(self.embedding.weight.detach().clone())


@embcheck.declare("conversion")
def copying(embedding: nn.Embedding) -> nn.Linear:
    """Copies where it is to be a view."""
    linear = nn.Linear(embedding.num_embeddings, embedding.embedding_dim, bias=False)
    linear.weight = nn.Parameter(embedding.weight.detach().t().clone(memory_format=torch.preserve_format))
    return linear


@embcheck.declare("bag")
class DividesByTheLongest(nn.Module):
    """A mean over padded bags: each sum is divided by the length of the longest bag."""

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "mean") -> None:
        super().__init__()
        self.mode = mode
        self.table = nn.EmbeddingBag(num_embeddings, embedding_dim, mode="sum" if mode == "mean" else mode)

    def forward(self, indices: Tensor, offsets: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        bags: Tensor = self.table(indices, offsets, samples)
        if self.mode != "mean":
            return bags
        if offsets is None:
            return bags.div(max(indices.shape[1], 1))
        lengths = torch.cat([offsets, offsets.new_tensor([len(indices)])]).diff()
        return bags.div(max([1, *lengths.tolist()]))


class Flagged(nn.Module):
    """A torch embedding whose constructor looks at its flags."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        flags = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        self.look(num_embeddings, *flags)
        self.table = nn.Embedding(num_embeddings, embedding_dim, *flags)

    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        """Raises where the layer has a limit."""

    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = self.table(indices)
        return rows


class RefusesTheLastRow(Flagged):
    """Counts the rows from 1: that is no limit."""

    def look(self, rows: int, padding: int | None, norm: float | None, p: float, scale: bool, sparse: bool) -> None:
        if padding is not None and padding >= rows - 1:
            raise ValueError(f"no such row: {padding}")


class RaisesWhenCalled(Flagged):
    """Takes a flag, and fails for it later."""

    def forward(self, indices: Tensor) -> Tensor:
        if self.table.sparse:
            raise ValueError("dense gradients only")
        return super().forward(indices)


WRONG: list[tuple[Any, str, str]] = [
    (LearnsPadding, "padding_row_gets_no_gradient", "expected 0"),
    (MasksPadding, "lookup_copies_rows", "token 0 received [0.], which is no row of the table; expected row 0, [1.]"),
    (TimesTheWidth, "lookup_copies_rows", "received [ 2. -4.], 2 times row 0; 1.41421 times is declared, expected"),
    (Scaled, "lookup_copies_rows", "which is 1.41421 times row 0 (if that is meant, declare scale=math.sqrt); exp"),
    (Clamps, "lookup_out_of_range_indices_raise", "of a table with 1 rows was accepted, expected IndexError"),
    (LosesTheLastRow, "lookup_copies_rows", "token 1 received row 0; expected row 1"),
    (Detached, "lookup_output_requires_grad_iff_weight_does", "the output requires no grad, where the table does"),
    (DetachedWithMaxNorm, "max_norm_rescaling_is_not_differentiated", "the weight got no gradient: None after the backward pass"),
    (
        CachedInEvaluation,
        "gradient_is_accepted",
        "your layer's table got no gradient: what the layer returned does not",
    ),
    (RescalesAllRows, "rows_over_max_norm_are_rescaled", "it was not looked up"),
    (IgnoresFrequency, "weight_gradient_sums_upstream_per_row", "dW[0] = [-1164.], expected [-582.]"),
    (FailsOnInt32, "lookup_is_accepted", "one_hot is only applicable to index tensor of type LongTensor"),
    (CopiesTheWeight, "tied_pair_is_one_parameter", "the weights of embedding and head are two Parameters"),
    (copying, "converted_weight_shares_memory_iff_view", "left the source's as it was: they do not share memory"),
    (DividesByTheLongest, "bag_sum_and_mean_reduce_weighted_rows", "bag 1 of rows [0] is [0.5], expected [1.]"),
    (RefusesTheLastRow, "padding_is_accepted", "raised ValueError: no such row: 0"),
    (RaisesWhenCalled, "lookup_is_accepted", "raised ValueError: dense gradients only"),
]
#: What was said falsely, or in words of embcheck's own.
NEVER = ("a sign of zero", "twice", "no observation", "oracle", "seen[", "AttributeError", "UNKNOWN")


@pytest.mark.parametrize(("layer", "law", "words"), WRONG, ids=[each[0].__name__ for each in WRONG])
def test_a_wrong_layer_is_refuted_and_told_why(layer: Any, law: str, words: str, profile: str) -> None:
    with pytest.raises(LawViolated) as caught:
        embcheck.check(layer, profile=profile)
    text = str(caught.value)
    violated = {verdict.law for verdict in caught.value.verdicts if verdict.status == Status.VIOLATED}
    said = [
        example.words for verdict in caught.value.verdicts for example in verdict.counterexamples if verdict.law == law
    ]
    assert law in violated, text
    assert re.search(rf" · laws: {len(violated)} violated( ·|$)", text, re.MULTILINE), (
        "a law counts once, whatever the modes"
    )
    assert any(words in each for each in said), text
    # Which entry of the ledger is nearest is told in that entry's words.
    own = "\n".join(line for line in text.splitlines() if not line.startswith("  known?"))
    assert not [never for never in NEVER if never in own], text


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
