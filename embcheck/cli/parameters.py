"""The table of options as parameters of a command: what completes them, and where their values come from.

Names of laws and modes are read off the sources as text, since a shell asks at each press of a key, and importing torch takes
seconds.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

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


_PACKAGE = Path(__file__).parents[1]
_LAW = re.compile(r"^@(?:\w+\.)?law\(.*?^def (\w+)\(", re.MULTILINE | re.DOTALL)
_FAMILY = re.compile(r"^\w+ = Family\(\s*\"(\w+)\"", re.MULTILINE)
_AUDIT_LAW = re.compile(r"^@audit_law\(.*?^def (\w+)\(", re.MULTILINE | re.DOTALL)
_MODE = re.compile(r"^(?:@mode|@build_mode|add_mode|compile_mode)\(\s*\"(\w+)\"", re.MULTILINE)


def law_names() -> list[str]:
    """The laws, but for those of claims, which are named by their verdicts: `embcheck claims --show` takes a claim."""
    from embcheck.subject.collect import files_of_laws

    files = files_of_laws()
    return sorted([*_found(_LAW, files), *(f"{family}_is_accepted" for family in _found(_FAMILY, files))])


def explained_names() -> list[str]:
    """The laws, and those of an audit."""
    return sorted([*law_names(), *_found(_AUDIT_LAW, (_PACKAGE / "audit" / "laws").glob("*.py"))])


def mode_names(incomplete: str) -> list[str]:
    """The modes, each behind those that are given already, with commas between."""
    given, comma, _ = incomplete.rpartition(",")
    names = _found(_MODE, (_PACKAGE / "modes").glob("*.py"))
    return [given + comma + name for name in ([] if given else ["all"]) + names if name not in given.split(",")]


#: Of the options whose values are names.
_NAMES: dict[str, Callable[..., list[str]]] = {"law": law_names, "mode": mode_names}


def completion_of(option: Option) -> Callable[..., list[str]] | None:
    """What completes an option's value; None where it may be anything, or the shell completes paths."""
    return (lambda: list(option.choices)) if option.choices else _NAMES.get(option.name)


def _found(pattern: re.Pattern[str], files: Iterable[Path]) -> list[str]:
    return sorted({name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))})
