"""Which cases of torch_function there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.torch_function.cases import TorchFunctionCase
from embcheck.families.torch_function.programs import OVERRIDDEN, overridden


def plan(case: TorchFunctionCase) -> Plan:
    return Plan(overridden, case.inputs(), {"call": OVERRIDDEN[case.call], "by": case.by, "flags": case.flags})


def repair(case: TorchFunctionCase) -> TorchFunctionCase | None:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.padding_idx is not None:
        changes["padding_idx"] = max(min(case.padding_idx, case.num_embeddings - 1), -case.num_embeddings)
    if not case.bagged:
        changes |= {"mode": "sum", "include_last_offset": False}
    else:
        changes["shape"] = (case.shape or (1,))[:1]
        if case.mode == "max":
            changes |= {"scale_grad_by_freq": False, "sparse": False}
        elif case.scale_grad_by_freq:
            changes["sparse"] = False
    if case.max_norm is None:
        changes["norm_type"] = 2.0
    fitted = case.but(**changes)
    return fitted.but(by="weight") if fitted.by not in ("mode", *fitted.inputs()) else fitted


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 4),
    "shape": ((2,), (1,), (3,), (), (2, 2)),
    "call": tuple(OVERRIDDEN),
    "by": ("weight", "mode", "input", "offsets", "per_sample_weights"),
    "padding_idx": (None, 0, -1, 2),
    "max_norm": (None, 1.0),
    "norm_type": (2.0, 1.0),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "mode": ("sum", "mean", "max"),
    "include_last_offset": (False, True),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[TorchFunctionCase]:
    """Every call with every flag alone and all together, by whatever overrides."""
    for by, call in itertools.product(AXES["by"], OVERRIDDEN):
        alone = [{name: AXES[name][-1]} for name in ("padding_idx", "max_norm", "scale_grad_by_freq", "sparse")]
        alone += [{"mode": mode, "include_last_offset": last} for mode in AXES["mode"] for last in (False, True)]
        alone += [{}, {"max_norm": 0.5, "norm_type": 1.0, "padding_idx": 1, "scale_grad_by_freq": True}]
        for seed, chosen in enumerate(alone):
            fitted = repair(TorchFunctionCase(call=call, by=by, seed=seed, **chosen))
            if fitted is not None and fitted.by == by:
                yield fitted


SPACE = Space(TorchFunctionCase, AXES, repair, scope, flags=("call", "by", "mode"), strength=2)
