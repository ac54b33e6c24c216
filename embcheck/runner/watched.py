"""What surrounds an item that a process judges: torch's settings and, in a worker, the crash slot and the run's folder.

The plug-in loads it in every pytest session, so it imports neither torch nor the laws before an item is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from embcheck.engine.tally import Probe

_SLOT: pytest.StashKey[Any] = pytest.StashKey()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


@contextmanager
def watched(
    config: pytest.Config, nodeid: str, label: str, device: str, limit: float
) -> Iterator[tuple[Callable[[bytes], str | None] | None, Probe | None]]:
    """While an item runs in a worker the crash slot is filled, and what is written for a moment lies in the run's folder.

    It gives what is told of each case before it runs and says why one must be left out, and what tries cases elsewhere.
    """
    import torch
    import torch._dynamo

    # One thread a worker: cases that need more set it themselves and set it back.
    torch.set_num_threads(1)
    # Products must not be rounded to TF32 or bfloat16 on the way.
    torch.set_float32_matmul_precision("highest")
    if not is_worker(config):
        yield None, None
        return
    from embcheck.core.law import FAMILIES
    from embcheck.core.processes import end_with_parent, temporary_files_in
    from embcheck.engine.crashes.isolate import probe, ready
    from embcheck.engine.crashes.slot import Deaths, Slot

    inputs: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    folder = Path(inputs["embcheck_run"])
    with temporary_files_in(folder):
        if _SLOT not in config.stash:
            end_with_parent()
            config.stash[_SLOT] = Slot(folder, inputs["workerid"])
        slot = config.stash[_SLOT]
        slot.begin(nodeid, label)
        family, _, mode, *_ = label.split("/")
        deaths = Deaths(folder)
        crashing, deadly = deaths.crashing(family), deaths.deadly
        if crashing or (family in FAMILIES and FAMILIES[family].forks):
            ready()

        def before(case: bytes) -> str | None:
            slot.running(case)
            return "the worker that judged it before died, and alone it comes back" if case in deadly else None

        def tried(cases: list[Any]) -> list[str | None]:
            slot.running(b"")  # what forks use while they are tried is not the time of the case that was judged last
            return probe(family, mode, device, limit, cases)

        try:
            yield before, tried if crashing else None
        finally:
            slot.running(b"")
