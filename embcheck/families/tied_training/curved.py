"""Programs: L-BFGS trains a tied pair, and another one whose loss is no linear function of the table.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.tied_training.programs import train

#: Options of L-BFGS: a history that is shorter than its iterations, and a line search whose first length is far too large.
CURVED: dict[str, dict[str, Any]] = {
    "recursed": {"lr": 0.5, "max_iter": 5, "history_size": 2},
    "searched": {"lr": 64.0, "max_iter": 1, "max_eval": 9, "line_search_fn": "strong_wolfe"},
}


def train_by_lbfgs(**given: Any) -> dict[str, Any]:
    seen = train(**given)
    for name, flags in CURVED.items():
        seen[name], seen[f"{name}_bias"] = stepped_on_a_curve(flags)
    return seen


def stepped_on_a_curve(flags: dict[str, Any]) -> tuple[Any, Any]:
    """The table of a tied pair after a step of L-BFGS, and the bias of its head, which is frozen.

    Each row w is multiplied by itself, so that the loss is half the sum of 1, 2 and 4 times w².
    """
    embedding = torch.nn.Embedding(3, 1, _weight=torch.tensor([[2.0], [-1.0], [1.0]], dtype=torch.float64))
    head = torch.nn.Linear(1, 3, dtype=torch.float64)
    head.weight, head.bias = embedding.weight, torch.nn.Parameter(torch.zeros(3, dtype=torch.float64), False)
    optimizer = torch.optim.LBFGS([embedding.weight, head.bias], **flags)

    def compute() -> Any:
        optimizer.zero_grad()
        scores = head(embedding(torch.arange(3)))
        loss = (scores.diagonal() * torch.tensor([0.5, 1.0, 2.0])).sum()
        loss.backward()
        return loss

    optimizer.step(compute)
    return embedding.weight.detach(), head.bias.detach()
