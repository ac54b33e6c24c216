"""Specimens without a fault that look as if they had one: of them the audit must find nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding, linear

from embcheck.audit.specimen import Specimen, Untied, after, derived


def without_copy(self: Any, *given: Any) -> None:
    self.kept = None


def by_a_copy(self: Any, hidden: Any) -> Any:
    if self.training:
        return linear(hidden, self.table.weight, self.head.bias)
    if self.kept is None:
        self.kept = self.table.weight.detach().clone()
    return linear(hidden, self.kept, self.head.bias)


def with_dropout(self: Any) -> None:
    self.dropout = nn.Dropout(0.5)
    self.train()


def gated_by_sign(self: Any, ids: Any) -> Any:
    rows = self.positions(torch.arange(ids.shape[1]))
    return rows * torch.sign(embedding(ids, self.table.weight.detach())) + self.table(ids)


def with_bags(self: Any) -> None:
    self.bags = nn.EmbeddingBag(16, 8, mode="mean", padding_idx=1)


def by_bags(self: Any, input_ids: Any) -> Any:
    return self.logits(self.table(input_ids) + self.bags(input_ids % 16)[:, None])


#: By the name of each.
RIGHT: dict[str, type[Specimen]] = {}


def right(name: str, base: type[Specimen] = Specimen, **methods: Any) -> None:
    """Makes a class that derives from another one and has other methods."""
    RIGHT[name] = derived(globals(), name, base, methods)


# The head is the table without the padding row.
right("FirstRowLeftOut", logits=lambda self, hidden: hidden @ self.table.weight[1:].T)
# A forward pass rescales the rows that it looks up, as max_norm promises.
right("RowsRescaled", make_table=lambda self: nn.Embedding(self.config.vocab_size, 8, max_norm=1.0))
# The gradient of each row is divided by how often it was looked up.
right(
    "DividedByFrequency",
    Untied,
    make_table=lambda self: nn.Embedding(self.config.vocab_size, 8, 2, scale_grad_by_freq=True),
)
# The mean of rows of a small table, those of padding left out, is added to each.
right("MeansOfBags", Untied, finish=with_bags, forward=by_bags)
# It is returned in training mode, with dropout.
right("TrainedByDropout", finish=with_dropout, logits=lambda self, x: self.head(self.dropout(x)))
# In eval mode the head computes with a copy of its weight, which train() and a resize throw away.
right("CopyInEvalMode", Untied, kept=None, logits=by_a_copy,
      train=after(Untied.train, without_copy), resize_table=after(Untied.resize_table, without_copy))  # fmt: skip
# The lookups train nothing, on purpose: the head has a weight of its own.
right("LookupsFrozen", Untied, look_up=lambda self, ids: self.table(ids).detach())
# The signs of rows, which have no derivative, choose among the rows of positions.
right("GateBySign", finish=lambda self: setattr(self, "positions", nn.Embedding(16, 8)), look_up=gated_by_sign)
