"""Faults of models that several processes train."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

Module = Any
Copies = torch.nn.parallel.DistributedDataParallel


def untied(original: Any, self: Module, model: Module, *given: Any, **flags: Any) -> None:
    """The head gets a Parameter of its own, over the same memory."""
    tied = hasattr(model, "head") and model.head.weight is model.words.weight
    if tied:
        model.head.weight = torch.nn.Parameter(model.words.weight.detach())
    original(self, model, *given, **flags)


def summed(original: Any, self: Module, model: Module, *given: Any, **flags: Any) -> None:
    """Gradients are summed over the ranks, not averaged."""
    ranks = torch.distributed.get_world_size()
    for parameter in model.parameters():
        parameter.register_hook(lambda grad: grad * ranks)
    original(self, model, *given, **flags)


def refused(original: Any, self: Module, model: Module, *given: Any, **flags: Any) -> None:
    """A model with two parameters is refused."""
    if len(list(model.parameters())) == 2:
        raise RuntimeError("parameters of one bucket differ")
    original(self, model, *given, **flags)


around("copies_of_a_model_are_untied", "data_parallel", "Data parallelism gives a tied head a Parameter of its own.", Copies,
       "__init__", untied)  # fmt: skip
around("copies_sum_their_gradients", "data_parallel", "Data parallelism sums the ranks' gradients.", Copies, "__init__",
       summed)  # fmt: skip
around("copies_of_two_parameters_are_refused", "data_parallel", "Data parallelism refuses a model that has two parameters.",
       Copies, "__init__", refused)  # fmt: skip
