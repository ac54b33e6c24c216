"""What changed between two runs, for people: a line for each change, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from embcheck.core.verdict import Status
from embcheck.record.compare import Change, Key, Move, across, cause, differences_of_setup
from embcheck.record.record import Record
from embcheck.record.totals import Totals

#: The heading above the changes of each kind, and how it looks.
_HEADINGS = {
    Move.BROKEN: ("broken", "bold red"),
    Move.UNDECIDED: ("no longer decided", "magenta"),
    Move.KNOWN: ("broken, as the ledger knows", "yellow"),
    Move.FIXED: ("fixed", "green"),
    Move.EASED: ("eased", "green"),
    Move.DECIDED: ("decided", "green"),
    Move.NEW: ("judged in the second alone, not compared", "cyan"),
    Move.GONE: ("judged in the first alone, not compared", "dim"),
    Move.RATIO: ("worst error/bound ratio", "dim"),
}


def show(changes: Sequence[Change], before: Record, after: Record, out: Console) -> None:
    """What they were run on, if that differs, the setup's other differences, the changes under a heading each, and one
    line that counts them."""
    if told := across(before, after):
        out.print(Text(told, "bold"))
    for name, record in (("first", before), ("second", after)):
        if record.shortfall:
            out.print(Text(f"the {name} record is {record.shortfall}", "bold magenta"))
    for told in differences_of_setup(before, after):
        out.print(Text(f"different: {told}", "dim"))
    for line in lines(changes):
        out.print(line)
    out.print(Text(closing(changes)))


def lines(changes: Sequence[Change], trials: Mapping[Key, str] | None = None) -> list[Text]:
    """Each change with its case, under headings; ``trials`` has what the script of a change said."""
    found = []
    for move, group in groupby(changes, lambda change: change.move):
        found.append(Text(*_HEADINGS[move]))
        if move in (Move.NEW, Move.GONE):
            found += _not_compared(list(group))
            continue
        for change in group:
            mode = "" if change.mode == "eager" else f" · {change.mode}"
            found.append(Text.assemble("  ", (change.law, "bold"), f"{mode}   {change.words}"))
            found += [Text(f"      {line}", "dim") for line in evidence(change)]
            if trials and change.key in trials:
                found.append(Text(f"      script: {trials[change.key]}", "dim"))
    return found


def evidence(change: Change) -> list[str]:
    """The case that shows a change for the worse, or that showed what is better now; or the reasons."""
    side = change.before if change.move in (Move.FIXED, Move.EASED) else change.after
    if side is None or change.move in (Move.RATIO, Move.NEW):
        return []
    chosen = [example for example in side.counterexamples if not change.causes or cause(example) in change.causes]
    told = [f"{example.case}   {example.words}" for example in chosen[:2]]
    if not told and change.move in (Move.BROKEN, Move.UNDECIDED):
        told = list(side.reasons[:2])
    return told


def _not_compared(group: list[Change]) -> list[Text]:
    """What one side alone judged: counted, and named where it is not right."""
    judged = [change.before if change.move is Move.GONE else change.after for change in group]
    verdicts = [verdict for verdict in judged if verdict is not None]
    bad = dict.fromkeys(f"{v.law} ({v.mode}): {v.status.word}" for v in verdicts if v.status >= Status.UNKNOWN)
    return [Text(f"  {Totals.of(verdicts)}"), *(Text(f"  {name}") for name in bad)]


def closing(changes: Sequence[Change]) -> str:
    """One line that counts the laws that changed, each once for what happened to it, in however many modes."""
    laws: dict[Move, set[tuple[str, str]]] = {}
    for change in changes:
        laws.setdefault(change.move, set()).add(change.key[:2])
    counted = ", ".join(f"{len(laws[move])} {move.value}" for move in Move if move in laws)
    return f"laws: {counted}" if counted else "no law changed"
