"""The report as one HTML file that works offline: no font, script or picture comes from elsewhere.

Everything that a record says is escaped by the template engine, and the page's own policy lets no script run but the
one whose digest it names: a subject called ``<script>`` is text.
"""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from embcheck import __version__
from embcheck.core.cause import Cause, summed_up
from embcheck.core.claim_record import OTHERWISE, Claimed, chapters
from embcheck.core.facts import grouped
from embcheck.core.shipped_ledger import causes_of, place_of
from embcheck.core.verdict import LEDGER, Counterexample, Statement, Status, Verdict, entry_name
from embcheck.record.compare import Key
from embcheck.record.grid import Grid, Row, Run, Square, Step
from embcheck.record.record import Record
from embcheck.report.changes import evidence
from embcheck.report.failure import wrong_side
from embcheck.report.models import Mark, parted, replayed
from embcheck.report.plot import ENGINES, cases_by_family, ratios, svg

#: The family that has a section of its own, as the ledger has.
CLAIMS = "tutorial_claims"

#: In the place of a plot that can't be drawn.
_NO_PLOTS = "<p>To see the plot, make the page with matplotlib: pip install 'embcheck[report]'.</p>"


class Line(NamedTuple):
    """One verdict among a law's details: where, what, on how many cases."""

    run: str
    mode: str
    mark: Mark
    verdict: Verdict
    store: Path | None


class Shown(NamedTuple):
    """A counterexample with the run that shows it; ``replay`` is empty where it was not kept."""

    run: str
    example: Counterexample
    replay: str = ""

    @property
    def wrong(self) -> str:
        """Which side is wrong, as the terminal says it."""
        return wrong_side(self.example)


#: What came of a script that was run alone.
CONFIRMED = {True: "run alone, it exits 1", False: "run alone, it exits 0: it needs what ran before it", None: ""}


@dataclass(frozen=True)
class Section:
    """A law with all that the runs say of it."""

    grid: Grid
    row: Row
    modes: Sequence[str]

    @property
    def anchor(self) -> str:
        return "law-" + re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self.row.family}-{self.row.law}")

    @property
    def statement(self) -> Statement:
        law = next((v.law for square in self.row.squares for v in square.verdicts.values()), self.row.law)
        return self.grid.statements.get(law, Statement(law, self.row.family, ""))

    @property
    def name(self) -> str:
        return entry_name(self.row.law)

    @property
    def claim(self) -> Claimed | None:
        """What a tutorial says, if the law says what becomes of that."""
        return self.statement.claim

    @property
    def outcome(self) -> str:
        """What came of the claim: the verdict that is stated, or that it is not the one that came out."""
        assert self.claim is not None
        return self.claim.verdict if self.row.quiet else OTHERWISE

    @property
    def verdict(self) -> Mark:
        return Mark(self.outcome)

    @property
    def mark(self) -> Mark:
        return Mark(self.row.status.word if self.row.status is not None else "–")

    @property
    def marks(self) -> list[Mark]:
        """A mark for each run; of a single run, one for each mode."""
        if len(self.row.squares) > 1:
            return [_mark(square) for square in self.row.squares]
        (square,) = self.row.squares
        return [_mark(Square({m: square.verdicts[m]} if m in square.verdicts else {})) for m in self.modes]

    @property
    def subject(self) -> str:
        return next((v.subject for square in self.row.squares for v in square.verdicts.values()), "")

    @property
    def cases(self) -> int:
        return max(square.cases for square in self.row.squares)

    @cached_property
    def lines(self) -> list[Line]:
        return [
            Line(column.name, mode, Mark(verdict.status.word), verdict, column.store)
            for column, square in zip(self.grid.columns, self.row.squares, strict=True)
            for mode, verdict in square.verdicts.items()
        ]

    @property
    def shown(self) -> list[Shown]:
        """The counterexamples, the same case of several modes or runs once."""
        found: dict[tuple[str, str, str], Shown] = {}
        for line in self.lines:
            for example in line.verdict.counterexamples:
                key = (example.law, example.case, example.kind)
                found.setdefault(key, Shown(line.run, example, replayed(example, line.store)))
        return sorted(found.values(), key=lambda shown: len(shown.example.case))

    @cached_property
    def plots(self) -> list[tuple[str, Markup]]:
        """What the law's cases showed, drawn: of the newest run that tells."""
        told = [c.record.figures.get(self.row.law, []) for c in self.grid.columns if c.record is not None]
        figures = next(filter(None, reversed(told)), [])
        drawable = find_spec("matplotlib") is not None
        return [(figure.title, Markup(svg(figure) if drawable else _NO_PLOTS)) for figure in figures]

    @property
    def entries(self) -> dict[str, int]:
        """The ledger's entries that excused cases, with how many."""
        return dict(sum((Counter(line.verdict.entries) for line in self.lines), Counter()))

    @property
    def haystack(self) -> str:
        """What the search looks in where the law's sentence is not shown."""
        said = self.statement
        words = f"{said.claim.id} {said.claim.said}" if said.claim is not None else ""
        return f"{self.row.law} {self.row.family} {said.sentence} {said.source} {self.subject} {words}".lower()


