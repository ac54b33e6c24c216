"""Faults of gradients, steps, padding rows and forward passes."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, planted


@planted("gradient is not the sum")
class GradientCountedTwice(Specimen):
    """A hook doubles the gradient of the shared weight."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.table.weight.register_hook(lambda grad: 2 * grad)


@planted("gradient is not the sum")
class HeadDetached(Specimen):
    """The head uses the shared weight without its gradient."""

    def logits(self, hidden: Tensor) -> Tensor:
        return torch.nn.functional.linear(hidden, self.table.weight.detach(), self.head.bias)


@planted("gradient is not the sum")
class GradientAveraged(Specimen):
    """The gradient of the shared weight is halved, as if it were a mean of both paths."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.table.weight.register_hook(lambda grad: grad / 2)


@planted("padding row gets gradient")
class PaddingForgotten(Untied):
    """The lookup does not pass padding_idx on."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        return torch.nn.functional.embedding(input_ids, self.table.weight)


@planted("padding row is not zero")
class PaddingInitialised(Untied):
    """Initialising the table overwrites its padding row."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        torch.nn.init.normal_(self.table.weight, std=0.02)


@planted("inputs_embeds differ")
class ScaleOnIdsOnly(Specimen):
    """The rows are scaled only where they are looked up from ids."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids) * 8**0.5


@planted("input is changed")
class WritesIntoItsInput(Specimen):
    """The forward pass replaces unknown ids in place."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        input_ids[input_ids > 20] = 1
        return super().look_up(input_ids)


@planted("weights are written")
class NormalisesInForward(Specimen):
    """The forward pass normalises the table's rows in place, in eval mode too."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        with torch.no_grad():
            self.table.weight.div_(self.table.weight.norm(dim=1, keepdim=True).clamp(min=1e-3))
        return super().look_up(input_ids)


@planted("alias is lost", "weights are written", "tie is missing")
class UntiesAtTheFirstStep(Specimen):
    """The first backward pass gives the head a Parameter of its own."""

    def logits(self, hidden: Tensor) -> Tensor:
        out = super().logits(hidden)
        if torch.is_grad_enabled() and self.head.weight is self.table.weight:
            self.head.weight = torch.nn.Parameter(self.table.weight.detach().clone())
        return out


@planted("not the row")
class NotTheRow(Specimen):
    """The table's forward rounds its rows to half precision."""

    def make_table(self) -> Any:
        table = super().make_table()
        row = table.forward
        table.forward = lambda ids: row(ids).half().float()
        return table


@planted("gradient is not the sum")
class LookupDetached(Specimen):
    """The lookup reads the shared weight without its gradient, and only the head trains it."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        return torch.nn.functional.embedding(input_ids, self.table.weight.detach(), self.table.padding_idx)


@planted("gradient is not the sum")
class RowsDetached(Specimen):
    """The rows are detached after the lookup."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids).detach()


@planted("gradient is not the sum")
class HeadCopiesEachTime(Specimen):
    """The head computes with a copy of the table that is made in each forward pass, without a graph."""

    def logits(self, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            weight = self.table.weight.clone()
        return torch.nn.functional.linear(hidden, weight, self.head.bias)


@planted("copy stays behind")
class HeadIsASnapshot(Untied):
    """The head computes with a buffer that is a copy of the table, taken at construction."""

    snapshot: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("snapshot", self.table.weight.detach().clone())

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.snapshot.T + self.head.bias


@planted("copy stays behind")
class HeadKeepsTheFirst(Specimen):
    """The head computes with a copy of the table that the first forward pass took."""

    kept: Tensor | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.table.weight.detach().clone()
        return torch.nn.functional.linear(hidden, self.kept, self.head.bias)


class _Segmented(Untied):
    """With a second table, of segments, that has a padding row too."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.segments = torch.nn.Embedding(3, config.width, padding_idx=0)

    def look_up(self, input_ids: Tensor) -> Tensor:
        return super().look_up(input_ids) + self.rows_of((input_ids > 8).long())

    def rows_of(self, segments: Tensor) -> Tensor:
        rows: Tensor = self.segments(segments)
        return rows


@planted("padding row gets gradient")
class SecondTableForgetsItsPadding(_Segmented):
    """The lookup in the table of segments does not pass padding_idx on."""

    def rows_of(self, segments: Tensor) -> Tensor:
        return torch.nn.functional.embedding(segments, self.segments.weight)


@planted("padding row gets gradient")
class RowsByIndex(Untied):
    """The rows are taken by an index, which knows no padding_idx."""

    def look_up(self, input_ids: Tensor) -> Tensor:
        rows: Tensor = self.table.weight[input_ids]
        return rows


@planted("gradient is not the sum")
class PartOfTheHeadDoubled(Specimen):
    """The head leaves out the first row, and a hook doubles the gradient of the shared weight."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.table.weight.register_hook(lambda grad: 2 * grad)

    def logits(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden @ self.table.weight[1:].T
        return out


@planted("weights are written")
class NormalisesMoreThanItReads(Untied):
    """Beside the rows that max_norm rescales the forward pass halves another."""

    def make_table(self) -> Any:
        return torch.nn.Embedding(self.config.vocab_size, self.config.width, max_norm=1.0)

    def look_up(self, input_ids: Tensor) -> Tensor:
        with torch.no_grad():
            self.table.weight[3] /= 2
        return super().look_up(input_ids)
