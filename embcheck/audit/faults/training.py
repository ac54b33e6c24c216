"""Faults of gradients, steps, padding rows and forward passes."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.audit.specimen import Config, Specimen, Tensor, Untied, planted


@planted("gradient is not the sum", method="__init__")
def gradient_counted_twice(self: Specimen, config: Config) -> None:
    """A hook doubles the gradient of the shared weight."""
    Specimen.__init__(self, config)
    self.table.weight.register_hook(lambda grad: 2 * grad)


@planted("gradient is not the sum", method="logits")
def head_detached(self: Specimen, hidden: Tensor) -> Tensor:
    """The head uses the shared weight without its gradient."""
    return torch.nn.functional.linear(hidden, self.table.weight.detach(), self.head.bias)


@planted("gradient is not the sum", method="__init__")
def gradient_averaged(self: Specimen, config: Config) -> None:
    """The gradient of the shared weight is halved, as if it were a mean of both paths."""
    Specimen.__init__(self, config)
    self.table.weight.register_hook(lambda grad: grad / 2)


@planted("padding row gets gradient", method="look_up", base=Untied)
def padding_forgotten(self: Specimen, input_ids: Tensor) -> Tensor:
    """The lookup does not pass padding_idx on."""
    return torch.nn.functional.embedding(input_ids, self.table.weight)


@planted("padding row is not zero", method="__init__", base=Untied)
def padding_initialised(self: Specimen, config: Config) -> None:
    """Initialising the table overwrites its padding row."""
    Untied.__init__(self, config)
    torch.nn.init.normal_(self.table.weight, std=0.02)


@planted("inputs_embeds differ", method="look_up")
def scale_on_ids_only(self: Specimen, input_ids: Tensor) -> Tensor:
    """The rows are scaled only where they are looked up from ids."""
    return Specimen.look_up(self, input_ids) * 8**0.5


@planted("input is changed", method="look_up")
def writes_into_its_input(self: Specimen, input_ids: Tensor) -> Tensor:
    """The forward pass replaces unknown ids in place."""
    input_ids[input_ids > 20] = 1
    return Specimen.look_up(self, input_ids)


@planted("weights are written", method="look_up")
def normalises_in_forward(self: Specimen, input_ids: Tensor) -> Tensor:
    """The forward pass normalises the table's rows in place, in eval mode too."""
    with torch.no_grad():
        self.table.weight.div_(self.table.weight.norm(dim=1, keepdim=True).clamp(min=1e-3))
    return Specimen.look_up(self, input_ids)


@planted("alias is lost", "weights are written", "tie is missing", method="logits")
def unties_at_the_first_step(self: Specimen, hidden: Tensor) -> Tensor:
    """The first backward pass gives the head a Parameter of its own."""
    out = Specimen.logits(self, hidden)
    if torch.is_grad_enabled() and self.head.weight is self.table.weight:
        self.head.weight = torch.nn.Parameter(self.table.weight.detach().clone())
    return out


@planted("not the row", method="make_table")
def not_the_row(self: Specimen) -> Any:
    """The table's forward rounds its rows to half precision."""
    table = Specimen.make_table(self)
    row = table.forward
    table.forward = lambda ids: row(ids).half().float()
    return table


@planted("gradient is not the sum", method="look_up")
def lookup_detached(self: Specimen, input_ids: Tensor) -> Tensor:
    """The lookup reads the shared weight without its gradient, and only the head trains it."""
    return torch.nn.functional.embedding(input_ids, self.table.weight.detach(), self.table.padding_idx)


@planted("gradient is not the sum", method="look_up")
def rows_detached(self: Specimen, input_ids: Tensor) -> Tensor:
    """The rows are detached after the lookup."""
    return Specimen.look_up(self, input_ids).detach()


@planted("gradient is not the sum", method="logits")
def head_copies_each_time(self: Specimen, hidden: Tensor) -> Tensor:
    """The head computes with a copy of the table that is made in each forward pass, without a graph."""
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


@planted("padding row gets gradient", method="rows_of", base=_Segmented)
def second_table_forgets_its_padding(self: _Segmented, segments: Tensor) -> Tensor:
    """The lookup in the table of segments does not pass padding_idx on."""
    return torch.nn.functional.embedding(segments, self.segments.weight)


@planted("padding row gets gradient", method="look_up", base=Untied)
def rows_by_index(self: Specimen, input_ids: Tensor) -> Tensor:
    """The rows are taken by an index, which knows no padding_idx."""
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
