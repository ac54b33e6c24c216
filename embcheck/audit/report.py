"""An audit in the terminal: what the model is, how each law stands, and each finding as its author needs it."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from rich.console import Console
from rich.text import Text

from embcheck.core.verdict import Counterexample, Status
from embcheck.record.audited import AS_BUILT, CONFIRMED, Advice, Model
from embcheck.record.store import is_kept, replay_command
from embcheck.record.totals import counted
from embcheck.report.style import STYLE, plain_table

#: Letters of a remark in the table; why the model could not be run is told whole below.
_REMARK = 80


def show(model: Model, out: Console, store: Path, *, whole: bool = True) -> None:
    """Everything about one model; unless ``whole`` only what was found."""
    if whole:
        out.print(Text(f"{model.subject}  {model.description}", style="bold"))
        table = plain_table("law", "verdict", "remark")
        for one in model.judged:
            why = shorten(one.reasons[0], _REMARK, placeholder=" …") if one.status == Status.NOT_APPLICABLE else ""
            variant = "" if one.mode == AS_BUILT else f" ({one.mode})"
            table.add_row(one.law + variant, Text(one.status.word, STYLE[one.status]), why)
        out.print(table)
    for example in model.findings:
        out.print(told(example, store))
    if whole and model.findings:
        out.print()
    for one in model.judged:
        if one.status == Status.UNKNOWN:
            out.print(Text.assemble(("UNKNOWN   ", STYLE[Status.UNKNOWN]), f"{one.law}: {one.reasons[-1]}"))
    for note in model.notes if whole else ():
        out.print(Text.assemble(("note      ", "yellow"), note))


def told(example: Counterexample, store: Path) -> Text:
    """A finding: what is wrong, where, what it does to training, how to repair it, how to see it."""
    advice = Advice.of(example)
    turned = "" if example.mode == AS_BUILT else " · tie_word_embeddings turned round"
    script = f"{store}/{example.id}.py ({CONFIRMED[example.script_confirmed]})"
    head = (example.law, "bold"), f"   {example.subject}{turned}"
    text = Text.assemble("\n", ("VIOLATED  ", STYLE[Status.VIOLATED]), *head)
    for label, body in (
        ("where", example.path or "the model as a whole"),
        ("what", advice.what),
        ("effect", advice.effect),
        ("fix", advice.fix),
        ("also", ", ".join(example.also)),
        *((("replay", replay_command(example.id, store)), ("script", script)) if is_kept(example.id, store) else ()),
    ):
        if body:
            text.append(f"\n  {label:7} {body}")
    return text


def closing(audited: list[Model]) -> str:
    """What a reader looks for at the end."""
    built = [model for model in audited if not model.unbuilt]
    many = len(audited) > 1
    statuses = [verdict.status for model in built for verdict in model.judged]
    unknown = [*statuses, *(m.status for m in audited if m.unbuilt)].count(Status.UNKNOWN)
    found, bad = sum(len(model.findings) for model in built), sum(bool(model.findings) for model in built)
    seconds = sorted(model.seconds for model in built)
    parts = [
        f"{counted(len(built), 'model')}, " * many + counted(len(statuses), "judgement"),
        counted(found, "finding") + f" in {counted(bad, 'model')}" * many,
        f"{unknown} unknown",
        counted(sum(len(model.notes) for model in built), "note"),
    ]
    if seconds:
        parts.append(f"{seconds[len(seconds) // 2]:.1f} s of CPU" + (" a model in the median" if many else ""))
    if len(built) < len(audited):
        parts.append(f"{len(audited) - len(built)} not built")
    return " · ".join(parts)
