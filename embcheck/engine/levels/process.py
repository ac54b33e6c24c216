"""The process of a CPU level: it reads a request, judges the deck, and prints what it proved and found.

Run as ``python -m embcheck.engine.levels.process`` with the level's environment.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from typing import Any

import torch

from embcheck.core.item import PROFILES, Item
from embcheck.core.ledger import load_all
from embcheck.core.machine import here, kernel
from embcheck.engine.levels.level import ATEN
from embcheck.engine.run_item import run_item
from embcheck.subject.collect import load_families, load_modes, statements

MODULE = "embcheck.engine.levels.process"


def judge(request: Mapping[str, Any]) -> dict[str, Any]:
    """Judges the deck: what the process answers."""
    machine = here()
    kernels = {dtype: kernel(dtype) for dtype in ("bfloat16", "float16", "float32")}
    families = load_families()
    load_modes()
    ledger = load_all(request["ledgers"], version("torch"), date.today()).on(machine)
    profile, verdicts = PROFILES["quick"], []
    for family in (families[name] for name in request["families"]):
        for engine in ("scope", "random"):
            item = Item(family.name, "torch", family.modes[0], engine)
            verdicts += run_item(family, item, profile, request["seed"], ledger)
    laws = [statement for name in request["families"] for statement in statements(families[name])]
    return {
        "machine": machine.to_dict(),
        "kernels": kernels,
        "verdicts": [verdict.to_dict() for verdict in verdicts],
        "laws": [asdict(statement) for statement in laws],
    }


def begin_anew() -> None:
    """Where ATen's level was chosen before this fork asked for one, becomes a process of its own, in which nothing was.

    In torch 2.6 to 2.8 importing torch._dynamo chooses it.
    """
    asked = os.environ.get(ATEN)
    forked = sys.orig_argv[-1] != MODULE
    if forked and asked and here().cpu_capability.lower() != asked:
        os.execv(sys.executable, [sys.executable, "-m", MODULE])


def main() -> None:
    """Reads a request and prints the answer; what is printed meanwhile is not part of it."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    begin_anew()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(json.dumps(judge(json.loads(sys.stdin.readline()))), file=answer, flush=True)


if __name__ == "__main__":
    main()
