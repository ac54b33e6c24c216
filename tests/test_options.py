"""One table of options: the command line, pytest, [tool.embcheck], the action and the documentation have what it says."""

import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer
from command import Patch
from typer.testing import CliRunner

from embcheck.cli.main import app
from embcheck.core.configuration import ConfigurationError, defaults
from embcheck.core.item import PROFILES
from embcheck.core.options import ACTION, COMMAND, OPTIONS, PYTEST, TABLE, Option, options_of, page
from embcheck.runner import plugin
from embcheck.runner.run import Settings

ROOT = Path(__file__).parents[1]
ACTION_FILE = (ROOT / "ci" / "action" / "action.yml").read_text(encoding="utf-8")
#: A value of each option that is not its default.
OTHER = {"mode": "all", "select": "padding", "workers": "3", "witnesses": "all", "shard": "1/2", "device": "cuda"}


def other(option: Option) -> Any:
    """A value that is not the default."""
    if option.kind is bool:
        return True
    if option.kind is int:
        return 2
    return next((each for each in option.choices if each != option.default), OTHER.get(option.name, "x"))


def test_names_are_given_once_and_every_place_has_a_default() -> None:
    flags = [flag for option in OPTIONS for flag in option.flags]
    assert len(flags) == len(set(flags))
    fields = [option.field for option in OPTIONS if option.field]
    assert len(fields) == len(set(fields))
    assert set(fields) <= set(Settings.__dataclass_fields__)
    assert options_of(COMMAND)["profile"].choices == tuple(PROFILES)
    assert {option.field: option.default for option in OPTIONS if option.field} == vars(Settings())


# -- the command line ----------------------------------------------------------------------------------------------


def run_command() -> Any:
    """The command as typer made it."""
    return typer.main.get_command(app).get_command(None, "run")  # type: ignore[attr-defined]


def test_the_command_line_has_the_table_and_nothing_else() -> None:
    made = {each.name: each for each in run_command().params if each.param_type_name == "option"}
    made.pop("help", None)
    assert list(made) == [option.parameter for option in options_of(COMMAND).values()]
    for option in options_of(COMMAND).values():
        found = {*made[option.parameter].opts, *made[option.parameter].secondary_opts}
        assert found == {flag for flags in option.flags for flag in flags.split("/")}
        assert made[option.parameter].help == option.help


def handed(monkeypatch: Patch, folder: Path, *words: str) -> tuple[list[str], Any]:
    """What a run hands to pytest, and the plug-in that prints."""
    main = Mock(return_value=0)
    monkeypatch.setattr(pytest, "main", main)
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["run", *words])
    assert done.exit_code == 0, done.output
    return main.call_args.args[0], main.call_args.kwargs["plugins"][0]


def test_the_command_line_goes_before_the_table_and_that_before_defaults(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.embcheck]\nseed = 5\nprofile = 'quick'\nstrict = true\n"
        "report = 'out'\nworkers = 3\nselect = 'padding'\nverbose = 1\n"
    )
    (tmp_path / "inner").mkdir()
    arguments, progress = handed(monkeypatch, tmp_path / "inner", "--seed", "7")
    assert {"--embcheck-seed=7", "--embcheck-profile=quick", "--embcheck-strict", "--embcheck-mode="} <= set(arguments)
    assert f"--embcheck-report={tmp_path / 'out'}" in arguments
    assert arguments[arguments.index("-n") + 1] == "3"
    assert arguments[arguments.index("-k") + 1] == "padding"
    assert progress.origins[0].startswith(f'from {tmp_path / "pyproject.toml"}: profile = "quick", ')
    assert progress.origins[1] == "from the command line: seed = 7"
    arguments, progress = handed(monkeypatch, tmp_path, "--no-strict", "-q")
    assert "--embcheck-strict" not in arguments
    assert "--embcheck-seed=5" in arguments
    assert progress.verbosity == -1
    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    arguments, progress = handed(monkeypatch, tmp_path)
    assert {"--embcheck-seed=0", "--embcheck-profile=gate", "--embcheck-report="} <= set(arguments)
    assert progress.origins == []


