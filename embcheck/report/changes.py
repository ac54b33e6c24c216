"""What changed between two runs, for people: a line for each change, the worst first; and the grid of
laws × releases, or × CPU levels."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from embcheck.core.verdict import LEDGER, Status
from embcheck.record.compare import Change, Key, Move, across, cause, differences_of_setup
from embcheck.record.grid import Grid, Square
from embcheck.record.record import Record
from embcheck.record.totals import Totals
from embcheck.report.style import STYLE

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
    Move.OTHER_CASES: ("known in one alone, which was given other cases (profile, seed)", "dim"),
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
    return told or (list(side.reasons[:2]) if change.move.bad else [])


def _not_compared(group: list[Change]) -> list[Text]:
    """What one side alone judged: counted, with the modes in which it did, and named where it is not right."""
    verdicts = list(filter(None, (change.before if change.move is Move.GONE else change.after for change in group)))
    bad = dict.fromkeys(f"{v.law} ({v.mode}): {v.status.word}" for v in verdicts if v.status >= Status.UNKNOWN)
    modes = list(dict.fromkeys(verdict.mode for verdict in verdicts))
    where = f"   (in {', '.join(modes)})" if modes != ["eager"] else ""
    return [Text(f"  {Totals.of(verdicts)}{where}"), *(Text(f"  {name}") for name in bad)]


def closing(changes: Sequence[Change]) -> str:
    """One line that counts the laws that changed, each once for what happened to it, in however many modes, and the witnesses."""
    found: dict[str, dict[Move, set[tuple[str, str]]]] = {"laws": {}, "witnesses of the ledger": {}}
    for change in changes:
        (verdict, *_) = (each for each in (change.before, change.after) if each is not None)
        what = "laws" if verdict.family != LEDGER else "witnesses of the ledger"
        found[what].setdefault(change.move, set()).add(change.key[:2])
    told = [
        f"{what}: " + ", ".join(f"{len(moved[move])} {move.value}" for move in Move if move in moved)
        for what, moved in found.items()
        if moved
    ]
    return " · ".join(told) or "no law changed"


# -- the grid of laws × releases ----------------------------------------------------------------------------------------


def show_grid(grid: Grid, out: Console, *, every: bool = False, trials: Mapping[int, Mapping[Key, str]]) -> None:
    """The grid, without the laws that hold everywhere unless ``every`` one is asked for; then the steps.

    ``trials`` has, for each step, what the scripts of its changes said.
    """
    out.print(table(grid, every=every))
    quiet = sum(row.quiet for row in grid.rows if row.family != LEDGER)
    if quiet and not every:
        out.print(Text(f"{quiet} laws more hold in every release (--all shows them)", "dim"))
    for column in grid.columns:
        if lacking := column.problem or (column.record.shortfall if column.record is not None else ""):
            out.print(Text.assemble((f"{column.name}  ", "bold"), (lacking, "magenta")))
    for number, step in enumerate(grid.steps):
        out.print(Text(f"\n{step.before.name} → {step.after.name}: {closing(step.changes)}", "bold"))
        if step.before.record is not None and step.after.record is not None:
            out.print(Text(across(step.before.record, step.after.record), "dim"))
        for line in lines(step.changes, trials.get(number, {})):
            out.print(line)


def table(grid: Grid, *, every: bool) -> Table:
    """A row for each law, a column for each release, a last row that counts."""
    found = Table(box=None, pad_edge=False, header_style="bold", show_footer=True, footer_style="dim")
    found.add_column("law", no_wrap=True, footer="cases")
    for column, verdicts in zip(grid.columns, grid.settled, strict=True):
        cases = (column.record.footer or {}).get("cases", 0) if column.record is not None else 0
        found.add_column(column.name, no_wrap=True, footer=f"{cases:,}" if verdicts else "")
    for row in grid.rows:
        if every or not row.quiet:
            found.add_row(row.law, *map(word, row.squares))
    totals = [Totals.of(verdicts) for verdicts in grid.settled]
    found.add_row("")
    for noun in ("laws", "witnesses"):
        counts = [getattr(total, noun) for total in totals]
        for status in (Status.HOLDS, Status.KNOWN, Status.UNKNOWN, Status.VIOLATED):
            if any(count[status] for count in counts):
                numbers = (Text(str(count[status]) if count else "", STYLE[status]) for count in counts)
                found.add_row(Text(f"{noun}: {status.word}", "dim"), *numbers)
    return found


def word(square: Square) -> Text:
    """A verdict in words and colour, with the modes where it is not the same in all."""
    if square.status is None:
        return Text("–", "dim")
    text = Text(square.word, STYLE[square.status])
    if square.modes:
        text.append(f" in {', '.join(square.modes)}", "dim")
    return text
