"""A run on one screen: what was run on what, a line for each core family, one for all others, and the slowest; and the grids
of laws × modes."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from embcheck.core.facts import grouped
from embcheck.core.shipped_ledger import causes_of
from embcheck.core.tiers import CORE
from embcheck.core.verdict import LEDGER, Status, Verdict
from embcheck.record.totals import Totals, counted, shares, told
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
#: Of a terminal that has room for all of them.
_WHOLE = 70


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


def family_table(settled: Sequence[Verdict], judged: Iterable[Verdict], width: int) -> Table:
    """The rows; where there is no room for all columns the numbers go first, so that a verdict is not cut."""
    rows = family_rows(settled, judged)
    widest = max((len(word) for row in rows for word in row.verdicts.split()), default=None)
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [0, 1, 2, 3, 4] if width >= _WHOLE else [0, 2]
    for place in shown:
        if HEADINGS[place] == "verdicts":
            table.add_column(HEADINGS[place], min_width=widest)
        else:
            table.add_column(HEADINGS[place], justify="right" if place else "left", no_wrap=True)
    for row in rows:
        verdicts = Text(row.verdicts, STYLE[row.worst] if row.worst >= Status.UNKNOWN else "")
        cells = row.family, row.laws, verdicts, row.cases, row.known
        table.add_row(*(cells[place] for place in shown))
    return table


def slowest_line(settled: Iterable[Verdict], judged: Iterable[Verdict]) -> str:
    """The families that took most of the workers' time."""
    by_time = sorted(shares(settled, judged).values(), key=lambda share: -share.seconds)[:_SLOWEST]
    return f"slowest: {', '.join(f'{each.families[0]} {each.seconds:.1f} s' for each in by_time)}" if by_time else ""


def family_costs(settled: Iterable[Verdict], judged: Iterable[Verdict]) -> Table:
    """What each family cost, the dearest first."""
    table = plain_table("family", numbers=("laws", "cases", "s", "ms/case"), title="cost of each family")
    for share in sorted(shares(settled, judged).values(), key=lambda share: -share.seconds):
        each = f"{share.seconds / share.cases * 1e3:.2f}" if share.cases else ""
        laws = f"{sum(share.laws.values()):,}"
        table.add_row(share.families[0], laws, f"{share.cases:,}", f"{share.seconds:.1f}", each)
    return table


# -- law × mode: a grid for each family, with no cell left out, and what each mode costs --------------------------------


#: A status in a cell.
_CELLS = {
    Status.NOT_APPLICABLE: "n/a",
    Status.HOLDS: "holds",
    Status.KNOWN: "known",
    Status.UNKNOWN: "unkn.",
    Status.VIOLATED: "VIOL.",
}


def costs(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], tuple[int, float]]:
    """For each family and mode: how many cases were judged, in how many seconds."""
    groups = grouped(verdicts, lambda verdict: (verdict.family, verdict.mode))
    return {key: (max(v.cases for v in group), sum(v.seconds for v in group)) for key, group in groups.items()}


def costs_and_absences(
    verdicts: Iterable[Verdict], absences: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """For each family: what each mode cost, and the modes that it has not."""
    found: dict[str, dict[str, Any]] = {}
    for (family, mode), (cases, seconds) in costs(verdicts).items():
        found.setdefault(family, {})[mode] = {"cases": cases, "seconds": round(seconds, 2)}
    for family, reasons in absences.items():
        found.setdefault(family, {}).update({mode: {"absent": reason} for mode, reason in reasons.items()})
    return found


def grids(verdicts: Iterable[Verdict], absences: Mapping[str, Mapping[str, str]]) -> Group:
    """Every family's grid, and every mode's cost over all families."""
    settled = [verdict for verdict in verdicts if verdict.family != LEDGER]
    parts: list[Any] = []
    for family, own in grouped(settled, lambda verdict: verdict.family).items():
        parts += [*grid(family, own, absences.get(family, {})), Text("")]
    return Group(*parts, cost_table(settled))


def grid(family: str, verdicts: list[Verdict], absences: Mapping[str, str]) -> list[Any]:
    """A row for each mode, a column for each law; then the reasons of what is not applicable."""
    laws = list(dict.fromkeys(verdict.law for verdict in verdicts))
    modes = grouped(verdicts, lambda verdict: verdict.mode)
    rows = {mode: {verdict.law: verdict for verdict in own} for mode, own in modes.items()}
    spent = costs(verdicts)
    table = plain_table("mode", title=f"{family}: law × mode")
    for number in range(1, len(laws) + 1):
        table.add_column(str(number), justify="center", no_wrap=True)
    table.add_column("cases", justify="right")
    table.add_column("s", justify="right")
    for mode, row in rows.items():
        cases, seconds = spent[family, mode]
        # A family's own modes have no verdict for laws that speak of others.
        stand = [row[law].status if law in row else Status.NOT_APPLICABLE for law in laws]
        cells = (Text(_CELLS[status], STYLE[status]) for status in stand)
        table.add_row(mode, *cells, f"{cases:,}", f"{seconds:.1f}")
    names = Text(", ".join(f"{number} {law}" for number, law in enumerate(laws, 1)), "dim")
    left_out = grouped(absences, lambda mode: absences[mode])
    without = [Text(f"without {', '.join(modes)}: {reason}", "dim") for reason, modes in left_out.items()]
    return [table, names, *_reasons(rows), *without]


def _reasons(rows: Mapping[str, Mapping[str, Verdict]]) -> list[Text]:
    """Why something is not applicable: each reason once, with the modes that give it."""
    modes: dict[str, list[str]] = {}
    for mode, row in rows.items():
        for reason in dict.fromkeys(r for verdict in row.values() for r in verdict.reasons):
            words, applies, _ = reason.rpartition(" (") if reason.endswith(" cases)") else (reason, "", "")
            words = (words if applies else reason).removeprefix("not applicable: ")
            if reason.startswith("not applicable: ") and mode not in modes.setdefault(words, []):
                modes[words].append(mode)
    return [Text(f"n/a in {', '.join(names)}: {words}", "dim") for words, names in modes.items()]


def cost_table(verdicts: Iterable[Verdict]) -> Table:
    """What each mode cost over all families, and how many laws stand how in it."""
    table = plain_table("mode", numbers=("families", "cases", "s", "ms/case"), title="cost of each mode")
    table.add_column("laws", no_wrap=True)
    verdicts = list(verdicts)
    for mode, each in grouped(costs(verdicts).items(), lambda item: item[0][1]).items():
        cases, seconds = (sum(spent[place] for _, spent in each) for place in (0, 1))
        per_case = f"{seconds / cases * 1e3:.2f}" if cases else ""
        stand = told(Totals.of(verdict for verdict in verdicts if verdict.mode == mode).laws)
        table.add_row(mode, str(len(each)), f"{cases:,}", f"{seconds:.1f}", per_case, stand)
    return table
