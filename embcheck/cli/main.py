"""The command line: ``embcheck laws`` and ``replay``; the others are in `embcheck.cli`.

Exit codes: 0 all laws hold, are known or not applicable; 1 violated, unknown, a stale ledger entry, or what was selected
gave no verdict; 2 interrupted; 3 internal error; 4 usage; 5 nothing selected.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck import __version__
from embcheck.cli.audit import audit
from embcheck.cli.audit import replayed as replayed_audit
from embcheck.cli.claims import claims
from embcheck.cli.diff import diff
from embcheck.cli.env import env
from embcheck.cli.explain import explain
from embcheck.cli.issue import issue
from embcheck.cli.known import known
from embcheck.cli.merge import merge
from embcheck.cli.modes import modes
from embcheck.cli.releases import releases
from embcheck.cli.report import report as report_command
from embcheck.cli.run import CONFIGURED, run
from embcheck.cli.selfcheck import selfcheck
from embcheck.cli.since import since
from embcheck.cli.usage import INTERNAL, USAGE, Store, refuse
from embcheck.core.configuration import ConfigurationError, defaults
from embcheck.core.options import TABLE, options_of
from embcheck.core.processes import wait_at_rest
from embcheck.record.store import STORE

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tests PyTorch embeddings against their mathematical definition: exhaustively for small shapes, with generated cases "
    "beyond.",
)

app.command()(run)


@app.command()
def laws(
    keyword: Annotated[str, typer.Option("-k", help="Only laws whose name or sentence contains this.")] = "",
) -> None:
    """Lists the laws: each a sentence, its source and what it obliges the cases to meet."""
    from embcheck.report.style import console
    from embcheck.subject.collect import load_families

    out = console()
    shown = 0
    for family in load_families().values():
        chosen = [law for law in family.laws if keyword.lower() in f"{law.name} {law.sentence}".lower()]
        if chosen:
            cover = f"cover: every combination of the values of any {family.space.strength} axes"
            out.print(f"[bold]{family.name}[/bold]  ({', '.join(family.modes)}; {cover})")
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
    store: Store = Path(STORE),
) -> None:
    """Runs a recorded failure again: FAILED (exit 1), FIXED (exit 0) or ERROR (exit 3)."""
    from embcheck.core.replay_state import EXIT_CODES
    from embcheck.engine.levels.level import asked_for, level_of, without_level
    from embcheck.record.audited import FAMILY
    from embcheck.record.store import StoreError, imports_of, recorded, script_of

    try:
        record = recorded(failure, store)
        if script:
            typer.echo(script_of(failure, store), nl=False)
            return
    except StoreError as error:
        refuse(str(error))
    if (level := level_of(record["device"])) and not asked_for(level, os.environ):
        raise typer.Exit(_at_level(level, ["replay", failure, "--store", str(store)]))
    if imported := imports_of(record):
        typer.echo(f"embcheck: imports {imported}, as the record says", err=True)
    device = without_level(record["device"])
    outcome, words = (replayed_audit if record["family"] == FAMILY else _replayed)({**record, "device": device})
    typer.echo(f"{outcome}  {record['law']}  {record['case']}" + (f"\n  {words}" if words else ""))
    raise typer.Exit(EXIT_CODES[outcome])


def _at_level(name: str, arguments: list[str]) -> int:
    """Runs a command of embcheck's in a process of a CPU level; its exit status."""
    import subprocess

    from embcheck.engine.levels.level import UnknownLevel, level

    try:
        environment = level(name).environment
    except UnknownLevel as error:
        refuse(str(error))
    code = subprocess.run(
        [sys.executable, "-m", "embcheck", *arguments], env=os.environ | environment, check=False
    ).returncode
    return INTERNAL if code < 0 else code  # it was killed


def _replayed(record: dict[str, Any]) -> tuple[str, str]:
    from embcheck.core.declaration import VARIABLE, SubjectError
    from embcheck.core.replay_state import ERROR
    from embcheck.runner.replay import replay

    if record["subject"] != "torch":
        os.environ[VARIABLE] = record["subject"]  # for this process and the one that tries the case first
    try:
        return replay(record)
    except SubjectError as error:
        return ERROR, str(error)


for command in (
    audit,
    claims,
    diff,
    env,
    explain,
    merge,
    modes,
    releases,
    report_command,
    selfcheck,
    since,
    known,
    issue,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("-V", "--version", help="Print the version and exit.")] = False,
) -> None:
    """embcheck: the laws of embeddings, tested exhaustively for small shapes and with generated cases beyond."""
    if version:
        typer.echo(f"embcheck {__version__}")
        raise typer.Exit(0)
    if context.invoked_subcommand == run.__name__:
        try:
            values, context.meta[CONFIGURED] = defaults(Path.cwd())
        except ConfigurationError as error:
            refuse(str(error))
        known = options_of(TABLE)
        context.default_map = {run.__name__: {known[name].parameter: value for name, value in values.items()}}


#: The base of typer's usage errors, which typer does not export by itself.
_UsageError: Any = typer.BadParameter.__mro__[1]


#: What the shell completes, which typer would call "python -m embcheck" where it is started so.
_NAME = "embcheck"

#: Of these typer says 1 where it does not know the shell.
_COMPLETION = {"--install-completion", "--show-completion"}

#: What typer makes of an interruption, as a shell would.
_INTERRUPTED = 130


def main() -> None:
    """The console script: it exits with a documented code, whatever happens."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where √ can't be printed, \\u221a can
            stream.reconfigure(errors="backslashreplace")
    wait_at_rest()
    try:
        code = _code_of_app()
        sys.stdout.flush()
    except Exception as error:
        code = INTERNAL
        with contextlib.suppress(OSError):
            if isinstance(error, BrokenPipeError):
                typer.echo("embcheck: nobody reads the output", err=True)
            else:
                traceback.print_exc()
                typer.echo(f"embcheck: internal error: {type(error).__name__}: {error}", err=True)
        # What is left in a stream that can't be written would be the last word, and another exit code, at the end.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _code_of_app() -> int:
    """The exit code of the command: of a usage error 4, of an interruption 2.

    Raises:
        OSError: if nobody reads the output any more.
    """
    try:
        code = app(prog_name=_NAME, standalone_mode=False)
    except _UsageError as error:
        if error.format_message():  # without any argument the help has been printed
            typer.echo(f"embcheck: {error.format_message()}; see `embcheck --help`", err=True)
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except SystemExit as error:
        if error.code:  # what typer makes of a broken pipe; none of the commands ends so
            raise BrokenPipeError from error
        return 0  # a completion ends so
    if code == _INTERRUPTED:
        typer.echo("embcheck: interrupted", err=True)
        return 2
    if code == 1 and {*sys.argv[1:2]} & _COMPLETION:
        return USAGE
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
