"""``embcheck run``: every law, on all cores, as a session of pytest that prints one screen."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck.cli.main import CONFIGURED
from embcheck.cli.parameters import origins, with_options
from embcheck.cli.usage import expression_of, law_named, refuse
from embcheck.core.options import COLOURS, COMMAND, FORMS, is_workers, options_of


@with_options()
def run(
    context: typer.Context,
    pytest_options: Annotated[list[str] | None, typer.Argument(help="Further options for pytest, after --.")] = None,
    **given: Any,
) -> None:
    """Checks the installed torch, or a layer of yours: every law, on all cores."""
    path: Path | None = context.meta.get(CONFIGURED)
    with contextlib.ExitStack() as stack:
        plugins = []
        # A subject's own imports may start threads, which no fork has.
        if sys.platform.startswith("linux") and not (given["subject"] or given["cpu"] or pytest_options):
            from embcheck.runner.fork_server import ForkServer

            # First of all: it imports torch while this process imports what it needs.
            plugins.append(stack.enter_context(ForkServer(whole=not (given["select"] or given["law"]))))
        arguments = _checked(given, pytest_options or [])
        if given["cpu"]:
            from embcheck.cli.levels import sweep

            raise typer.Exit(sweep(given, pytest_options or []))
        raise typer.Exit(_pytest(arguments, given, origins(context, path), plugins))


def _checked(given: dict[str, Any], pytest_options: list[str]) -> list[str]:
    """What pytest is given for the values of the options, which are refused if they are none that there can be."""
    from embcheck.core.law import source_of
    from embcheck.runner.run import Settings, UsageError
    from embcheck.subject.collect import properties_folder

    try:
        settings = Settings.of({name: given[option.parameter] for name, option in options_of(COMMAND).items()})
        settings.checked().rehearsed()
    except UsageError as error:
        refuse(str(error))
    if not is_workers(workers := given["workers"]):
        refuse(f"--workers {workers!r}: expected auto or a number of at least 1")
    for name, there in (("color", tuple(COLOURS)), ("format", FORMS)):
        if given[name] not in there:
            refuse(f"--{name} {given[name]!r}: expected {', '.join(there)}")
    expression_of(given["select"])
    arguments = [
        source_of(law_named(given["law"])[0].laws[-1]) if given["law"] else str(properties_folder()),
        *settings.as_arguments(),
        *("-n", workers if workers != "auto" else str(os.cpu_count() or 1)),
        *("--max-worker-restart", "64"),
        # One at a time: of what is sent in advance a worker keeps what another has the time for.
        *("--maxschedchunk", "1"),
        *("-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:tmpdir"),
        # It would collect garbage five times as each process ends.
        *("-p", "no:unraisableexception"),
        # What a case dies of is a violation that names the case; where embcheck was then would be a screen of stack beside it.
        *("-p", "no:faulthandler"),
        # A law returns what it finds.  To rewrite assertions, each process would compile every module anew.
        "--assert=plain",
        *(("-k", given["select"]) if given["select"] else ()),
        *pytest_options,
    ]
    for name in (os.getcwd(), *arguments):
        try:
            name.encode()  # as workers get it
        except UnicodeEncodeError:
            refuse(f"can't tell workers {name}, which is not UTF-8; set PYTHONUTF8=1, or choose another name")
    return arguments


def _pytest(arguments: list[str], given: dict[str, Any], told: list[str], plugins: list[Any]) -> int:
    import pytest

    from embcheck.report.progress import Progress

    verbosity = -1 if given["quiet"] else given["verbose"]
    follower = Progress(verbosity, COLOURS[given["color"]], given["format"], told)
    code = int(pytest.main(arguments, plugins=[follower, *plugins]))
    if follower.closed:
        raise follower.closed  # the command line has a line and a code for it
    return code
