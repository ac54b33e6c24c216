"""The known bugs: what is recorded of each ledger entry, what the pages hold, and what the commands print."""

from dataclasses import replace
from pathlib import Path

import pytest
from command import Command, Patch
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from records import EXAMPLE, verdict

from embcheck.cli.known import _advice, shipped_known
from embcheck.core.cause import SEVERITIES, Cause
from embcheck.core.ledger import Entry
from embcheck.core.shipped_ledger import shipped
from embcheck.core.verdict import Status
from embcheck.engine.crashes import alone
from embcheck.known import tried
from embcheck.known.issue import stored
from embcheck.known.models import PAGES as MODEL_PAGES
from embcheck.known.models import SCRIPTS as MODEL_SCRIPTS
from embcheck.known.models import model_causes, model_pages
from embcheck.known.page import TWENTY, WRONG, Column, Known, pages
from embcheck.known.recorded import PAGES, SCRIPTS, Recorded, keep, kept, outdated, scripts, unseen, updated

ENTRY = Entry(
    "law_*", {"rank": 1}, "LookupCase()", "It is <b>wrong</b>, a_b.", "odd", torch=SpecifierSet("<2.15"), cause="f-odd",
    measured={"2.13.0": ["AVX2", "DEFAULT"]},
)  # fmt: skip
CAUSE = Cause("f-odd", "f is odd.", "torch.f", "silent-wrong", umbrella="pytorch#3: All are odd")
SHOWN = replace(EXAMPLE, law="law_a", words="1, expected 2", script="import torch\n")
#: The first release of which entries are to be right: in older ones much is not there.
FIRST = Version("2.4")
SNIPPETS = [cause.name for cause in shipped()[1].values() if cause.snippet]


def told() -> Known:
    seen = {"2.13.0+cpu": [verdict(Status.KNOWN, SHOWN, law="ledger: odd")], "2.15.0": [verdict(law="ledger: odd")]}
    return Known([ENTRY], [CAUSE], updated([ENTRY], {}, seen), {"f-odd": "import torch\n"})


# -- what is recorded --------------------------------------------------------------------------------------------


def test_another_witness_starts_anew() -> None:
    old = {"odd": Recorded("LookupCase(2)", "law_a", "words", {"2.9.1": "wrong"})}
    assert outdated([ENTRY], old) == ["odd"]
    assert updated([ENTRY], old, {}) == {"odd": Recorded("LookupCase()")}
    assert outdated([ENTRY], {"odd": Recorded("LookupCase()")}) == []
    assert unseen([ENTRY], {"odd": Recorded("LookupCase()")}) == ["odd"]


def test_a_device_tells_of_its_own_entries_alone() -> None:
    there = {"2.11.0": [replace(verdict(Status.KNOWN, SHOWN, law="ledger: odd"), device="cuda")]}
    assert not updated([ENTRY], {}, there)["odd"].releases
    assert updated([replace(ENTRY, device="cuda*")], {}, there)["odd"].releases == {"2.11.0": "wrong"}


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    keep(told().recorded, tmp_path / "recorded.json")
    assert kept(tmp_path / "recorded.json") == told().recorded
    assert kept(tmp_path / "missing.json") == {}


def test_each_entry_was_seen_to_fail_where_the_cpu_shows_it() -> None:
    known = shipped_known()
    everywhere = [entry for entry in known.entries if entry.runs_on("cpu") and not entry.machine]
    assert unseen(everywhere, known.recorded) == []
    assert [entry.name for entry in everywhere if not known.recorded[entry.name].words] == []


@pytest.mark.parametrize("status", [Status.NOT_APPLICABLE, Status.UNKNOWN])
def test_a_witness_that_was_not_judged_was_not_right(status: Status) -> None:
    old = {"odd": Recorded("LookupCase()", "law_a", "words", {"2.4.1": "right", "2.9.1": "wrong"})}
    told = {release: [verdict(status, law="ledger: odd")] for release in ("2.4.1", "2.8.0", "2.9.1")}
    assert updated([ENTRY], old, told)["odd"].releases == {"2.9.1": "wrong"}


