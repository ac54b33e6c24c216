"""Faults of changing the number of tokens."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.specimen import Specimen, Untied, planted


@planted("bias does not follow", method="resize_head", base=Untied)
def resize_forgets_the_bias(self: Specimen, rows: int) -> None:
    """The resized head keeps the bias of the old size."""
    bias = self.head.bias
    Untied.resize_head(self, rows)
    self.head.bias = bias


@planted("old rows change", method="resize_head", base=Untied)
def resize_resets_the_bias(self: Specimen, rows: int) -> None:
    """The resized head starts with a bias of zeros."""
    Untied.resize_head(self, rows)
    torch.nn.init.zeros_(self.head.bias)


@planted("old rows change", method="resize_table")
def resize_loses_the_rows(self: Specimen, rows: int) -> None:
    """The resized table is a new one."""
    Specimen.resize_table(self, rows)
    torch.nn.init.normal_(self.table.weight)


@planted("old rows change", method="resize_table")
def resize_shifts_the_rows(self: Specimen, rows: int) -> None:
    """The old rows are copied to the end of the new table."""
    Specimen.resize_table(self, rows)
    with torch.no_grad():
        self.table.weight.copy_(self.table.weight.roll(1, 0))


@planted("padding_idx changes", method="resize_table")
def resize_loses_the_padding(self: Specimen, rows: int) -> None:
    """The resized table has no padding_idx."""
    Specimen.resize_table(self, rows)
    self.table.padding_idx = None


@planted("padding_idx changes", method="resize_table")
def resize_moves_the_padding(self: Specimen, rows: int) -> None:
    """The padding_idx moves with the end of the table."""
    padding = self.table.padding_idx - self.table.num_embeddings
    Specimen.resize_table(self, rows)
    self.table.padding_idx = rows + padding


@planted("head does not follow", method="resize_head", base=Untied)
def resize_forgets_the_head(self: Specimen, rows: int) -> None:
    """Only the table is resized."""


@planted("alias is lost", method="resize_token_embeddings")
def resize_unties(self: Specimen, rows: int) -> Any:
    """The resized head is not tied again."""
    self.resize_table(rows)
    self.resize_head(rows)
    self.config.vocab_size = rows
    return self.table


@planted("alias is made", method="resize_head", base=Untied)
def resize_ties(self: Specimen, rows: int) -> None:
    """The resized head is tied although the configuration says untied."""
    Untied.resize_head(self, rows)
    self.head.weight = self.table.weight


@planted("size is not told", method="resize_token_embeddings")
def resize_keeps_the_configuration(self: Specimen, rows: int) -> Any:
    """config.vocab_size stays what it was."""
    self.resize_table(rows)
    self.resize_head(rows)
    self.tie_weights()
    return self.table


@planted("size is not told", method="resize_table")
def resize_keeps_the_count(self: Specimen, rows: int) -> None:
    """The table's num_embeddings stays what it was."""
    before = self.table.num_embeddings
    Specimen.resize_table(self, rows)
    self.table.num_embeddings = before


@planted("other values change", method="resize_token_embeddings")
def resize_initialises(self: Specimen, rows: int) -> Any:
    """A resize initialises layers that have nothing to do with it."""
    table = Specimen.resize_token_embeddings(self, rows)
    self.mix.reset_parameters()
    return table


@planted("resize fails", method="resize_table")
def shrinking_fails(self: Specimen, rows: int) -> None:
    """A resize to fewer tokens fails on the way."""
    if rows < self.table.num_embeddings:
        raise RuntimeError("The expanded size of the tensor must match the existing size")
    Specimen.resize_table(self, rows)
