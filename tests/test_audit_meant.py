"""What an author may have meant, or not: an audit says it in a note, or that it is unknown, unless the model declares it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from embcheck.audit import laws
from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT, Judged, Unbuilt
from embcheck.audit.subject import judged, looked_at

laws.load()
TWO = torch.tensor([[1, 2, 3]]), torch.tensor([[3, 1, 4]])


class Copied(torch.nn.Module):
    """Its head only starts as a copy of its table."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(20, 4), torch.nn.Linear(4, 20, bias=False)
        self.head.weight.data.copy_(self.table.weight.data)

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(self.table(ids))


class ReadTwice(Copied):
    def again(self, ids: torch.Tensor) -> Any:
        return self.table(ids).detach()

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(self.table(ids) + self.again(ids.flip(1)))


class ReadTwiceInEval(ReadTwice):
    def again(self, ids: torch.Tensor) -> Any:
        return self.table(ids) if self.training else super().again(ids)


class ReadTwiceTied(ReadTwice):
    def __init__(self) -> None:
        super().__init__()
        self.head.weight = self.table.weight


class TwoTables(torch.nn.Module):
    def __init__(self, trained: bool = True) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Embedding(20, 4), torch.nn.Embedding(20, 4)
        self.two.weight.data.copy_(self.one.weight.data)
        self.two.requires_grad_(trained)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.one(a) + self.two(b)


class Rows(torch.nn.Module):
    """A table of the author's own."""

    def __init__(self, padding: int | None = None) -> None:
        super().__init__()
        self.rows, self.padding = torch.nn.Parameter(torch.randn(20, 4)), padding

    def forward(self, ids: torch.Tensor) -> Any:
        return torch.nn.functional.embedding(ids, self.rows, self.padding)


