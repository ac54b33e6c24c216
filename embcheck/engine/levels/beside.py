"""The lowest CPU level beside a run: one more process, which judges a small deck while the workers judge the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from embcheck.core.item import ENGINES
from embcheck.core.machine import flags_of, seen
from embcheck.engine.levels.level import LOWEST, lacking, level
from embcheck.engine.levels.sweep import DECK, Request, Running, Swept

#: Profiles of which it takes less than a tenth, and what of the deck it judges.
_PROFILES, _ENGINES = ("gate", "full", "deep"), ("scope", "random")


class Beside:
    """The lowest level of a run; ``absent`` says why there is none, and is None where a run has none to begin with."""

    def __init__(self, *, profile: str, seed: int, ledgers: tuple[str, ...], torch_alone: bool) -> None:
        """``torch_alone``: the run checks torch itself, in its own modes and on the CPU, and is no later shard of another."""
        self.level = level(LOWEST)
        self._request = Request(seed=seed, ledgers=ledgers, engines=_ENGINES)
        self._running: Running | None = None
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
        if not self.due or self.absent or self._running is not None:
            return
        selected = {(PurePosixPath(path).stem, test.partition("[")[0]) for path, _, test in map(_parted, items)}
        whole = [name for name in DECK if {(f"test_{name}", f"test_{engine}") for engine in ENGINES} <= selected]
        if whole:
            self._running = Running(self.level, self._request.of(whole), python)

    def result(self) -> Swept | None:
        """What it told, once it has come to its end; None if there was none."""
        return self._running.result() if self._running is not None else None

    def close(self) -> None:
        """Ends it."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _parted(item: str) -> tuple[str, str, str]:
    return item.partition("::")
