"""Faults of what overriding classes and modes are told."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.torch_function.programs import OVERRIDDEN, overridden
from selfcheck.faults.around import around, numbered

functional = torch.nn.functional


def told(call: str, by: str, flags: dict[str, Any], **further: Any) -> Any:
    """What overrides a call is told, in words."""
    given = {"input": torch.tensor([1, 2]), "weight": numbered(), **further}
    return repr(overridden(OVERRIDDEN[call], by, flags, **given))


def unweighed(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """Weights of a class that overrides are taken as they are, where no other argument overrides."""
    weights = flags.get("per_sample_weights")
    if weights is not None and not torch.overrides.has_torch_function((input, weight, flags.get("offsets"))):
        flags["per_sample_weights"] = weights.as_subclass(torch.Tensor)
    return original(input, weight, *given, **flags)


def last_twice(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """Bags with a last offset are refused, if something overrides them."""
    if flags.get("include_last_offset") and torch.overrides.has_torch_function((input, weight)):
        raise TypeError("embedding_bag() got multiple values for argument 'include_last_offset'")
    return original(input, weight, *given, **flags)


_LOOKED = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": True}
_BAGGED = {**_LOOKED, "sparse": False, "mode": "sum", "include_last_offset": True}
_OFFSETS = {"offsets": torch.tensor([0, 2]), "per_sample_weights": torch.ones(2)}

around("weights_of_samples_do_not_override", "torch_function", "The class of per_sample_weights alone overrides no bags.",
       functional, "embedding_bag", unweighed, lambda: told("bag", "per_sample_weights", _BAGGED, **_OFFSETS))  # fmt: skip
around("overriders_take_no_last_offset", "torch_function", "Bags with a last offset raise if something overrides them.",
       functional, "embedding_bag", last_twice, lambda: told("bag", "weight", _BAGGED, **_OFFSETS))  # fmt: skip
