"""What embcheck says of a law: one of five statuses, ordered, with the evidence.

not applicable < holds < known < unknown < violated, and verdicts merge by maximum: of those of different engines
and workers the greatest stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from functools import reduce
from typing import Any, TypeVar

from embcheck.core import aliases
from embcheck.core.claim_record import Claimed
from embcheck.core.facts import grouped
from embcheck.core.typed import Malformed, built


class Status(IntEnum):
    """How a law stands; a larger status wins a merge."""

    NOT_APPLICABLE = 0
    HOLDS = 1
    KNOWN = 2
    UNKNOWN = 3
    VIOLATED = 4

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", " ")

    @classmethod
    def of(cls, word: str) -> Status:
        return cls[word.upper().replace(" ", "_")]


#: The family of the ledger's witnesses.
LEDGER = "ledger"


def witness_law(entry: str) -> str:
    """What the verdict on a ledger entry's witness is filed under, as if it were a law."""
    return f"{LEDGER}: {entry}"


def entry_name(law: str) -> str:
    """The name of the entry whose witness is filed under a law; of any other text itself."""
    return law.removeprefix(f"{LEDGER}: ")


#: What every law obliges, whatever else it does: that a case of it is judged, not loosely.
APPLIES = "applies"


@dataclass(frozen=True)
class Statement:
    """What a law says, for who reads a record without having the laws.

    Of an entry of the ledger it is the entry's reason; ``link`` is where it was reported.  Where the law that
    ``implied_by`` names holds exactly, this one follows.  A law that says what becomes of a tutorial's claim has that.
    """

    law: str
    family: str
    sentence: str
    source: str = ""
    link: str = ""
    implied_by: str = ""
    claim: Claimed | None = None

    @classmethod
    def from_dict(cls, data: Any) -> Statement:
        """The statement that a record has.

        Raises:
            Malformed: if a field is missing, unknown or of another type.
        """
        made = _renamed(built(cls, data))
        return replace(made, implied_by=aliases.law(made.implied_by))


@dataclass(frozen=True)
class Counterexample:
    """A case in which a law fails: the smallest that was found.

    ``kind`` is what sort of difference it is; a law reports one counterexample of each kind.  ``first`` is the case
    as the engine met it, before reduction.  ``unconfirmed`` says why it is not known how the script ends alone.
    ``elsewhere`` says of other modes how the law stands there on this case, and ``resembles`` which known violation is nearest.
    """

    law: str
    family: str
    subject: str
    mode: str
    device: str
    case: str
    kind: str
    words: str
    first: str = ""
    path: str = ""
    got: str = ""
    expected: str = ""
    script: str = ""
    script_confirmed: bool | None = None
    unconfirmed: str = ""
    also: tuple[str, ...] = ()
    other_modes: tuple[str, ...] = ()
    elsewhere: dict[str, str] = field(default_factory=dict)
    resembles: str = ""
    id: str = ""
    #: whether the run's baseline shows the law violated on this case in this way
    in_baseline: bool = False


