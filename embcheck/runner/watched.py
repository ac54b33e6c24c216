"""What surrounds an item that a process judges: torch's settings and, in a worker, the crash slot and the run's folder.

The plug-in loads it in every pytest session, so it imports neither torch nor the laws before an item is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from embcheck.engine.tally import Probe

_SLOT: pytest.StashKey[Any] = pytest.StashKey()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


class Watched:
    """While an item runs in a worker: the crash slot is filled, and what is written for a moment lies in the run's folder."""

    def __init__(self, config: pytest.Config, nodeid: str, label: str, device: str, limit: float) -> None:
        self.config, self.nodeid, self.label, self.device, self.limit = config, nodeid, label, device, limit
        self._left = ExitStack()

    def __enter__(self) -> tuple[Callable[[bytes], str | None] | None, Probe | None]:
        import torch
        import torch._dynamo

        # One thread a worker: cases that need more set it themselves and set it back.
        torch.set_num_threads(1)
        # Products must not be rounded to TF32 or bfloat16 on the way.
        torch.set_float32_matmul_precision("highest")
        if not is_worker(self.config):
            return None, None
        from embcheck.core.law import FAMILIES
        from embcheck.core.processes import end_with_parent, temporary_files_in
        from embcheck.engine.crashes.isolate import probe, ready
        from embcheck.engine.crashes.slot import Deaths, Slot

        inputs: dict[str, Any] = self.config.workerinput  # type: ignore[attr-defined]
        folder = Path(inputs["embcheck_run"])
        self._left.enter_context(temporary_files_in(folder))
        slot = self.config.stash.get(_SLOT, None)
        if slot is None:
            end_with_parent()
            slot = self.config.stash[_SLOT] = Slot(folder, inputs["workerid"])
        slot.begin(self.nodeid, self.label)
        self._left.callback(slot.running, b"")
        family, _, mode, *_ = self.label.split("/")
        deaths = Deaths(folder)
        crashing, deadly = deaths.crashing(family), deaths.deadly
        if crashing or (family in FAMILIES and FAMILIES[family].forks):
            ready()

        def before(case: bytes) -> str | None:
            slot.running(case)
            return "the worker that judged it before died, and alone it comes back" if case in deadly else None

        def tried(cases: list[Any]) -> list[str | None]:
            slot.running(b"")  # what forks use while they are tried is not the time of the case that was judged last
            return probe(family, mode, self.device, self.limit, cases)

        return before, tried if crashing else None

    def __exit__(self, *exception: object) -> None:
        self._left.close()
