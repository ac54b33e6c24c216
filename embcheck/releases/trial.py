"""A counterexample's script run in an environment: does it fail there?

The answer is kept for the same machine, for a script is cheap to run but an import of torch is not.  What was killed or
had no end says nothing of the release and is tried again the next time.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from pathlib import Path

from embcheck.core.files import write_whole
from embcheck.engine.crashes.patience import Hangs, attended
from embcheck.engine.exit_lines import OTHERWISE
from embcheck.releases import cell
from embcheck.releases.environment import Environment, remembered

#: Seconds of CPU time that a script may take, its import of torch included, and seconds for which it may use next to none: one
#: that tells itself that a child waits for ever takes two minutes.
_SECONDS, _IDLE = 180.0, 300.0


class Outcome(Enum):
    """What a script said of a release."""

    FAILS = "fails"
    RIGHT = "right"
    UNDECIDED = "can't run"

    @classmethod
    def of(cls, status: int, stderr: str) -> Outcome:
        """From how the process ended: a script that can't run ends in a traceback, with the status of a failure."""
        if status not in (0, 1) or "Traceback (most recent call last)" in stderr:
            return cls.UNDECIDED
        return cls.FAILS if status else cls.RIGHT


def try_script(script: str, environment: Environment, folder: Path) -> Outcome:
    """Runs a script in an environment, or recalls how it ended there; ``folder`` keeps the answers."""
    facts = (script, environment.torch, environment.build, cell.machine())
    note = folder / f"{hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()}.json"
    answer = (remembered(note) or {}).get("outcome")
    if answer in [outcome.value for outcome in Outcome]:
        return Outcome(answer)
    folder.mkdir(parents=True, exist_ok=True)
    path = note.with_suffix(".py")
    write_whole(path, script)
    try:
        done = attended([str(environment.python), str(path)], _SECONDS, idle=_IDLE, env=environment.variables())
    except Hangs:
        return Outcome.UNDECIDED
    # A script that says itself what an unexpected error is may print the tracebacks that torch logs.
    outcome = Outcome.of(done.returncode, "" if OTHERWISE in script else done.stderr)
    if done.returncode >= 0:
        told = {"torch": environment.torch, "status": done.returncode, "stderr": done.stderr[-400:]}
        write_whole(note, json.dumps({"outcome": outcome.value, **told, "machine": cell.machine()}))
    return outcome
