"""The command line as a user meets it: exit codes, one clear line for bad input, and a record whatever happens."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest.mock import Mock

import pytest
from command import Command, Patch, Said
from warm import embcheck, eventually, python

import properties
from embcheck.cli import main
from embcheck.core.verdict import Status
from embcheck.record.record import read
from embcheck.subject import collect

#: A selection that takes a second.
SMALL = ("--profile", "quick", "-k", "lookup and scope and eager")
#: Given last, to judge without workers.
HERE = ("--", "-n", "0")

#: Planted into every process of a run by the name that Python imports at start: what a broken torch would do.
PLANT = """
import os
import re
import torch
import torch.nn.functional

right = torch.nn.functional.embedding

def embedding(input, weight, *more, **flags):
    if {sizes[0]} <= input.numel() <= {sizes[1]} and weight.dtype == torch.float64:
        {what}
    return right(input, weight, *more, **flags)

torch.nn.functional.embedding = embedding
"""


def last_line(done: Said) -> str:
    """What a run says at its very end."""
    return done.out.splitlines()[-1]


def planted(folder: Path, what: str, sizes: tuple[int, int] = (17, 1 << 62)) -> Path:
    """A folder that breaks torch, for so many tokens, in every process that has it on its path."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(textwrap.dedent(PLANT).format(what=what, sizes=sizes))
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run --profile fast", "no profile 'fast'; there are quick, gate, full, deep"),
        ("run --device gpu", "no device 'gpu' to check; only cpu is here"),
        (
            "run --mode compile",
            "no mode 'compile'; torch.compile as it is by default is inductor; "
            "did you mean compile_eager or compile_no_grad?\n",
        ),
        ("run --cpu doesnotexist", "no CPU level 'doesnotexist'"),
        ("run --law lookup_copies_row", "no law 'lookup_copies_row'; did you mean lookup_copies_rows"),
        ("run --workers many", "expected auto or a number"),
        *((f"run -n {wrong}", "expected auto or a number") for wrong in ("²", "")),
        ("run --shard ²/²", "no shard '²/²'"),
        ("run --report \udce9", "can't tell workers --embcheck-report=\\udce9, which is not UTF-8; set PYTHONUTF8=1"),
        ("run --sed 1", "No such option"),
        ("run --seed one", "Invalid value for '--seed': expected a whole number; see `embcheck run --help`"),
        ("replay", "Missing argument 'failure'; see"),
        ("run --color red", "--color 'red': expected auto, always, never"),
        ("replay 000000", "no failure '000000'"),
        ("releases 2.13.0 -n ²", "--workers auto or a number of at least 1"),
        ("claims -k nosuchclaim", "no claim contains 'nosuchclaim'"),
        ("known adam", "no cause 'adam'; did you mean adam-"),
        ("known embedding_bag-freq", "did you mean embedding_bag-frequency-count or"),
        ("report record.ndjson -o /no/such/page.html", "can't write /no/such/page.html: there is no folder /no/such"),
        ("claims --show full.sparce", "no claim 'full.sparce'; did you mean full.sparse"),
        ("audit x", "'x': expected module:factory, such as my_model:build"),
        ("audit no_such_module:f", "no_such_module can't be imported: ModuleNotFoundError: No module named"),
        ("claims --seed x", "Invalid value for '--seed'"),
        ("claims -k detach --report /dev/null/x", "can't write the report"),
        ("selfcheck -k state_hooks_are_not_prepened", "close are state_hooks_are_not_prepended"),
        ("selfcheck --drawn -1", "expected --drawn N"),
        ("selfcheck --site mm", "expected --drawn N"),
        ("selfcheck --drawn 3 --site nn", "no site 'nn'"),
        ("selfcheck --fault x", "is no fault"),
    ],
)
def test_bad_input_gets_one_clear_line(words: str, said: str, command: Command) -> None:
    done = command(*words.split(" "), ends=5 if " -k nosuch" in words or " -k state" in words else 4)
    assert said in done.told
    assert len(done.told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("select", "families", "laws"),
    [
        ("max_norm", {"max_norm"}, 16),
        ("max_norm or lookup_copies_rows", {"max_norm", "lookup"}, 17),
        ("rows_over_max_nor", set(), 0),
    ],
)
def test_laws_are_listed_that_a_run_selects(select: str, families: set[str], laws: int, command: Command) -> None:
    done = command("laws", "-k", select, ends=None if families else 5)
    assert set(re.findall(r"^(\w+)  \(", done.out, re.MULTILINE)) == families
    assert done.out.count("\n      source: ") == laws
    assert bool(families) is not ("-k takes whole names of laws; rows_over_max_nor is in " in done.err)


