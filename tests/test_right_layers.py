"""Layers as people write them: right ones are accepted."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from test_subject_layers import Padded, Table, Tensor, copied
from torch import nn
from torch.nn import functional

import embcheck
from embcheck.core.declaration import declaration_of
from embcheck.core.verdict import Status
from embcheck.runner.check import LawViolated
from embcheck.subject.examples import Bag, ScaledEmbedding, TiedModel, TokenEmbedding, bounded, gemma, pruned, to_linear


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


@embcheck.declare(ranks={2})
class Batches(Table):
    def forward(self, indices: Tensor) -> Tensor:
        batch, length = indices.shape
        return super().forward(indices).reshape(batch, length, -1) if indices.numel() else super().forward(indices)


@embcheck.declare(modes={"eval"}, max_length=32)
class HasPositions(Padded):
    """Adds positions, which start at zero, and drops some elements in training."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        self.positions = nn.Parameter(torch.zeros(32, embedding_dim))

    def forward(self, indices: Tensor) -> Tensor:
        added = self.positions[: indices.shape[-1]] if indices.dim() else 0.0
        return functional.dropout(super().forward(indices) + added, 0.5, self.training)


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


class Bounds(nn.Embedding):
    """Torch's own, which looks itself whether each token is one of the rows that it was built with."""

    def forward(self, indices: Tensor) -> Tensor:
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.num_embeddings:
            raise IndexError("no such token")
        return super().forward(indices)


class Frozen(Table):
    """Never learns: no gradient can be asked of it."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.requires_grad_(False)

    def forward(self, indices: Tensor) -> Tensor:
        return functional.embedding(indices, self.weight.detach())


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


@embcheck.declare(random=True)
class Noisy(Padded):
    """Adds noise, as NEFTune does."""

    def forward(self, indices: Tensor) -> Tensor:
        rows = super().forward(indices)
        return rows + torch.zeros_like(rows).uniform_(-1, 1)


class PadsByDefault(nn.Embedding):
    """Another default than torch's: without a word of padding it has one."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = 0) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)


@embcheck.declare("bag", lacks={"sparse": "dense only"})
class NoSparseBag(nn.EmbeddingBag):
    """Takes the flag, and raises if it is set."""

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "sum", sparse: bool = False) -> None:
        if sparse:
            raise NotImplementedError("no sparse gradients here")
        super().__init__(num_embeddings, embedding_dim, mode=mode)


@embcheck.declare("bag")
class SumBag(Table):
    """Sums rows, and takes nothing behind the offsets."""

    def forward(self, indices: Tensor, offsets: Tensor | None = None) -> Tensor:
        return functional.embedding_bag(indices, self.weight, offsets, mode="sum")


class Decoder(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden @ self.weight.T


def local() -> type[nn.Module]:
    @embcheck.declare("tied")
    class Local(nn.Module):
        """Tied to a head that is no nn.Linear; can't be pickled."""

        def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
            super().__init__()
            self.embedding = nn.Embedding(num_embeddings, embedding_dim)
            self.head = Decoder(self.embedding.weight)

    return Local


#: Without --full at least one of so many cases of *quick*'s is judged.
FEW = 10
IN_TRAINING = "train: not applicable: the layer in train(): modes={'eval'} is declared"
NO_COLUMNS = "tables of no columns: min_dim=1 is the default"
#: Each layer, how many cases of *quick* it is judged on at least, and what is said of the others.
RIGHT: list[Any] = [
    (LowRank, 15_000, (NO_COLUMNS,)),
    (Batches, 10_000, ("indices of rank 1: ranks={2} is declared",)),
    (HasPositions, 9_000, (IN_TRAINING, "tokens: max_length=32 is declared")),
    (Product, 5_000, ("tables of float16: dtypes={'float32'} is declared",)),
    (Particular, 10_000, ("its constructor refuses such a table: ValueError: embedding_dim must be even",)),
    (Bounds, 10_000, ()),
    (Frozen, 5_000, ("its table is frozen: no gradient reaches weight",)),
    (Noisy, 5_000, ("values are not asked: random=True is declared",)),
    (PadsByDefault, 10_000, ()),
    (NoSparseBag, 5_000, ()),
    (SumBag, 2_000, ()),
    (TiedFromTheFront, 1_000, ("sparse=True: ValueError: dense, and", "padding_idx=-1: ValueError: dense, and")),
    (local(), 1_000, ()),
    (copied, 1_000, ()),
    *((example, 1_000, ()) for example in (TokenEmbedding, bounded, pruned, to_linear, Bag, TiedModel)),
    (ScaledEmbedding, 1_000, ("ScaledEmbedding has no max_norm",)),
    *([(gemma, 1_000, ())] if find_spec("transformers") else []),
]


@pytest.mark.parametrize(("layer", "cases", "said"), RIGHT, ids=lambda value: getattr(value, "__name__", ""))
def test_a_right_layer_is_accepted(layer: Any, cases: int, said: tuple[str, ...], profile: str, full: bool) -> None:
    threads = torch.get_num_threads()
    verdicts = embcheck.check(layer, profile=profile)
    assert torch.get_num_threads() == threads
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN
    assert sum(verdict.cases for verdict in verdicts) > (cases if full else cases // FEW)
    reasons = [f"{verdict.mode}: {reason}" for verdict in verdicts for reason in verdict.reasons]
    assert all(any(words in reason for reason in reasons) for words in said), reasons
    if layer is TiedModel:
        assert not any("max_norm" in reason for reason in reasons)
    if isinstance(layer, type) and declaration_of(layer).kind == "table":
        # One that has parameters beside its table is evaluated, copied, pickled and loaded, too.
        lives = {verdict.mode for verdict in verdicts if verdict.status >= Status.HOLDS}
        # Of a frozen one one case in forty may be special, or in float64; another is not to be trained.
        few = {Frozen: {"to_dtype"}, HasPositions: {"train"}}.get(layer, set())
        assert lives | few == {"eager", "eval", "serving", "train", "deepcopy", "pickle", "state_dict", "to_dtype"}


class TwoSizes(Table):
    """Takes what embcheck tries first, and nothing that a law would ask."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        if (num_embeddings, embedding_dim) not in ((64, 64), (128, 128)):
            raise ValueError("no such table")
        super().__init__(num_embeddings, embedding_dim)


def test_where_nothing_was_judged_nothing_is_right(profile: str) -> None:
    with pytest.raises(LawViolated, match="UNKNOWN lookup_is_accepted: no case was judged; not applicable: its const"):
        embcheck.check(TwoSizes, profile=profile)
