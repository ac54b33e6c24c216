"""What a run prints: one screen when all is right, every part of a violation, and why the exit code is what it is."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import Command
from records import ended, printed_by, session_of
from warm import python

from embcheck.core.ledger import SEEMS_FIXED
from embcheck.core.options import COLOURS
from embcheck.core.tiers import CORE
from embcheck.core.verdict import LEDGER, Counterexample, Status, Verdict
from embcheck.record.record import PAGE
from embcheck.record.totals import Totals, because, cases_by_family, shares
from embcheck.report.failure import further, lines
from embcheck.report.screen import opening_line
from embcheck.report.style import console, plain_table
from embcheck.report.terminal import law_table, summary
from embcheck.runner import session
from embcheck.runner.run import Batch
from embcheck.subject.collect import load_families, statements

FAMILIES = load_families()
#: More entries than the shipped ledger has.
WITNESSES = 300
EXAMPLE = Counterexample(
    "padding_row_gets_no_gradient", "padding", "torch", "vmap", "cpu", "LookupCase(sparse=True)", "value", "-665, expected 0",
    first="LookupCase(sparse=True, shape=(3,))", also=("other_rows_ignore_padding_tokens",), elsewhere={"eager": "holds"},
    resembles="an-entry, which speaks of sparse = False", id="c7f3a1", script="import torch\n", script_confirmed=True,
)  # fmt: skip


def verdicts_of(family: str) -> list[Verdict]:
    """A verdict for each law of a family as an item gives them: every third law is known."""
    return [
        Verdict(
            law.name, family, "torch", "eager", "scope", Status.KNOWN if place % 3 == 2 else Status.HOLDS, cases=1000,
            known=place % 3 // 2, entries={f"entry of {family}": 1} if place % 3 == 2 else {}, seconds=0.25, digest="0f",
        )
        for place, law in enumerate(FAMILIES[family].laws)
    ]  # fmt: skip


def names_of(*families: str) -> set[str]:
    return {law.name for family in families for law in FAMILIES[family].laws}


def witness(number: int, status: Status = Status.KNOWN, *reasons: str) -> Verdict:
    name = f"ledger: entry-{number}"
    return Verdict(name, LEDGER, "torch", "eager", "witness", status, cases=1, known=1, reasons=reasons)


def run_of(folder: Path | None = None, *more: Verdict, families: tuple[str, ...] = tuple(FAMILIES)) -> session.Session:
    """A session that has the verdicts of whole families, of the witnesses, and some more."""
    made = session_of(report=folder)
    for name in families:
        made.take(Batch(f"{name}/torch/eager/scope/0", 1, verdicts_of(name), statements(FAMILIES[name])))
    for verdict in (*(witness(number) for number in range(WITNESSES)), *more):
        made.take(Batch(verdict.law, 2, [verdict]))
    return made


def printed(made: session.Session, verbosity: int = 0) -> list[str]:
    """The lines of a run's summary."""
    return printed_by(lambda out: summary(made, out, verbosity=verbosity)).splitlines()


# -- when all is right -----------------------------------------------------------------------------------------


def test_a_green_run_of_every_family_is_one_screen() -> None:
    seem = [witness(WITNESSES + n, Status.HOLDS, f"{SEEMS_FIXED}: it passes") for n in range(40)]
    made = ended(run_of(None, *seem))
    told = [opening_line(made), *printed(made)]
    most_progress = 10  # see the test of the progress lines
    assert len(told) + most_progress <= 45
    assert told[-1] == "exit code 0: every law holds, is known or not applicable"
    assert told[0].endswith("· gate · seed 0 · 2 workers")
    assert any(line.startswith("machine: ") for line in told[1:3])
    heading = next(number for number, line in enumerate(told) if line.startswith("family "))
    rows = told[heading + 1 :][: len(CORE) + 1]
    assert [row.split()[0] for row in rows] == [*CORE, "extended"]
    extended = set(FAMILIES) - set(CORE)
    assert f"extended ({len(extended)} families)" in rows[-1]
    # A law counts by its name: one of construction's and one of membership's have the same.
    laws = len(names_of(*extended) - names_of(*CORE))
    assert rows[-1].split("families)")[1].split()[0] == str(laws)
    assert any("40 ledger entries seem fixed here" in line for line in told)
    assert sum(line.startswith("slowest: ") for line in told) == 1
    assert any(f"witnesses of the ledger: {WITNESSES} known, 40 holds" in line for line in told)


