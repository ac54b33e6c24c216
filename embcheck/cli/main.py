"""The command line: its commands are in the other modules of `embcheck.cli`.

Exit codes: 0 all laws hold, are known or not applicable; 1 violated, unknown, a stale ledger entry, or what was selected
gave no verdict; 2 interrupted; 3 internal error; 4 usage; 5 nothing selected; 141 the output was closed.
"""

import contextlib
import errno
import importlib
import io
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import embcheck
from embcheck.cli.usage import CLOSED, INTERNAL, USAGE, refuse
from embcheck.core.configuration import ConfigurationError, defaults
from embcheck.core.options import TABLE, options_of
from embcheck.core.processes import termination_interrupts, wait_at_rest

#: Each is a function in the module of `embcheck.cli` that has its name; the order is that of ``embcheck --help``.
COMMANDS = (
    *("run", "laws", "replay", "audit", "claims", "diff", "env", "explain", "merge", "modes", "releases", "report"),
    *("selfcheck", "since", "known", "issue"),
)
#: Where the context keeps the pyproject.toml that gave defaults.
CONFIGURED = "embcheck.configured"


class Commands(TyperGroup):
    """The commands, each imported when it is asked for: a shell that completes one waits for no other."""

    def list_commands(self, context: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        if arguments[0] not in COMMANDS:
            from embcheck.core.facts import closest

            refuse(f"no command {arguments[0]!r}; {closest(arguments[0], COMMANDS) or 'see `embcheck --help`'}")
        return super().resolve_command(context, arguments)

    def get_command(self, context: Any, name: str) -> Any:
        if name not in COMMANDS:
            return None
        made = typer.Typer(context_settings=_HELP, add_completion=False)
        made.command(name)(getattr(importlib.import_module(f"embcheck.cli.{name}"), name))
        return typer.main.get_command(made)


_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=Commands,
    context_settings=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tests PyTorch embeddings against their mathematical definition: exhaustively for small shapes, with generated cases "
    "beyond.",
)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("-V", "--version", help="Print the version and exit.")] = False,
) -> None:
    """embcheck: the laws of embeddings, tested exhaustively for small shapes and with generated cases beyond."""
    if version:
        typer.echo(f"embcheck {embcheck.__version__}")
        raise typer.Exit(0)
    if context.invoked_subcommand == "run":
        try:
            values, context.meta[CONFIGURED] = defaults(Path.cwd())
        except ConfigurationError as error:
            refuse(str(error))
        known = options_of(TABLE)
        context.default_map = {"run": {known[name].parameter: value for name, value in values.items()}}


#: The base of typer's usage errors, which typer does not export by itself.
_UsageError: Any = typer.BadParameter.__mro__[1]


#: How releases of typer say that a value is no integer.
_NO_INTEGER = re.compile(r"(?<=: ).*\bvalid integer\b.*")
#: What typer makes of an interruption, as a shell would.
_INTERRUPTED = 130


def main() -> None:
    """The console script: it exits with a documented code, whatever happens."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where √ can't be printed, \\u221a can
            stream.reconfigure(errors="backslashreplace")
    wait_at_rest()
    try:
        with termination_interrupts():
            code = _code_of_app()
        sys.stdout.flush()
    except Exception as error:
        code = CLOSED if isinstance(error, BrokenPipeError) else INTERNAL
        with contextlib.suppress(OSError):
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                typer.echo(f"embcheck: can't write {error.filename or 'what it prints'}: {error.strerror}", err=True)
            elif code == INTERNAL:
                traceback.print_exc()
                typer.echo(f"embcheck: internal error: {type(error).__name__}: {error}", err=True)
        # What is left in a stream that can't be written would be the last word, and another exit code, at the end.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _code_of_app() -> int:
    """The exit code of the command: of a usage error 4, of an interruption 2."""
    try:
        # What the shell completes typer would call "python -m embcheck" where it is started so.
        code = app(prog_name="embcheck", standalone_mode=False)
    except _UsageError as error:
        words = _NO_INTEGER.sub("expected a whole number", error.format_message()).rstrip(".")
        if words:  # without any argument the help has been printed
            command = error.ctx.command_path if error.ctx is not None else "embcheck"
            typer.echo(f"embcheck: {words}; see `{command} --help`", err=True)
        return USAGE
    except ValueError as error:
        from embcheck.subject.collect import LawsError

        if not isinstance(error, LawsError):
            raise
        typer.echo(f"embcheck: {' '.join(str(error).split())}", err=True)
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
    if code == 1 and sys.argv[1:2] in (["--install-completion"], ["--show-completion"]):  # it does not know the shell
        return USAGE
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