@dataclass(frozen=True)
class Verdict:
    """How one law fared under one subject, mode and engine.

    ``cases`` were judged, of which ``known`` fell under the ledger, and in ``implied`` of which the law was not evaluated,
    for it follows from another one that held exactly; ``worst`` is the largest error/bound ratio of a
    law with a bound (None for an exact law); ``must_cover`` are the law's obligations, without those whose cases this release
    does not have, and ``met`` those met; ``digest`` fingerprints the cases.  Of an item alone, ``part`` is its number of how
    many, and ``failing`` are the cases that violate the law, by the kind of difference: the hexadecimal digits of a number, a
    bit for each case's place; ``shared`` has what these cases have in common, if that was to be learned (see
    `embcheck.engine.common_facts`).
    """

    law: str
    family: str
    subject: str
    mode: str
    engine: str
    status: Status
    device: str = "cpu"
    cases: int = 0
    known: int = 0
    implied: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    worst: float | None = None
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    must_cover: tuple[str, ...] = ()
    met: tuple[str, ...] = ()
    digest: str = ""
    part: str = ""
    failing: dict[str, str] = field(default_factory=dict)
    shared: dict[str, dict[str, Any]] = field(default_factory=dict)
    counterexamples: tuple[Counterexample, ...] = ()

    @property
    def undecided(self) -> tuple[str, ...]:
        """The reasons for which something about the law is not decided, whatever else is."""
        return tuple(reason for reason in self.reasons if not reason.startswith("not applicable"))

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a verdict is about, whichever engine gave it."""
        return (self.law, self.subject, self.mode, self.device)

    def merge(self, other: Verdict) -> Verdict:
        """The verdict of both: the greater status, the summed counts, the worse ratio."""
        ratios = [worst for worst in (self.worst, other.worst) if worst is not None]
        return replace(
            self,
            engine=self.engine if self.engine == other.engine else "all",
            status=max(self.status, other.status),
            cases=self.cases + other.cases,
            known=self.known + other.known,
            implied=self.implied + other.implied,
            entries=dict(Counter(self.entries) + Counter(other.entries)),
            worst=max(ratios, default=None),
            seconds=self.seconds + other.seconds,
            reasons=tuple(dict.fromkeys(self.reasons + other.reasons)),
            must_cover=tuple(sorted({*self.must_cover}.intersection(other.must_cover))),
            met=tuple(sorted({*self.met, *other.met})),
            digest=_mix(self.digest, other.digest),
            part="",
            failing={},
            shared={},
            counterexamples=_smallest(self.counterexamples + other.counterexamples),
        )

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["status"] = self.status.word
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        """The verdict that `to_dict` wrote.

        Raises:
            Malformed: if a field is missing, unknown or of another type, or the status is none.
        """
        made = _renamed(built(cls, data))
        made = replace(made, counterexamples=tuple(map(_renamed, made.counterexamples)))
        if made.worst is not None and made.worst < 0:
            raise Malformed(f"worst: expected a ratio, got {made.worst}")
        if made.digest.strip("0123456789abcdef"):
            raise Malformed(f"digest: expected hexadecimal digits, got {made.digest!r}")
        return made


AnyNamed = TypeVar("AnyNamed", Statement, Counterexample, Verdict)


def _renamed(found: AnyNamed) -> AnyNamed:
    """What a file says of a law, with the names that the law and its family have now."""
    return replace(found, law=aliases.law(found.law), family=aliases.family(found.family))


def merge_all(verdicts: list[Verdict]) -> dict[tuple[str, str, str, str], Verdict]:
    """One verdict for each law, subject, mode and device, in the order in which they first came."""
    groups = grouped(verdicts, lambda verdict: verdict.key)
    return {key: reduce(Verdict.merge, group) for key, group in groups.items()}


def _mix(a: str, b: str) -> str:
    """An order-free combination of two hexadecimal digests, for parts finish in any order."""
    if not a or not b:
        return a or b
    return f"{(int(a, 16) + int(b, 16)) % (1 << 64):016x}"


def _smallest(examples: tuple[Counterexample, ...]) -> tuple[Counterexample, ...]:
    """Of each kind the counterexample with the shortest case, of those that a baseline has and of the others."""
    groups = grouped(examples, lambda example: (example.kind, example.in_baseline)).values()
    return tuple(min(group, key=lambda example: (len(example.case), example.case)) for group in groups)


#: How the reason of an entry's verdict begins whose witness passes where it was measured to fail, and how it ends.
STALE = "stale: "
_REMOVE, _FIRST = "remove the entry", "laws of its family are violated: look at these first"


def stale(case: Any) -> str:
    """That a witness no longer fails, and what to do."""
    return f"{STALE}{case!r} no longer fails; {_REMOVE}"


def advised(settled: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts of a run; of an entry that is stale while laws are violated on cases of its type it is not said to remove it:
    what violates them may hide what is known."""
    settled = list(settled)
    shown = (example for verdict in settled if verdict.status == Status.VIOLATED for example in verdict.counterexamples)
    violated = {_type(example.case) for example in shown}

    def told(reason: str) -> str:
        if reason.startswith(STALE) and _type(reason.removeprefix(STALE)) in violated:
            return reason.replace(_REMOVE, _FIRST)
        return reason

    return [
        replace(verdict, reasons=tuple(map(told, verdict.reasons))) if verdict.family == LEDGER else verdict
        for verdict in settled
    ]


def _type(case: str) -> str:
    return case.partition("(")[0]