def test_the_rows_add_up_to_the_totals() -> None:
    made = ended(run_of())
    found = shares(made.settled, made.results.verdicts)
    assert sum((share.laws for share in found.values()), start=Totals.of([]).laws) == Totals.of(made.settled).laws
    assert LEDGER not in cases_by_family(made.results.verdicts)
    assert sum(share.cases for share in found.values()) == made.results.cases
    assert found["padding"].entries == {"entry of padding"}
    assert found["padding"].seconds == len(FAMILIES["padding"].laws) / 4
    row = next(line for line in printed(made) if line.startswith("padding "))
    assert row.split()[1] == str(len(FAMILIES["padding"].laws))
    assert row.split()[-2:] == ["1,000", "1"]


@pytest.mark.parametrize("width", [40, 69, 70])
def test_a_narrow_terminal_cuts_no_verdict(width: int) -> None:
    told = printed_by(lambda out: summary(ended(run_of()), out), width)
    assert told.partition("family ")[2].partition("slowest")[0].split().count("holds") == len(CORE) + 1


def test_a_few_further_families_have_a_line_each() -> None:
    told = printed(ended(run_of(families=("padding", "lr_scheduler", "parameter"))))
    at = next(number for number, line in enumerate(told) if line.startswith("family "))
    assert [line.split()[0] for line in told[at + 1 : at + 4]] == ["padding", "lr_scheduler", "parameter"]
    assert not any("extended" in line for line in told)


def test_a_violation_in_an_extended_family_is_named_in_its_line() -> None:
    told = printed(ended(run_of(None, violated("lr_scheduler")), 1))
    (line,) = (line for line in told if line.startswith("extended ("))
    assert "1 violated" in line
    assert "(in lr_scheduler)" in line


def test_verbosity_adds_laws_then_witnesses_and_quiet_leaves_the_last_line() -> None:
    made = ended(run_of())
    names = names_of(*FAMILIES)
    one, two, quiet = (printed(made, verbosity) for verbosity in (1, 2, -1))
    for told in (one, two):
        assert names <= {line.split()[0] for line in told if line}
        costs = told[told.index("cost of each family") :][2:]
        assert {line.split()[0] for line in costs[: len(FAMILIES)]} == set(FAMILIES)
    assert not any(line.startswith("ledger: ") for line in one)
    assert sum(line.startswith("ledger: ") for line in two) == WITNESSES
    assert quiet == ["exit code 0: every law holds, is known or not applicable"]


# -- when something is wrong -----------------------------------------------------------------------------------


def violated(family: str = "padding") -> Verdict:
    law = EXAMPLE.law if family == "padding" else FAMILIES[family].laws[0].name
    example = replace(EXAMPLE, law=law, family=family)
    return Verdict(law, family, "torch", "vmap", "scope", Status.VIOLATED, counterexamples=(example,), cases=1)


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_a_violation_prints_each_part(verbosity: int, tmp_path: Path) -> None:
    told = printed(ended(run_of(tmp_path, violated()), 1), verbosity)
    at = told.index("VIOLATED  padding_row_gets_no_gradient   torch · vmap · cpu")
    law = next(law for law in FAMILIES["padding"].laws if law.name == EXAMPLE.law)
    store = tmp_path / ".embcheck"
    assert told[at + 1 : at + 10] == [
        f"  law     {law.sentence}",
        f"  source  {law.source}",
        "  case    LookupCase(sparse=True)   (reduced)",
        "  got     -665, expected 0",
        "  wrong   torch in vmap; eager obeys the law on this case",
        "  also    other_rows_ignore_padding_tokens",
        "  known?  no entry of the ledger covers it; the nearest is an-entry, which speaks of sparse = False",
        f"  replay  embcheck replay c7f3a1 --store {tmp_path}",
        f"  script  {store}/c7f3a1.py (imports torch only; run: it exits 1)",
    ]
    assert told[at + 10] == "" != told[at + 11]
    assert told[-1] == "exit code 1: 1 law violated (padding_row_gets_no_gradient)"
    assert (f"page: {tmp_path / PAGE}" in told) == (verbosity >= 0 and (tmp_path / PAGE).is_file())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("2 times row 0 (if that is meant, declare scale=math.sqrt); expected", ["@embcheck.declare(scale=math.sqrt)"]),
        ("2 times row 0 (if that is meant, declare scale=2); 3 times row 1 (if that is meant, declare scale=3)", []),
        ("row 0 plus 1 (if that is meant, declare offset=1); expected", ["@embcheck.declare(offset=1)"]),
        ("1, expected 2", []),
    ],
)
def test_what_a_layer_may_declare_is_noted_once_with_its_whole_line(words: str, said: list[str]) -> None:
    examples = tuple(replace(EXAMPLE, subject="layers:Scaled", kind=kind, words=words) for kind in ("value", "bits"))
    scaled = replace(violated(), subject="layers:Scaled", counterexamples=examples)
    notes = [line for line in printed(ended(run_of(None, scaled), 1)) if line.startswith("note: ")]
    assert notes == [f"note: layers:Scaled: if that is meant, put this line above it: {line}" for line in said]


