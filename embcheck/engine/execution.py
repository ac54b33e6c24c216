"""How a case is executed: in this process, in a fork of one that has run nothing, or on a device."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

from embcheck.core.law import Family
from embcheck.core.outcome import Outcome, ProcessDied
from embcheck.core.result import Unreachable
from embcheck.engine.crashes.isolate import NoAnswer, confined, elsewhere
from embcheck.engine.execute import outcome, run, unpacked
from embcheck.modes.mode import Mode


@dataclass(frozen=True)
class Execution:
    """Executes a case on a device; ``apart`` does so in a fork of a process that has run nothing, ``finite`` with finite
    numbers around all that is fed, and not NaN.

    What forks enters ``setup`` first: pairs of a function's place, ``module:function``, and its argument, each of which
    gives a context.
    """

    device: str = "cpu"
    apart: bool = False
    setup: tuple[tuple[str, str], ...] = ()
    finite: bool = False

    def __call__(self, family: Family, mode: Mode, case: Any) -> Outcome | Unreachable:
        """The outcome, or why there is none.

        On a device a case that must be refused is executed in a process of its own, for what a device asserts leaves its
        process unable to use it.
        """
        on_cpu = self.device == "cpu"
        if on_cpu and (self.apart or family.forks):
            return self._forked(family, mode, case)
        if on_cpu or not family.refused(case):
            return run(family.plan(case), mode, self.device, finite=self.finite)
        answer = confined(family.name, mode.name, repr(case), self.device)
        kind = getattr(builtins, answer["error"], RuntimeError)
        error = kind(answer["message"]) if answer["error"] else None
        return outcome(mode, {}, device=self.device, error=error, written=lambda: answer["written"])

    def _forked(self, family: Family, mode: Mode, case: Any) -> Outcome | Unreachable:
        try:
            return unpacked(elsewhere(family.name, mode.name, repr(case), self.setup), mode)
        except ProcessDied as error:
            return outcome(mode, {}, device=self.device, error=error)
        except NoAnswer as error:
            return Unreachable(str(error))
