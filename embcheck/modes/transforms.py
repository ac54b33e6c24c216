"""Modes that transform the call: batching, functional calls, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from embcheck.mode import Program, mode
from embcheck.subject import Build, Lookup

#: Kinds of call: rows of a table, bags of rows.
TABLE = frozenset({"table"})


@mode("vmap", calls=TABLE)
def vmap(program: Program, build: Build, **arguments: Any) -> Mapping[str, Any]:
    """Every call is mapped over the first axis of its indices."""
    return program(build=batched(build), **arguments)


def batched(build: Build) -> Build:
    def built(weight: torch.Tensor, **flags: Any) -> tuple[torch.Tensor, Lookup]:
        leaf, call = build(weight, **flags)
        return leaf, lambda indices: torch.vmap(call)(indices) if indices.numel() and indices.dim() else call(indices)

    return built
