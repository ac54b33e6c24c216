"""The table of options as parameters of a command, and where their values come from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from embcheck.cli.completion import completion_of
from embcheck.core.options import COMMAND, Option, options_of, shown

F = TypeVar("F", bound=Callable[..., Any])


def with_options(*names: str) -> Callable[[F], F]:
    """Gives a command that takes ``**given`` these options of the table, or all, as typer reads them off a signature."""

    def decorated(command: F) -> F:
        own = inspect.signature(command, eval_str=True)
        first = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        made = [_parameter(option) for name, option in options_of(COMMAND).items() if name in (names or (name,))]
        command.__signature__ = own.replace(parameters=[*first, *made])  # type: ignore[attr-defined]
        return command

    return decorated


def _parameter(option: Option) -> inspect.Parameter:
    kind: Any = Path | None if option.kind is Path else option.kind
    info = typer.Option(
        *option.flags,
        help=option.help,
        metavar=option.metavar or None,
        count=option.counted,
        autocompletion=completion_of(option),
    )
    return inspect.Parameter(
        option.parameter, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=Annotated[kind, info]
    )


def origins(context: typer.Context, path: Path | None) -> list[str]:
    """Where the values come from that are not defaults: of each place a line."""
    told: dict[str, list[str]] = {}
    for option in options_of(COMMAND).values():
        source = context.get_parameter_source(option.parameter)
        if source is not None and source.name != "DEFAULT":
            where = str(path) if source.name == "DEFAULT_MAP" else "the command line"
            told.setdefault(where, []).append(f"{option.name} = {shown(context.params[option.parameter])}")
    return [f"from {where}: {', '.join(values)}" for where, values in told.items()]
