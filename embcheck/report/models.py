"""The audits of a record as the page shows them: the findings by cause, and what is said of each model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from embcheck.core.facts import grouped
from embcheck.core.verdict import Counterexample, Status
from embcheck.record.audited import AS_BUILT, CONFIRMED, FAMILY, Advice, Model, models
from embcheck.record.grid import Run
from embcheck.record.store import is_kept, replay_command

#: The words of the verdicts, on laws, models and claims, with a sign for each, so that colour says nothing alone.
SIGNS = {
    "violated": "✗",
    "unknown": "?",
    "known": "!",
    "holds": "✓",
    "not applicable": "–",
    "not built": "○",
    "refuted": "✗",
    "only if": "◐",
    "otherwise than stated": "!",
    "–": "·",
}


@dataclass(frozen=True)
class Mark:
    """A verdict in the table: its word, and what more there is to say."""

    word: str
    title: str = ""
    note: str = ""

    @property
    def sign(self) -> str:
        return SIGNS[self.word]

    @property
    def style(self) -> str:
        return self.word.replace(" ", "-") if self.word != "–" else "none"


#: So few findings are shown open.
_OPEN = 3


class Found(NamedTuple):
    """A finding with its model and the place of both on the page; ``kind`` is the sort of its cause, without the place."""

    model: Shown
    example: Counterexample
    anchor: str
    kind: str
    confirmed: str
    replay: str
    haystack: str

    @property
    def advice(self) -> Advice:
        return Advice.of(self.example)


class Cause(NamedTuple):
    """The findings of one kind: what they do and how they are repaired is the same for all."""

    kind: str
    findings: Sequence[Found]
    advice: Advice
    models: int
    laws: Sequence[str]


@dataclass(frozen=True)
class Shown:
    run: str
    model: Model
    anchor: str
    store: Path | None

    @property
    def name(self) -> str:
        """As its row is headed: the architecture before the class."""
        subject = self.model.subject
        return subject.removeprefix("hf:").replace(":", " ", 1) if subject.startswith("hf:") else subject

    @property
    def mark(self) -> Mark:
        return Mark("not built" if self.model.unbuilt else self.model.status.word)

    @cached_property
    def findings(self) -> list[Found]:
        found = []
        for number, example in enumerate(self.model.findings, 1):
            kind, anchor = example.kind.removesuffix(f": {example.path}"), f"finding-{self.anchor}-{number}"
            haystack = f"{self.name} {example.law} {example.kind} {example.got}".lower()
            confirmed, replay = CONFIRMED[example.script_confirmed], replayed(example, self.store)
            found.append(Found(self, example, anchor, kind, confirmed, replay, haystack))
        return found

    @property
    def groups(self) -> list[tuple[Mark, list[tuple[str, list[str]]]]]:
        """The laws without a finding of their own: by status, by reason."""
        found = []
        for status in sorted(Status, reverse=True):
            named = [
                (reason, [v.law if v.mode == AS_BUILT else f"{v.law} ({v.mode})" for v in verdicts])
                for reason, verdicts in self.model.reasons(status).items()
            ]
            found += [(Mark(status.word), named)] if named else []
        return found

    @property
    def haystack(self) -> str:
        kinds = " ".join(found.example.kind for found in self.findings)
        return f"{self.name} {self.model.description} {self.model.unbuilt} {kinds}".lower()


@dataclass(frozen=True)
class Audits:
    columns: Sequence[Run]

    @cached_property
    def shown(self) -> list[Shown]:
        """Those with findings first, then in the order in which they were audited."""
        every = []
        for number, column in enumerate(self.columns, 1):
            for place, model in enumerate(models(column.record.settled() if column.record is not None else ()), 1):
                anchor = f"model-{number}-{place}-{re.sub('[^A-Za-z0-9_-]+', '-', model.subject)}"
                every.append(Shown(column.name, model, anchor, column.store))
        return sorted(every, key=lambda one: (-one.model.status, -len(one.findings)))

    @property
    def many_runs(self) -> bool:
        return len(self.columns) > 1

    @cached_property
    def causes(self) -> list[Cause]:
        """Those of most models first."""
        found = grouped((each for one in self.shown for each in one.findings), lambda finding: finding.kind)
        made = [
            Cause(kind, each, each[0].advice, len({id(found.model) for found in each}),
                  list(dict.fromkeys(found.example.law for found in each)))
            for kind, each in found.items()
        ]  # fmt: skip
        return sorted(made, key=lambda cause: -cause.models)

    @property
    def findings(self) -> int:
        return sum(len(cause.findings) for cause in self.causes)

    @property
    def opened(self) -> bool:
        """Whether there is so little that all of it is shown open."""
        return self.findings <= _OPEN

    @property
    def counts(self) -> list[tuple[Mark, int]]:
        """How many models stand how, the worst first."""
        found = Counter(one.mark.word for one in self.shown)
        order = [status.word for status in sorted(Status, reverse=True)] + ["not built"]
        return [(Mark(word), found[word]) for word in order if found[word]]

    @property
    def seconds(self) -> float:
        """Of CPU, for the model in the middle."""
        every = sorted(one.model.seconds for one in self.shown if not one.model.unbuilt)
        return every[len(every) // 2] if every else 0.0


def replayed(example: Counterexample, store: Path | None) -> str:
    """The command that shows a counterexample again; empty where it was not kept."""
    return replay_command(example.id, store) if store is not None and is_kept(example.id, store) else ""


def parted(columns: Sequence[Run]) -> tuple[list[Run], Audits]:
    """The columns without the audits (those that have nothing else are left out), and the audits."""
    others, audited = list[Run](), list[Run]()
    for column in columns:
        record = column.record
        if record is None or not any(verdict.family == FAMILY for verdict in record.verdicts):
            others.append(column)
            continue
        audited.append(column)
        rest = [verdict for verdict in record.verdicts if verdict.family != FAMILY]
        if rest:
            laws = {name: law for name, law in record.laws.items() if law.family != FAMILY}
            others.append(replace(column, record=replace(record, verdicts=rest, laws=laws)))
    return others, Audits(audited)
