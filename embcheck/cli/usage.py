"""What all commands share: exit codes, and how bad input is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from embcheck.core.typed import visible

if TYPE_CHECKING:
    from _pytest.mark.expression import Expression

    from embcheck.audit.finding import AuditLaw
    from embcheck.core.law import Family, Law
    from embcheck.record.record import Record

#: Where a command looks for a failure; see `where_kept` for what None means.
Store = Annotated[Path | None, typer.Option("--store", help="Where failures are kept, or the folder of a report.")]

#: Exit codes: what was asked for can't be; something went wrong inside; nothing was selected; the reader of the output closed the
#: pipe, which is what a shell says of a program that dies of SIGPIPE.
USAGE, INTERNAL, NOTHING, CLOSED = 4, 3, 5, 141


def refuse(message: str) -> NoReturn:
    """One line that says what was wrong and what would be right, and exit code 4."""
    typer.echo(f"embcheck: {visible(' '.join(message.split()))}", err=True)
    raise typer.Exit(USAGE)


def expect_folder_of(output: Path) -> None:
    """Refuses a file to write in a folder that there is not: it may be misspelt."""
    if not output.parent.is_dir():
        refuse(f"can't write {output}: there is no folder {output.parent}")


def store_for(report: Path | None) -> Path:
    """Where a command keeps failures: in the folder of its report, or else in the one that [tool.embcheck] names."""
    from embcheck.core.configuration import ConfigurationError, defaults
    from embcheck.record.store import store_of

    try:
        return store_of(report or cast(Path | None, defaults(Path.cwd())[0].get("report")))
    except ConfigurationError as error:
        refuse(str(error))


def where_kept(failure: str, store: Path | None) -> Path:
    """Where a failure is looked for: in what ``--store`` says, or else in the store of [tool.embcheck] and then, since pytest does
    not read that, in the working directory's."""
    from embcheck.record.store import STORE, is_kept

    if store is not None:
        return store
    configured, here = store_for(None), Path(STORE)
    return here if is_kept(failure, here) and not is_kept(failure, configured) else configured


def record_at(path: Path) -> Record:
    """The record in a file, or in a folder that ``--report`` wrote; anything else is refused."""
    from embcheck.record.record import RecordError, read

    try:
        return read(path)
    except RecordError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"can't read the record {error.filename or path}: {error.strerror}")


def only_in_checkout(command: str, why: str) -> None:
    """Refuses what an installed wheel can't do, for it lacks what a checkout has."""
    from embcheck.subject.collect import in_checkout

    if not in_checkout():
        refuse(f"{command} works only in a checkout of embcheck: {why}")


def lacks(extra: str, error: ImportError) -> NoReturn:
    """Says which extra of embcheck has what is missing, and exit code 4."""
    refuse(f"this needs {error.name}: python -m pip install 'embcheck[{extra}]'")


def expression_of(text: str) -> Expression:
    """What ``-k`` says, as pytest reads its own."""
    from _pytest.mark.expression import Expression

    try:
        return Expression.compile(text)
    except Exception as error:  # pytest 8 has an error of its own, pytest 9 a SyntaxError
        refuse(f"-k {text!r}: {error.args[0]}")


def audit_laws() -> dict[str, AuditLaw]:
    """The laws of ``embcheck audit`` by name, in the order in which they are judged."""
    from embcheck.audit import laws

    return laws.load()


def law_named(name: str, others: Collection[str] = ()) -> tuple[Family, Law]:
    """The law of a name, and its family; a name that no law has is refused, with close ones, also of ``others``."""
    from embcheck.core import aliases
    from embcheck.core.facts import closest
    from embcheck.subject.collect import load_families

    known = {law.name: (family, law) for family in load_families().values() for law in family.laws}
    name = aliases.law(name)
    if name not in known:
        if name in audit_laws():
            refuse(f"{name} is a law of `embcheck audit`, which judges models; no run has it")
        refuse(f"no law {name!r}; {closest(name, [*known, *others]) or 'see `embcheck laws`'}")
    return known[name]
