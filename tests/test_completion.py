"""What a shell is told when it asks for completions: by its variables, without a terminal, and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embcheck.claims.appraisal import every_claim
from embcheck.cli import completion
from embcheck.cli.main import main
from embcheck.core.options import COMMAND, FORMS, options_of
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

ROOT = Path(__file__).parents[1]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from embcheck.cli.main import main; main()"


def asked(**variables: str) -> str:
    """What embcheck prints for a shell that sets these variables; torch can't be imported."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(["embcheck", *words])
    return asked(_EMBCHECK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words))).split()


def test_every_name_is_offered() -> None:
    """They are read as text: a law, mode or claim that is written otherwise would be missing."""
    laws = {law.name for name, family in load_families().items() if name != "tutorial_claims" for law in family.laws}
    assert completion.law_names() == sorted(laws | {"tutorial_claims_is_accepted"})
    assert completion.mode_names("") == ["all", *sorted(MODES)]
    assert completion.claim_names() == sorted(every_claim())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("run", "--law", "padding_row_g"), ["padding_row_gets_no_gradient"]),
        (("explain", "padding_row_g"), ["padding_row_gets_no_gradient"]),
        (("run", "--profile", ""), [*options_of(COMMAND)["profile"].choices]),
        (("selfcheck", "--profile", "q"), ["quick"]),
        (("run", "--mode", "deepcopy,no_"), ["deepcopy,no_grad"]),
        (("run", "--mode", "deepcopy,deep"), []),
        (("run", "--format", ""), [*FORMS]),
        (("claims", "--show", "tying.fewer"), ["tying.fewer_parameters"]),
        (("run", "--update-l"), ["--update-ledger"]),
        (("expl",), ["explain"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_shell_is_offered(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    script = asked(_EMBCHECK_COMPLETE=f"source_{shell}")
    assert f"_EMBCHECK_COMPLETE=complete_{shell}" in script


def test_a_shell_that_is_not_known_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("csh", "/bin/csh"))
    monkeypatch.setattr(sys, "argv", ["embcheck", "--show-completion"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "csh" in capsys.readouterr().err


def test_it_is_installed_for_the_shell_that_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    monkeypatch.setattr(sys, "argv", ["embcheck", "--install-completion"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "bash completion installed" in capsys.readouterr().out
    (script,) = tmp_path.glob(".bash_completions/*")
    assert "_EMBCHECK_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