def test_a_violation_that_is_not_shown_whole_is_a_short_line() -> None:
    assert further(replace(EXAMPLE, words="[   inf    nan]")).endswith(" in vmap, LookupCase(sparse=True): [ inf nan]")
    assert further(replace(EXAMPLE, words="1 " * 100)).endswith(" 1 …")
    assert len(further(replace(EXAMPLE, words="1 " * 100))) < 210


def test_a_line_of_the_table_has_no_blanks_at_its_end() -> None:
    table = plain_table("law", "remark", title="all")
    table.add_row("a", "a long remark")
    table.add_row("b", "")
    assert printed_by(lambda out: out.print(table), 80).splitlines() == [
        "all",
        "law  remark",
        "a    a long remark",
        "b",
    ]


def test_what_is_undecided_is_told_with_its_reasons() -> None:
    dark = replace(verdicts_of("padding")[0], status=Status.UNKNOWN, reasons=("no case met: a", "two", "three"))
    for verbosity in (-1, 0, 1):
        told = printed(ended(run_of(None, dark)), verbosity)
        shown = [line for line in told if line.startswith("UNKNOWN")]
        assert [line.split(": ", 1)[1] for line in shown] == [
            "no case met: a (and 1 more of the kind)",
            "two (and 1 more of the kind)",
        ]
        assert told[-1] == "exit code 1: 1 law unknown (padding_is_accepted)"


def test_which_side_wrong_side() -> None:
    def wrong_side(**more: Any) -> str:
        return next(line for line in lines(replace(EXAMPLE, **more)) if line.startswith("  wrong   "))

    assert wrong_side(elsewhere={}) == "  wrong   torch in vmap; no other mode was asked on this case"
    both = {"eager": "violated", "no_grad": "violated"}
    assert (
        wrong_side(elsewhere=both) == "  wrong   torch in eager, vmap, no_grad; every mode that was asked on this case"
    )
    assert " · eager, vmap, no_grad · " in lines(replace(EXAMPLE, elsewhere=both))[0], "the same modes"
    mixed = {"eager": "holds", "no_grad": "holds", "inference": "raised RuntimeError: no"}
    words = "torch in vmap; eager, no_grad obey the law on this case; inference raised RuntimeError: no"
    assert wrong_side(elsewhere=mixed) == f"  wrong   {words}"
    assert (
        wrong_side(other_modes=("eager",), elsewhere=both)
        == "  wrong   torch in eager, vmap, no_grad; every mode that was asked on this case"
    )


# -- the last line ---------------------------------------------------------------------------------------------

STALE = witness(0, Status.VIOLATED, "stale: LookupCase() no longer fails; remove the entry")
DARK = Verdict("dark", "f", "torch", "eager", "scope", Status.UNKNOWN)
EXCUSED = "every violation was in the baseline already, on the very same cases"


@pytest.mark.parametrize(
    ("code", "settled", "more", "said"),
    [
        (0, [], {}, "every law holds, is known or not applicable"),
        (0, [violated()], {"excused": [violated().key]}, EXCUSED),
        (1, [violated(), DARK], {}, "1 law violated (padding_row_gets_no_gradient), 1 law unknown (dark)"),
        (1, [violated(), DARK], {"excused": [violated().key]}, "1 law unknown (dark)"),
        (1, [replace(DARK, law=str(n)) for n in range(5)], {}, "5 laws unknown (0, 1, 2 and 2 more)"),
        (1, [replace(DARK, law=str(n)) for n in range(4)], {}, "4 laws unknown (0, 1, 2, 3)"),
        (1, [STALE], {}, "1 ledger entry is stale or no longer right"),
        (1, [], {"unaccounted": 2}, "no verdict from 2 selected items"),
        (1, [], {"others": 1}, "1 failed test beside the laws"),
        (2, [], {"unaccounted": 5, "selected": 12}, "interrupted, after 7 of 12 items"),
        (2, [], {"unaccounted": 9, "selected": 8}, "interrupted, after 0 of 8 items"),
        (3, [], {}, "internal error"),
        (3, [], {"broken": "No space left on device"}, "the record is cut off: No space left on device"),
        (5, [], {}, "nothing was selected"),
        (5, [replace(DARK, status=Status.NOT_APPLICABLE, reasons=("no C++",))], {}, "no law was judged; no C++"),
    ],
)  # fmt: skip
def test_the_reason_of_each_exit_code(code: int, settled: list[Verdict], more: dict[str, Any], said: str) -> None:
    assert because(code, settled, **more) == said


