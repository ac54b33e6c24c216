"""A run in the terminal: one screen by default, a row for each law with ``-v``, for each witness too with ``-vv``.

With ``-q`` there are the failures and the last line alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from embcheck.core.accounting import told_by_reason
from embcheck.core.facts import first_of, grouped
from embcheck.core.ledger import SEEMS_FIXED
from embcheck.core.machine import Machine
from embcheck.core.verdict import LEDGER, STALE, Counterexample, Statement, Status, Verdict, entry_name
from embcheck.record.compare import across
from embcheck.record.record import PAGE
from embcheck.record.totals import Totals, counted, verdict_line
from embcheck.report.failure import NO_LAWS, OLD, SHOWN, chosen, further, lines, more_of, more_reasons
from embcheck.report.screen import cost_table, family_costs, family_table, grids, slowest_line
from embcheck.report.style import STYLE, console, plain_table

#: Entries of the ledger that one line names, and families that were not judged whole.
_ENTRIES, _CUT = 6, 6


def summary(session: Any, out: Console | None = None, *, verbosity: int = 0, headed: bool = False) -> None:
    """What came of a run; ``headed`` if the machine's line was printed before."""
    out = out or console()
    if verbosity >= 0:
        if session.baseline is not None and (told := across(session.baseline.record, session.record)):
            out.print(Text(f"against the baseline: {told}", "bold"))
        for told in machine_lines(session)[headed:]:
            out.print(Text(told))
        _tables(session, out, verbosity)
    shown, others, rest = chosen(session.examples)
    body = [failure(example, session.store, session.record.laws) for example in shown]
    body += [Text()] if shown else []
    body += map(Text, [further(example, session.store) for example in others] + more_of(rest, session.store))
    body += undecided(session.settled, session.excused) + seem_fixed(session.settled, every=verbosity > 0)
    body += [Text(f"note: {note}") for note in session.results.notes]
    if verbosity >= 0:
        slowest = slowest_line(session.settled, session.results.verdicts)
        body += map(Text, filter(None, [slowest, *closing_lines(session)]))
    for line in body:
        out.print(line)
    out.print(Text(verdict_line(session.code, session.because), "bold"))


def machine_lines(session: Any) -> list[str]:
    """What the machine proved to use, and at which further CPU level a part was judged, or why at none."""
    asked = session.record.header.get("levels", {})
    levels = session.levels or {name: words for name, words in asked.items() if words.startswith("not applicable")}
    return [
        f"machine: {session.machine or Machine.of(session.record.header['machine'])}",
        *(f"CPU level {name}: {words}" for name, words in levels.items()),
    ]


def _tables(session: Any, out: Console, verbosity: int) -> None:
    """The families; of more modes than usual what each cost; the laws and the grids, if they were asked for."""
    if any(verdict.family != LEDGER for verdict in session.settled):
        out.print(family_table(session.settled, session.results.verdicts, out.width))
    if verbosity > 0:
        shown = [verdict for verdict in session.settled if verdict.family != LEDGER or verbosity > 1]
        out.print(law_table(shown))
        out.print(family_costs(session.settled, session.results.verdicts))
    if session.settings.modes:
        own = [verdict for verdict in session.settled if verdict.family != LEDGER]
        out.print(grids(own, session.absences) if verbosity > 0 else cost_table(own))


#: Modes that a law's row names.
_NAMED = 4


def law_table(verdicts: Iterable[Verdict]) -> Table:
    """A row for each law: its status over all modes, the cases of all engines, the worst error/bound ratio; below it the
    ledger entries that excuse cases of it."""
    table = plain_table("law", "verdict", "modes", numbers=("cases", "known", "worst", "s"))
    for law, group in grouped(verdicts, lambda verdict: verdict.law).items():
        status = max(verdict.status for verdict in group)
        ratios = [verdict.worst for verdict in group if verdict.worst is not None]
        judged = [verdict for verdict in group if verdict.cases]
        named = list(dict.fromkeys(verdict.mode for verdict in judged or group))
        modes = ", ".join(named) if len(named) <= _NAMED else f"{len(named)} modes"
        known, cases = sum(verdict.known for verdict in group), sum(verdict.cases for verdict in group)
        table.add_row(
            law,
            Text(status.word, STYLE[status]),
            modes,
            f"{cases:,}",
            # How many cases the ledger excuses, and which share of the law's that is if it is more than a tenth.
            f"{known:,} ({known / cases:.0%})" if 0 < cases < 10 * known else f"{known:,}" if known else "",
            f"{max(ratios):.2f}" if ratios else "exact",
            f"{sum(verdict.seconds for verdict in group):.1f}",
        )
        for name, count in sum((Counter(verdict.entries) for verdict in group), Counter()).items():
            table.add_row(Text(f"  {name}", "dim"), "", "", "", f"{count:,}")
    return table


