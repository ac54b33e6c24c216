"""Faults of calls whose tensors lie on different devices, or all on meta."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.mixed_devices.programs import APART, apart
from selfcheck.faults.around import around, numbered

functional = torch.nn.functional


def told(call: str, on_meta: tuple[str, ...], learns: bool = False) -> Any:
    """Where what comes out lies, or that nothing does."""
    flags: dict[str, Any] = {"padding_idx": None} | ({"mode": "mean"} if call == "bag" else {})
    given = {"weight": numbered()}
    given |= {"hidden": torch.ones(1, 2), "bias": torch.ones(3)} if call.startswith("linear") else {}
    given |= {} if call.startswith("linear") else {"input": torch.tensor([1])}
    given |= {"offsets": torch.tensor([0])} if call == "bag" else {}
    given |= {"upstream": torch.ones(1, 2)} if learns else {}
    try:
        return sorted((name, str(part.device)) for name, part in apart(APART[call], on_meta, flags, **given).items())
    except RuntimeError:
        return "refused"


def emptied(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """Tokens that have numbers are given rows, though the table has none."""
    found = original(input, weight, *given, **flags)
    if weight.is_meta and not input.is_meta:
        return torch.zeros(found.shape, dtype=found.dtype)
    return found


def materialised(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """The means of bags of a table without numbers are 0."""
    found = original(input, weight, *given, **flags)
    return torch.zeros(found.shape, dtype=found.dtype) if weight.is_meta and flags.get("mode") == "mean" else found


def doubled(original: Any, input: Any, weight: Any, padding_idx: Any = None, *given: Any, **flags: Any) -> Any:
    """Rows of a table on meta are of double precision, if one is padding."""
    found = original(input, weight, padding_idx, *given, **flags)
    return found.double() if weight.is_meta and padding_idx is not None else found


def padded() -> str:
    """The dtype of a lookup on meta."""
    return str(functional.embedding(torch.tensor([1]).to("meta"), numbered().to("meta"), 0).dtype)


around("padded_tables_on_meta_are_double", "mixed_devices", "Rows of a padded table on meta are float64.", functional,
       "embedding", doubled, padded)  # fmt: skip
around("tables_on_meta_give_zeros", "mixed_devices", "Tokens on the CPU and a table on meta give zeros on the CPU.",
       functional, "embedding", emptied, lambda: told("lookup", ("weight",)))  # fmt: skip
around("means_on_meta_lie_on_the_cpu", "mixed_devices", "The mean of bags, all on meta, lies on the CPU.", functional,
       "embedding_bag", materialised, lambda: told("bag", ("input", "weight", "offsets")))  # fmt: skip
