"""Layers that embcheck can't take: each gets one line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_right_layers import HasPositions
from test_subject_layers import Table, Tensor
from torch import nn

import embcheck


class TwoTables(nn.ModuleDict):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__({name: nn.Embedding(num_embeddings, embedding_dim) for name in ("first", "second")})

    def forward(self, indices: Tensor) -> Tensor:
        return self["first"](indices)  # type: ignore[no-any-return]


Third = embcheck.declare(table="third")(type("Third", (TwoTables,), {}))


class Noisy(Table):
    def forward(self, indices: Tensor) -> Tensor:
        rows = super().forward(indices)
        return rows + torch.randn_like(rows)


class Buffered(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(num_embeddings, embedding_dim))


@embcheck.declare("tied")
class TiedByProperty(nn.Module):
    class Head(nn.Module):
        def __init__(self, embedding: nn.Embedding) -> None:
            super().__init__()
            self.of = [embedding]

        @property
        def weight(self) -> Tensor:
            return self.of[0].weight

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)
        self.head = self.Head(self.embedding)


@embcheck.declare()
class Dropping(HasPositions):
    """Without the declaration of its parent."""


@embcheck.declare("tied")
class Normed(nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(num_embeddings, embedding_dim), nn.LayerNorm(embedding_dim)
        self.head = nn.Linear(embedding_dim, num_embeddings)
        self.head.weight = self.embedding.weight


def tied_to(
    table: Callable[[int, int], Any] = nn.Embedding,
    head: Callable[..., nn.Linear] = nn.Linear,
    bias: bool = False,
    **declared: Any,
) -> Any:
    """A tied model whose embedding is made of its rows and columns, and its head of them and a bias."""

    @embcheck.declare("tied", **declared)
    class Tied(nn.Module):
        def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
            super().__init__()
            self.embedding = table(num_embeddings, embedding_dim)
            self.head = head(embedding_dim, num_embeddings, bias=bias)
            self.head.weight = self.embedding.weight

    return Tied


class Doubling(nn.Embedding):
    def forward(self, indices: Tensor) -> Tensor:
        return 2 * super().forward(indices)


class Scaling(nn.Linear):
    """The head of T5."""

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden * self.in_features**-0.5)


class Capping(nn.Linear):
    """The head of Gemma 2."""

    def forward(self, hidden: Tensor) -> Tensor:
        return 30 * torch.tanh(super().forward(hidden) / 30)


@embcheck.declare(dtypes={"float32"})
class BuiltInHalf(nn.Embedding):
    """Built in half precision, without the cast of what it looks up."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim, dtype=torch.float16)


class WithoutASign(nn.Embedding):
    """Nothing declares that it is tied."""

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return super().forward(indices) @ self.weight.T


class Stumbles(nn.Embedding):
    """Whether that is a limit or a mistake nobody can tell."""

    def __init__(self, num_embeddings: int, embedding_dim: int, sparse: bool = False) -> None:
        super().__init__(num_embeddings, embedding_dim, sparse=sparse)
        if sparse:
            self.limit = None + 1  # type: ignore[operator]


class RefusesAll(nn.Embedding):
    def reset_parameters(self) -> None:
        raise ValueError("never")


class CallRaises(nn.Embedding):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        raise KeyError("boom")


class PadsAlways(nn.Embedding):
    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int = 0) -> None:
        if padding_idx is None:
            raise ValueError("there is always padding")
        super().__init__(num_embeddings, embedding_dim, padding_idx)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (TwoTables, r'found 2 .*first\.weight \(5, 3\).*say which is the table: declare\(table="…"\)'),
        (Third, r"no parameter 'third'; there are first\.weight"),
        (Noisy, r"two equal calls differ; declare random=True"),
        (Dropping, r'two equal calls differ in training; declare modes=\{"eval"\}'),
        (Normed, r"it has parameters beside the pair's \(norm\.bias, norm\.weight\): embcheck audit takes any model"),
        (
            tied_to(lambda rows, width: nn.Embedding(rows, width, rows // 2)),
            r'embedding\.padding_idx is 2 of 5 rows and 3 of 7 rows; .* declare it, such as fixed=\{"padding_idx": -1\}',
        ),
        (
            tied_to(lambda rows, width: nn.Embedding(rows, width, max_norm=1.0)),
            r"embedding has a max_norm, .* audit takes",
        ),
        (
            tied_to(Doubling),
            r"embedding looks up 2 times its rows, which no law of tying does: embcheck audit takes any",
        ),
        *(
            (tied_to(head=head, bias=bias), f"head {made}, which no law of tying does: embcheck audit takes any model")
            for head, made in ((Scaling, "multiplies by 0.57735"), (Capping, "caps its result"))
            for bias in (False, True)
        ),
        (
            WithoutASign,
            r'shape \(2, 2, 5\); expected \(2, 2, 3\); of a model with a head say declare\("tied", .* embcheck audit',
        ),
        (Stumbles, r'sparse=True is refused: TypeError: unsupported .*declare lacks=\{"sparse": "why"\}'),
        (RefusesAll, r"can't be built as \(num_embeddings, .*: ValueError: never"),
        (lambda count: None, "can't be built as"),
        (
            CallRaises,
            r"it was built, but its call with indices of shape \(2, 2\) raises KeyError: 'boom' \(.*test_refused_layers",
        ),
        (RefusesAll, r"ValueError: never \(.*test_refused_layers\.py:\d+\)"),
        (lambda count, width: 3, "returned int; expected a torch.nn.Module"),
        (lambda count, width: nn.Linear(2, 2), r"expected one parameter of shape .* bias \(2,\)\)$"),
        (lambda count, width: nn.Linear(count, width), r"; weight is transposed, which can't be tested$"),
        (
            lambda count, width: nn.Embedding(count + 2, width),
            r"; weight has 2 rows more than num_embeddings, which can't be tested: embcheck audit takes a model with it$",
        ),
        (
            lambda count, width: nn.ModuleList([nn.Embedding(2, width), nn.Embedding(count, 2)]),
            r"; a table in parts or factorised can't be tested: embcheck audit takes a model with it$",
        ),
        (
            lambda count, width: nn.ParameterList([torch.ones(2, width), torch.ones(count - 2, width)]),
            r"; a table in parts or factorised can't be tested$",
        ),
        (BuiltInHalf, r"with a table of float16, and a call returns float16; dtypes=\{'float32'\} is declared"),
        (Buffered, r"found 0 \(its parameters: none\); weight is a buffer: the table must be a Parameter"),
        (
            TiedByProperty,
            r"head\.weight is no Parameter of shape \(5, 3\) that head registers itself: embcheck audit takes any model",
        ),
        (PadsAlways, r'padding_idx=None is refused: ValueError: there is always padding; .*fixed=\{"padding_idx": …\}'),
    ],
)
def test_what_embcheck_cannot_take_gets_one_line(layer: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said) as caught:
        embcheck.check(layer)
    assert "\n" not in str(caught.value)
