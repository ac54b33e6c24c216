"""The release in which a counterexample began to fail, or was fixed: bisection over a line of releases.

Each release is tried at most once; what can't decide it (an installation that fails, a script that can't run there)
is stepped over, as by ``git bisect skip``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from embcheck.releases.trial import Outcome

Try = Callable[[int], Outcome]

#: The oldest release that embcheck's own requirements allow.
OLDEST = Version("2.4")
_INDEX = "https://pypi.org/simple/torch/"


@dataclass(frozen=True)
class Turn:
    """What a bisection found: the outcome of each release that was tried, and between which two it changes."""

    outcomes: dict[int, Outcome]
    last_before: int | None = None
    first_after: int | None = None

    @property
    def words(self) -> str:
        """What happened at the turn."""
        if self.first_after is None:
            return ""
        return "first fails in" if self.outcomes[self.first_after] is Outcome.FAILS else "first right in"


def bisect(count: int, attempt: Try) -> Turn:
    """Finds a turn among ``count`` releases, from old to new, by trying few of them.

    If both ends agree nothing is said of what lies between; if there are several turns one of them is found.
    """
    outcomes: dict[int, Outcome] = {}

    def tried(number: int) -> Outcome:
        if number not in outcomes:
            outcomes[number] = attempt(number)
        return outcomes[number]

    low = next((n for n in range(count) if tried(n) is not Outcome.UNDECIDED), None)
    if low is None:
        return Turn(outcomes)
    high = next(n for n in reversed(range(low, count)) if tried(n) is not Outcome.UNDECIDED)
    if outcomes[low] is outcomes[high]:
        return Turn(outcomes)
    while True:
        between = [n for n in range(low + 1, high) if outcomes.get(n) is not Outcome.UNDECIDED]
        if not between:
            return Turn(outcomes, low, high)
        middle = between[len(between) // 2]
        match tried(middle):
            case Outcome.UNDECIDED:
                continue
            case outcome if outcome is outcomes[low]:
                low = middle
            case _:
                high = middle


def minor_releases(index: str = "") -> list[str]:
    """The last patch of every minor release on an index that speaks JSON (PEP 691), from old to new.

    Raises:
        OSError: if the index can't be reached, or does not answer so.
    """
    url = f"{index.rstrip('/')}/torch/" if index else _INDEX
    request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        try:
            listed = json.load(answer).get("versions", [])
        except ValueError as error:
            raise OSError(f"{url} gives no list of versions") from error
    return last_patches(listed)


def last_patches(listed: Sequence[str]) -> list[str]:
    """Of each minor release that is no prerelease the last patch, from old to new."""
    best: dict[tuple[int, int], Version] = {}
    for text in listed:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        if version < OLDEST or version.is_prerelease:
            continue
        minor = (version.major, version.minor)
        best[minor] = max(best.get(minor, version), version)
    return [str(best[minor]) for minor in sorted(best)]
