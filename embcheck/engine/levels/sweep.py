"""Judges one deck of cases at several CPU levels, each in a process of its own.

The deck is the same at each level: a level is no part of a case.  `embcheck.engine.levels.process` is such a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from embcheck.core.item import ENGINES
from embcheck.core.ledger import SHIPPED
from embcheck.core.machine import Machine
from embcheck.core.typed import built
from embcheck.core.verdict import Statement, Status, Verdict
from embcheck.engine.levels.level import AT, BEST, Level, evidence, script_at, unproved
from embcheck.record.store import failure_id

#: The families whose kernels the levels choose: products, lookups, bags, and optimizers in one kernel.
DECK = ("linear", "conversion", "lookup", "embedding_bag", "tied_training")
#: What a level is judged by of which nothing comes back.
ANSWERS = Statement("level_is_judged", "levels", "The process of a CPU level comes to its end and tells its verdicts.")


@dataclass(frozen=True)
class Request:
    """What is judged: families, by some engines in a profile, with a seed, under some ledgers."""

    families: tuple[str, ...] = DECK
    engines: tuple[str, ...] = ENGINES
    profile: str = "quick"
    seed: int = 0
    ledgers: tuple[str, ...] = (str(SHIPPED),)

    def of(self, families: Iterable[str]) -> Request:
        """The same of other families."""
        return replace(self, families=tuple(families))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """The request that a process reads."""
        told = json.loads(text)
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
        return cls(**given)


@dataclass(frozen=True)
class Swept:
    """What a level's process told; ``absent`` says why there was none, ``doubt`` why nothing of it can be believed."""

    level: str
    machine: Machine = field(default_factory=Machine)
    kernels: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    laws: tuple[Statement, ...] = ()
    absent: str = ""
    doubt: str = ""
    seconds: float = 0.0

    @property
    def device(self) -> str:
        """What its verdicts name as their device."""
        return _device(self.level)

    @property
    def words(self) -> str:
        """What was proved, or why nothing was."""
        if self.absent:
            return f"not applicable: {self.absent}"
        proof = evidence(self.machine, self.kernels) if self.machine.cpu_capability else ""
        return f"unknown: {self.doubt}" + (f" ({proof})" if proof else "") if self.doubt else proof


class Running:
    """A level's process."""

    def __init__(self, wanted: Level, request: Request, python: Sequence[str] = ()) -> None:
        self.level = wanted
        self._process = subprocess.Popen(
            [*(python or (sys.executable,)), "-m", "embcheck.engine.levels.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **wanted.environment},
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asdict(request)) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, which `result` tells

    def result(self) -> Swept:
        """What it told, once it has come to its end."""
        said, _ = self._process.communicate()
        try:
            told = json.loads(said)
        except ValueError:
            doubt = f"its process gave no answer (exit status {self._process.returncode})"
            lost = Verdict(ANSWERS.law, "levels", "torch", "eager", "levels", Status.UNKNOWN, _device(self.level.name))
            return Swept(self.level.name, doubt=doubt, verdicts=(replace(lost, reasons=(doubt,)),), laws=(ANSWERS,))
        machine, kernels = Machine.of(told["machine"]), told["kernels"]
        absent, doubt = unproved(self.level, machine, kernels)
        swept = Swept(
            self.level.name,
            machine,
            kernels,
            laws=tuple(built(Statement, law) for law in told["laws"]),
            absent=absent,
            doubt=doubt,
            seconds=told["seconds"],
        )
        if absent:
            return swept
        return replace(swept, verdicts=tuple(placed(self.level, swept, Verdict.from_dict(v)) for v in told["verdicts"]))

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


def placed(wanted: Level, swept: Swept, verdict: Verdict) -> Verdict:
    """A verdict of a level's process, as one about the level: its device names it, its scripts ask for it."""
    if wanted.name == BEST:
        return replace(verdict, must_cover=())
    device = _device(wanted.name)
    examples = tuple(
        replace(
            example,
            device=device,
            script=script_at(wanted, example.script),
            id=failure_id(example.law, example.subject, example.mode, device, example.case),
        )
        for example in verdict.counterexamples
    )
    found = replace(verdict, device=device, must_cover=(), counterexamples=examples)
    if swept.doubt and found.status > Status.NOT_APPLICABLE:
        found = replace(found, status=max(found.status, Status.UNKNOWN), reasons=(*found.reasons, swept.doubt))
    return found


def _device(name: str) -> str:
    return "cpu" if name == BEST else f"cpu{AT}{name}"
