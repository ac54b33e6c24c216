"""The lowest CPU level beside a run: one more process, which judges a small deck while the workers judge the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from embcheck.core.item import ENGINES
from embcheck.core.machine import Machine, flags_of, seen
from embcheck.core.typed import built
from embcheck.core.verdict import Statement, Status, Verdict
from embcheck.engine.levels.level import AT, LOWEST, evidence, lacking, level, unproved
from embcheck.record.store import failure_id

#: Profiles of which it takes less than a tenth.
_PROFILES = ("gate", "full", "deep")
#: The families whose kernels the levels choose: products, lookups, bags, and optimizers in one kernel.
DECK = ("conversion", "lookup", "embedding_bag", "tied_training")
#: What a level is judged by of which nothing comes back.
ANSWERS = Statement("level_is_judged", "levels", "The process of a CPU level comes to its end and tells its verdicts.")


@dataclass(frozen=True)
class Swept:
    """What a level's process told; ``words`` say what it proved, or why nothing of it can be believed."""

    level: str
    words: str
    machine: Machine = field(default_factory=Machine)
    verdicts: tuple[Verdict, ...] = ()
    laws: tuple[Statement, ...] = ()


class Beside:
    """The lowest level of a run; ``absent`` says why there is none, and is None where a run has none to begin with."""

    def __init__(self, *, profile: str, seed: int, ledgers: tuple[str, ...], torch_alone: bool) -> None:
        """``torch_alone``: the run checks torch itself, in its own modes and on the CPU, and is no later shard of another."""
        self.level = level(LOWEST)
        self._asked: dict[str, Any] = {"seed": seed, "ledgers": ledgers}
        self._process: subprocess.Popen[str] | None = None
        self.absent: str | None = None
        self.due = torch_alone and profile in _PROFILES
        if self.due:
            self.absent = lacking(self.level, seen(), flags_of(), os.environ)
            if all(os.environ.get(name) == value for name, value in self.level.environment.items()):
                self.absent = "the run itself is at the lowest level"

    @property
    def words(self) -> str:
        """What is asked for, or why nothing is."""
        asked = " ".join(f"{name}={value}" for name, value in self.level.environment.items())
        return f"not applicable: {self.absent}" if self.absent else asked

    def start(self, items: Iterable[str], python: Sequence[str] = ()) -> None:
        """Starts it, once, for those of its families of which every engine was selected; ``python`` is what runs it, if that
        is not the interpreter."""
        if not self.due or self.absent or self._process is not None:
            return
        parts = (item.partition("::") for item in items)
        selected = {(PurePosixPath(path).stem, test.partition("[")[0]) for path, _, test in parts}
        whole = [name for name in DECK if {(f"test_{name}", f"test_{engine}") for engine in ENGINES} <= selected]
        if whole:
            self.launch(whole, python)

    def launch(self, families: Sequence[str], python: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*(python or (sys.executable,)), "-m", "embcheck.engine.levels.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **self.level.environment},
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**self._asked, "families": families}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, which `result` tells

    def result(self) -> Swept | None:
        """What it told, once it has come to its end; None if there was none."""
        if self._process is None:
            return None
        said, _ = self._process.communicate()
        try:
            told = json.loads(said)
        except ValueError:
            doubt = f"its process gave no answer (exit status {self._process.returncode})"
            lost = Verdict(ANSWERS.law, "levels", "torch", "eager", "levels", Status.UNKNOWN, reasons=(doubt,))
            return Swept(LOWEST, f"unknown: {doubt}", verdicts=(placed(lost, doubt),), laws=(ANSWERS,))
        machine = Machine.of(told["machine"])
        absent, doubt = unproved(self.level, machine, told["kernels"])
        if absent:
            return Swept(LOWEST, f"not applicable: {absent}", machine)
        proof = evidence(machine, told["kernels"])
        verdicts = tuple(placed(Verdict.from_dict(verdict), doubt) for verdict in told["verdicts"])
        laws = tuple(built(Statement, law) for law in told["laws"])
        return Swept(LOWEST, f"unknown: {doubt} ({proof})" if doubt else proof, machine, verdicts, laws)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def placed(verdict: Verdict, doubt: str = "") -> Verdict:
    """A verdict of the level's process, as one about the level: its device names it; *unknown* if there is a doubt."""
    device = f"cpu{AT}{LOWEST}"
    examples = tuple(
        replace(each, device=device, id=failure_id(each.law, each.subject, each.mode, device, each.case))
        for each in verdict.counterexamples
    )
    found = replace(verdict, device=device, must_cover=(), counterexamples=examples)
    if doubt and doubt not in found.reasons and found.status > Status.NOT_APPLICABLE:
        found = replace(found, status=max(found.status, Status.UNKNOWN), reasons=(*found.reasons, doubt))
    return found
