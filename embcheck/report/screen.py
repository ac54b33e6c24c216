"""A run on one screen: what was run on what, a line for each core family, one for all others, and the slowest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from embcheck.core.shipped_ledger import causes_of
from embcheck.core.tiers import CORE
from embcheck.core.verdict import Status, Verdict
from embcheck.record.totals import counted, shares, told
from embcheck.report.style import STYLE, plain_table

#: So many families beyond the core have a line each; more of them have one together.
_EACH = 4
#: The families that are named as the slowest.
_SLOWEST = 5


def opening_line(session: Any) -> str:
    """What is run, with which settings; the machine has a line of its own once a process has proved it."""
    settings, header = session.settings, session.record.header
    versions = [f"{name} {header['versions'][name]}" for name in ("embcheck", "torch", "hypothesis")]
    chosen = {"subject": settings.subject, "modes": settings.modes, "shard": settings.shard}
    asked = [f"{name} {value}" for name, value in chosen.items() if value]
    workers = getattr(session.config.option, "numprocesses", None)
    told = [settings.profile, f"seed {settings.seed}", *asked, *([counted(workers, "worker")] if workers else [])]
    return " · ".join(versions + told)


class Row(NamedTuple):
    """What a report says of one family, or of all beyond the core together; ``worst`` is how its worst law stands."""

    family: str
    laws: str
    verdicts: str
    cases: str
    known: str
    worst: Status


#: What stands above the columns of a row.
HEADINGS = ("family", "laws", "verdicts", "cases", "known causes")


def family_rows(settled: Sequence[Verdict], judged: Iterable[Verdict]) -> list[Row]:
    """A row for each core family, and one for all others if they are more than a few."""
    found = shares(settled, judged)
    named = [(name, found[name]) for name in CORE if name in found]
    extended = [(name, found[name]) for name in sorted(found) if name not in CORE]
    if len(extended) > _EACH:
        extended = [(f"extended ({len(extended)} families)", reduce(add, (share for _, share in extended)))]
    failing = {verdict.family for verdict in settled if verdict.status >= Status.UNKNOWN}
    rows = []
    for name, share in named + extended:
        where = [family for family in share.families if family in failing] if len(share.families) > 1 else []
        verdicts = told(share.laws) + (f" (in {', '.join(where)})" if where else "")
        known = f"{len(causes_of(share.entries)):,}" if share.entries else ""
        worst = max(share.laws, default=Status.NOT_APPLICABLE)
        rows.append(Row(name, f"{sum(share.laws.values()):,}", verdicts, f"{share.cases:,}", known, worst))
    return rows


def family_table(settled: Sequence[Verdict], judged: Iterable[Verdict]) -> Table:
    """The rows of the families as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEADINGS:
        left = name in ("family", "verdicts")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "verdicts")
    for row in family_rows(settled, judged):
        verdicts = Text(row.verdicts, STYLE[row.worst] if row.worst >= Status.UNKNOWN else "")
        table.add_row(row.family, row.laws, verdicts, row.cases, row.known)
    return table


def slowest_line(settled: Iterable[Verdict], judged: Iterable[Verdict]) -> str:
    """The families that took most of the workers' time."""
    by_time = sorted(shares(settled, judged).values(), key=lambda share: -share.seconds)[:_SLOWEST]
    return f"slowest: {', '.join(f'{each.families[0]} {each.seconds:.1f} s' for each in by_time)}" if by_time else ""


def cost_table(settled: Iterable[Verdict], judged: Iterable[Verdict]) -> Table:
    """What each family cost, the dearest first."""
    table = plain_table("family", numbers=("laws", "cases", "s", "ms/case"), title="cost of each family")
    for share in sorted(shares(settled, judged).values(), key=lambda share: -share.seconds):
        each = f"{share.seconds / share.cases * 1e3:.2f}" if share.cases else ""
        laws = f"{sum(share.laws.values()):,}"
        table.add_row(share.families[0], laws, f"{share.cases:,}", f"{share.seconds:.1f}", each)
    return table