class OwnTable(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = Rows()

    def forward(self, ids: torch.Tensor) -> Any:
        return self.table(ids) @ self.table.rows.detach().T


class OwnTableBesidePositions(OwnTable):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.positions = Rows(-1), torch.nn.Embedding(30, 4)

    def forward(self, ids: torch.Tensor) -> Any:
        return super().forward(ids) + self.positions(torch.arange(ids.shape[1])).sum()


class OfBatches(OwnTableBesidePositions):
    def forward(self, batch: Any) -> Any:
        return super().forward(batch["tokens"])


def own_table_of_batches() -> Any:
    return OfBatches(), ({"tokens": torch.tensor([[4, 5, 6]])},)


class Scaled(torch.nn.Embedding):
    """It declares a scale, and its rows are multiplied with a power of it."""

    power = 1

    def __init__(self) -> None:
        super().__init__(20, 4, _weight=torch.arange(1.0, 81.0).reshape(20, 4))
        self.embed_scale = 2.0

    def forward(self, ids: torch.Tensor) -> Any:
        return super().forward(ids) * self.embed_scale**self.power


class ScaledTwice(Scaled):
    power = 2


class ScaleForgotten(Scaled):
    power = 0


def scaled_elsewhere() -> Any:
    table: Any = torch.nn.Embedding(20, 4)
    table.embed_scale = 2.0
    return table


class Padded(torch.nn.Module):
    """Two tables that are alike, one of which may lack what the other has."""

    config: Any = None

    def __init__(self, *paddings: int | None) -> None:
        super().__init__()
        self.one, self.two = (torch.nn.Embedding(20, 4, padding) for padding in paddings)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.one(a) + self.two(b)


def padded_alike() -> Any:
    return Padded(0, 0), TWO


def padded_in_one_table() -> Any:
    return Padded(None, 0), TWO


def padded_by_the_configuration() -> Any:
    model = Padded(None, None)
    model.config = {"pad_token_id": 5}
    return model, TWO


def padded_by_a_hook() -> Any:
    model, given = padded_by_the_configuration()
    keep = torch.ones(20, 1).index_fill_(0, torch.tensor(5), 0.0)
    model.one.weight.register_hook(lambda grad: grad * keep)
    return model, given


def padded_by_no_row() -> Any:
    model, given = padded_by_the_configuration()
    model.config = {"pad_token_id": -1}
    return model, given


def table_copied() -> Any:
    return TwoTables(), TWO


def table_copied_and_frozen() -> Any:
    return TwoTables(trained=False), TWO


def declaring(holder: str, said: Any, cls: type[Copied] = Copied) -> torch.nn.Module:
    model = cls()
    setattr(model, holder, said)
    return model


def by_a_dict() -> Any:
    return declaring("config", {"tie_word_embeddings": True})


def by_a_dict_and_tied() -> Any:
    return declaring("config", {"tie_word_embeddings": True}, ReadTwiceTied)


def by_fairseq() -> Any:
    return declaring("args", SimpleNamespace(share_decoder_input_output_embed=True))


def by_one_of_two() -> Any:
    return declaring("cfg", {"share_decoder_input_output_embed": False, "share_all_embeddings": True})


def by_words() -> Any:
    return declaring("config", {"tie_word_embeddings": "yes"})


def said(factory: Any, law: str, expect: str = "auto") -> Judged:
    """What a law says of a factory of this module."""
    source = {"kind": "factory", "target": f"{__name__}:{factory.__name__}", "folder": ""}
    (answer,) = looked_at(source, expect)
    assert not isinstance(answer, Unbuilt)
    return judged(law, source, answer[1])


@pytest.mark.parametrize(
    ("factory", "expect", "failure", "note"),
    [
        (ReadTwiceTied, "auto", True, False),
        (ReadTwiceTied, "any", False, True),
        (ReadTwice, "auto", False, True),
        (ReadTwiceInEval, "auto", False, False),
    ],
)
def test_one_lookup_of_several_that_is_detached_is_told(factory: Any, expect: str, failure: bool, note: bool) -> None:
    """As of a target network it may be meant; where the head trains the table, too, that is to be said."""
    one = said(factory, "the_gradient_is_the_sum_of_all_paths", expect)
    words = "of 2 lookups of table.weight some give it no gradient, although the output depends on them"
    assert (one.findings, one.reason) == ([], "")
    assert one.failure.startswith(words) == bool(one.failure) == failure
    assert one.notes == ([f"design choice: {words}"] if note else [])


def test_a_table_that_only_starts_as_a_copy_is_told() -> None:
    every = {e: said(table_copied, "the_tie_is_as_declared", e) for e in ("auto", "tied", "untied")}
    words = "two.weight only starts as a copy of one.weight: the two are trained apart"
    assert (every["auto"].notes, every["tied"].failure.endswith(words)) == ([f"design choice: {words}"], True)
    assert (every["untied"].notes, every["untied"].failure) == ([], "")
    teacher = said(table_copied_and_frozen, "the_tie_is_as_declared")
    assert (teacher.notes, teacher.reason.partition(" (")[0]) == ([], "no head with a row for each token was found")


@pytest.mark.parametrize(
    ("factory", "declared"),
    [
        (by_a_dict, "config.tie_word_embeddings is True"),
        (by_a_dict_and_tied, ""),
        (by_fairseq, "args.share_decoder_input_output_embed is True"),
        (by_one_of_two, "cfg.share_all_embeddings is True"),
        (by_words, ""),
    ],
)
def test_a_tie_is_declared_by_a_flag_of_the_configuration(factory: Any, declared: str) -> None:
    one = said(factory, "the_tie_is_as_declared")
    words = f"{declared}, but head.weight and table.weight are two Parameters, of equal values"
    assert [found.words for found in one.findings] == ([words] if declared else [])
    assert one.reason == ""


@pytest.mark.parametrize(
    ("factory", "padding"), [(OwnTable, None), (OwnTableBesidePositions, 19), (own_table_of_batches, 19)]
)
def test_a_table_in_a_module_of_the_authors_own_is_found(factory: Any, padding: int | None) -> None:
    source = {"kind": "factory", "target": f"{__name__}:{factory.__name__}", "folder": ""}
    facts = explored(source, "auto", AS_BUILT)
    assert (facts.likely, facts.rows, facts.width) == ({"table.rows": padding}, 20, 4)
    one = said(factory, "the_gradient_is_the_sum_of_all_paths")
    assert [found.kind for found in one.findings] == ["gradient is not the sum"]


@pytest.mark.parametrize(
    ("factory", "entry"), [(Scaled, ""), (ScaledTwice, "4.0"), (ScaleForgotten, "1.0"), (scaled_elsewhere, "")]
)
def test_a_scale_that_is_declared_and_is_not_that_of_the_rows_is_told(factory: Any, entry: str) -> None:
    one = said(factory, "an_embedding_is_a_row")
    words = f"(0)[0] is {entry}, its row has 1.0, and it declares embed_scale 2"
    assert [note.removeprefix(f"design choice:  is a {factory.__name__}: ") for note in one.notes] == [words] * bool(
        entry
    )


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (padded_alike, ""),
        (padded_in_one_table, "one.weight has no padding_idx, but two.weight, of the same size, has 0"),
        (padded_by_the_configuration, "config.pad_token_id is 5, but one.weight has no padding_idx"),
        (padded_by_a_hook, ""),
        (padded_by_no_row, ""),
        (table_copied, ""),
    ],
)
def test_a_padding_idx_that_is_missing_is_told(factory: Any, words: str) -> None:
    one = said(factory, "the_padding_row_starts_at_zero")
    train = f": lookups of the padding token train row {5 if 'config' in words else 0}"
    assert (one.findings, one.notes) == ([], [words + train] * bool(words))