def test_a_torch_that_compiles_nothing_is_refused(command: Command, monkeypatch: Patch) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    assert command("run", ends=4).told.startswith("embcheck: TORCHDYNAMO_DISABLE=1 turns off a part of torch")


@pytest.mark.parametrize("words", ["known --write", "since --known", "selfcheck -k padding", "selfcheck --drawn 3"])
def test_what_a_wheel_lacks_is_refused(words: str, command: Command, monkeypatch: Patch) -> None:
    monkeypatch.setattr("embcheck.subject.collect.in_checkout", lambda: False)
    (line,) = command(*words.split(), ends=4).told.splitlines()
    asked = words.partition(" -k")[0].partition(" --drawn")[0]
    assert line.startswith(f"embcheck: {asked} works only in a checkout of embcheck: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "from properties.core.test_padding import padding\n"
            "@padding.law('It is.', must_cover={'embeding_dim=3'})\ndef misspelt(case, out): ...\n",
            "line 2: law misspelt: no fact 'embeding_dim'; did you mean embedding_dim",
        ),
        ("import no_such\n", "line 1: ModuleNotFoundError: No module named 'no_such'"),
        ("\ndef law(:\n", "line 2: SyntaxError: invalid syntax"),
    ],
)
def test_a_file_of_laws_that_is_wrong_is_named(
    text: str, said: str, tmp_path: Path, command: Command, monkeypatch: Patch
) -> None:
    (tmp_path / "properties").mkdir()
    path = tmp_path / "properties" / "test_wrong.py"
    path.write_text(text)
    monkeypatch.setattr(collect, "_PACKAGE", tmp_path / "embcheck")
    monkeypatch.setattr(collect, "files_of_laws", lambda: (path,))
    monkeypatch.setattr(properties, "__path__", [*properties.__path__, str(path.parent)])
    monkeypatch.syspath_prepend(tmp_path)
    (line,) = command("explain", "lookup_copies_rows", ends=4).told.splitlines()
    assert line.startswith(f"embcheck: properties/test_wrong.py, {said}")


