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
