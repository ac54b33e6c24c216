"""The scripts of counterexamples are Python, import nothing but torch, and define every name that they use."""

import builtins
import functools
import re
import symtable
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from records import EXAMPLE
from warm import statuses

from embcheck.core import deck
from embcheck.core.result import Difference
from embcheck.engine.crashes import alone, crash
from embcheck.engine.execute import run
from embcheck.engine.script import reached, roots, script
from embcheck.families.conversion.cases import ConversionCase
from embcheck.modes.mode import MODES, modes_of
from embcheck.report.failure import lines
from embcheck.subject.collect import load_families


@functools.lru_cache(maxsize=4096)
def names(part: str) -> tuple[set[str], set[str], set[str]]:
    """The modules that a part of a script imports, the names that it binds, and those that it uses; annotations, which a
    script never evaluates, left out."""
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", part, re.MULTILINE))
    bound, used = set(), set()
    todo: list[symtable.SymbolTable] = [
        symtable.symtable("from __future__ import annotations\n" + part, "part", "exec")
    ]
    for table in todo:
        todo += [child for child in table.get_children() if child.get_name() != "_annotation"]
        outside = table.get_type() == "module"
        for symbol in table.get_symbols():
            if outside and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif symbol.is_referenced() and (outside or symbol.is_global()):
                used.add(symbol.get_name())
    return imported - {"__future__"}, bound, used


def foreign(text: str) -> set[str]:
    """What a script imports beside torch and the standard library, and names that it uses but never defines."""
    parts = [names(part) for part in text.split("\n\n\n")]  # functions stand apart; most scripts share theirs
    imported, bound, used = (set().union(*found) for found in zip(*parts, strict=True))
    return (imported - {"torch"} - sys.stdlib_module_names) | (used - bound - {*dir(builtins), "__file__"})


def test_scripts_import_only_torch_and_define_what_they_use(full: bool) -> None:
    """For every family, every mode and every function that a program calls, in an eighth of the chosen cases too; for every value
    of every axis and all of these with ``--full``.  And no program refers to two things of one name."""
    found = Difference("value", 'seen["x"]', 1, 2, "words")
    wrong, checked, met, tried = {}, set(), set[str](), set[frozenset[Any]]()
    for family in load_families().values():
        modes = modes_of(family, "all")
        choice = deck.chosen(family, family.modes[0], "gate") or deck.Choice()
        chosen = [*choice.product_cases(family.space, family.name, 0)][:: 1 if full else 8]
        for position, case in enumerate([*family.space.cover(1, 0), *chosen]):
            mode = MODES[modes[position % len(modes)]]
            together = roots(family.plan(case), mode)
            called = (f"{each.__module__}.{each.__qualname__}" for each in together)
            if frozenset(together) not in tried:  # raises if two things that one of them calls have the same name
                tried.add(frozenset(together))
                reached(together)
            new = {mode.name, f"{family.name} refused {family.refused(case)}", *called} - met
            if new or full:
                met |= new
                text = script(family, mode, family.laws[0], case, found)
                checked.add(family.name)
                if names := foreign(text):
                    wrong[f"{family.name}: {case!r}"] = names
    assert wrong == {}
    assert checked == set(load_families())


@pytest.mark.filterwarnings("ignore:grad and param do not obey:UserWarning")
@pytest.mark.parametrize("name", load_families())
def test_a_script_does_what_was_executed(name: str, full: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits 1 where the program raised that error, 2 where it raised another, and 0 where it raised none."""
    family = load_families()[name]
    threads = torch.get_num_threads()
    met: set[tuple[str, str]] = set()
    for position, case in enumerate(family.space.cover(1, 0)):
        if position % 5 == 0:
            mode = MODES[family.modes[position // 5 % len(family.modes)]]
            error = run(family.plan(case), mode).error
            kind, words = f"raised {type(error).__name__}", str(error).strip().partition("\n")[0][:160]
            if not full and (mode.name, kind) in met:  # by default one script of each mode and kind of error
                continue
            met.add((mode.name, kind))
            same = Difference(kind, "error", f"{kind}: {words}", None, words)
            assert status(script(family, mode, family.laws[0], case, same)) == (error is not None), repr(case)
            assert f"raised {type(error).__name__}(" in capsys.readouterr().out or error is None
            if error is not None:
                assert status(script(family, mode, family.laws[0], case, replace(same, kind="raised OSError"))) == 2
    torch.set_num_threads(threads)


def status(text: str) -> int | None:
    return alone.exit_status(lambda: exec(compile(text, "script", "exec"), {"__name__": "__main__"}))


def test_only_a_script_that_ran_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    """In forks of this process; `test_stored_scripts.py` runs scripts in the process that a run starts for them."""
    monkeypatch.setattr(crash, "exit_statuses", statuses)
    dies = "run alone it dies, or raises what it does not expect"
    scripts = {
        "raise SystemExit(1)": (True, ""),
        "raise SystemExit(0)": (False, ""),
        "": (None, ""),
        "lost": (None, dies),
        "f(,)": (None, dies),
        "raise SystemExit(2)": (None, "run alone it exits 2"),
    }
    found = crash.confirmed([replace(EXAMPLE, script=text) for text in scripts])
    assert {example.script: (example.script_confirmed, example.unconfirmed) for example in found} == scripts


def test_of_a_script_that_was_not_run_or_has_no_end_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "exit_statuses", lambda scripts: [None] * len(scripts))
    *tried, last = crash.confirmed([EXAMPLE] * 25)
    assert {each.unconfirmed for each in tried} == {"run alone it has no end within 60 s of CPU time"}
    told = "(not confirmed: not run: a run tries 24 scripts)"
    assert any(line.startswith("  script ") and line.endswith(told) for line in lines(last, Path(".embcheck")))


def test_the_script_guard_can_fail() -> None:
    text = "import torch, math\nimport numpy as np\nfrom embcheck.core.case import Case\n"
    assert foreign(text + "def f(a):\n    return a + math.pi + lost\n") == {"numpy", "embcheck", "lost"}
    with pytest.raises(SyntaxError):
        foreign("f(a=(,))")


def test_a_lambda_of_a_table_is_printed_as_a_function() -> None:
    family = load_families()["conversion"]
    case = ConversionCase(3, 2, cut="clone", spelling="clone")
    program = script(family, MODES["eager"], family.laws[0], case, Difference("value", "value", 1, 2, "1, not 2"))
    assert "def clone(w):\n    return w.clone()" in program
    assert "def by_clone(w):\n    return w.T.clone()" in program
