"""Faults of changing the number of tokens."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.specimen import Specimen, Untied, planted


@planted("bias does not follow")
class ResizeForgetsTheBias(Untied):
    """The resized head keeps the bias of the old size."""

    def resize_head(self, rows: int) -> None:
        bias = self.head.bias
        super().resize_head(rows)
        self.head.bias = bias


@planted("old rows change")
class ResizeResetsTheBias(Untied):
    """The resized head starts with a bias of zeros."""

    def resize_head(self, rows: int) -> None:
        super().resize_head(rows)
        torch.nn.init.zeros_(self.head.bias)


@planted("old rows change")
class ResizeLosesTheRows(Specimen):
    """The resized table is a new one."""

    def resize_table(self, rows: int) -> None:
        super().resize_table(rows)
        torch.nn.init.normal_(self.table.weight)


@planted("old rows change")
class ResizeShiftsTheRows(Specimen):
    """The old rows are copied to the end of the new table."""

    def resize_table(self, rows: int) -> None:
        super().resize_table(rows)
        with torch.no_grad():
            self.table.weight.copy_(self.table.weight.roll(1, 0))


@planted("padding_idx changes")
class ResizeLosesThePadding(Specimen):
    """The resized table has no padding_idx."""

    def resize_table(self, rows: int) -> None:
        super().resize_table(rows)
        self.table.padding_idx = None


@planted("padding_idx changes")
class ResizeMovesThePadding(Specimen):
    """The padding_idx moves with the end of the table."""

    def resize_table(self, rows: int) -> None:
        padding = self.table.padding_idx - self.table.num_embeddings
        super().resize_table(rows)
        self.table.padding_idx = rows + padding


@planted("head does not follow")
class ResizeForgetsTheHead(Untied):
    """Only the table is resized."""

    def resize_head(self, rows: int) -> None:
        pass


@planted("alias is lost")
class ResizeUnties(Specimen):
    """The resized head is not tied again."""

    def resize_token_embeddings(self, rows: int) -> Any:
        self.resize_table(rows)
        self.resize_head(rows)
        self.config.vocab_size = rows
        return self.table


@planted("alias is made")
class ResizeTies(Untied):
    """The resized head is tied although the configuration says untied."""

    def resize_head(self, rows: int) -> None:
        super().resize_head(rows)
        self.head.weight = self.table.weight


@planted("size is not told")
class ResizeKeepsTheConfiguration(Specimen):
    """config.vocab_size stays what it was."""

    def resize_token_embeddings(self, rows: int) -> Any:
        self.resize_table(rows)
        self.resize_head(rows)
        self.tie_weights()
        return self.table


@planted("size is not told")
class ResizeKeepsTheCount(Specimen):
    """The table's num_embeddings stays what it was."""

    def resize_table(self, rows: int) -> None:
        before = self.table.num_embeddings
        super().resize_table(rows)
        self.table.num_embeddings = before


@planted("other values change")
class ResizeInitialises(Specimen):
    """A resize initialises layers that have nothing to do with it."""

    def resize_token_embeddings(self, rows: int) -> Any:
        table = super().resize_token_embeddings(rows)
        self.mix.reset_parameters()
        return table


@planted("resize fails")
class ShrinkingFails(Specimen):
    """A resize to fewer tokens fails on the way."""

    def resize_table(self, rows: int) -> None:
        if rows < self.table.num_embeddings:
            raise RuntimeError("The expanded size of the tensor must match the existing size")
        super().resize_table(rows)
