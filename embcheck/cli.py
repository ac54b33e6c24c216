"""The command line: ``embcheck run``, ``laws``, ``replay``; the others are in `embcheck.commands`.

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
from embcheck.commands.audit import audit
from embcheck.commands.audit import replayed as replayed_audit
from embcheck.commands.claims import claims
from embcheck.commands.diff import diff
from embcheck.commands.env import env
from embcheck.commands.explain import explain
from embcheck.commands.findings import findings
from embcheck.commands.merge import merge
from embcheck.commands.modes import modes
from embcheck.commands.releases import releases
from embcheck.commands.report import report as report_command
from embcheck.commands.selfcheck import selfcheck
from embcheck.commands.since import since
from embcheck.commands.usage import INTERNAL, TIMES, USAGE, Store, law_named, refuse
from embcheck.records.store import STORE
from embcheck.report.forms import COLOURS, FORMS

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tests PyTorch embeddings against their mathematical definition: exhaustively for small shapes, with generated cases "
    "beyond.",
)

Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        help=f"How much is run: quick takes {TIMES['quick']} on two cores, gate {TIMES['gate']}, deep far longer.",
    ),
]
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
    cpu: Annotated[str, typer.Option("--cpu", help="CPU levels instead: all, or names such as avx2,AVX512_CORE.")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="A known violation that is gone fails the run, wherever it was measured.")
    ] = False,
    workers: Annotated[str, typer.Option("-n", "--workers", help="Worker processes: a number or auto.")] = "auto",
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="A row for each law and each family's cost; -vv: witnesses too.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures and the last line alone.")] = False,
    form: Annotated[
        str, typer.Option("--format", help="text, github (text with annotations), or one document: json, junit.")
    ] = "text",
    color: Annotated[str, typer.Option("--color", help="auto (heeds NO_COLOR), always or never.")] = "auto",
    pytest_options: Annotated[list[str] | None, typer.Argument(help="Further options for pytest, after --.")] = None,
) -> None:
    """Checks the installed torch, or a layer of yours: every law, on all cores."""
    from embcheck.collect import properties_folder
    from embcheck.run import Settings, UsageError

    try:
        settings = Settings(
            seed, profile, device, report, ledger, mode, baseline, subject=subject, shard=shard, strict=strict
        )
        settings = settings.checked().rehearsed()
    except UsageError as error:
        refuse(str(error))
    if workers != "auto" and (not workers.isdecimal() or int(workers) < 1):
        refuse(f"--workers {workers!r}: expected auto or a number of at least 1")
    if color not in COLOURS:
        refuse(f"--color {color!r}: expected {', '.join(COLOURS)}")
    if form not in FORMS:
        refuse(f"--format {form!r}: expected {', '.join(FORMS)}")
    if cpu:
        others = {"--mode": mode, "--subject": subject, "--baseline": baseline, "--shard": shard}
        given = [name for name, value in others.items() if value] + ["--device"] * (device != "cpu")
        given += ["--format"] * (form != "text")
        if given or pytest_options:
            refuse(f"--cpu judges torch itself at each level: without {', '.join(given) or 'options for pytest'}")
        from embcheck.commands.levels import sweep

        family = law_named(law)[0].name if law else ""
        raise typer.Exit(sweep(settings, cpu, family=family, keyword=keyword, workers=workers))
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
    raise typer.Exit(_pytest(arguments, -1 if quiet else verbose, COLOURS[color], form))


def _pytest(arguments: list[str], verbosity: int, colour: bool | None, form: str) -> int:
    import pytest

    from embcheck.report.progress import Progress

    sys.dont_write_bytecode = True
    return int(pytest.main(arguments, plugins=[Progress(verbosity, colour, form)]))


def _file_of(law: str) -> str:
    from embcheck.law import source_of

    return source_of(law_named(law)[0].laws[-1])


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
    from embcheck.levels.level import asked_for, level_of, without_level
    from embcheck.records.audited import FAMILY
    from embcheck.records.store import StoreError, imports_of, recorded, script_of

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
    raise typer.Exit({"FAILED": 1, "FIXED": 0}.get(outcome, INTERNAL))


def _at_level(name: str, arguments: list[str]) -> int:
    """Runs a command of embcheck's in a process of a CPU level; its exit status."""
    import subprocess

    from embcheck.levels.level import UnknownLevel, level

    try:
        environment = level(name).environment
    except UnknownLevel as error:
        refuse(str(error))
    return subprocess.run(
        [sys.executable, "-m", "embcheck", *arguments], env=os.environ | environment, check=False
    ).returncode


def _replayed(record: dict[str, Any]) -> tuple[str, str]:
    from embcheck.declaration import VARIABLE, SubjectError
    from embcheck.replay import ERROR, replay

    if record["subject"] != "torch":
        os.environ[VARIABLE] = record["subject"]  # for this process and the one that tries the case first
    try:
        return replay(record)
    except SubjectError as error:
        return ERROR, str(error)


for command in (audit, claims, diff, env, explain, merge, modes, releases, report_command, selfcheck, since, findings):
    app.command()(command)


@app.callback(invoke_without_command=True)
def top(version: Annotated[bool, typer.Option("-V", "--version", help="Print the version and exit.")] = False) -> None:
    """embcheck: the laws of embeddings, tested exhaustively for small shapes and with generated cases beyond."""
    if version:
        typer.echo(f"embcheck {__version__}")
        raise typer.Exit(0)


#: The base of typer's usage errors, which typer does not export by itself.
_UsageError: Any = typer.BadParameter.__mro__[1]


#: What typer makes of an interruption, as a shell would.
_INTERRUPTED = 130


def main() -> None:
    """The console script: it exits with a documented code, whatever happens."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where √ can't be printed, \\u221a can
            stream.reconfigure(errors="backslashreplace")
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
        code = app(standalone_mode=False)
    except _UsageError as error:
        if error.format_message():  # without any argument the help has been printed
            typer.echo(f"embcheck: {error.format_message()}; see `embcheck --help`", err=True)
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except SystemExit as error:  # what typer makes of a broken pipe; none of the commands ends so
        raise BrokenPipeError from error
    if code == _INTERRUPTED:
        typer.echo("embcheck: interrupted", err=True)
        return 2
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
