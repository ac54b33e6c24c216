"""The release in which a counterexample began to fail, or was fixed: bisection over a line of releases.

Each release is tried at most once; what can't decide it (an installation that fails, a script that can't run there)
is stepped over, as by ``git bisect skip``.  How a script ended in a release is kept for the same machine, for a script is cheap
to run but an import of torch is not; what was killed or had no end says nothing of the release and is tried again.
"""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path

from packaging.version import InvalidVersion, Version

from embcheck.core.files import write_whole
from embcheck.engine.crashes.patience import Hangs, attended
from embcheck.engine.exit_lines import OTHERWISE
from embcheck.releases import cell
from embcheck.releases.environment import Environment, remembered

#: The oldest release that is tried if none is named.
OLDEST = Version("2.4")
_INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class Turn:
    """From one release to the next one that was tried and could decide it, the outcome changes."""

    last_before: int
    first_after: int
    words: str


def turns(outcomes: Mapping[int, Outcome]) -> list[Turn]:
    """Every change among the releases that were tried, from old to new; nothing is said of those between."""
    decided = [number for number in sorted(outcomes) if outcomes[number] is not Outcome.UNDECIDED]
    seen = {outcomes[number] for number in decided[:1]}
    found = []
    for before, after in pairwise(decided):
        if (outcome := outcomes[after]) is not outcomes[before]:
            again = "again " if outcome in seen else "first "
            words = f"{again}fails in" if outcome is Outcome.FAILS else f"{again}right in"
            found.append(Turn(before, after, words))
            seen.add(outcome)
    return found


def bisect(count: int, attempt: Callable[[int], Outcome]) -> dict[int, Outcome]:
    """The outcomes of a few of ``count`` releases, from old to new, which narrow a change down to two neighbours.

    It is assumed that the outcome changes at most once: if both ends agree only they are tried, and if there are several
    changes one of them is found.
    """
    outcomes: dict[int, Outcome] = {}

    def decides(number: int) -> bool:
        if number not in outcomes:
            outcomes[number] = attempt(number)
        return outcomes[number] is not Outcome.UNDECIDED

    low = next(filter(decides, range(count)), None)
    high = next(filter(decides, reversed(range(count))), None)
    if low is None or high is None or outcomes[low] is outcomes[high]:
        return outcomes
    while between := [n for n in range(low + 1, high) if outcomes.get(n) is not Outcome.UNDECIDED]:
        middle = between[len(between) // 2]
        if decides(middle):
            low, high = (middle, high) if outcomes[middle] is outcomes[low] else (low, middle)
    return outcomes


def minor_releases(index: str = "") -> list[str]:
    """The last patch of every minor release on an index that speaks JSON (PEP 691), from old to new.

    Raises:
        OSError: if the index can't be reached, or does not answer so.
    """
    url = f"{(index or _INDEX).rstrip('/')}/torch/"
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        try:
            return last_patches(json.load(answer).get("versions", []))
        except ValueError as error:
            raise OSError(f"{url} gives no list of versions") from error


def last_patches(listed: Sequence[str]) -> list[str]:
    """Of each minor release that is no prerelease the last patch, from old to new."""
    best: dict[tuple[int, ...], Version] = {}
    for text in listed:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        if version >= OLDEST and not version.is_prerelease:
            best[version.release[:2]] = max(best.get(version.release[:2], version), version)
    return [str(best[minor]) for minor in sorted(best)]


#: Seconds of CPU time that a script may take, its import of torch included, and seconds for which it may use next to none: one
#: that tells itself that a child waits for ever takes two minutes.
_SECONDS, _IDLE = 180.0, 300.0


class Outcome(Enum):
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
