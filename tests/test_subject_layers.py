"""Layers as people write them: wrong ones are refuted with an explanation that is true."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import embcheck
from embcheck.core.verdict import Status
from embcheck.runner.check import LawViolated
from embcheck.subject.examples import TiedModel

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


def rows(layer: Table, indices: Tensor) -> Tensor:
    return functional.embedding(indices, layer.weight)


#: What layers return that have no padding, and one mistake.
LOOKUPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "Scaled": lambda self, indices: rows(self, indices) * math.sqrt(self.weight.shape[1]),
    "Triples": lambda self, indices: rows(self, indices) * 3,
    "AddsOne": lambda self, indices: rows(self, indices) + 1,
    "TimesTheWidth": lambda self, indices: rows(self, indices) * self.weight.shape[1],
    "Clamps": lambda self, indices: rows(self, indices.clamp(0, self.weight.shape[0] - 1)),
    "LosesTheLastRow": lambda self, indices: rows(
        self, torch.where(indices == len(self.weight) - 1, max(len(self.weight) - 2, 0), indices)
    ),
    "Detached": lambda self, indices: functional.embedding(indices, self.weight.detach()),
    "FailsOnInt32": lambda self, indices: (
        functional.one_hot(indices, len(self.weight)).to(self.weight.dtype) @ self.weight
    ),
}
MADE = {name: type(name, (Table,), {"forward": forward}) for name, forward in LOOKUPS.items()}
embcheck.declare(scale=math.sqrt)(MADE["TimesTheWidth"])


class OffWhenServed(Table):
    """Keeps a table for evaluation without gradients, which is stale once the weight has changed."""

    kept: Tensor | None = None

    def train(self, mode: bool = True) -> OffWhenServed:
        self.kept = None
        return super().train(mode)

    def forward(self, indices: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return super().forward(indices)
        if self.kept is None:
            self.kept = self.weight.detach().clone()
        return functional.embedding(indices, self.kept)


class Draws(Table):
    """Draws a number that it does not use."""

    def forward(self, indices: Tensor) -> Tensor:
        torch.rand(1)
        return super().forward(indices)


@embcheck.declare(random=True)
class SetsDeterminism(Table):
    """Sets once what stays, and draws."""

    def forward(self, indices: Tensor) -> Tensor:
        torch.use_deterministic_algorithms(True)
        return functional.dropout(super().forward(indices))


@embcheck.declare(random=True)
class WritesItsTable(Table):
    def forward(self, indices: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(2)
        return functional.dropout(super().forward(indices))


@embcheck.declare(random=True)
class ViewsItsTable(Table):
    """Drops some rows, and gives those of whole tables as a view."""

    def forward(self, indices: Tensor) -> Tensor:
        rows = functional.dropout(super().forward(indices))
        return rows if indices.dim() else self.weight[indices]


class RescalesAllRows(Table):
    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.max_norm = max_norm

    def forward(self, indices: Tensor) -> Tensor:
        if self.max_norm is not None:
            with torch.no_grad():
                self.weight.renorm_(2, 0, self.max_norm)
        return super().forward(indices)


class CachedInEvaluation(Table):
    kept: Tensor | None = None

    def train(self, mode: bool = True) -> CachedInEvaluation:
        self.kept = None if mode else self.weight.detach().clone()
        return super().train(mode)

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight if self.kept is None else self.kept)


@embcheck.declare(scale=2)
class CachedByVersion(Table):
    """Keeps what it made of its table where there is no graph; a conversion leaves the version as it was."""

    kept: tuple[int, Tensor] | None = None

    def forward(self, indices: Tensor) -> Tensor:
        if torch.is_grad_enabled() or self.weight.is_inference():
            return functional.embedding(indices, 2 * self.weight)
        if self.kept is None or self.kept[0] != self.weight._version:
            self.kept = self.weight._version, 2 * self.weight.detach()
        return functional.embedding(indices, self.kept[1])


class IgnoresFrequency(Table):
    def __init__(self, num_embeddings: int, embedding_dim: int, scale_grad_by_freq: bool = False) -> None:
        super().__init__(num_embeddings, embedding_dim)


@embcheck.declare("tied", head="fc")
class CopiesTheWeight(TiedModel):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.fc.weight = nn.Parameter(self.embedding.weight.detach().clone())


@embcheck.declare("tied", head="fc")
class UntiedByTo(TiedModel):
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> UntiedByTo:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.fc.weight.dtype != torch.float32:
            self.fc.weight = nn.Parameter(self.fc.weight.detach().clone())
        return self


def linear_of(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = nn.Parameter(weight)
    return linear


@embcheck.declare("conversion")
def copying(embedding: nn.Embedding) -> nn.Linear:
    """Copies where it is to be a view."""
    return linear_of(embedding.weight.detach().t().clone(memory_format=torch.preserve_format))


@embcheck.declare("conversion", copies=True)
def copied(embedding: nn.Embedding) -> nn.Linear:
    """Right: it says that it copies."""
    return linear_of(embedding.weight.detach().t().clone())


@embcheck.declare("conversion")
def reshaping(embedding: nn.Embedding) -> nn.Linear:
    return linear_of(embedding.weight.detach().reshape(embedding.embedding_dim, embedding.num_embeddings))


@embcheck.declare("conversion", copies=True)
def without_padding(embedding: nn.Embedding) -> nn.Linear:
    weight = embedding.weight.detach().clone()
    if embedding.padding_idx is not None:
        weight[embedding.padding_idx] = 0
    return linear_of(weight.t())


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


class RefusesTheLastRow(nn.Embedding):
    """Counts the rows from 1: that is no limit."""

    def reset_parameters(self) -> None:
        if self.padding_idx is not None and self.padding_idx >= self.num_embeddings - 1:
            raise ValueError(f"no such row: {self.padding_idx}")
        super().reset_parameters()


class RaisesWhenCalled(nn.Embedding):
    """Takes a flag, and fails for it later."""

    def forward(self, indices: Tensor) -> Tensor:
        if self.sparse:
            raise ValueError("dense gradients only")
        return super().forward(indices)


WRONG: list[tuple[Any, str, str]] = [
    (LearnsPadding, "padding_row_gets_no_gradient", "expected 0"),
    (MasksPadding, "lookup_copies_rows", "token 0 received [0], which is no row of the table; expected row 0, [1]"),
    (MADE["TimesTheWidth"], "lookup_copies_rows", "received [2 -4], 2 times row 0; 1.41421 times is declared"),
    (MADE["Scaled"], "lookup_copies_rows", "which is 1.41421 times row 0 (if that is meant, declare scale=math.sqrt)"),
    (MADE["Triples"], "lookup_copies_rows", "; expected row 0, [1] (if that is meant, declare scale=3)"),
    (MADE["AddsOne"], "lookup_copies_rows", "; expected row 0, [1] (if that is meant, declare offset=1)"),
    (MADE["Clamps"], "lookup_out_of_range_indices_raise", "of a table with 1 rows was accepted, expected IndexError"),
    (MADE["LosesTheLastRow"], "lookup_copies_rows", "token 1 received row 0; expected row 1"),
    (MADE["Detached"], "lookup_output_requires_grad_iff_weight_does", "the output requires no grad, where the table"),
    (CachedInEvaluation, "gradient_is_accepted", "your layer's table got no gradient: what the layer returned does"),
    (CachedByVersion, "lookup_copies_rows", "received "),
    (Draws, "lookup_preserves_global_state", "the state of the random number generator changed"),
    (SetsDeterminism, "lookup_is_accepted", "torch.are_deterministic_algorithms_enabled() is True afterwards, and was"),
    (SetsDeterminism, "lookup_preserves_global_state", "the deterministic mode changed"),
    (WritesItsTable, "lookup_modifies_no_input", "a version counter of the inputs moved"),
    (ViewsItsTable, "lookup_output_shares_no_memory", "the output shares memory with an input"),
    (RescalesAllRows, "rows_over_max_norm_are_rescaled", "it was not looked up"),
    (IgnoresFrequency, "weight_gradient_sums_upstream_per_row", "dW[0] = [-1164.], expected [-582.]"),
    (MADE["FailsOnInt32"], "lookup_is_accepted", "one_hot is only applicable to index tensor of type LongTensor"),
    (CopiesTheWeight, "tied_pair_is_one_parameter", "embedding and head are two Parameters as the model is built"),
    (UntiedByTo, "tied_pair_is_one_parameter", "are two Parameters after .to(torch.float64), and one as the model"),
    (copying, "converted_weight_shares_memory_iff_view", "left the source's as it was: they do not share memory"),
    (reshaping, "converted_weight_equals_transpose_bitwise", "its elements are those of a reshape, not of a transpose"),
    (without_padding, "converted_weight_equals_transpose_bitwise", "row 0 of the table, the padding row, came out as"),
    (DividesByTheLongest, "bag_sum_and_mean_reduce_weighted_rows", "bag 1 of rows [0] is [0.5], expected [1.]"),
    (RefusesTheLastRow, "padding_is_accepted", "raised ValueError: no such row: 0"),
    (RaisesWhenCalled, "lookup_is_accepted", "raised ValueError: dense gradients only"),
]


class ReshapesNothing(Padded):
    """Can't tell what -1 stands for where there are no tokens, and nor can torch in a double backward pass."""

    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices.reshape(-1)).reshape(*indices.shape, -1)


def test_what_is_known_of_torch_excuses_nothing_that_a_layer_raises_itself() -> None:
    laws = ["gradient_is_accepted"]
    known = {name for verdict in embcheck.check(Padded, laws=laws) for name in verdict.entries}
    assert "double-backward-empty" in known
    with pytest.raises(LawViolated) as caught:
        embcheck.check(ReshapesNothing, laws=laws)
    told = [(verdict.entries, example.kind) for verdict in caught.value.verdicts for example in verdict.counterexamples]
    assert told == [({}, "raised RuntimeError in the subject")]


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
    assert layer.__name__ in text
    assert "  case    " in text
    assert re.search(rf" · laws: {len(violated)} violated( ·|$)", text, re.MULTILINE), (
        "a law counts once, whatever the modes"
    )
    assert any(words in each for each in said), text
    # Which entry of the ledger is nearest is told in that entry's words, and a case in its own.
    own = "\n".join(line for line in text.splitlines() if not line.startswith(("  known?", "  case ")))
    assert not [never for never in NEVER if never in own], text
