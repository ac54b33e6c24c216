"""A run in the terminal: a table of the laws, and each violation as a person would report it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from embcheck.report.grid import grids
from embcheck.report.style import STYLE, console
from embcheck.verdict import Counterexample, Status, Verdict


def summary(session: Any, *, width: int | None = None, colour: bool | None = None) -> None:
    """The laws, then the violations, then the last lines: counts, seed, digest, where the record is."""
    out = console(colour=colour, width=width)
    out.print(law_table(session.settled))
    if session.settings.modes:
        out.print(grids(session.settled, session.absences))
    for example in chosen(session.examples):
        out.print(failure(example, session.store, old=session.in_baseline(example)))
    for verdict in session.settled:
        if verdict.status == Status.UNKNOWN or (verdict.status == Status.VIOLATED and not verdict.counterexamples):
            old = _OLD if verdict.key in session.excused else ""
            further = len(verdict.reasons) - _SHOWN
            more = f" (and {further:,} more of the kind)" if further > 0 else ""
            for reason in verdict.reasons[:_SHOWN]:
                word = (f"{verdict.status.word.upper():9}", STYLE[verdict.status])
                out.print(Text.assemble(word, f" {verdict.law}: {reason}{old}{more}"))
    for note in session.results.notes:
        out.print(Text(f"note: {note}"))
    for line in closing_lines(session):
        out.print(Text(line))


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
            f"{known:,}" if known else "",
            f"{max(ratios):.2f}" if ratios else "exact",
            f"{sum(verdict.seconds for verdict in group):.1f}",
        )
    return table


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


def failure(example: Counterexample, store: Any = None, *, replayable: bool = True, old: bool = False) -> Text:
    """A violation: the law, the smallest case, what came out, how to see it again."""
    where = f"{example.subject} · {', '.join((example.mode, *example.other_modes))} · {example.device}"
    text = Text.assemble(
        "\n", ("VIOLATED  ", STYLE[Status.VIOLATED]), (example.law, "bold"), f"   {where}{_OLD * old}\n"
    )
    lines = [
        ("case", example.case + ("" if not example.first else "   (reduced)")),
        ("got", example.words),
        ("also", ", ".join(example.also)),
        ("replay", f"embcheck replay {example.id}" if replayable else ""),
        ("script", _script_line(example, store) if store else ""),
    ]
    for label, body in lines:
        if body:
            text.append(f"  {label:7} {body}\n")
    return text


def _script_line(example: Counterexample, store: Any) -> str:
    place = f"{store}/{example.id}.py"
    match example.script_confirmed:
        case True:
            imported = "torch only" if example.subject == "torch" else f"torch and {example.subject}"
            return f"{place} (imports {imported}; run: it exits 1)"
        case False:
            return f"{place} (run alone it exits 0: the failure needs what ran before it)"
        case _:
            return f"{place} (not run to its end)"


def violations(verdicts: Iterable[Verdict]) -> str:
    """The violations of one item as plain text, for pytest's own report; empty if there are none."""
    parts = []
    for verdict in verdicts:
        if verdict.status == Status.VIOLATED:
            parts += [failure(example).plain.strip("\n") for example in verdict.counterexamples]
        elif verdict.status == Status.UNKNOWN:
            parts.append(f"UNKNOWN   {verdict.law}: {'; '.join(verdict.reasons)}")
    return "\n".join(parts)


def closing_lines(session: Any) -> list[str]:
    """What a reader looks for at the end."""
    counts: dict[str, int] = {}
    for status in Status:
        laws = {v.law for v in session.settled if v.status == status}
        if laws:
            counts[status.word] = len(laws)
    worst = ", ".join(f"{count} {word}" for word, count in counts.items())
    settings = session.settings
    lines = [
        f"{worst} · {session.results.cases:,} cases · seed {settings.seed} · profile {settings.profile} · "
        f"cases {session.results.digest}"
    ]
    if session.stopped != "finished":
        lines.append(f"the run did not finish: {session.stopped}")
    if session.baseline is not None:
        held = len(session.excused)
        failing = sum(v.status >= Status.UNKNOWN and v.key not in session.excused for v in session.settled)
        lines.append(f"against the baseline: {failing} new, {held} known to it ({session.settings.baseline})")
    if session.writer is not None:
        broken = session.writer.broken
        lines.append(f"record: {session.writer.path}" + (f" is cut off: {broken}" if broken else ""))
    return lines
