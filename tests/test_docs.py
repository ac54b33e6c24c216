"""The documentation can't lie: its code runs, and its commands exist."""

import re
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import printed_by, verdict
from warm import python

from embcheck.cli import main
from embcheck.core.verdict import Status, Verdict
from embcheck.report.terminal import law_table

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
#: What is told elsewhere, and not part of the site.
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))]
COMMANDS = set(main.COMMANDS)
_BLOCK = re.compile(r"(<!-- compiled only[^\n]*-->\n)?```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[bool, str]]:
    """A page's Python, and whether it is to be run."""
    return [(not skipped, code) for skipped, code in _BLOCK.findall(path.read_text(encoding="utf-8"))]


def test_the_code_of_the_pages_runs() -> None:
    """In one process of its own, for it adds a law and a mode; each page starts anew."""
    program = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    for path in PAGES:
        for _, code in blocks(path):
            compile(code, path.name, "exec")  # what is not run, too
        code = "\n".join(code for run, code in blocks(path) if run)
        program.append(f"exec(compile({code!r}, {path.name!r}, 'exec'), {{'__name__': {path.stem!r}}})")
    done = python("-c", "\n".join(program))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*PAGES, *TEXTS], ids=lambda path: path.stem)
def test_commands_and_links_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shell = "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"`embcheck ([a-z]+)", text) + re.findall(r"\bembcheck ([a-z]+)", shell)) <= COMMANDS
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert target == "laws.md" or (path.parent / target).exists(), target
    for name in re.findall(r"(?<![.\w])((?:embcheck|ci|properties|tests)/[\w./-]*\w)", text):
        assert (ROOT / name).exists(), name


def test_every_command_has_a_line_on_the_page_of_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = page.partition("\n| command |")[2].partition("\n\n")[0].splitlines()[2:]
    assert {row.split()[2].strip("`") for row in rows if row.startswith("| `embcheck ")} == {
        *COMMANDS,
        "--install-completion",
    }
    assert [row for row in rows if not row.startswith("| `embcheck ")] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {path.name for path in PAGES} | {"laws.md"} == set(re.findall(r": ([\w-]+\.md)$", navigation, re.MULTILINE))


def test_the_table_of_replay_names_a_test_for_each_state() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    section = page.partition("\n## Replay\n")[2].partition("\n## ")[0]
    _, _, *lines = (line for line in section.splitlines() if line[:2] == "| ")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    codes = {"FAILED": "1", "FIXED": "0", "ERROR": "3", "refused": "4"}
    assert codes.keys() <= {row[1].partition(",")[0] for row in rows}
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", section)
    assert len(named) == len(rows) + 1
    for _, answer, code, _ in rows:
        assert code == codes.get(answer.partition(",")[0], code) or code == "1, 0, 3", answer
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), name


def test_the_sample_of_v_is_what_is_printed() -> None:
    def verdicts(law: str, modes: int, cases: int, worst: float | None, **entries: int) -> list[Verdict]:
        named = {name.replace("_", "-"): count for name, count in entries.items()}
        first = verdict(
            Status.KNOWN if named else Status.HOLDS, law=law, mode="0", cases=cases - modes + 1, known=sum(named.values()),
            entries=named, worst=worst, seconds=1.5,
        )  # fmt: skip
        return [first, *(replace(first, mode=str(n), cases=1, known=0, entries={}, seconds=0) for n in range(1, modes))]

    table = law_table([
        *verdicts("embedding_bag_is_accepted", 7, 4908, None, bag_empty_columns=21, bag_zero_width_threads=2),
        *verdicts("bag_output_has_documented_shape", 7, 4883, None),
        *verdicts("bag_weight_gradient_sums_upstream_per_row", 5, 2623, 0.67, bag_frequency_count=453),
    ])  # fmt: skip
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^## A row for a law.*?```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert printed_by(lambda out: out.print(table)) == shown


def test_the_repository_is_linked_where_its_address_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has one place, which is empty until there is one."""
    catalogue = runpy.run_path(str(ROOT / "docs" / "catalogue.py"))
    monkeypatch.setitem(catalogue["on_config"].__globals__, "ROOT", tmp_path)
    for urls, linked in (("", {}), ('Repository = "u"', {"repo_url": "u", "repo_name": "embcheck"})):
        (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'embcheck'\n[project.urls]\n{urls}\n")
        assert vars(catalogue["on_config"](SimpleNamespace())) == linked