ENTRY = (
    "[[known]]\nname = 'gone'\nlaw = 'lookup_copies_rows'\nwhere = { rank = 1 }\n"
    "witness = \"LookupCase(num_embeddings=2, embedding_dim=1, shape=(1,))\"\nreason = 'was wrong once'\n"
)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--ledger", "ledger entry gone: no fact 'rnk'; did you mean rank"),  # what else there is `test_ledger.py` says
        ("--report", "can't write the report"),
    ],
)
def test_a_bad_ledger_or_report_is_refused(option: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(ENTRY.replace("rank", "rnk"))
    told = embcheck("run", *SMALL, option, tmp_path / "file", *HERE, ends=4).told.strip()
    assert said in told
    assert told.startswith("embcheck: ")
    assert len(told.splitlines()) == 1


def test_stale_ledger_entry_fails_the_run(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.toml"
    ledger.write_text(ENTRY)
    done = embcheck("run", "--profile", "quick", "-k", "test_ledger", "--only-ledger", ledger, *HERE, ends=1)
    case = "LookupCase(num_embeddings=2, embedding_dim=1, shape=(1,))"
    assert f"STALE     ledger: gone: {case} no longer fails; remove the entry" in done.out.splitlines()
    assert last_line(done) == "exit code 1: 1 ledger entry is stale or no longer right"


def test_a_law_selects_its_family_and_is_shown_when_it_is_violated(tmp_path: Path) -> None:
    """By its whole name, as a family does whose file is called otherwise.  Without the ledger a known bug is a violation."""
    (tmp_path / "none.toml").touch()
    law, family, other = "loading_leaves_the_state_dict_metadata", "load_state_dict", "padding_row_training"
    chosen = ("-k", f"{law} or padding_row_gets or {other}", "--only-ledger", tmp_path / "none.toml", *HERE)
    lines = embcheck("run", *SMALL[:2], *chosen, ends=1, cwd=tmp_path).out.splitlines()
    early = [n for n, line in enumerate(lines) if line.startswith(f"violated: {law} in eager, LoadStateDictCase(")]
    assert len(early) == 1
    assert early[0] < next(place for place, line in enumerate(lines) if line.startswith("family"))
    assert [line.split()[0] for line in lines if line.startswith((family, other, "gradient ", "padding "))] == [
        other,
        family,
    ]


def test_what_cannot_be_printed_is_one_line(command: Command, monkeypatch: Patch) -> None:
    monkeypatch.setattr(main, "_code_of_app", Mock(side_effect=OSError(28, "No space left on device")))
    said = command("laws", ends=3)
    assert said.err == "embcheck: can't write what it prints: No space left on device\n"


def test_interrupted_run_leaves_a_record(tmp_path: Path) -> None:
    words = ("run", "--profile", "full", "-n", "1", "-k", "test_ledger", "--report", tmp_path)
    # A shell's background jobs, and so some CI runners', ignore SIGINT, and children inherit that.
    run = subprocess.Popen(
        [sys.executable, "-m", "embcheck.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    record = tmp_path / "record.ndjson"
    # On a machine under load the first items take long.
    assert eventually(lambda: record.is_file() and '"kind": "verdict"' in record.read_text(), 3600)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=3600)
    assert run.returncode == 2, output
    assert "the run did not finish: interrupted" in output
    assert output.splitlines()[-1].startswith("exit code 2: interrupted, after ")
    found = read(record)
    assert (found.footer or {})["stopped"] == "interrupted"
    assert not found.complete
    assert found.verdicts


@pytest.mark.parametrize("what", ["os.kill(os.getpid(), 9)", "import ctypes; ctypes.string_at(0)"])
def test_crash_is_a_verdict_about_the_smallest_case(tmp_path: Path, what: str, full: bool) -> None:
    """It is found without cases that are larger than need be: each that is tried is a fork, and each that dies ends a worker."""
    if "kill" in what and not full:
        pytest.skip("a process that is killed ends as one that reads what it may not does; with --full both are tried")
    plant = planted(tmp_path / "plant", what, (17, 100))
    done = embcheck("run", *SMALL, "-n", "1", "--report", tmp_path / "out", ends=1, plant=plant)
    assert "shape=(17,), dtype='float64'" in done.out
    assert "the process died: crash SIG" in done.out
    assert "Fatal Python error" not in done.err
    record = read(tmp_path / "out" / "record.ndjson")
    assert record.complete
    others = [verdict for verdict in record.verdicts if verdict.law == "lookup_copies_rows"]
    assert others
    assert all(verdict.status == Status.HOLDS for verdict in others)


def test_violation_is_replayed_and_scripted(tmp_path: Path) -> None:
    plant = planted(tmp_path / "plant", "return right(input, weight, *more, **flags) + 1")
    done = embcheck("run", *SMALL, "--report", "out", *HERE, ends=1, plant=plant, cwd=tmp_path)
    assert last_line(done) == "exit code 1: 1 law violated (lookup_copies_rows)"
    printed = f"embcheck replay {done.out.partition('embcheck replay ')[2].splitlines()[0]}"
    assert f"<code>{printed}</code>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    _, _, failure, *where = words = shlex.split(printed)
    assert where == ["--store", "out"]
    assert embcheck(*words[1:], ends=1, plant=plant, cwd=tmp_path).out.startswith("FAILED")
    assert embcheck(*words[1:], cwd=tmp_path).out.startswith("FIXED")
    script = tmp_path / "out" / ".embcheck" / f"{failure}.py"
    assert embcheck(*words[1:], "--script", cwd=tmp_path).out == script.read_text()
    assert python(script).returncode == 0
    assert python(script, environment={**os.environ, "PYTHONPATH": str(plant)}).returncode == 1
    imported = {line.split()[1] for line in script.read_text().splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"sys", "torch", "torch.utils.checkpoint", "__future__"}
