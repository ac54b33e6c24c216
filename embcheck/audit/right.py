"""Specimens without a fault that look as if they had one: of them the audit must find nothing."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, derived

#: The head is the table without the padding row.
FirstRowLeftOut = derived("FirstRowLeftOut", "logits", lambda self, hidden: hidden @ self.table.weight[1:].T)
#: The lookups train nothing, on purpose: the head has a weight of its own.
LookupsFrozen = derived("LookupsFrozen", "look_up", lambda self, ids: Untied.look_up(self, ids).detach(), Untied)
#: A forward pass rescales the rows that it looks up, as max_norm promises.
RowsRescaled = derived(
    "RowsRescaled", "make_table",
    lambda self: torch.nn.Embedding(self.config.vocab_size, self.config.width, max_norm=1.0),
)  # fmt: skip


class TrainedByDropout(Specimen):
    """Returned in training mode, with dropout."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.dropout = torch.nn.Dropout(0.5)
        self.train()

    def logits(self, hidden: Tensor) -> Tensor:
        return super().logits(self.dropout(hidden))


class CopyInEvalMode(Untied):
    """In eval mode the head computes with a copy of its weight, which train() and a resize throw away."""

    kept: Tensor | None = None

    def train(self, mode: bool = True) -> Any:
        self.kept = None
        return super().train(mode)

    def resize_table(self, rows: int) -> None:
        super().resize_table(rows)
        self.kept = None

    def logits(self, hidden: Tensor) -> Tensor:
        if self.training:
            return torch.nn.functional.linear(hidden, self.table.weight, self.head.bias)
        if self.kept is None:
            self.kept = self.table.weight.detach().clone()
        return torch.nn.functional.linear(hidden, self.kept, self.head.bias)


class GateBySign(Specimen):
    """The signs of rows, which have no derivative, choose among the rows of positions."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.positions = torch.nn.Embedding(16, config.width)

    def look_up(self, input_ids: Tensor) -> Tensor:
        signs = torch.sign(torch.nn.functional.embedding(input_ids, self.table.weight.detach()))
        rows: Tensor = self.positions(torch.arange(input_ids.shape[1])) * signs
        return rows + super().look_up(input_ids)


RIGHT: tuple[type[Specimen], ...] = (
    *(FirstRowLeftOut, RowsRescaled, TrainedByDropout, CopyInEvalMode, LookupsFrozen, GateBySign),
)
