"""What an author may have meant, or not: an audit says it in a note, or that it is unknown, unless the model declares it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from audits import GRADIENT, PADDED, TIE, source_of, told

from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT

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


class Padded(torch.nn.Module):
    """Two tables that are alike, one of which may lack what the other has."""

    config: Any = None

    def __init__(self, *paddings: int | None) -> None:
        super().__init__()
        self.one, self.two = (torch.nn.Embedding(20, 4, padding) for padding in paddings)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.one(a) + self.two(b)


def with_flag(holder: str, said: Any, model: torch.nn.Module | None = None) -> torch.nn.Module:
    """A model, by default one whose head only starts as a copy, with something in an attribute."""
    made = model or Copied()
    setattr(made, holder, said)
    return made


def padded_by(row: int) -> Padded:
    model = Padded(None, None)
    model.config = {"pad_token_id": row}
    return model


def padded_by_a_hook() -> Any:
    model, keep = padded_by(5), torch.ones(20, 1).index_fill_(0, torch.tensor(5), 0.0)
    model.one.weight.register_hook(lambda grad: grad * keep)
    return model, TWO


TIED = {"tie_word_embeddings": True}
FAIRSEQ = {"share_decoder_input_output_embed": False, "share_all_embeddings": True}
#: Factories of other models.
OF = SimpleNamespace(
    table_copied=lambda: (TwoTables(), TWO),
    table_copied_and_frozen=lambda: (TwoTables(trained=False), TWO),
    padded_alike=lambda: (Padded(0, 0), TWO),
    padded_in_one_table=lambda: (Padded(None, 0), TWO),
    padded_by_the_configuration=lambda: (padded_by(5), TWO),
    padded_by_a_hook=padded_by_a_hook,
    padded_by_no_row=lambda: (padded_by(-1), TWO),
    scaled_elsewhere=lambda: with_flag("embed_scale", 2.0, torch.nn.Embedding(20, 4)),
    batches=lambda: (OfBatches(), ({"tokens": torch.tensor([[4, 5, 6]])},)),
    tied_by_a_dict=lambda: with_flag("config", TIED),
    tied_by_a_dict_and_tied=lambda: with_flag("config", TIED, ReadTwiceTied()),
    tied_by_fairseq=lambda: with_flag("args", SimpleNamespace(share_decoder_input_output_embed=True)),
    tied_by_one_of_two=lambda: with_flag("cfg", FAIRSEQ),
    tied_by_words=lambda: with_flag("config", {"tie_word_embeddings": "yes"}),
)

SOME = "of 2 lookups of table.weight some give it no gradient, although the output depends on them"
COPY = "two.weight only starts as a copy of one.weight: the two are trained apart"
HEADLESS = "no head with a row for each token was found (get_output_embeddings() would say which it is)"
UNTIED = "is True, but head.weight and table.weight are two Parameters, of equal values"
TRAIN = "lookups of the padding token train row"
NO_PADDING = "not applicable: no table has a padding_idx"
#: What each law says of a model, and where its name is not all with what --expect.
SAID = {
    # As of a target network it may be meant; where the head trains the table, too, that is to be said.
    GRADIENT: {
        "ReadTwiceTied": f"unknown: {SOME} (detach, no_grad or .data), and nothing says that it is meant; if so, --expect any",
        "ReadTwice": f"note: design choice: {SOME}",
        "ReadTwiceInEval": "",
        **dict.fromkeys(("OwnTable", "OwnTableBesidePositions", "OF.batches"), "gradient is not the sum: …"),
    },
    f"{GRADIENT} any": {"ReadTwiceTied": f"note: design choice: {SOME}"},
    TIE: {
        "OF.table_copied": f"note: design choice: {COPY}",
        "OF.table_copied_and_frozen": f"not applicable: {HEADLESS}",
        "OF.tied_by_a_dict": f"tie is missing: config.tie_word_embeddings {UNTIED}",
        "OF.tied_by_a_dict_and_tied": "",
        "OF.tied_by_fairseq": f"tie is missing: args.share_decoder_input_output_embed {UNTIED}",
        "OF.tied_by_one_of_two": f"tie is missing: cfg.share_all_embeddings {UNTIED}",
        "OF.tied_by_words": "unknown: head.weight only starts as a copy of table.weight: …",
    },
    f"{TIE} tied": {"OF.table_copied": f"unknown: --expect tied, but {HEADLESS}; {COPY}"},
    f"{TIE} untied": {"OF.table_copied": "not applicable: it has no head of the table's shape"},
    "an_embedding_is_a_row": {
        "Scaled": "",
        "OF.scaled_elsewhere": "",
        **{
            name: f"note: design choice:  is a {name}: (0)[0] is {entry}, its row has 1.0, and it declares embed_scale 2"
            for name, entry in (("ScaledTwice", 4.0), ("ScaleForgotten", 1.0))
        },
    },
    PADDED: {
        "OF.padded_alike": "",
        "OF.padded_in_one_table": f"note: one.weight has no padding_idx, but two.weight, of the same size, has 0: {TRAIN} 0",
        "OF.padded_by_the_configuration": f"note: config.pad_token_id is 5, but one.weight has no padding_idx: {TRAIN} 5",
        **dict.fromkeys(("OF.padded_by_a_hook", "OF.padded_by_no_row", "OF.table_copied"), NO_PADDING),
    },
}


@pytest.mark.parametrize(("law", "factory"), [(law, factory) for law in SAID for factory in SAID[law]])
def test_what_may_be_meant_is_told(law: str, factory: str) -> None:
    assert told(source_of(f"{__name__}:{factory}"), law, SAID[law][factory]) == SAID[law][factory]


@pytest.mark.parametrize(
    ("factory", "padding"), [("OwnTable", None), ("OwnTableBesidePositions", 19), ("OF.batches", 19)]
)
def test_a_table_in_a_module_of_the_authors_own_is_found(factory: str, padding: int | None) -> None:
    facts = explored(source_of(f"{__name__}:{factory}"), "auto", AS_BUILT)
    assert (facts.likely, facts.rows, facts.width) == ({"table.rows": padding}, 20, 4)
