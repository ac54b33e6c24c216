"""How a case is executed: in this process, in a fork of one that has run nothing, or on a device."""

import builtins
import os
from dataclasses import dataclass
from typing import Any

from embcheck.core.facts import reason_of
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome, ProcessDied
from embcheck.core.result import Absent, NotApplicable, Unreachable
from embcheck.engine.crashes.isolate import NoAnswer, confined, elsewhere
from embcheck.engine.execute import lost, outcome, run, unpacked
from embcheck.modes.mode import Mode

_ASSERTS = "it goes on after a refusal, and what a device asserts leaves its process unable to use it"
#: What no device but the CPU can run, by a condition on a case's facts.
_ONLY_CPU = {
    "history=after_error": _ASSERTS,
    "history=after_refusal": _ASSERTS,
    "history=tokens_changed": _ASSERTS,
    "origin=mapped_tall": "a mapped file is memory of the CPU",
}


def obstacle(family: Family, case: Any) -> str | None:
    """Why a case can be executed on the CPU alone; None if it can be executed elsewhere, too."""
    return family.only_cpu or reason_of(_ONLY_CPU, case.facts())


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

    def __call__(self, family: Family, mode: Mode, case: Any) -> Outcome | NotApplicable | Unreachable:
        """The outcome, or why there is none.

        What a device asserts leaves its process unable to use it.  So a case that must be refused is executed in a process of
        its own there, and after any other that ends so this process ends, too.
        """
        on_cpu = self.device == "cpu"
        reason = None if on_cpu else obstacle(family, case)
        if reason is not None:
            return NotApplicable(Absent(f"on another device than the CPU: {reason}"))
        if on_cpu or not family.refused(case):
            if self.apart or (on_cpu and family.forks):
                return self._forked(family, mode, case)
            out = run(family.plan(case), mode, self.device, finite=self.finite)
            if lost(out):
                os.abort()
            return out
        answer = confined(family.name, mode.name, repr(case), self.device)
        kind = getattr(builtins, answer["error"], RuntimeError)
        error = kind(answer["message"]) if answer["error"] else None
        return outcome(mode, {}, device=self.device, error=error, written=lambda: answer["written"])

    def _forked(self, family: Family, mode: Mode, case: Any) -> Outcome | Unreachable:
        try:
            return unpacked(elsewhere(family.name, mode.name, repr(case), self.device, self.setup), mode)
        except ProcessDied as error:
            return outcome(mode, {}, device=self.device, error=error)
        except NoAnswer as error:
            return Unreachable(str(error))
