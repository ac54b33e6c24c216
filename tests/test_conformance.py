"""``embcheck.check`` on layers that are right and layers that are wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import embcheck
from embcheck.core.verdict import Status
from embcheck.engine import run_item as engine
from embcheck.runner import check
from embcheck.runner.check import LawViolated


class Right(torch.nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        self.padding_idx = padding_idx

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(indices, self.table, self.padding_idx)


class LearnsPadding(Right):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(indices, self.table)


class Wraps(Right):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return super().forward(indices % self.table.shape[0])


class Half(Right):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return super().forward(indices).half().to(self.table.dtype)


class OffWhenServed(Right):
    """Keeps a table for evaluation, which is stale once the weight has changed."""

    kept: torch.Tensor | None = None

    def train(self, mode: bool = True) -> OffWhenServed:
        self.kept = None
        return super().train(mode)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        if self.training or torch.is_grad_enabled():
            return super().forward(indices)
        if self.kept is None:
            self.kept = self.table.detach().clone()
        return torch.nn.functional.embedding(indices, self.kept)


class OffWhenEvaluated(Right):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return super().forward(indices) * (1 if self.training else 2)


class OffWhenCopied(Right):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


class Decoder(torch.nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ self.weight.T


@embcheck.declare("tied")
class OwnHead(torch.nn.Module):
    """Tied to a head that is no nn.Linear, of a class that is made in a function below."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(num_embeddings, embedding_dim)
        self.head = Decoder(self.embedding.weight)


@embcheck.declare("conversion", copies=True)
def copied(embedding: torch.nn.Embedding) -> torch.nn.Linear:
    linear = torch.nn.Linear(embedding.num_embeddings, embedding.embedding_dim, bias=False)
    linear.weight = torch.nn.Parameter(embedding.weight.detach().t().clone(), embedding.weight.requires_grad)
    return linear


@embcheck.declare("conversion", copies=True)
def without_padding(embedding: torch.nn.Embedding) -> torch.nn.Linear:
    linear = copied(embedding)
    if embedding.padding_idx is not None:
        with torch.no_grad():
            linear.weight[:, embedding.padding_idx] = 0
    return linear


def test_a_head_of_any_class_and_a_copy_in_any_layout_are_right(profile: str) -> None:
    class Local(OwnHead):
        """Can't be pickled."""

    for right in (OwnHead, embcheck.declare("tied")(Local), copied):
        embcheck.check(right, profile=profile)


def test_a_right_layer_passes_and_the_threads_are_left_as_they_were(profile: str, full: bool) -> None:
    before = torch.get_num_threads()
    verdicts = embcheck.check(Right, profile=profile)
    assert torch.get_num_threads() == before
    assert verdicts
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN
    assert sum(verdict.cases for verdict in verdicts if verdict.law == "padding_row_gets_no_gradient") > (
        100 if full else 50
    )


@pytest.mark.parametrize(
    ("layer", "law"),
    [
        (LearnsPadding, "padding_row_gets_no_gradient"),
        (Wraps, "lookup_out_of_range_indices_raise"),
        (Half, "lookup_copies_rows"),
        (OffWhenEvaluated, "lookup_copies_rows"),
        (OffWhenCopied, "lookup_copies_rows"),
    ],
)
def test_a_wrong_layer_is_refuted_by_its_law(layer: Any, law: str, profile: str) -> None:
    with pytest.raises(LawViolated) as caught:
        embcheck.check(layer, profile=profile)
    violated = {verdict.law for verdict in caught.value.verdicts if verdict.status == Status.VIOLATED}
    assert law in violated
    assert layer.__name__ in str(caught.value)
    assert "case    LookupCase(num_embeddings=" in str(caught.value)


def test_a_layer_that_is_off_only_when_it_is_served_is_refuted() -> None:
    """One in forty of *quick*'s cases are of served layers, and of few cases none would do."""
    with pytest.raises(LawViolated) as caught:
        embcheck.check(OffWhenServed, laws=["lookup_copies_rows"])
    assert [verdict.law for verdict in caught.value.verdicts if verdict.status == Status.VIOLATED] == [
        "lookup_copies_rows"
    ]
    assert "lookup_copies_rows   test_conformance:OffWhenServed · serving" in str(caught.value)


def test_a_wrong_conversion_is_refuted_by_its_law(profile: str) -> None:
    with pytest.raises(LawViolated, match=r"case    ConversionCase\(num_embeddings=") as caught:
        embcheck.check(without_padding, profile=profile)
    assert "converted_weight_equals_transpose_bitwise" in {v.law for v in caught.value.verdicts if v.status == Status.VIOLATED}


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda count: None, "can't be built as"),
        (lambda count, width: 3, "expected a torch.nn.Module"),
        (lambda count, width: torch.nn.Linear(2, 2), "expected one parameter of shape"),
    ],
)
def test_what_is_no_layer_gets_one_clear_line(factory: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        embcheck.check(factory)


def test_some_laws_are_asked_and_the_first_that_is_refuted_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    run_item = engine.run_item

    def counted(family: Any, item: Any, *more: Any) -> Any:
        ran.append(item.label)
        return run_item(family, item, *more)

    monkeypatch.setattr(check, "run_item", counted)
    with pytest.raises(LawViolated) as raised:
        embcheck.check(LearnsPadding, laws=["padding_row_gets_no_gradient"], first=True)
    assert str(raised.value).startswith(
        "padding_row_gets_no_gradient: test_conformance:LearnsPadding · laws: 1 violated"
    )
    assert {verdict.law for verdict in raised.value.verdicts} == {"padding_row_gets_no_gradient"}
    assert len(ran) == 1
    hidden = [entry.frame.f_locals.get("__tracebackhide__", False) for entry in raised.traceback[1:]]
    assert hidden == [True, True]
    with pytest.raises(
        ValueError, match=r"no law 'padding_row_gets_no_grad' .*did you mean padding_row_gets_no_gradient"
    ):
        embcheck.check(LearnsPadding, laws=["padding_row_gets_no_grad"])


def test_what_is_offered_is_shown() -> None:
    assert dir(embcheck) == sorted(embcheck.__all__)