def test_a_session_says_why_it_ends_as_it_does() -> None:
    made = run_of()
    made.account.selection = replace(made.account.selection, items={"a::b": "padding/torch/eager/scope/0"})
    assert printed(ended(made))[-1] == "exit code 1: no verdict from 1 selected item"
    stopped = run_of()
    stopped.account.selection = replace(stopped.account.selection, items={"a::b": "x", "a::c": "y"})
    stopped.account.done.add("a::b")
    assert printed(ended(stopped, 2))[-1] == "exit code 2: interrupted, after 1 of 2 items"


def test_a_law_names_the_modes_that_judged_it() -> None:
    judged = replace(violated(), mode="export", cases=3), replace(violated(), mode="vmap", cases=0)
    assert list(law_table(judged).columns[2].cells) == ["export"]


def test_an_interrupted_run_names_the_families_that_were_not_judged_whole() -> None:
    """Their rows don't tell that others of their items did not run."""
    stopped = run_of()
    labels = ["lookup/0", "padding/0", "padding/1", "gradient/0", "ledger: an-entry"]
    stopped.account.selection = replace(stopped.account.selection, items=dict(zip("abcde", labels, strict=True)))
    stopped.account.done |= {"c", "d"}
    told = (
        "the run did not finish: interrupted; not judged whole: padding (1 of 2 items ran), lookup (0 of 1 items ran)"
    )
    assert told in printed(ended(stopped, 2))


# -- as it is called -------------------------------------------------------------------------------------------


def test_short_options(command: Command) -> None:
    assert command("-V").out == command("--version").out != ""
    assert command("run", "-h").out == command("run", "--help").out != ""
    assert "400, and those by hand" in " ".join(command("selfcheck", "--help").out.replace("│", "").split())


@pytest.mark.parametrize("no_color", ["", "1"])
@pytest.mark.parametrize(("asked", "coloured"), [("always", True), ("never", False), ("auto", False)])
def test_colour_is_as_asked_and_otherwise_the_terminal_s(
    asked: str, coloured: bool, no_color: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal; what is asked for overrules NO_COLOR, which counts where nothing is."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    console(colour=COLOURS[asked]).print("word", style="red")
    assert ("\x1b[31m" in capsys.readouterr().out) is coloured
    monkeypatch.setenv("FORCE_COLOR", "1")
    console(colour=COLOURS[asked]).print("word", style="red")
    assert ("\x1b[31m" in capsys.readouterr().out) is (coloured or (asked == "auto" and not no_color))


@pytest.mark.parametrize(
    ("given", "laws", "families"), [((), False, True), (("-v",), True, True), (("-q",), False, False)]
)
def test_pytest_says_as_much_as_its_own_verbosity(given: tuple[str, ...], laws: bool, families: bool) -> None:
    done = python(
        *("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "properties/core/test_one_hot.py", *given),
        *("--embcheck-profile=quick", "-k", "scope and no_grad"),
        cwd=Path(__file__).parent.parent,
        environment={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout
    told = done.stdout[done.stdout.index("= embcheck =") :].splitlines()
    assert ("one_hot_is_accepted" in {line.split()[0] for line in told if line}) is laws
    assert any(line.startswith("family ") for line in told) is families
    assert "exit code 0: every law holds, is known or not applicable" in told


HEAVY = {"torch", "numpy", "hypothesis"}


@pytest.mark.parametrize(
    ("module", "heavy"), [("report.failure", {"rich"}), ("runner.plugin", HEAVY), ("cli.main", HEAVY)]
)
def test_what_is_loaded_first_needs_little(module: str, heavy: set[str]) -> None:
    """By each worker, every session of pytest where embcheck is installed, and each completed word of a command."""
    program = f"import sys, embcheck.{module}; sys.exit(not {heavy!r}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
