"""What an audit tells of a model that is not wrong, or may be meant so: what is not trained, not read, not copied or not cast."""

from typing import Any

import pytest
import torch

from embcheck.audit import laws
from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT, Judged, Unbuilt
from embcheck.audit.session import description
from embcheck.audit.subject import judged, looked_at

laws.load()


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


def said(factory: Any, law: str) -> Judged:
    """What a law says of a factory of this module."""
    source = {"kind": "factory", "target": f"{__name__}:{factory.__name__}", "folder": ""}
    (answer,) = looked_at(source, "auto")
    assert not isinstance(answer, Unbuilt)
    return judged(law, source, answer[1])


@pytest.mark.parametrize(
    ("factory", "untrained"),
    [
        (Masked, ""),
        (MaskedDetached, "table.weight: no gradient comes to it"),
        (MaskedDetachedTied, "table.weight by one of its uses: what mul computes of it gives it no gradient"),
        (OneDetached, "factor, two.weight: no gradient comes to them"),
    ],
)
def test_what_is_read_and_gets_no_gradient_is_told(factory: Any, untrained: str) -> None:
    one = said(factory, "steps_keep_the_tie")
    words = f"design choice: no step trains {untrained}, although the output depends on {'them' if 'them' in untrained else 'it'}"
    assert (one.findings, [note[: len(words)] for note in one.notes]) == ([], [words] * bool(untrained))
    reason = said(factory, "the_gradient_is_the_sum_of_all_paths").reason
    assert reason.endswith(", for which there is no oracle") == bool(reason) == issubclass(factory, Masked)


@pytest.mark.parametrize(("factory", "unread"), [(Clusters, True), (clusters_asked, False), (Plain, False)])
def test_a_table_that_the_audits_own_ids_do_not_ask_for_is_told(factory: Any, unread: bool) -> None:
    words = "with the audit's own ids the output depends on no row of rare, so nothing is told of their rows: "
    assert [note.startswith(words) for note in said(factory, "the_model_runs").notes].count(True) == unread


@pytest.mark.parametrize("law", ["the_gradient_is_the_sum_of_all_paths", "lookups_leave_the_padding_row"])
def test_a_table_that_is_kept_transposed_is_judged_by_its_columns(law: str) -> None:
    one = said(KeptTransposed, law)
    assert (one.findings, one.reason, one.failure) == ([], "", "")
    source = {"kind": "factory", "target": f"{__name__}:KeptTransposed", "folder": ""}
    assert "table columns.T (20×4, padding_idx 0)" in description(explored(source, "auto", AS_BUILT))


@pytest.mark.parametrize(("factory", "lost"), [(Hooked, True), (Plain, False)])
@pytest.mark.parametrize(
    ("law", "how"), [("a_deep_copy_is_a_model_of_its_own", "copy.deepcopy"), ("a_pickle_keeps_the_tie", "pickle")]
)
def test_a_copy_without_the_hooks_of_a_weight_is_told(law: str, how: str, factory: Any, lost: bool) -> None:
    one = said(factory, law)
    words = f"{how} leaves out the hooks of table.weight; register them again on the copy"
    assert (one.findings, one.notes) == ([], [f"torch does this to every model: {words}"] * lost)


@pytest.mark.parametrize(("factory", "raises"), [(Plain, False), (InFloat, True)])
def test_a_model_that_raises_after_a_cast_is_not_applicable_with_the_error(factory: Any, raises: bool) -> None:
    one = said(factory, "a_cast_keeps_the_tie")
    words = "after to(torch.float64) its forward pass raises RuntimeError: "
    assert (one.findings, one.failure, one.reason[: len(words)]) == ([], "", words if raises else "")


@pytest.mark.parametrize("law", ["a_step_shows_everywhere", "lookups_leave_the_padding_row"])
def test_a_table_that_is_computed_is_told(law: str) -> None:
    assert said(Normalised, law).reason == "the weight of its table table is no Parameter: it is computed, or a buffer"