def test_entries_are_in_force_where_their_witnesses_and_scripts_fail() -> None:
    known, tries = shipped_known(), tried.kept()
    doubted = []
    everywhere = [each for each in known.entries if not each.machine]
    for entry in everywhere:
        for release, what in known.recorded[entry.name].releases.items():
            doubted += [(entry.name, release)] * ((what == "wrong") != entry.torch.contains(release))
    for cause in known.causes:
        entries = [entry for entry in everywhere if entry.cause == cause.name]
        for release, status in tries[cause.name].releases.items() if entries else ():
            in_force = [entry.torch.contains(release) for entry in entries]
            doubted += [(cause.name, release)] * (all(in_force) if status == 0 else status == 1 and not any(in_force))
    assert [each for each in doubted if Version(each[1]) >= FIRST] == []


# -- the pages ---------------------------------------------------------------------------------------------------


def test_the_pages_are_what_the_command_makes() -> None:
    known = shipped_known()
    assert outdated(known.entries, known.recorded) == [], "run: embcheck known --write"
    for folder, made in ((PAGES, pages(known) | stored(known)), (MODEL_PAGES, model_pages(model_causes()))):
        there = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.md")}
        assert there.keys() == made.keys(), "run: embcheck known --write"
        assert [name for name in made if there[name] != made[name]] == [], "run: embcheck known --write"
    first = pages(shipped_known())["index.md"]
    assert len(first.splitlines()) <= 310
    assert len(first.encode()) <= 60_000
    assert first.count("```python\n") == len(SNIPPETS) == TWENTY


NEW = replace(ENTRY, name="new", torch=SpecifierSet())
AMX = replace(NEW, machine={"onednn_kernel": "*amx*"})
RELEASES = ("2.12.1", "2.13.0", "2.15.0")


@pytest.mark.parametrize(
    ("entries", "shown", "ended", "row"),
    [
        ([NEW], {"new": {"2.13.0": "wrong"}}, {"2.13.0": 0, "2.15.0": 0}, ("·", "✗", "✓")),
        ([NEW, replace(ENTRY, torch=SpecifierSet("<2.13"))], {"new": {"2.13.0": "wrong"}, "odd": {"2.13.0": "right"}},
         {}, ("·", "✗", "·")),
        ([NEW, ENTRY], {"new": {"2.13.0": "wrong"}, "odd": {"2.13.0": "right"}}, {}, ("·", "✗✓", "·")),
        ([ENTRY], {"odd": {"2.15.0": "right"}}, {"2.13.0": 1}, ("·", "✗", "✓")),
        ([AMX], {}, {"2.13.0": 0, "2.15.0": 2}, ("·", "·", "·")),
        ([AMX], {}, {"2.12.1": 1, "2.13.0": 0}, ("✗ᵐ", "✓", "·")),
        ([AMX], {"new": {"2.13.0": "wrong"}}, {}, ("·", "✗ᵐ", "·")),
    ],
    ids=["script", "not its release", "some", "mended", "no such machine", "such a machine", "machine"],
)  # fmt: skip
def test_a_row_has_what_the_entries_for_a_release_show_or_else_the_script(
    entries: list[Entry], shown: dict[str, dict[str, str]], ended: dict[str, int | None], row: tuple[str, ...]
) -> None:
    recorded = {name: Recorded("LookupCase()", releases=releases) for name, releases in shown.items()}
    known = Known(entries, [CAUSE], recorded, tried={"f-odd": tried.Tried("", ended)})
    assert tuple(known.row(CAUSE, map(Column, RELEASES))) == row


def test_no_row_says_wrong_where_the_script_is_right() -> None:
    known = shipped_known()
    rows = (
        (cause, zip(known.heads(cause), known.row(cause, known.heads(cause)), strict=True)) for cause in known.causes
    )
    told = (
        (cause.name, known.tried[cause.name].releases.get(head.release), word)
        for cause, row in rows
        for head, word in row
    )
    assert [name for name, ended, word in told if word == WRONG and ended == 0] == []


