"""What an audit tells of a model that is not wrong, or may be meant so: what is not trained, not read, not copied or not cast."""

from typing import Any

import pytest
import torch
from audits import GRADIENT, LEFT, TRAINED, source_of, told

from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT
from embcheck.audit.session import description


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = torch.nn.Embedding(20, 4), torch.nn.Linear(4, 20)

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(self.table(ids))


class Masked(Plain):
    """Its lookups are of a product of the table, the gradient of which may be kept from the table."""

    factor: Any = 2.0

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(torch.nn.functional.embedding(ids, self.masked()))

    def masked(self) -> Any:
        return self.table.weight * self.factor


class MaskedDetached(Masked):
    def masked(self) -> Any:
        return super().masked().detach()


class MaskedDetachedTied(MaskedDetached):
    def __init__(self) -> None:
        super().__init__()
        self.head.weight = self.table.weight


class OneDetached(torch.nn.Module):
    """A table that only chooses by a sign has no derivative; the factor of a table that is looked up has one, and no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.sign = (torch.nn.Embedding(20, 4) for _ in range(3))
        self.factor = torch.nn.Parameter(torch.ones(4))

    def forward(self, ids: torch.Tensor) -> Any:
        with torch.no_grad():
            other = self.two(ids.flip(1)) * self.factor
        return self.one(ids) * torch.sign(self.sign(ids.roll(1))) + other


class KeptTransposed(torch.nn.Module):
    """A table of which only the first column is a token's that pads."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = torch.nn.Parameter(torch.randn(4, 20))

    def forward(self, ids: torch.Tensor) -> Any:
        return torch.nn.functional.embedding(ids, self.columns.T, 0) @ self.columns


class Normalised(Plain):
    """Its table is computed anew at each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.nn.utils.parametrizations.weight_norm(self.table)

    def get_input_embeddings(self) -> Any:
        return self.table


class Clusters(Plain):
    """Rare tokens have a table of their own, which the ids that the audit makes may not ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.rare = torch.nn.Embedding(20, 4)

    def forward(self, ids: torch.Tensor) -> Any:
        rows = self.table(ids % 20)
        rows[ids >= 20] = self.rare(ids[ids >= 20] % 20)
        return self.head(rows)


def clusters_asked() -> Any:
    return Clusters(), (torch.tensor([[4, 25, 6]]),)


class InFloat(Plain):
    """It names a dtype in its forward pass."""

    def forward(self, ids: torch.Tensor) -> Any:
        return self.head(self.table(ids).float())


class Hooked(Plain):
    """A hook keeps a row of the table as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.table.weight.register_hook(lambda grad: grad.index_fill(0, torch.tensor(5), 0.0))


class ByTraining(Plain):
    """Its padding row is one in eval mode alone; a submodule has the name of what every module has."""

    def __init__(self) -> None:
        super().__init__()
        self._modules["type"] = torch.nn.Embedding(4, 4)
        self.max_norm, self.table.padding_idx = 1.0, 0

    def forward(self, ids: torch.Tensor) -> Any:
        rows = torch.nn.functional.embedding(ids, self.table.weight, None if self.training else 0)
        typed: Any = self._modules["type"]
        return (rows + typed(ids % 4)) @ self.table.weight.T


class Fixed(Plain):
    """Its vocabulary is small, and stays."""

    def get_input_embeddings(self) -> Any:
        return self.table

    def resize_token_embeddings(self, rows: int) -> None:
        raise NotImplementedError(f"not to {rows}")


class Reduced(Plain):
    """It answers with one number for each token, made of a product with the table."""

    def forward(self, ids: torch.Tensor) -> Any:
        return (self.table(ids) @ self.table.weight.T).logsumexp(-1)


UNTRAINED = "note: design choice: no step trains"
DEPENDS = "although the output depends on"
COMPUTED = "not applicable: the weight of its table table is no Parameter: it is computed, or a buffer"
NO_ORACLE = "not applicable: the weight is read by {}, for which there is no oracle"
HOOKS = "leaves out the hooks of table.weight; register them again on the copy"
#: What each law says of a model.
SAID = {
    TRAINED: {
        "Masked": "",
        "MaskedDetached": f"{UNTRAINED} table.weight: no gradient comes to it, {DEPENDS} it…",
        "MaskedDetachedTied": f"{UNTRAINED} table.weight by one of its uses: what mul computes of it gives it no gradient, "
        f"{DEPENDS} it",
        "OneDetached": f"{UNTRAINED} factor, two.weight: no gradient comes to them, {DEPENDS} them…",
    },
    GRADIENT: {
        "Masked": NO_ORACLE.format("MulBackward0"),
        **dict.fromkeys(("MaskedDetached", "MaskedDetachedTied"), NO_ORACLE.format("mul")),
        **dict.fromkeys(("OneDetached", "KeptTransposed"), ""),
    },
    "the_model_runs": {
        "Clusters": "note: with the audit's own ids the output depends on no row of rare, so nothing is told of their rows: …",
        "clusters_asked": "note: which of its tables holds the tokens is not clear: …",
        "Plain": "",
    },
    "a_deep_copy_is_a_model_of_its_own": {
        "Hooked": f"note: torch does this to every model: copy.deepcopy {HOOKS}",
        "Plain": "",
    },
    "a_pickle_keeps_the_tie": {"Hooked": f"note: torch does this to every model: pickle {HOOKS}", "Plain": ""},
    "a_cast_keeps_the_tie": {
        "Plain": "",
        "InFloat": "not applicable: after to(torch.float64) its forward pass raises RuntimeError: …",
    },
    LEFT: {
        "KeptTransposed": "note: row 0 of columns is moved by its gradient and weight decay …",
        "Normalised": COMPUTED,
        "ByTraining": "padding row gets gradient: …",
    },
    "shrinking_keeps_the_rows_left": {"Fixed": "not applicable: it refuses to be resized: not to 18"},
    "the_tie_is_as_declared tied": {"Reduced": ""},
    "a_step_shows_everywhere": {"Normalised": COMPUTED},
}


@pytest.mark.parametrize(("law", "factory"), [(law, factory) for law in SAID for factory in SAID[law]])
def test_what_is_not_trained_read_copied_or_cast_is_told(law: str, factory: str) -> None:
    assert told(source_of(f"{__name__}:{factory}"), law, SAID[law][factory]) == SAID[law][factory]


def test_a_table_that_is_kept_transposed_is_described_by_its_columns() -> None:
    facts = explored(source_of(f"{__name__}:KeptTransposed"), "auto", AS_BUILT)
    assert "table columns.T (20×4, padding_idx 0)" in description(facts)
