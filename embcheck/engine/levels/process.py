"""The process of a CPU level: it reads a request, judges the deck, and prints what it proved and found.

Run as ``python -m embcheck.engine.levels.process`` with the level's environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from embcheck.core.item import PROFILES, Item
from embcheck.core.ledger import load_all
from embcheck.core.machine import here, kernel
from embcheck.core.result import Holds, NotApplicable, Result
from embcheck.engine.execution import Execution
from embcheck.engine.levels.sweep import Request
from embcheck.engine.run_item import run_tallies
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families, load_modes, statements


def judge(request: Request) -> dict[str, Any]:
    """Judges the deck: what the process answers."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    machine = here()
    kernels = {dtype: kernel(dtype) for dtype in ("bfloat16", "float16", "float32")}
    families = load_families()
    load_modes()
    ledger = load_all(request.ledgers, version("torch"), date.today()).on(machine)
    profile, verdicts = PROFILES[request.profile], []
    values: dict[str, dict[str, str]] = {}
    for family in (families[name] for name in request.families):
        for engine in request.engines:
            item = Item(family.name, "torch", family.modes[0], engine)
            watch = Watch()
            tallies = Tallies(family, MODES[item.mode], ledger, execute=watch)
            tallies.observe = watch.observe
            verdicts += run_tallies(tallies, item, profile, request.seed)
            values[item.label] = watch.values
    laws = [statement for name in request.families for statement in statements(families[name])]
    return {
        "machine": machine.to_dict(),
        "kernels": kernels,
        "verdicts": [verdict.to_dict() for verdict in verdicts],
        "laws": [asdict(statement) for statement in laws],
        "values": values,
        "seconds": round(time.process_time(), 1),
    }


@dataclass(frozen=True)
class Watch(Execution):
    """Executes cases and keeps fingerprints of what came out: ``values``, by case."""

    values: dict[str, str] = field(default_factory=dict)
    _last: list[Any] = field(default_factory=list)

    def __call__(self, family: Any, mode: Any, case: Any) -> Any:
        """The outcome of a case."""
        out = super().__call__(family, mode, case)
        self._last[:] = case, out
        return out

    def observe(self, name: bytes, results: Sequence[Result]) -> None:
        """Keeps the fingerprint of the last outcome, if every law that was judged holds exactly."""
        judged = [result for result in results if not isinstance(result, NotApplicable)]
        if judged and all(isinstance(result, Holds) and result.ratio is None for result in judged):
            case, out = self._last
            self.values[repr(case)] = fingerprint(out)


def fingerprint(out: Any) -> str:
    """Of the numbers that laws have looked at; signs of zeros and payloads of NaN, of which each order of a sum may make
    others, are left out."""
    state = hashlib.blake2b(digest_size=8)
    for name in sorted(out.looked_at()):
        found = getattr(out, name)
        if found.is_tensor:
            numbers = np.asarray(found.values)
            if numbers.dtype.kind == "f":
                numbers = np.where(np.isnan(numbers), np.nan, numbers) + 0.0
            state.update(f"{name}{numbers.shape}".encode() + numbers.tobytes())
    return state.hexdigest()


def main() -> None:
    """Reads a request and prints the answer; what is printed meanwhile is not part of it."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(json.dumps(judge(Request.from_json(sys.stdin.readline()))), file=answer, flush=True)


if __name__ == "__main__":
    main()
