"""An audit in the terminal: what the model is, how each law stands, and each finding as its author needs it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from embcheck.audit.causes import Cause
from embcheck.audit.finding import FLIPPED
from embcheck.audit.session import Audit, status
from embcheck.core.verdict import Status
from embcheck.record.audited import Model
from embcheck.record.store import replay_command
from embcheck.report.style import STYLE, plain_table


def show(audit: Audit, out: Console, store: Path, *, table: bool = True) -> None:
    """Everything about one model; without ``table`` only what was found."""
    if table:
        out.print(Text(title(audit), style="bold"))
        out.print(law_table(audit))
    for cause in audit.roots:
        out.print(told(audit, cause, store))
    for one in audit.judged:
        if one.failure:
            out.print(Text.assemble(("UNKNOWN   ", STYLE[Status.UNKNOWN]), f"{one.law}: {one.failure}"))
    if table:
        for note in notes(audit):
            out.print(Text.assemble(("note      ", "yellow"), note))


def title(audit: Audit) -> str:
    """The model in one line, with the name that it was asked for by."""
    return f"{audit.subject}  {audit.description}"


def law_table(audit: Audit) -> Table:
    table = plain_table("law", "verdict")
    table.add_column("remark")
    for one in audit.judged:
        standing = status(one)
        name = one.law + (f" ({_turned(audit)})" if one.variant == FLIPPED else "")
        table.add_row(name, Text(standing.word, STYLE[standing]), one.reason)
    return table


def _turned(audit: Audit) -> str:
    return "untied" if audit.facts["expected"] == "tied" else "tied"


def told(audit: Audit, cause: Cause, store: Path) -> Text:
    """A finding: what is wrong, where, what it does to training, how to repair it, how to see it."""
    finding = cause.finding
    turned = f" · {_turned(audit)} (tie_word_embeddings turned round)" if cause.variant == FLIPPED else ""
    text = Text.assemble(
        "\n", ("VIOLATED  ", STYLE[Status.VIOLATED]), (cause.law, "bold"), f"   {audit.subject}{turned}\n"
    )
    checked = {True: "run: it exits 1", False: "run alone it exits 0", None: "not confirmed"}[finding.confirmed]
    for label, body in (
        ("where", finding.where or "the model as a whole"),
        ("what", finding.words),
        ("effect", finding.effect),
        ("fix", finding.remedy),
        ("also", ", ".join(cause.also)),
        ("replay", replay_command(audit.id_of(cause), store)),
        ("script", f"{store}/{audit.id_of(cause)}.py ({checked})"),
    ):
        if body:
            text.append(f"  {label:7} {body}\n")
    return text


def notes(audit: Audit) -> list[str]:
    """The notes of all laws, each once."""
    return list(dict.fromkeys(note for one in audit.judged for note in one.notes))


def closing(audited: list[Model]) -> str:
    """What a reader looks for at the end."""
    built = [model for model in audited if not model.unbuilt]
    many = len(audited) > 1
    found = sum(len(model.findings) for model in built)
    bad = sum(bool(model.findings) for model in built)
    unknown = sum(verdict.status == Status.UNKNOWN for model in built for verdict in model.judged)
    unknown += sum(model.status == Status.UNKNOWN for model in audited if model.unbuilt)
    laws = sum(len(model.judged) for model in built)
    seconds = sorted(model.seconds for model in built)
    parts = [
        f"{len(built)} models, {laws} judgements" if many else f"{laws} judgements",
        f"{found} findings" + (f" in {bad} models" if many else ""),
        f"{unknown} unknown",
        f"{sum(len(model.notes) for model in built)} notes",
    ]
    if seconds:
        parts.append(f"{seconds[len(seconds) // 2]:.1f} s of CPU" + (" a model in the median" if many else ""))
    if len(built) < len(audited):
        parts.append(f"{len(audited) - len(built)} not built")
    return " · ".join(parts)