# -- [tool.embcheck] -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", options_of(TABLE).values(), ids=lambda option: option.name)
def test_a_file_gives_each_option_a_value_of_its_type_and_no_other(tmp_path: Path, option: Option) -> None:
    def given(value: object) -> Any:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
        (tmp_path / "pyproject.toml").write_text(f"[tool.embcheck]\n{option.name} = {text}\n")
        return defaults(tmp_path)[0][option.name]

    wanted = other(option)
    assert given(wanted) == (tmp_path / wanted if option.kind is Path else wanted)
    for wrong in (1.5, ["x"], "" if option.kind in (int, bool) else True):
        with pytest.raises(ConfigurationError, match=rf"\[tool.embcheck\]: {option.name} must be "):
            given(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.embcheck]\nprofil = 'quick'\n", "[tool.embcheck] has no key 'profil'; did you mean profile?"),
        ("[tool.embcheck]\nshard = '1/2'\n", "[tool.embcheck] has no key 'shard'; there are profile, seed, "),
        ("[tool.embcheck]\nprofile = 'fast'\n", "profile must be 'quick' or 'gate' or 'full' or 'deep', not 'fast'"),
        ("[tool.embcheck]\nseed = true\n", "seed must be a whole number, such as 1, not True"),
        ("[tool]\nembcheck = 3\n", "expected a table [tool.embcheck], not 3"),
        ("[tool.embcheck\n", "pyproject.toml: Expected ']'"),
    ],
)
def test_a_file_that_is_wrong_gets_one_line(tmp_path: Path, monkeypatch: Patch, text: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run"])
    assert done.exit_code == 4
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert CliRunner().invoke(app, ["laws", "-k", "no_such_law"]).exit_code == 5  # which takes nothing from it


# -- pytest --------------------------------------------------------------------------------------------------------


@pytest.fixture
def parser() -> pytest.Parser:
    """One that knows the options of the plug-in alone."""
    made = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(made)
    return made


def test_pytest_has_the_table_and_nothing_else(parser: pytest.Parser, request: pytest.FixtureRequest) -> None:
    made = {each.names()[0]: each for each in parser.getgroup("embcheck").options}
    assert list(made) == [option.pytest for option in options_of(PYTEST).values()]
    for option in options_of(PYTEST).values():
        attrs = made[option.pytest].attrs()
        assert attrs["help"] == option.help
        assert attrs["default"] == option.default
        assert request.config.getoption(option.pytest, None) is not None or option.default is None


def test_settings_come_back_from_the_arguments_that_they_give(parser: pytest.Parser) -> None:
    wanted = Settings.of({option.name: other(option) for option in options_of(COMMAND).values()})
    assert len(vars(wanted)) - 1 == sum(vars(wanted)[name] != default for name, default in vars(Settings()).items())
    for settings in (wanted, Settings()):
        taken = parser.parse(settings.as_arguments())
        named = {
            o.name: getattr(taken, o.pytest.removeprefix("--").replace("-", "_")) for o in options_of(PYTEST).values()
        }
        assert Settings.of(named) == settings


# -- the action ----------------------------------------------------------------------------------------------------


def test_the_action_has_the_table() -> None:
    inputs = re.search(r"^inputs:\n(.*?)^outputs:", ACTION_FILE, re.MULTILINE | re.DOTALL)
    assert inputs
    found = re.findall(r"^  ([\w-]+):\n    description: (.*)\n    default: (.*)\n", inputs[1], re.MULTILINE)
    assert len(found) == len(re.findall(r"^  \S", inputs[1], re.MULTILINE))
    told = {
        name: (words.strip('"'), value.strip('"')) for name, words, value in found if name not in ("torch", "index")
    }
    wanted = {name: (option.help, "") for name, option in options_of(ACTION).items()}
    assert told == wanted | {"report": (wanted["report"][0], "embcheck-report")}


@pytest.mark.parametrize("chosen", [*([name] for name in options_of(ACTION)), [], [*options_of(ACTION)]])
def test_the_action_hands_each_input_on(tmp_path: Path, chosen: list[str]) -> None:
    step = re.search(r"id: run\n.*?      env:\n(.*?)      run: \|\n(.*?)\n    - name", ACTION_FILE, re.DOTALL)
    assert step
    variables = dict(re.findall(r"^        (\w+): \$\{\{ inputs\.([\w-]+) \}\}$", step[1], re.MULTILINE))
    assert sorted(variables.values()) == sorted(options_of(ACTION))
    values = {name: str(other(options_of(ACTION)[name])) for name in chosen}
    values = {name: "true" if value == "True" else value for name, value in values.items()}
    if "baseline" in values:
        (tmp_path / values["baseline"]).write_text("")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "embcheck").write_text('#!/bin/bash\nprintf "%s\\n" "$@"; exit 1\n')
    (programs / "embcheck").chmod(0o755)
    given = {variable: values.get(name, "") for variable, name in variables.items()}
    around = {"PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(tmp_path / "output")}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", textwrap.dedent(step[2])]
    done = subprocess.run(command, cwd=tmp_path, env=around | given, capture_output=True, text=True, check=False)
    words = done.stdout.splitlines()
    taken = run_command().make_context("run", words[1:]).params
    assert done.returncode == 1
    assert (tmp_path / "output").read_text() == "code=1\n"
    for name, option in options_of(ACTION).items():
        wanted: Any = other(option) if name in chosen else option.default
        assert taken[option.parameter] == (Path(wanted) if option.kind is Path and wanted else wanted)


# -- the documentation ---------------------------------------------------------------------------------------------


def test_the_page_of_options_has_the_table() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert text == page(text), "run: python -m embcheck.core.options docs/options.md"
    assert all(f"| {option.help} |" in text for option in OPTIONS)
    named = re.findall(r"--embcheck-([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert set(named) <= set(options_of(PYTEST))
