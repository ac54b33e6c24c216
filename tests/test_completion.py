"""What a shell is told when it asks for completions: by its variables, without a terminal, and without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Command, Patch

from embcheck.cli import parameters as completion
from embcheck.cli.usage import audit_laws
from embcheck.core.options import COMMAND, FORMS, options_of
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

#: Answers each line, which has some variables, as a shell's command would that sets them; torch can't be imported.
SERVER = """
import json, os, sys
sys.modules["torch"] = None
from embcheck.cli.main import main
for line in sys.stdin:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.environ.update(json.loads(line))
        os.dup2(writing, 1)
        main()
    os.close(writing)
    print(json.dumps([os.fdopen(reading).read(), os.wait()[1]]), flush=True)
"""
Asked = Callable[..., str]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    """What embcheck prints for a shell that sets some variables."""
    environment, pipe = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, subprocess.PIPE
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as server:

        def said(**variables: str) -> str:
            assert server.stdin is not None
            assert server.stdout is not None
            print(json.dumps(variables), file=server.stdin, flush=True)
            told, status = json.loads(server.stdout.readline())
            assert status == 0
            return str(told)

        yield said


def test_every_name_is_offered() -> None:
    """They are read as text: a law or mode that is written otherwise would be missing."""
    laws = {law.name for name, family in load_families().items() if name != "tutorial_claims" for law in family.laws}
    assert completion.law_names() == sorted(laws | {"tutorial_claims_is_accepted"})
    assert completion.explained_names() == sorted([*completion.law_names(), *audit_laws()])
    assert completion.mode_names("") == ["all", *sorted(MODES)]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("run --law padding_row_g", ["padding_row_gets_no_gradient"]),
        ("explain the_padding_row_s", ["the_padding_row_starts_at_zero"]),
        ("explain padding_row_g", ["padding_row_gets_no_gradient"]),
        ("run --profile ", [*options_of(COMMAND)["profile"].choices]),
        ("selfcheck --profile q", ["quick"]),
        ("run --mode deepcopy,no_", ["deepcopy,no_grad"]),
        ("run --mode deepcopy,deep", []),
        ("run --format ", [*FORMS]),
        ("run --update-l", ["--update-ledger"]),
        ("expl", ["explain"]),
    ],
)
def test_a_shell_is_offered(words: str, offered: list[str], asked: Asked) -> None:
    last = str(len(words.split(" ")))
    told = asked(_EMBCHECK_COMPLETE="complete_bash", COMP_WORDS=f"embcheck {words}", COMP_CWORD=last)
    assert told.split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str, asked: Asked) -> None:
    assert f"_EMBCHECK_COMPLETE=complete_{shell}" in asked(_EMBCHECK_COMPLETE=f"source_{shell}")


def test_a_shell_that_is_not_known_is_a_usage_error(monkeypatch: Patch, command: Command) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("csh", "/bin/csh"))
    assert "csh" in command("--show-completion", ends=4).err


def test_it_is_installed_for_the_shell_that_asks(tmp_path: Path, monkeypatch: Patch, command: Command) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    assert "bash completion installed" in command("--install-completion").out
    (script,) = tmp_path.glob(".bash_completions/*")
    assert "_EMBCHECK_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
