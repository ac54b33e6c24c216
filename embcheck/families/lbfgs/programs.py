"""A program: L-BFGS on a quadratic function of a tied weight, half of it by lookup and half by the head.

It imports nothing but torch, for its source is what a counterexample's script shows.
"""

from __future__ import annotations

from typing import Any

import torch

Tensor = torch.Tensor


def minimized(
    flags: dict[str, Any], curvature: float, steps: int, reloaded: bool, weight: Tensor, bias: Tensor
) -> dict[str, Any]:
    functional = torch.nn.functional
    table, offset = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    tokens, columns = torch.arange(len(weight)), torch.eye(weight.shape[1], dtype=weight.dtype)

    def build() -> Any:
        return torch.optim.LBFGS([table, offset], **flags)

    optimizer = build()
    called = 0

    def closure() -> Tensor:
        nonlocal called
        called += 1
        optimizer.zero_grad()
        looked_up, projected = functional.embedding(tokens, table), functional.linear(columns, table)
        loss = curvature * (looked_up.square().sum() / 4 + projected.square().sum() / 4 + offset.square().sum() / 2)
        loss.backward()
        return loss

    tables, offsets, calls, losses = [], [], [], []
    for step in range(steps):
        if step and reloaded:
            kept = optimizer.state_dict()
            optimizer = build()
            optimizer.load_state_dict(kept)
        called = 0
        losses.append(optimizer.step(closure).detach())
        calls.append(called)
        tables.append(table.detach().clone())
        offsets.append(offset.detach().clone())
    return {
        "tables": torch.stack(tables),
        "offsets": torch.stack(offsets),
        "losses": torch.stack(losses),
        "calls": calls,
    }
