"""The table ``[tool.embcheck]`` of the nearest pyproject.toml: defaults of the command line, and names of subjects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embcheck.core.cause import parsed
from embcheck.core.facts import closest
from embcheck.core.options import TABLE, Option, Value, is_workers, options_of

#: The table of names of subjects in it.
SUBJECTS = "subjects"
#: What a value must be, in words.
_WORDS = {int: "a whole number, such as 1", bool: "true or false", str: "a text", Path: "a path in quotes"}


class ConfigurationError(ValueError):
    """A pyproject.toml that can't be used; the message is one line."""


def table(folder: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """The nearest pyproject.toml, from a folder upwards, and what it says under [tool.embcheck]; without such a file nothing.

    Raises:
        ConfigurationError: for a file that can't be read, or a table that is none.
    """
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            tool = parsed(path.read_text(encoding="utf-8")).get("tool", {})
        except (OSError, ValueError) as error:  # a ValueError: no TOML, or no UTF-8
            raise ConfigurationError(f"{path}: {error}") from None
        content = tool.get("embcheck", {}) if isinstance(tool, dict) else {}
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path}: expected a table {TABLE}, not {content!r}")
        return path, content
    return None, {}


def defaults(folder: Path) -> tuple[dict[str, Value], Path | None]:
    """What the nearest pyproject.toml gives to options instead of their defaults, by name, and the file that does.

    Raises:
        ConfigurationError: as `table` does, for a key that there is not, or a value that the option can't have.
    """
    path, content = table(folder)
    known = options_of(TABLE)
    found: dict[str, Value] = {}
    for name, value in content.items():
        if name == SUBJECTS:
            named_subjects(path, content)
            continue
        option = known.get(name)
        if option is None:
            keys = [*known, SUBJECTS]
            hint = closest(name, keys) or f"there are {', '.join(keys)}"
            raise ConfigurationError(f"{path}: {TABLE} has no key {name!r}; {hint}")
        try:
            found[name] = _checked(option, value)
        except ValueError as error:
            raise ConfigurationError(f"{path}: {TABLE}: {name} must be {error}, not {value!r}") from None
        if option.kind is Path and path is not None:
            found[name] = path.parent / str(value)
    return found, path


def named_subjects(path: Path | None, content: Mapping[str, Any]) -> dict[str, str]:
    """The subjects that a table names.

    Raises:
        ConfigurationError: for names of another form.
    """
    named = content.get(SUBJECTS, {})
    if not isinstance(named, dict) or not all(isinstance(place, str) for place in named.values()):
        raise ConfigurationError(f'{path}: expected [tool.embcheck.{SUBJECTS}] with lines like name = "module:factory"')
    return named


def _checked(option: Option, value: Any) -> Value:
    """A value of the kind that the option has; workers may be a number, too."""
    if option.name == "workers":
        value = str(value)
        if not is_workers(value):
            raise ValueError("auto or a number of at least 1")
    if type(value) is not (str if option.kind is Path else option.kind):
        raise ValueError(_WORDS[option.kind])
    if option.choices and value not in option.choices:
        raise ValueError(" or ".join(map(repr, option.choices)))
    checked: Value = value
    return checked
