"""What became of a recorded failure: FAILED, FIXED or ERROR, of a case as of a model."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from embcheck.core.machine import Machine

FAILED, FIXED, ERROR = "FAILED", "FIXED", "ERROR"
#: How ``embcheck replay`` exits with each.
EXIT_CODES = {FIXED: 0, FAILED: 1, ERROR: 3}


class Replayed(NamedTuple):
    """What became of a failure, and why or how, in words."""

    state: str
    words: str = ""


def failed(record: Mapping[str, Any], kind: str, words: str) -> Replayed:
    """FAILED; a difference of another kind than the recorded one is named."""
    same = kind == record["kind"]
    return Replayed(
        FAILED, words if same else f"now by another difference, {kind} instead of {record['kind']}: {words}"
    )


def fixed(record: Mapping[str, Any], now: Machine) -> Replayed:
    """FIXED, if what holds on this machine holds where it failed."""
    if "machine" not in record:
        return Replayed(ERROR, "the law holds here, but the record does not say on which machine it failed")
    torch = version("torch")
    same_torch = record.get("torch") == torch
    then = Machine.of(record["machine"])
    # The same torch chooses the same kernels; of another one, whose kernels have other names, and where nothing is proved, the
    # instruction sets and the variables that cap them must be the same.
    proved = ("onednn_kernel",) if same_torch and then.onednn_kernel else ("isa", "caps")
    names = ("arch", "cpu_capability", "gpu", *proved)
    pairs = {name: (getattr(then, name), getattr(now, name)) for name in names}
    reasons = [f"{name} {old or 'none'}, here {new or 'none'}" for name, (old, new) in pairs.items() if old != new]
    if reasons:
        return Replayed(ERROR, f"the law holds here, but it failed on another machine: {', '.join(reasons)}")
    return Replayed(FIXED, "" if same_torch else f"by torch {torch}; it failed with {record.get('torch', 'another')}")
