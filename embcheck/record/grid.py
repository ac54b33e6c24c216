"""Laws × runs: the table behind every report that looks at more than one record, and what changed along it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from embcheck.core.verdict import LEDGER, Statement, Status, Verdict
from embcheck.record.compare import Change, Move, compare
from embcheck.record.record import Record
from embcheck.record.totals import Totals


@dataclass(frozen=True)
class Run:
    """A run: its name, its record, what kept it from having one (or a complete one), and where its failures are kept."""

    name: str
    record: Record | None = None
    problem: str = ""
    store: Path | None = None


@dataclass(frozen=True)
class Square:
    """A law in one run: its verdicts by mode; none where it was not judged."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def status(self) -> Status | None:
        """The worst over all modes."""
        return max((verdict.status for verdict in self.verdicts.values()), default=None)

    @property
    def word(self) -> str:
        return "–" if self.status is None else self.status.word

    @property
    def modes(self) -> list[str]:
        """The modes in which the law is worse than in others; empty if it is the same in all."""
        if self.status is None or self.status < Status.KNOWN:
            return []
        worst = [mode for mode, verdict in self.verdicts.items() if verdict.status == self.status]
        return worst if len(worst) < len(self.verdicts) else []

    @property
    def cases(self) -> int:
        return sum(verdict.cases for verdict in self.verdicts.values())

    @property
    def worst(self) -> float | None:
        """The worst error/bound ratio; None for an exact law."""
        return max((v.worst for v in self.verdicts.values() if v.worst is not None), default=None)


@dataclass(frozen=True)
class Row:
    law: str
    family: str
    squares: tuple[Square, ...]

    @property
    def quiet(self) -> bool:
        """Whether the law holds, or has nothing to judge, wherever it was run."""
        return all(square.status is None or square.status <= Status.HOLDS for square in self.squares)

    @property
    def status(self) -> Status | None:
        """The worst over all runs."""
        return max((square.status for square in self.squares if square.status is not None), default=None)

    @property
    def worst(self) -> float | None:
        """The worst error/bound ratio over all runs; None for an exact law."""
        return max((square.worst for square in self.squares if square.worst is not None), default=None)


@dataclass(frozen=True)
class Grid:
    columns: Sequence[Run]

    @cached_property
    def settled(self) -> list[list[Verdict]]:
        return [column.record.settled() if column.record is not None else [] for column in self.columns]

    @cached_property
    def rows(self) -> list[Row]:
        """A row for each law and subject, in the order in which they first came."""
        squares: dict[tuple[str, str, str], list[dict[str, Verdict]]] = {}
        for number, verdicts in enumerate(self.settled):
            for verdict in verdicts:
                key = (verdict.law, verdict.subject, verdict.family)
                row = squares.setdefault(key, [{} for _ in self.columns])
                row[number][verdict.mode] = verdict
        families = dict.fromkeys(family for _, _, family in squares)
        order = {family: (family == LEDGER, number) for number, family in enumerate(families)}
        subjects: dict[str, set[str]] = {}
        for law, subject, _ in squares:
            subjects.setdefault(law, set()).add(subject)
        return [
            Row(law if len(subjects[law]) == 1 else f"{law} · {subject}", family, tuple(map(Square, row)))
            # Each family's together, the ledger's last: the engines' order mixes them.
            for (law, subject, family), row in sorted(squares.items(), key=lambda item: order[item[0][2]])
        ]

    @cached_property
    def totals(self) -> Totals:
        """How many laws stand how, each by its worst verdict over all runs."""
        return Totals.of(itertools.chain.from_iterable(self.settled))

    @cached_property
    def statements(self) -> dict[str, Statement]:
        """What each law says, from the first record that tells."""
        records = [column.record for column in self.columns if column.record is not None]
        return {name: law for record in reversed(records) for name, law in record.laws.items()}

    @cached_property
    def steps(self) -> list[Step]:
        """From each run that could be run to the next one."""
        whole = [(column, column.record) for column in self.columns if column.record is not None]
        return [
            Step(before, after, [change for change in compare(old, new) if change.move is not Move.RATIO])
            for (before, old), (after, new) in itertools.pairwise(whole)
        ]


@dataclass(frozen=True)
class Step:
    before: Run
    after: Run
    changes: list[Change]
