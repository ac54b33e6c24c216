"""Worked examples of subjects: layers and models that obey the laws, each declared as its author would.

embcheck run --subject embcheck.subject.examples:TokenEmbedding
"""

import math

import numpy as np
import torch
from torch.nn.utils import parametrize

from embcheck.core.declaration import declare
from embcheck.core.format import Floats
from embcheck.core.weight_map import Mathematics


@declare(fixed={"padding_idx": 1})
class TokenEmbedding(torch.nn.Embedding):
    """The tutorials' token embedding: a table whose padding_idx is always 1."""

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__(vocab_size, d_model, padding_idx=1)


@declare(scale=math.sqrt)
class ScaledEmbedding(torch.nn.Module):
    """Token embeddings times √d_model, as transformers add positions to them."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(num_embeddings, embedding_dim, padding_idx)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(indices)
        return rows * math.sqrt(self.table.embedding_dim)


def _root_in_single(width: int) -> float:
    return float(np.float32(math.sqrt(width)))


@declare(scale=_root_in_single)
def gemma(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> torch.nn.Module:
    """The token embedding of Gemma 3, from transformers: times √d_model, which it keeps in a buffer of float32."""
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

    layer: torch.nn.Module = Gemma3TextScaledWordEmbedding(
        num_embeddings, embedding_dim, padding_idx, embed_scale=embedding_dim**0.5
    )
    return layer


class _Tanh(torch.nn.Module):
    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return torch.tanh(raw)


#: tanh, with its derivative 1 − tanh², which cancels where tanh is near ±1.
_TANH = Mathematics(
    value=np.tanh,
    pullback=lambda w, g: (1 - np.tanh(w) ** 2) * g,
    roundings=8,
    magnitude=lambda w: np.abs(np.tanh(w)),
    steepness=lambda w: 1 + np.tanh(w) ** 2,
)


@declare(mathematics=_TANH, lacks={"sparse": "a parametrization's gradient is dense"})
def bounded(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> torch.nn.Module:
    """A parametrized embedding: rows of tanh(W)."""
    layer = torch.nn.Embedding(num_embeddings, embedding_dim, padding_idx)
    return parametrize.register_parametrization(layer, "weight", _Tanh())


def _kept(w: Floats) -> Floats:
    """The mask of `pruned`: every third element is cut, shape ``(V, D)``."""
    mask: Floats = (np.arange(w.size) % 3 != 2).astype(np.float64).reshape(w.shape)
    return mask


@declare(
    mathematics=Mathematics(
        value=lambda w: _kept(w) * w,
        pullback=lambda w, g: _kept(w) * g,
        roundings=1,
        magnitude=lambda w: np.abs(w),
    ),
    lacks={"sparse": "the mask makes the gradient dense"},
)
def pruned(num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> torch.nn.Module:
    """A pruned embedding: every third element is masked."""
    from torch.nn.utils import prune

    layer = torch.nn.Embedding(num_embeddings, embedding_dim, padding_idx)
    mask = torch.arange(num_embeddings * embedding_dim).remainder(3).ne(2).reshape(num_embeddings, embedding_dim)
    return prune.custom_from_mask(layer, "weight", mask)  # type: ignore[no-any-return]


@declare("conversion")
def to_linear(embedding: torch.nn.Embedding) -> torch.nn.Linear:
    """The conversion of the tutorials: a Linear whose weight is the embedding's, transposed."""
    linear = torch.nn.Linear(embedding.num_embeddings, embedding.embedding_dim, bias=False)
    linear.weight = torch.nn.Parameter(embedding.weight.T)
    return linear


@declare("bag")
class Bag(torch.nn.Module):
    """A bag of a layer that holds the table itself."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, mode: str = "mean", padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(num_embeddings, embedding_dim, mode=mode, padding_idx=padding_idx)

    def forward(
        self,
        indices: torch.Tensor,
        offsets: torch.Tensor | None = None,
        per_sample_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        bags: torch.Tensor = self.words(indices, offsets, per_sample_weights)
        return bags


@declare("tied", table="embedding", head="fc")
class TiedModel(torch.nn.Module):
    """The tutorials' Model_2: the head's weight is the embedding's."""

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, d_model)
        self.fc = torch.nn.Linear(d_model, vocab_size, bias=False)
        self.fc.weight = self.embedding.weight

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.embedding(indices))
        return logits


#: Those that need no more than torch; `gemma` needs transformers (the extra ``models``).
EXAMPLES = (TokenEmbedding, ScaledEmbedding, bounded, pruned, to_linear, Bag, TiedModel)

__all__ = ["EXAMPLES", "gemma", *(example.__name__ for example in EXAMPLES)]