# -- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_is_recorded(monkeypatch: Patch) -> None:
    """What a command looks at anew is not written into this checkout."""
    monkeypatch.setattr("embcheck.cli.known.keep", lambda recorded: None)


def test_the_command_lists_causes_the_most_severe_first(command: Command) -> None:
    done = command("known")
    places = [done.out.index(f"\n{name}\n") for name in ("silent-wrong", "memory", "crash", "raises", "message")]
    assert places == sorted(places)
    assert done.out.startswith(f"{len(shipped()[1])} known causes (")
    assert "embcheck known NAME shows one)" in done.out.splitlines()[0]


def test_the_command_prints_a_cause_with_its_script(command: Command) -> None:
    entry, cause = "jacfwd-counts-arguments-from-the-front", "jacfwd-negative-argnums"
    models = "funnel-load-zeroes-padding-row"
    told = model_causes()[models]
    words = {
        cause: ("torch.func.jacfwd", "silently wrong", f"{entry} ("),
        entry: ("torch.func.jacfwd", "silently wrong", f"{entry} ("),
        models: (told.title, f"severity   {SEVERITIES['silent-wrong']}\n", ", ".join(told.where), told.fix, told.seen),
    }
    texts = {cause: scripts()[cause], entry: scripts()[cause], models: scripts(MODEL_SCRIPTS)[models]}
    for name, said in words.items():
        done = command("known", name)
        assert [each for each in said if each not in done.out] == []
        assert done.out.endswith(texts[name])
    for name in (cause, models):
        assert f"did you mean {name}" in command("known", name[:-1], ends=4).err


def test_a_cause_without_a_script_gets_a_first_one(monkeypatch: Patch, tmp_path: Path, command: Command) -> None:
    there = scripts()
    del there["cpu-meta-mix"]
    monkeypatch.setattr("embcheck.cli.known.scripts", lambda: there)
    monkeypatch.setattr("embcheck.cli.known.SCRIPTS", tmp_path / "scripts")
    *others, last = command("known", "--write", tmp_path / "pages").err.splitlines()
    assert last.startswith("make it short, with literal tensors, and delete its first line: ")
    assert [line for line in others if line.startswith("no release")] == [], "no entry is new"
    (made,) = (tmp_path / "scripts").glob("*.py")
    assert made.read_text(encoding="utf-8").startswith("# ruff: noqa\n# law: ")
    assert made.stem == "cpu-meta-mix"
    assert alone.status(str(made), 60.0) == 1


def test_what_no_release_shows_is_named_if_it_is_new() -> None:
    assert _advice(["a", "b", "c"], {"c"}, ["d"]) == [
        "as before, no release that was tried shows 2 of the entries",
        "no release that was tried shows c: give a record of one that does",
        f"make it short, with literal tensors, and delete its first line: {SCRIPTS / 'd'}.py",
    ]
    assert _advice([], {"c"}, []) == []


def test_the_pages_can_be_written_elsewhere(tmp_path: Path, command: Command) -> None:
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "old.md").write_text("# Old\n", encoding="utf-8")
    (tmp_path / "index.md").write_text("# Another's\n", encoding="utf-8")
    command("known", "--write", tmp_path)
    known = shipped_known()
    made = {f"known/{path}" for path in (*pages(known), *stored(known))}
    made |= {f"audit-findings/{path}" for path in model_pages(model_causes())}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == {*made, "index.md"}
    command("known", "--anew", ends=4)


def test_the_issue_command_files_nothing_and_says_where_it_belongs(monkeypatch: Patch, command: Command) -> None:
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "PyTorch version: here")
    told = command("issue", "embedding_bag-offsets-unchecked").told
    title = "Title: F.embedding_bag (CPU, CUDA): Offsets"
    for words in ("pytorch#55549", "pytorch#195547", title, "PyTorch version: here"):
        assert words in told
    assert "F.embedding_bag" in command("issue", "bag-frequency-count").told, "the name of an entry"
    plain = next(cause.name for cause in shipped()[1].values() if not cause.snippet)
    for words in ("The script exits with 1 where torch is wrong", scripts()[plain].rstrip()):
        assert words in command("issue", plain).told