def failure(example: Counterexample, store: Path | None = None, laws: Mapping[str, Statement] = NO_LAWS) -> Text:
    """A violation: its law, the smallest case, what came out, how to see it again if it is kept in ``store``."""
    head, *told = lines(example, store, laws)
    word, _, _ = head.partition("  ")
    where = head.removeprefix(f"{word}  {example.law}")
    coloured = (f"{word}  ", STYLE[Status.VIOLATED]), (example.law, "bold")
    return Text.assemble("\n", *coloured, "\n".join([where, *told]))


def undecided(settled: Iterable[Verdict], excused: Iterable[Any] = ()) -> list[Text]:
    """What is unknown, or violated without a case that shows it: each law with its first reasons; and stale entries."""
    told = []
    for verdict in settled:
        if verdict.status == Status.UNKNOWN or (verdict.status == Status.VIOLATED and not verdict.counterexamples):
            old = OLD if verdict.key in excused else ""
            more = more_reasons(verdict)
            for why in verdict.reasons[:SHOWN]:
                word = "STALE" if why.startswith(STALE) else verdict.status.word.upper()
                line = f" {verdict.law}: {why.removeprefix(STALE)}{old}{more}"
                told.append(Text.assemble((f"{word:9}", STYLE[verdict.status]), line))
    return told


def seem_fixed(settled: Iterable[Verdict], *, every: bool) -> list[Text]:
    """The entries of the ledger whose witness passes where it was never measured: ``every`` one with its reason, or one
    line that names some."""
    found = [
        (verdict.law, reason)
        for verdict in settled
        for reason in verdict.reasons
        if verdict.family == LEDGER and reason.startswith(SEEMS_FIXED)
    ]
    word = ("HOLDS    ", STYLE[Status.HOLDS])
    if every or len(found) == 1:
        return [Text.assemble(word, f" {law}: {reason}") for law, reason in found]
    names = first_of([entry_name(law) for law, _ in found], _ENTRIES)
    return [Text.assemble(word, f" {len(found):,} ledger entries seem fixed here (-v): {names}")] if found else []


def closing_lines(session: Any) -> list[str]:
    """What a reader looks for at the end, but for the verdict."""
    settings = session.settings
    lines = [
        f"{Totals.of(session.settled)} · {session.results.cases:,} cases · seed {settings.seed} · profile {settings.profile} · "
        f"cases {session.results.digest}"
    ]
    if session.stopped != "finished":
        cut = [f"{family} ({ran:,} of {of:,} items ran)" for family, (ran, of) in session.account.cut_short().items()]
        partly = f"; not judged whole: {first_of(cut, _CUT)}" if cut else ""
        lines.append(f"the run did not finish: {session.stopped}{partly}")
    lines += [f"no verdict from {line}" for line in told_by_reason(session.unaccounted)]
    if session.baseline is not None:
        failing = {v.key[:2] for v in session.settled if v.status >= Status.UNKNOWN and v.key not in session.excused}
        held = {key[:2] for key in session.excused} - failing
        lines.append(
            f"against the baseline: {counted(len(failing))} new or undecided, {counted(len(held))} violated on its very cases "
            f"only ({session.settings.baseline})"
        )
    if session.writer.writes:
        page = session.writer.path.with_name(PAGE)
        lines += [session.writer.place, *([f"page: {page}"] if page.is_file() else [])]
    return lines
