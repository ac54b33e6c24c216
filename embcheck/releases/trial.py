"""A counterexample's script run in an environment: does it fail there?  The answer is kept, for a script is cheap to
run but an import of torch is not."""

from __future__ import annotations

import hashlib
import json
import subprocess
from enum import Enum
from pathlib import Path

from embcheck.releases.environment import Environment

#: Seconds that a script may take, its import of torch included.
_SECONDS = 180.0


class Outcome(Enum):
    """What a script said of a release."""

    FAILS = "fails"
    RIGHT = "right"
    UNDECIDED = "can't run"

    @classmethod
    def of(cls, status: int | None, stderr: str) -> Outcome:
        """From how the process ended: a script that can't run ends in a traceback, with the status of a failure."""
        if status is None or status not in (0, 1) or "Traceback (most recent call last)" in stderr:
            return cls.UNDECIDED
        return cls.FAILS if status else cls.RIGHT


def try_script(script: str, environment: Environment, folder: Path) -> Outcome:
    """Runs a script in an environment, or recalls how it ended there; ``folder`` keeps the answers."""
    facts = (script, environment.torch, environment.build)
    kept = folder / f"{hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()}.json"
    if kept.is_file():
        return Outcome(json.loads(kept.read_text())["outcome"])
    folder.mkdir(parents=True, exist_ok=True)
    path = kept.with_suffix(".py")
    path.write_text(script, encoding="utf-8")
    status, stderr = _run(path, environment)
    outcome = Outcome.of(status, stderr)
    facts_told = {"outcome": outcome.value, "torch": environment.torch, "status": status, "stderr": stderr[-400:]}
    kept.write_text(json.dumps(facts_told))
    return outcome


def _run(path: Path, environment: Environment) -> tuple[int | None, str]:
    command = [str(environment.python), str(path)]
    try:
        done = subprocess.run(
            command, env=environment.variables(), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None, "no end"
    return done.returncode, done.stderr
