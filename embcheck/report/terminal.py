"""A run in the terminal: a table of the laws, and each violation as a person would report it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from embcheck.accounting import told_by_reason
from embcheck.ledger import SEEMS_FIXED
from embcheck.machine import Machine
from embcheck.records.compare import across
from embcheck.records.store import replay_command
from embcheck.records.totals import LEDGER, Totals, counted
from embcheck.report.grid import grids
from embcheck.report.style import STYLE, console
from embcheck.verdict import Counterexample, Status, Verdict


def summary(session: Any, *, width: int | None = None, colour: bool | None = None) -> None:
    """The laws, then the violations, then the last lines: counts, seed, digest, where the record is."""
    out = console(colour=colour, width=width)
    if session.baseline is not None and (told := across(session.baseline.record, session.record)):
        out.print(Text(f"against the baseline: {told}", "bold"))
    out.print(Text(f"machine: {session.machine or Machine.of(session.record.header['machine'])}"))
    for name, words in (session.levels or session.record.header.get("levels", {})).items():
        out.print(Text(f"CPU level {name}: {words}"))
    out.print(law_table(session.settled))
    if session.settings.modes:
        out.print(grids(session.settled, session.absences))
    for example in chosen(session.examples):
        out.print(failure(example, session.store))
    for verdict in session.settled:
        if verdict.status == Status.UNKNOWN or (verdict.status == Status.VIOLATED and not verdict.counterexamples):
            old = _OLD if verdict.key in session.excused else ""
            further = len(verdict.reasons) - _SHOWN
            more = f" (and {further:,} more of the kind)" if further > 0 else ""
            for reason in verdict.reasons[:_SHOWN]:
                word = (f"{verdict.status.word.upper():9}", STYLE[verdict.status])
                out.print(Text.assemble(word, f" {verdict.law}: {reason}{old}{more}"))
    for verdict in session.settled:
        for reason in verdict.reasons:
            if verdict.family == LEDGER and reason.startswith(SEEMS_FIXED):
                out.print(Text.assemble(("HOLDS    ", STYLE[Status.HOLDS]), f" {verdict.law}: {reason}"))
    for note in session.results.notes:
        out.print(Text(f"note: {note}"))
    for line in closing_lines(session):
        out.print(Text(line))


def opening_line(session: Any) -> str:
    """What is run, on what; what the machine proves to use is known once a case was judged, and is in the summary."""
    settings, header = session.settings, session.record.header
    embcheck, torch = (f"{name} {header['versions'][name]}" for name in ("embcheck", "torch"))
    return f"{embcheck} · {torch} · {Machine.of(header['machine'])} · {settings.profile} · seed {settings.seed}"


#: Modes that a law's row names.
_NAMED = 4


def law_table(verdicts: Iterable[Verdict]) -> Table:
    """A row for each law: its status over all modes, the cases of each engine, the worst error/bound ratio."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("law", "verdict", "modes"):
        table.add_column(name, no_wrap=True)
    for name in ("cases", "known", "worst", "s"):
        table.add_column(name, justify="right", no_wrap=True)
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.law, []).append(verdict)
    for law, group in rows.items():
        status = max(verdict.status for verdict in group)
        ratios = [verdict.worst for verdict in group if verdict.worst is not None]
        named = list(dict.fromkeys(verdict.mode for verdict in group))
        modes = ", ".join(named) if len(named) <= _NAMED else f"{len(named)} modes"
        known = sum(verdict.known for verdict in group)
        table.add_row(
            law,
            Text(status.word, STYLE[status]),
            modes,
            f"{sum(verdict.cases for verdict in group):,}",
            _share(known, sum(verdict.cases for verdict in group)),
            f"{max(ratios):.2f}" if ratios else "exact",
            f"{sum(verdict.seconds for verdict in group):.1f}",
        )
    return table


def _share(known: int, cases: int) -> str:
    """How many cases the ledger excuses, and which share of the law's that is if it is more than a tenth."""
    return f"{known:,} ({known / cases:.0%})" if 0 < cases < 10 * known else f"{known:,}" if known else ""


#: Kinds of difference, or reasons, of one law that are shown; the record and the store have all.
_SHOWN = 2


def chosen(examples: Iterable[Counterexample]) -> list[Counterexample]:
    """The examples to show: of each law the ones with the shortest cases."""
    by_law: dict[str, list[Counterexample]] = {}
    for example in examples:
        by_law.setdefault(example.law, []).append(example)
    return [example for group in by_law.values() for example in sorted(group, key=lambda e: len(e.case))[:_SHOWN]]


#: Said of what fails in the baseline as well.
_OLD = "   (in the baseline too)"


def failure(example: Counterexample, store: Path | None = None, *, tried: bool = True) -> Text:
    """A violation: the law, the smallest case, what came out, how to see it again if it is kept in ``store``.

    The script is named once it was ``tried``.
    """
    where = f"{example.subject} · {', '.join((example.mode, *example.other_modes))} · {example.device}"
    text = Text.assemble(
        "\n", ("VIOLATED  ", STYLE[Status.VIOLATED]), (example.law, "bold"), f"   {where}{_OLD * example.in_baseline}\n"
    )
    lines = [
        ("case", example.case + ("" if not example.first else "   (reduced)")),
        ("got", example.words),
        ("also", ", ".join(example.also)),
        ("replay", replay_command(example.id, store) if store else ""),
        ("script", _script_line(example, store) if store and tried else ""),
    ]
    for label, body in lines:
        if body:
            text.append(f"  {label:7} {body}\n")
    return text


def _script_line(example: Counterexample, store: Path) -> str:
    place = f"{store}/{example.id}.py"
    match example.script_confirmed:
        case True:
            imported = "torch only" if example.subject == "torch" else f"torch and {example.subject}"
            return f"{place} (imports {imported}; run: it exits 1)"
        case False:
            return f"{place} (run alone it exits 0: the failure needs what ran before it)"
        case _:
            return f"{place} (not confirmed: not run, or its status is neither 0 nor 1)"


def violations(verdicts: Iterable[Verdict], store: Path) -> str:
    """The violations of one item as plain text, for pytest's own report; empty if there are none."""
    parts = []
    for verdict in verdicts:
        if verdict.status == Status.VIOLATED:
            parts += [failure(example, store, tried=False).plain.strip("\n") for example in verdict.counterexamples]
        elif verdict.status == Status.UNKNOWN:
            parts.append(f"UNKNOWN   {verdict.law}: {'; '.join(verdict.reasons)}")
    return "\n".join(parts)


def closing_lines(session: Any) -> list[str]:
    """What a reader looks for at the end."""
    settings = session.settings
    lines = [
        f"{Totals.of(session.settled)} · {session.results.cases:,} cases · seed {settings.seed} · profile {settings.profile} · "
        f"cases {session.results.digest}"
    ]
    if session.stopped != "finished":
        lines.append(f"the run did not finish: {session.stopped}")
    lines += [f"no verdict from {line}" for line in told_by_reason(session.unaccounted)]
    if session.baseline is not None:
        failing = {v.key[:2] for v in session.settled if v.status >= Status.UNKNOWN and v.key not in session.excused}
        held = {key[:2] for key in session.excused} - failing
        lines.append(
            f"against the baseline: {counted(len(failing))} new or undecided, {counted(len(held))} violated on its very cases "
            f"only ({session.settings.baseline})"
        )
    if session.writer is not None:
        broken = session.writer.broken
        lines.append(f"record: {session.writer.path}" + (f" is cut off: {broken}" if broken else ""))
    return lines
