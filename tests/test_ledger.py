"""The ledger excuses exactly its regions; what is wrong with a file is one line that names it and the entry."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from embcheck.case import Case
from embcheck.collect import load_families
from embcheck.engine import feed
from embcheck.judge import Judge
from embcheck.ledger import SHIPPED, Entry, Ledger, LedgerError, load
from embcheck.mode import MODES

TODAY = date(2026, 1, 1)
ENTRY = """
[[known]]
law = "lookup_copies_rows"
where = { sparse = true }
witness = "Case(num_embeddings=2, embedding_dim=1, sparse=True)"
reason = "it is so"
"""


def loaded(folder: Path, text: str, torch: str = "2.13.0", today: date = TODAY) -> Ledger:
    path = folder / "ledger.toml"
    path.write_text(text)
    return load(path, torch, today)


def test_an_entry_has_what_the_file_says(tmp_path: Path) -> None:
    (entry,) = loaded(tmp_path, ENTRY + 'name = "n"\nmode = "vmap"\nexpires = 2027-06-01\nexcluded = true\n').entries
    assert (entry.name, entry.law, entry.mode, entry.excluded) == ("n", "lookup_copies_rows", "vmap", True)
    assert entry.expires == date(2027, 6, 1)
    assert entry.case == Case(2, 1, sparse=True)
    (entry,) = loaded(tmp_path, ENTRY).entries
    assert entry.name.endswith("ledger.toml, entry 1"), "an entry without a name is called by its place"


def test_an_empty_ledger_and_the_shipped_one(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == Ledger()
    assert load(SHIPPED, "2.13.0", TODAY).entries


WITNESS = 'witness = "Case(num_embeddings=2, embedding_dim=1, sparse=True)"'

WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("known = = 3", "not TOML"),
    "an unknown table": (ENTRY.replace("[[known]]", "[[unknown]]"), "unknown table unknown"),
    "a number for the entries": ("known = 3", "no list of tables"),
    "one table for the entries": (ENTRY.replace("[[known]]", "[known]"), "no list of tables"),
    "an unknown field": (ENTRY + 'colour = "red"', "unknown field colour; there are device"),
    "no law": (ENTRY.replace("law =", "name ="), "field law is missing"),
    "no region": (ENTRY.replace("where = { sparse = true }", ""), "field where is missing"),
    "no witness": (ENTRY.replace(WITNESS, ""), "field witness is missing"),
    "no reason": (ENTRY.replace('reason = "it is so"', ""), "field reason is missing"),
    "an empty reason": (ENTRY.replace("it is so", "  "), "the reason is empty"),
    "a region that is no table": (ENTRY.replace("{ sparse = true }", '"sparse"'), "where must be a table"),
    "a witness that is no expression": (ENTRY.replace('sparse=True)"', 'sparse="'), "never closed|unexpected EOF"),
    "a witness that is no text": (ENTRY.replace(WITNESS, "witness = 3"), "witness must be a text"),
    "a law that is a list": (ENTRY.replace('"lookup_copies_rows"', '["a", "b"]'), "law must be a text"),
    "a specifier that is none": (ENTRY + 'torch = "two"', "[Ii]nvalid specifier"),
    "a specifier that is a number": (ENTRY + "torch = 2.13", "torch must be a text"),
    "a date that is a text": (ENTRY + 'expires = "2027-06-01"', "expires must be a date"),
    "a date with a time": (ENTRY + "expires = 2027-06-01T00:00:00", "expires must be a date"),
    "a flag that is a text": (ENTRY + 'excluded = "no"', "excluded must be true or false"),
    "an expired entry": (ENTRY + "expires = 2025-12-31", "expired on 2025-12-31"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_that_names_the_place(tmp_path: Path, name: str) -> None:
    text, words = WRONG[name]
    with pytest.raises(LedgerError, match=words) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"ledger {tmp_path / 'ledger.toml'}")
    assert "\n" not in message
    if "[[known]]" in text:
        assert "entry 1" in message


def test_the_second_entry_is_called_the_second(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="entry 2: field law is missing"):
        loaded(tmp_path, ENTRY + "[[known]]\nwhere = {}\n")


def test_two_entries_have_two_names(tmp_path: Path) -> None:
    named = ENTRY + 'name = "twice"\n'
    with pytest.raises(LedgerError, match="two entries are called twice; each needs a name of its own"):
        loaded(tmp_path, named + named)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"missing.toml: can't be read"):
        load(tmp_path / "missing.toml", "2.13.0", TODAY)
    with pytest.raises(LedgerError, match="can't be read"):
        load(tmp_path, "2.13.0", TODAY)
    (tmp_path / "latin").write_bytes(b'reason = "\xe9"')
    with pytest.raises(LedgerError, match="latin: not TOML"):
        load(tmp_path / "latin", "2.13.0", TODAY)


@pytest.mark.parametrize(
    ("specifier", "torch", "there"),
    [
        (">=2.4", "2.13.0", True),
        (">=2.4", "2.13.0+cpu", True),
        ("==2.13.0", "2.13.0+cu126", True),
        ("<2.13", "2.13.0+cpu", False),
        (">=2.4,<2.14", "2.13.1", True),
        (">=2.15", "2.15.0.dev20260801+cpu", True),
        ("<2.15", "2.15.0.dev20260801+cpu", False),
        (">=2.15", "2.15.0a0+git1234567", True),
        (">=2.4", "2.10.0", True),
        ("", "1.13.1", True),
        ("==2.3.*", "2.3.1+cpu", True),
    ],
)
def test_entries_are_in_force_for_their_releases(tmp_path: Path, specifier: str, torch: str, there: bool) -> None:
    assert bool(loaded(tmp_path, ENTRY + f'torch = "{specifier}"', torch).entries) is there


def test_an_entry_expires_the_day_after_and_only_where_it_is_in_force(tmp_path: Path) -> None:
    text = ENTRY + 'expires = 2026-01-01\ntorch = "<2.14"'
    assert loaded(tmp_path, text, today=date(2026, 1, 1)).entries
    with pytest.raises(LedgerError, match="expired"):
        loaded(tmp_path, text, today=date(2026, 1, 2))
    assert not loaded(tmp_path, text, "2.15.0", date(2026, 1, 2)).entries, "of no concern on this release"


def entry(**fields: Any) -> Entry:
    witness = "Case(num_embeddings=2, embedding_dim=1)"
    return Entry(**{"law": "law", "where": {}, "witness": witness, "reason": "r", "name": "n", **fields})


@pytest.mark.parametrize(
    ("where", "facts", "covered"),
    [
        ({}, {}, True),
        ({"sparse": True}, {"sparse": True}, True),
        ({"sparse": True}, {"sparse": False}, False),
        ({"sparse": True, "rank": 0}, {"sparse": True, "rank": 1}, False),
        ({"dtype": ["float16", "bfloat16"]}, {"dtype": "bfloat16"}, True),
        ({"dtype": ["float16", "bfloat16"]}, {"dtype": "float32"}, False),
        ({"rank": 1}, {"rank": True}, False),
        ({"sparse": True}, {"sparse": 1}, False),
        ({"colour": "red"}, {"sparse": True}, False),
    ],
)
def test_a_region_is_a_conjunction_over_facts(where: dict[str, Any], facts: dict[str, Any], covered: bool) -> None:
    assert entry(where=where).covers(facts) is covered


def test_an_entry_excuses_its_law_mode_device_and_kind_only() -> None:
    ledger = Ledger((entry(law="*_is_accepted", mode="vmap", device="cpu", kind="raised *", where={"sparse": True}),))
    right: list[Any] = ["lookup_is_accepted", "vmap", "cpu", "raised IndexError", {"sparse": True}]
    assert ledger.find(*right) is ledger.entries[0]
    for position, wrong in enumerate(("lookup_copies_rows", "eager", "cuda", "value", {"sparse": False})):
        asked = [*right]
        asked[position] = wrong
        assert ledger.find(*asked) is None, wrong


def test_excludes_only_what_must_not_run() -> None:
    crash = entry(law="b", excluded=True)
    ledger = Ledger((entry(law="a"), crash))
    assert ledger.excludes(["a", "b"], "eager", "cpu") == (crash,)
    assert ledger.excludes(["a"], "eager", "cpu") == ()


def test_what_must_not_run_is_neither_tried_elsewhere_nor_a_smaller_case() -> None:
    family = load_families()["lookup"]
    crash = entry(law="lookup_is_accepted", where={"numel": 1}, excluded=True)
    tried: list[Any] = []

    def probe(cases: list[Any]) -> list[str | None]:
        tried.extend(cases)
        return ["crash SIGSEGV"] * len(cases)

    judge = Judge(family, MODES["eager"], Ledger((crash,)), probe=probe)
    fatal, other = Case(3, 2, shape=(1,)), Case(3, 2, shape=(2,))
    feed(judge, [fatal, other], probe)
    assert tried == [other]
    assert (judge.accept.known, judge.accept.violations) == (1, 1)
    assert judge.once(family.laws[0], fatal) is None
    assert tried == [other]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"witness": "3"}, "not a case"),
        ({"witness": "Case(num_embeddings=2)"}, "embedding_dim"),
        ({"where": {"colour": "red"}}, "no fact colour; there are all_padding"),
        ({"where": {"sparse": True}}, "outside the entry's own region"),
    ],
)
def test_a_witness_must_lie_in_its_region(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LedgerError, match=words) as caught:
        _ = entry(**fields).case
    assert str(caught.value).startswith("ledger entry n: ")