class Group(NamedTuple):
    name: str
    sections: Sequence[Section]


def _by_cause(sections: Sequence[Section]) -> list[tuple[Cause, list[Section]]]:
    """The ledger's entries by their causes, the most severe first, those whose mark is worst first in each."""
    ordered = sorted(sections, key=lambda each: (place_of(each.row.law), -(each.row.status or 0)))
    return list(grouped(ordered, lambda section: causes_of([section.name])[0]).items())


def _marked(counts: Counter[Status]) -> list[tuple[Mark, int]]:
    return [(Mark(status.word), counts[status]) for status in sorted(counts, reverse=True)]


def _mark(square: Square) -> Mark:
    told = "; ".join(f"{mode}: {v.status.word}, {v.cases:,} cases" for mode, v in square.verdicts.items())
    return Mark(square.word, told, ", ".join(square.modes))


def render(
    columns: Sequence[Run], trials: Mapping[int, Mapping[Key, str]] | None = None, title: str = "embcheck"
) -> str:
    """The page about some runs; ``trials`` has what the scripts of each step's changes said.

    Audits of models have a section of their own, and a comparison of their own where there are several.
    """
    others, audits = parted(columns)
    grid = Grid(others)
    modes = list(dict.fromkeys(mode for row in grid.rows for square in row.squares for mode in square.verdicts))
    sections = [Section(grid, row, modes) for row in grid.rows]
    families = dict.fromkeys(section.row.family for section in sections)
    groups = [Group(family, [s for s in sections if s.row.family == family]) for family in families if family != LEDGER]
    failing = [s for s in sections if s.row.status is not None and s.row.status >= Status.UNKNOWN]
    resting = _kept(groups, lambda section: section not in failing)
    ledger = [section for section in sections if section.row.family == LEDGER]
    bars, exact = ratios(grid)
    own = files("embcheck.report")
    style, script = (own.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    template = Environment(
        loader=PackageLoader("embcheck", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")
    return template.render(
        title=title,
        version=__version__,
        columns=columns,
        grid=grid,
        audits=audits,
        heads=[column.name for column in others] if len(others) > 1 else modes,
        single=len(others) == 1,
        counts=_marked(grid.totals.laws),
        witnesses=_marked(grid.totals.witnesses),
        laws=_kept(resting, lambda section: section.claim is None and section.row.family != CLAIMS),
        grid_rows=_kept(groups, lambda section: not section.row.quiet),
        quiet=sum(section.row.quiet for group in groups for section in group.sections),
        witnessed=len(ledger),
        known=summed_up(grid.totals.causes),
        findings=_by_cause(ledger),
        tutorials=chapters(sections, lambda section: section.claim, lambda section: section.outcome),
        mark=Mark,
        confirmed=CONFIRMED,
        claims=_kept(resting, lambda section: section.claim is None and section.row.family == CLAIMS),
        failing=sorted(failing, key=lambda section: (section.row.family == LEDGER, -(section.row.status or 0))),
        steps=[steps_of(step, (trials or {}).get(number, {})) for number, step in enumerate(grid.steps)]
        + [steps_of(step, {}) for step in Grid(audits.columns).steps],
        chart=cases_by_family(grid),
        engines=ENGINES[:-1],
        ratios=bars,
        exact=exact,
        style=style,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _kept(groups: Sequence[Group], wanted: Callable[[Section], bool]) -> list[Group]:
    """The groups with some of their sections, where there are any."""
    kept = [Group(group.name, [section for section in group.sections if wanted(section)]) for group in groups]
    return [group for group in kept if group.sections]


def steps_of(step: Step, trials: Mapping[Key, str]) -> dict[str, object]:
    """A step's changes by what happened, with the evidence of each."""
    moves = [
        (move, [(change, evidence(change), trials.get(change.key, "")) for change in changes])
        for move, changes in grouped(step.changes, lambda change: change.move).items()
    ]
    return {"before": step.before.name, "after": step.after.name, "moves": moves}


def of_record(record: Record, name: str = "", store: Path | None = None) -> Run:
    """A record as a column, named after its torch; ``store`` has its failures."""
    return Run(name or f"torch {record.torch}", record, store=store)
