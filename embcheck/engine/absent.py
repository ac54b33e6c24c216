"""What a release lacks that came with a later one: a case that needs it can't be asked there, which is no violation."""

import re

import torch
from packaging.version import Version

from embcheck.core.outcome import Outcome
from embcheck.core.result import Absent

#: The releases with which names came that programs use.  One that lacks what it should have is judged as for any other error.
ADDED = {
    "torch.__future__.set_swap_module_params_on_conversion": "2.3",
    "torch.amp.GradScaler": "2.3",
    "torch.nested.nested_tensor_from_jagged": "2.4",
    "torch.nn.LinearCrossEntropyOptions": "2.13",
    "torch.nn.functional.linear_cross_entropy": "2.13",
    "torch.nn.utils.get_total_norm": "2.6",
    "torch.optim.Adafactor": "2.5",
    "torch.optim.Muon": "2.9",
    "torch.utils.swap_tensors": "2.3",
}
_LACKS = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")


def absent(out: Outcome) -> Absent | None:
    """Why a program could not be executed in an older release: a name came with a later one."""
    found = _LACKS.match(str(out.error)) if isinstance(out.error, AttributeError) else None
    name = ".".join(found.groups()) if found else ""
    if name not in ADDED or Version(torch.__version__) >= Version(ADDED[name]):
        return None
    return Absent(f"this release has no {name}, which came with {ADDED[name]}")
