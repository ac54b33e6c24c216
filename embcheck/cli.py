"""The command line: ``embcheck run``, ``laws``, ``replay``; the others are in `embcheck.commands`.

Exit codes: 0 all laws hold, are known or not applicable; 1 violated, unknown or a stale ledger entry; 2 interrupted;
3 internal error; 4 usage; 5 nothing selected.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck import __version__
from embcheck.commands.audit import audit
from embcheck.commands.audit import replayed as replayed_audit
from embcheck.commands.claims import claims
from embcheck.commands.diff import diff
from embcheck.commands.findings import findings
from embcheck.commands.merge import merge
from embcheck.commands.modes import modes
from embcheck.commands.releases import releases
from embcheck.commands.report import report as report_command
from embcheck.commands.selfcheck import selfcheck
from embcheck.commands.since import since
from embcheck.commands.usage import INTERNAL, USAGE, refuse

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Proves or refutes, with generated cases, that embeddings obey the laws that the mathematics promises.",
)

Profile = Annotated[str, typer.Option("--profile", help="quick, gate or deep: how much is run.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same cases everywhere.")]
Keyword = Annotated[
    str, typer.Option("-k", help="Only what this pytest expression selects, such as 'padding and scope'.")
]


@app.command()
def run(
    profile: Profile = "gate",
    seed: Seed = 0,
    keyword: Keyword = "",
    law: Annotated[str, typer.Option("--law", help="Only the family of this law.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="Modes: all, or names with commas between.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="A layer of yours: module:factory, or its name.")] = "",
    device: Annotated[str, typer.Option("--device", help="The device to check.")] = "cpu",
    report: Annotated[Path | None, typer.Option("--report", help="Folder for the record and the failures.")] = None,
    ledger: Annotated[Path | None, typer.Option("--ledger", help="Known violations, instead of those shipped.")] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="A record: fail only on what is new.")] = None,
    shard: Annotated[str, typer.Option("--shard", help="k/N: every N-th item, from the k-th on; see merge.")] = "",
    workers: Annotated[str, typer.Option("-n", "--workers", help="Worker processes: a number or auto.")] = "auto",
    pytest_options: Annotated[list[str] | None, typer.Argument(help="Further options for pytest, after --.")] = None,
) -> None:
    """Checks the installed torch, or a layer of yours: every law, on all cores."""
    from embcheck.collect import properties_folder
    from embcheck.run import Settings, UsageError

    try:
        settings = Settings(seed, profile, device, report, ledger, mode, baseline, subject=subject, shard=shard)
        settings = settings.checked().rehearsed()
    except UsageError as error:
        refuse(str(error))
    if workers != "auto" and (not workers.isdigit() or int(workers) < 1):
        refuse(f"--workers {workers!r}: expected auto or a number of at least 1")
    files = [_file_of(law)] if law else [str(properties_folder())]
    arguments = [
        *files,
        *settings.as_arguments(),
        *("-n", workers if workers != "auto" else str(os.cpu_count() or 1)),
        *("--max-worker-restart", "64"),
        *("-p", "no:cacheprovider", "-p", "no:terminal"),
        *(("-k", keyword) if keyword else ()),
        *(pytest_options or []),
    ]
    raise typer.Exit(_pytest(arguments))


def _pytest(arguments: list[str]) -> int:
    import pytest

    from embcheck.report.progress import Progress

    sys.dont_write_bytecode = True
    return int(pytest.main(arguments, plugins=[Progress()]))


def _file_of(law: str) -> str:
    from embcheck.collect import load_families
    from embcheck.law import source_of

    known = {found.name: found for family in load_families().values() for found in family.laws}
    if law not in known:
        import difflib

        close = difflib.get_close_matches(law, known, 3)
        refuse(f"no law {law!r}; " + (f"did you mean {' or '.join(close)}?" if close else "see `embcheck laws`"))
    family = load_families()[known[law].family]
    return source_of(family.laws[-1])


@app.command()
def laws(
    keyword: Annotated[str, typer.Option("-k", help="Only laws whose name or sentence contains this.")] = "",
) -> None:
    """Lists the laws: each a sentence, its source and what it obliges the cases to meet."""
    from embcheck.collect import load_families
    from embcheck.report.style import console

    out = console()
    shown = 0
    for family in load_families().values():
        chosen = [law for law in family.laws if keyword.lower() in f"{law.name} {law.sentence}".lower()]
        if chosen:
            out.print(f"[bold]{family.name}[/bold]  ({', '.join(family.modes)})")
        for law in chosen:
            shown += 1
            out.print(f"  [cyan]{law.name}[/cyan]  {law.sentence}", highlight=False)
            if law.source:
                out.print(f"      source: {law.source}", style="dim", highlight=False)
    if not shown:
        typer.echo(f"embcheck: no law contains {keyword!r}", err=True)
        raise typer.Exit(5)


@app.command()
def replay(
    failure: Annotated[str, typer.Argument(help="The id that a violation was reported with.")],
    script: Annotated[bool, typer.Option("--script", help="Print the program that needs torch only.")] = False,
    store: Annotated[Path, typer.Option("--store", help="Where failures are kept.")] = Path(".embcheck"),
) -> None:
    """Runs a recorded failure again: FAILED (exit 1), FIXED (exit 0) or ERROR (exit 3)."""
    from embcheck.records.audited import FAMILY
    from embcheck.records.store import recorded

    try:
        record = recorded(failure, store)
    except (FileNotFoundError, ValueError) as error:
        refuse(str(error))
    if script:
        typer.echo((store / f"{failure}.py").read_text(), nl=False)
        return
    outcome, words = (replayed_audit if record["family"] == FAMILY else _replayed)(record)
    typer.echo(f"{outcome}  {record['law']}  {record['case']}" + (f"\n  {words}" if words else ""))
    raise typer.Exit({"FAILED": 1, "FIXED": 0}.get(outcome, INTERNAL))


def _replayed(record: dict[str, Any]) -> tuple[str, str]:
    from embcheck.axes import parse
    from embcheck.collect import load_families
    from embcheck.comparison import Difference
    from embcheck.crashes.isolate import examine
    from embcheck.declaration import VARIABLE, SubjectError
    from embcheck.judge import judge_once
    from embcheck.mode import MODES

    if record["subject"] != "torch":
        os.environ[VARIABLE] = record["subject"]  # for this process and the one that tries the case first
    try:
        families = load_families()
    except SubjectError as error:
        return "ERROR", str(error)
    try:
        family, mode, case = families[record["family"]], MODES[record["mode"]], parse(record["case"])
        law = next(law for law in family.laws if law.name == record["law"])
    except (KeyError, ValueError, StopIteration) as error:
        return "ERROR", f"this version of embcheck has no {error}"
    # In a child first: what took a worker down must not take this process down.
    symptom = examine(family.name, mode.name, repr(case), seconds=0)["symptom"]
    if symptom:
        return "FAILED", symptom
    found = judge_once(family, mode, law, case)
    return ("FAILED", found.words) if isinstance(found, Difference) else ("FIXED", "")


for command in (audit, claims, diff, merge, modes, releases, report_command, selfcheck, since, findings):
    app.command()(command)


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """embcheck: the laws of embeddings, proved or refuted with generated cases."""
    if version:
        typer.echo(f"embcheck {__version__}")
        raise typer.Exit(0)


#: The base of typer's usage errors, which typer does not export by itself.
_UsageError: Any = typer.BadParameter.__mro__[1]


#: What typer makes of an interruption, as a shell would.
_INTERRUPTED = 130


def main() -> None:
    """The console script: usage errors of the command line itself exit with 4, as documented."""
    try:
        code = app(standalone_mode=False)
    except _UsageError as error:
        if error.format_message():  # without any argument the help has been printed
            typer.echo(f"embcheck: {error.format_message()}; see `embcheck --help`", err=True)
        sys.exit(USAGE)
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        typer.echo("embcheck: interrupted", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
