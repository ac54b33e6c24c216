"""What an author may have meant, or not: an audit says it in a note, or that it is unknown, unless the model declares it."""

from typing import Any

import pytest
import torch

from embcheck.audit import laws
from embcheck.audit.finding import Judged, Unbuilt
from embcheck.audit.subject import judged, looked_at

laws.load()


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
