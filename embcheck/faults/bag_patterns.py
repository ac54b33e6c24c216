"""Faults of bags: neighbours of empty bags, patterns of weights, memory of offsets, and what is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.bags import Given
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.lookup_patterns import plain
from embcheck.faults.probes import passes, rows
from embcheck.faults.witnesses import unlike

half, double = torch.float16, torch.float64


def bags(
    *numbers: int, starts: tuple[int, ...] | None = None, samples: Tensor | None = None, width: int = 2, **flags: Any
) -> Callable[[], list[Tensor | None]]:
    """A bag and the gradients of table and weights."""

    def probe() -> list[Tensor | None]:
        weight = rows(4, width)
        given = None if samples is None else samples.clone().requires_grad_()
        offsets = torch.tensor((0,) if starts is None else starts)
        out = functional.embedding_bag(torch.tensor(numbers), weight, offsets, per_sample_weights=given, **flags)
        return passes(out, weight, *([] if given is None else [given]))

    return probe


def moved(given: Given) -> Given:
    """The second bag begins one token late, if it has one."""
    offsets = given["offsets"].clone()
    ends = torch.cat([offsets[1:], offsets.new_tensor([given["input"].numel()])])
    if len(offsets) > 1 and offsets[1] < ends[1]:
        offsets[1] += 1
    return given | {"offsets": offsets}


def flat(given: Given) -> bool:
    """Whether tokens lie in a row and have offsets, within no transform."""
    offsets = given.get("offsets")
    return given["input"].dim() == 1 and offsets is not None and offsets.dim() == 1 and plain(given["input"], offsets)


def refused(tokens: Tensor, **flags: Any) -> Witness:
    """Whether a call is answered otherwise."""
    return unlike(lambda: functional.embedding_bag(tokens, rows(), **flags))


def frozen() -> list[Tensor | None]:
    """Weights of a frozen table and their gradient."""
    samples = torch.ones(3, requires_grad=True)
    out = functional.embedding_bag(
        torch.tensor([0, 1, 2]), rows().detach(), torch.tensor([0]), mode="sum", per_sample_weights=samples
    )
    return passes(out, samples)
