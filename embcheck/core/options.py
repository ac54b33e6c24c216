"""The one table of options: the command line, pytest's options, ``[tool.embcheck]`` and the action's inputs are made of it.

Imported by every pytest session of an environment that has embcheck, so it needs nothing but the standard library.
"""

from dataclasses import dataclass
from pathlib import Path

from embcheck.core.files import with_table, write_whole

#: How long each takes on two cores, after installation: what --help, the README and the documentation say, which a test compares.
TIMES = {
    "quick": "about half a minute",
    "gate": "about two minutes",
    "full": "about ten minutes",
    "tests": "about seven minutes",
    "selfcheck": "about five minutes",
}
#: What ``--format`` may be: three of them are one document and nothing else; github is text with annotations.
FORMS = ("text", "json", "junit", "sarif", "github")
DOCUMENTS = ("json", "junit", "sarif")
#: Whether there is colour, by what ``--color`` asks for: None where the terminal and NO_COLOR decide.
COLOURS = {"auto": None, "always": True, "never": False}

#: Where an option can be given: `embcheck run --NAME`, `pytest --embcheck-NAME`, a key of [tool.embcheck] in pyproject.toml, and an
#: input of the action.
COMMAND, PYTEST, TABLE, ACTION = "embcheck run", "pytest", "[tool.embcheck]", "action"

#: What a value may be; a path is relative to the working directory, and in a pyproject.toml to that file's folder.
Value = str | int | bool | Path | None


@dataclass(frozen=True)
class Option:
    """An option of a run.

    ``short`` are further spellings on the command line; one that is ``counted`` is repeated there, as in -vv.  ``field`` is the
    name in `embcheck.runner.run.Settings` of one that the controlling process hands on to pytest.
    """

    name: str
    kind: type[str] | type[int] | type[bool] | type[Path]
    default: Value
    help: str
    places: tuple[str, ...] = (COMMAND, TABLE)
    short: tuple[str, ...] = ()
    metavar: str = ""
    choices: tuple[str, ...] = ()
    counted: bool = False
    field: str = ""

    @property
    def parameter(self) -> str:
        return self.name.replace("-", "_")

    @property
    def pytest(self) -> str:
        return f"--embcheck-{self.name}"

    @property
    def flags(self) -> tuple[str, ...]:
        """As the command line takes it; what is true or false can be refused, too, for a file may have asked for it."""
        refused = f"/--no-{self.name}" if self.kind is bool and TABLE in self.places else ""
        return (*self.short, f"--{self.name}{refused}")


_EVERYWHERE = (COMMAND, PYTEST, TABLE, ACTION)

OPTIONS = (
    Option(
        "profile", str, "gate",
        f"How much is run: quick takes {TIMES['quick']} on two cores, gate {TIMES['gate']}, full {TIMES['full']}, deep far longer.",
        _EVERYWHERE, choices=("quick", "gate", "full", "deep"), field="profile",
    ),
    Option("seed", int, 0, "The same seed gives the same cases everywhere.", _EVERYWHERE, metavar="N", field="seed"),
    Option(
        "select", str, "",
        "Run only what this pytest expression selects, such as 'padding and scope', or families and laws by their names.",
        (COMMAND, TABLE, ACTION), ("-k",), metavar="EXPRESSION",
    ),
    Option("law", str, "", "Run only the family of this law.", (COMMAND,), metavar="NAME"),
    Option("mode", str, "", "Modes to run: all, or names with commas between; compile:BACKEND compiles with a backend of yours.",
           _EVERYWHERE, metavar="NAMES", field="modes"),
    Option("subject", str, "", "A layer of yours: module:factory, or its name.", _EVERYWHERE, metavar="NAME", field="subject"),
    Option("device", str, "cpu", "The device to check.", (COMMAND, PYTEST, TABLE), metavar="NAME", field="device"),
    Option("report", Path, None, "Folder for the record and the kept failures.", _EVERYWHERE, metavar="DIR", field="report"),
    Option(
        "ledger", Path, None, "A ledger of known violations, in addition to the shipped one.", _EVERYWHERE, metavar="FILE",
        field="ledger",
    ),
    Option(
        "only-ledger", Path, None, "A ledger of known violations, instead of the shipped one.", _EVERYWHERE, metavar="FILE",
        field="only_ledger",
    ),
    Option(
        "update-ledger", Path, None,
        "Write what fails into this ledger, which the run also reads: the next run counts it as known.",
        (COMMAND, PYTEST), metavar="FILE", field="update_ledger",
    ),
    Option("baseline", Path, None, "A record; the run fails only on what is new.", _EVERYWHERE, metavar="FILE", field="baseline"),
    Option(
        "shard", str, "", "k/N: run every N-th item, starting at the k-th; see merge.", (COMMAND, PYTEST), metavar="k/N",
        field="shard",
    ),
    Option("cpu", str, "", "Run at several CPU levels: all, or names such as avx2,AVX512_CORE.", (COMMAND,), metavar="LEVELS"),
    Option(
        "strict", bool, False, "Fail if a known violation is gone, even where it was never measured.", _EVERYWHERE,
        field="strict",
    ),
    Option(
        "last-failed", bool, False, "Replay kept failures first: one that is fixed is forgotten, any other fails the run.",
        _EVERYWHERE, field="last_failed",
    ),
    Option(
        "witnesses", str, "in force", "all: also run the witnesses of ledger entries for other torch releases.",
        (PYTEST,), choices=("in force", "all"), field="witnesses",
    ),
    Option("workers", str, "auto", "Worker processes: a number or auto.", short=("-n",), metavar="N"),
    Option("verbose", int, 0, "A row for each law and each family's cost; -vv: witnesses too.", short=("-v",), counted=True),
    Option("quiet", bool, False, "Print only failures and the last line.", short=("-q",)),
    Option(
        "format", str, "text", "text, github (text with annotations), or one document: json, junit, sarif.", choices=FORMS,
        metavar="FORM",
    ),
    Option("color", str, "auto", "auto (follows NO_COLOR), always or never.", choices=tuple(COLOURS), metavar="WHEN"),
)  # fmt: skip


def options_of(place: str) -> dict[str, Option]:
    return {option.name: option for option in OPTIONS if place in option.places}


def is_workers(text: str) -> bool:
    """Whether a number of workers is one, or auto."""
    return text == "auto" or (text.isdecimal() and int(text) >= 1)


def shown(value: Value) -> str:
    """A value as it is written in a pyproject.toml."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{"" if value is None else value}"'


def as_markdown() -> str:
    """The table as the documentation has it."""
    rows = ["| option | default | `[tool.embcheck]` | pytest | action | |", "| --- | --- | --- | --- | --- | --- |"]
    for option in OPTIONS:
        command = ", ".join(f"`{flag.partition('/')[0]}`" for flag in option.flags) if COMMAND in option.places else ""
        default = "" if option.default in ("", None) else f"`{shown(option.default)}`"
        names = {TABLE: option.name, PYTEST: option.pytest, ACTION: option.name}
        places = [f"`{name}`" if place in option.places else "" for place, name in names.items()]
        rows.append(f"| {' | '.join([command, default, *places, option.help])} |".replace("  ", " "))
    return "\n".join(rows) + "\n"


#: What stands above the table in a page of the documentation.
_MARK = "<!-- the table of embcheck/core/options.py"


def page(text: str) -> str:
    """A page of the documentation with the table as it is now."""
    return with_table(text, _MARK, as_markdown())


if __name__ == "__main__":
    import sys

    write_whole(Path(sys.argv[1]), page(Path(sys.argv[1]).read_text(encoding="utf-8")))
