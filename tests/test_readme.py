"""The README can't lie: its commands are the ones that the gate runs, its example law is the one that is there."""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer
from records import VIOLATED, verdict

import embcheck
from embcheck.audit.faults import PLANTED
from embcheck.claims.appraisal import every_claim
from embcheck.cli.main import app
from embcheck.core.item import PROFILES
from embcheck.core.options import TIMES
from embcheck.core.verdict import LEDGER, Status
from embcheck.record.totals import because
from embcheck.subject.collect import load_families

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_readme_and_documentation_say_the_same_of_exit_codes() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    table, other = (re.findall(r"^\| \d+ \| .*", text, re.MULTILINE) for text in (README, index))
    assert table == other != []


def test_each_reason_of_exit_code_0_is_in_the_table() -> None:
    witness = verdict(Status.KNOWN, family=LEDGER)
    reasons = [because(0), because(0, [witness]), because(0, [VIOLATED], [VIOLATED.key])]
    assert len(set(reasons)) == 3
    assert f"| 0 | {'; or '.join(reasons).replace('judged; ', 'judged, and ')} |" in README


def test_readme_tells_the_versions_that_are_installed() -> None:
    constraints = (ROOT / "ci" / "constraints.txt").read_text(encoding="utf-8")
    (shown,) = set(re.findall(r"· hypothesis (\S+)", README))
    assert f"hypothesis=={shown}\n" in constraints
    (installed,) = re.findall(r"This installs torch (\S+) into the active Python environment", README)
    assert f"torch=={installed}\n" in constraints


def test_profiles_exist() -> None:
    assert set(re.findall(r"profile[ =](quick|gate|full|deep)", README)) <= set(PROFILES)


def test_what_is_counted_is_there() -> None:
    text = " ".join(README.split())
    assert f"tests {len(every_claim())} claims of five" in text
    assert f"plants {len(PLANTED)} faults into a model" in text


def test_readme_documentation_and_help_say_the_same_times() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    helped = " ".join(" ".join(each.help for each in command_options(name)) for name in ("run", "selfcheck"))
    for text, names in ((README, TIMES), (index, ("gate", "quick")), (helped, ("gate", "quick", "selfcheck"))):
        assert all(TIMES[name] in " ".join(text.split()) for name in names)
        left = re.sub("|".join(TIMES.values()), "", " ".join(text.split()))
        assert not re.search(r"\b(minutes?|seconds|hours?|night)\b", left.replace("Seconds that one law", ""))


def command_options(name: str) -> list[Any]:
    command = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    return [option for option in command.params if getattr(option, "help", None)]


def test_run_and_test_are_one_line_each() -> None:
    for heading in ("Run it", "Test it"):
        first, *_ = blocks("sh", README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0])
        assert len(first.strip().splitlines()) == 1
        assert "-c ci/constraints.txt" in first


def test_the_example_law_is_printed_as_it_stands() -> None:
    (example,) = (block for block in blocks("python", README) if "@padding.law" in block)
    name = re.findall(r"def (\w+)\(", example)[0]
    law = next(law for law in load_families()["padding"].laws if law.name == name)
    assert example == inspect.getsource(law.judge)


def test_the_covers_are_said_family_by_family() -> None:
    of_t: dict[int, list[str]] = {}
    for family in load_families().values():
        of_t.setdefault(family.space.strength, []).append(family.name)
    assert set(of_t) == {1, 2, 3}
    triples, single, pairs = listed(of_t[3]), listed(of_t[1]), len(of_t[2])
    said = f"triples (t = 3) in {triples}, single values (t = 1) in {single}, and pairs (t = 2) in the {pairs} other families"
    assert said in " ".join(README.split())


def listed(names: Iterable[str]) -> str:
    """Names as an English sentence lists them."""
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last


def test_only_the_exhaustive_scope_proves() -> None:
    """Of everything else it is said that it tests."""
    texts = [README, embcheck.__doc__ or "", str(app.info.help), (ROOT / "pyproject.toml").read_text(encoding="utf-8")]
    texts += [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("index.md", "verdicts.md")]
    for text in texts:
        for line in re.findall(r"[^.:]*\b(?:prov(?:e|es|ed|en)|proofs?)\b[^.]*", " ".join(text.split())):
            assert "scope" in line, line
