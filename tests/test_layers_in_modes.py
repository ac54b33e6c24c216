"""Layers as people write them: what is told of them when they are copied, saved and loaded, or changed in place."""

from typing import Any

import pytest
import torch
from test_subject_layers import Table, Tensor

from embcheck.core.case import LookupCase
from embcheck.core.declaration import name_of
from embcheck.core.result import Holds, Result, Violated
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.modes.mode import MODES
from embcheck.subject.activation import adapted


class HooksPadding(Table):
    """Masks the gradient of padding by a hook of its parameter, which a deep copy has not."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim)
        if padding_idx is not None:
            kept = (torch.arange(num_embeddings) != padding_idx % num_embeddings)[:, None]
            self.weight.register_hook(lambda gradient: torch.where(kept, gradient, torch.zeros_like(gradient)))


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("deepcopy", Violated),
        ("pickle", Violated),
        ("state_dict", Holds),
        ("state_dict_assign", Violated),
        ("mapped", Violated),
    ],
)
def test_a_hook_that_a_copy_loses_is_there_where_a_state_is_loaded(mode: str, result: type[Result]) -> None:
    with adapted(HooksPadding) as families:
        padding = families["padding"]
        laws = [law for law in padding.laws if law.name == "padding_row_gets_no_gradient"]
        case = LookupCase(2, 1, (0, 1), (2,), padding_idx=0, entry=name_of(HooksPadding))
        assert [type(each) for each in evaluate(padding, MODES[mode], case, laws, Execution())] == [result]


class FreezesAtLoading(Table):
    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *more: Any) -> None:
        super()._load_from_state_dict(state, prefix, *more)
        self.weight.requires_grad_(False)


class SavesWhatLearns(Table):
    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.weight.requires_grad:
            super()._save_to_state_dict(destination, prefix, keep_vars)


class AssignsAtLoading(Table):
    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = True) -> Any:
        return super().load_state_dict(state_dict, strict, assign)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (AssignsAtLoading, "load_state_dict replaced a Parameter; an optimizer would go on with the old one"),
        (FreezesAtLoading, "loading a state_dict changed requires_grad"),
        (SavesWhatLearns, "the state_dict of a frozen layer has other keys"),
    ],
)
def test_saving_and_loading_depend_on_no_flag(layer: type[Table], words: str) -> None:
    with adapted(layer) as families:
        lookup = families["lookup"]
        (law,) = [law for law in lookup.laws if law.name == "lookup_is_accepted"]
        case = LookupCase(2, 1, (0, 1), (2,), entry=name_of(layer))
        assert words in str(evaluate(lookup, MODES["state_dict"], case, [law], Execution()))


class Reshapes(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return rows.view_as(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


class ReturnsAView(Table):
    def forward(self, indices: Tensor) -> Tensor:
        rows: Tensor = Reshapes.apply(super().forward(indices))  # type: ignore[no-untyped-call]
        return rows


class ReturnsTheTable(Table):
    def forward(self, indices: Tensor) -> Tensor:
        return self.weight[0:1]


class ChangesAView(ReturnsAView):
    def forward(self, indices: Tensor) -> Tensor:
        return super().forward(indices).mul_(1)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            ReturnsAView,
            "can't be changed in place, which this case does (raised RuntimeError: Output 0 of Reshapes is a view",
        ),
        (ReturnsTheTable, "can't be changed in place, which this case does (raised RuntimeError: a view of a leaf"),
        (ChangesAView, "raised RuntimeError: Output 0 of Reshapes is a view"),
    ],
)
def test_what_embcheck_does_in_place_is_told(layer: Any, said: str) -> None:
    own = layer is not ChangesAView
    with adapted(layer) as families:
        laws = [law for law in families["gradient"].laws if law.name == "gradient_is_accepted"]
        case = LookupCase(1, 1, (0,), (1,), route="doubled", entry=name_of(layer))
        (result,) = evaluate(families["gradient"], MODES["eager"], case, laws, Execution())
    assert isinstance(result, Violated)
    assert result.difference.words.startswith(f"what your layer returned {said}" if own else said)
