"""What the optimizers of the installed release lack, by probing: a feature that came later is no violation."""

import inspect
import math
import re
from functools import cache
from typing import Any

import torch
from packaging.version import Version

from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import Absent
from embcheck.families.tied_training.optimizers import refusals

_NO_FLAG = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_NO_FUSED = "`fused=True` requires all the params to be floating point Tensors of supported devices"
_FUSED_ON_CPU = Version("2.4")
_NO_NAMES = "optimizer can only optimize Tensors, but one of the params is tuple"


def lacking(out: Outcome) -> str | None:
    """Why an optimizer could not be made: a flag of it, named parameters or a device came with a later release.

    What the message says is looked up, so that an optimizer that merely refuses what it has is no excuse.
    """
    text = str(out.error or "")
    found = _NO_FLAG.match(text)
    kind = getattr(torch.optim, found[1], None) if found else None
    if found and (kind is None or found[2] not in inspect.signature(kind).parameters):
        return Absent(f"this release's {found[1]} has no {found[2]}")
    if text == _NO_NAMES and not _takes_names():
        return Absent("this release's optimizers take no named parameters")
    if text.startswith(_NO_FUSED) and (out.device != "cpu" or Version(torch.__version__) < _FUSED_ON_CPU):
        return Absent("this release fuses no such optimizer on this device")
    return None


@cache
def _takes_names() -> bool:
    """Whether an optimizer may be given pairs of a name and a Parameter."""
    try:
        torch.optim.SGD([("weight", torch.nn.Parameter(torch.zeros(1)))], lr=0.5)
    except TypeError:
        return False
    return True


def refused_here(case: Any, out: Outcome) -> str | None:
    """The message with which this release refuses what no documented range forbids."""
    text = str(out.error or "")
    if text and case.tensor_hyperparameters == "betas" and not _takes_tensor_betas(case.optimizer):
        return f"this release's {case.optimizer} takes numbers for betas"
    return text if text and any(re.search(pattern, text) for pattern in refusals(case)) else None


@cache
def _takes_tensor_betas(optimizer: str) -> bool:
    """Whether an optimizer declares that its betas may be tensors."""
    return "Tensor" in str(inspect.signature(getattr(torch.optim, optimizer)).parameters["betas"].annotation)


def kept_state(out: Outcome, wanted: str) -> Field:
    """The elements of a tensor that an optimizer keeps, in a row."""
    place = 0
    for name, _, shape in out.state.raw:
        if name == wanted:
            return out.state_values[place : place + math.prod(shape)]
        place += math.prod(shape)
    return out.state_values[:0]
