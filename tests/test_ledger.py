"""The ledger excuses exactly its regions; what is wrong with a file is one line that names it and the entry."""

from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.specifiers import SpecifierSet
from records import EXAMPLE, MACHINES, verdict

from embcheck.core.case import LookupCase
from embcheck.core.ledger import SHIPPED, Entry, Ledger, LedgerError, load, load_all
from embcheck.core.ledger import read as read_ledger
from embcheck.core.machine import Machine, here
from embcheck.core.result import Absent, NotApplicable, Raised, Result
from embcheck.core.verdict import LEDGER, Status
from embcheck.engine.witness import look, statement
from embcheck.modes.mode import running
from embcheck.runner.run import Settings, settle
from embcheck.subject.collect import load_families

TODAY = date(2026, 1, 1)
RELEASE = torch.__version__.partition("+")[0]
ENTRY = """
[[known]]
law = "lookup_copies_rows"
where = { sparse = true }
witness = "LookupCase(num_embeddings=2, embedding_dim=1, sparse=True)"
reason = "it is so"
"""
AMX = 'machine = { onednn_kernel = "*amx*" }\n'
CAUSE = """
[cause.lookup-odd]
title = "A lookup is odd."
api = "F.embedding"
severity = "silent-wrong"
"""
CAUSED = ENTRY + 'name = "odd"\ncause = "lookup-odd"\n' + CAUSE


def loaded(folder: Path, text: str, torch: str = "2.13.0", today: date = TODAY) -> Ledger:
    path = folder / "ledger.toml"
    path.write_text(text)
    return load(path, torch, today)


def test_an_entry_has_what_the_file_says(tmp_path: Path) -> None:
    (entry,) = loaded(tmp_path, ENTRY + 'name = "n"\nmode = "vmap"\nexpires = 2027-06-01\nexcluded = true\n').entries
    assert (entry.name, entry.law, entry.mode, entry.excluded) == ("n", "lookup_copies_rows", "vmap", True)
    assert entry.expires == date(2027, 6, 1)
    assert entry.case == LookupCase(2, 1, sparse=True)
    (entry,) = loaded(tmp_path, ENTRY).entries
    assert entry.name.endswith("ledger.toml, entry 1"), "an entry without a name is called by its place"
    (entry,) = loaded(tmp_path, ENTRY.replace("sparse = true", 'sparse = true, entry = "mine:Layer"')).entries
    assert entry.subject == "mine:Layer"
    assert not any(entry.subject for entry in read_ledger(SHIPPED)), "they are about torch"
    assert loaded(tmp_path, "") == Ledger()


def test_a_second_ledger_adds_and_no_name_is_in_both(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text(ENTRY + 'name = "mine"\n')
    other.write_text(f'{ENTRY}name = "other"\ntorch = "<2"\n{ENTRY}name = "amx"\n{AMX}')
    shipped, both = load(SHIPPED, "2.13.0", TODAY), load_all([SHIPPED, mine, other, mine], "2.13.0", TODAY)
    assert [entry.name for entry in both.entries] == [*(entry.name for entry in shipped.entries), "mine"]
    assert [entry.name for entry in both.elsewhere] == [*(entry.name for entry in shipped.elsewhere), "other"]
    assert [entry.name for entry in both.some_machines] == [*(entry.name for entry in shipped.some_machines), "amx"]
    assert Settings(ledger=mine).ledgers == (SHIPPED, mine)
    assert Settings(only_ledger=other).ledgers == (other,)
    assert Settings(ledger=mine, only_ledger=other).ledgers == (other, mine)
    mine.write_text(ENTRY + f'name = "{shipped.entries[0].name}"\n')
    with pytest.raises(LedgerError, match=r"is in .*ledger\.toml too; give it another name .*--only-ledger"):
        load_all([SHIPPED, mine], "2.13.0", TODAY)


PASSES = "LookupCase(num_embeddings=2, embedding_dim=1, sparse=True)"
WITNESS = f'witness = "{PASSES}"'

WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("known = = 3", "not TOML"),
    "an unknown table": (ENTRY.replace("[[known]]", "[[unknown]]"), "unknown table unknown"),
    "a number for the entries": ("known = 3", "no list of tables"),
    "one table for the entries": (ENTRY.replace("[[known]]", "[known]"), "no list of tables"),
    "an unknown field": (ENTRY + 'colour = "red"', "there is no field colour"),
    "no law": (ENTRY.replace("law =", "name ="), "law is missing"),
    "no region": (ENTRY.replace("where = { sparse = true }", ""), "where is missing"),
    "no witness": (ENTRY.replace(WITNESS, ""), "witness is missing"),
    "no reason": (ENTRY.replace('reason = "it is so"', ""), "reason is missing"),
    "an empty reason": (ENTRY.replace("it is so", "  "), "the reason is empty"),
    "a region that is no table": (ENTRY.replace("{ sparse = true }", '"sparse"'), "where: expected an object"),
    "a witness that is no expression": (ENTRY.replace('sparse=True)"', 'sparse="'), "never closed|unexpected EOF"),
    "a witness that is no text": (ENTRY.replace(WITNESS, "witness = 3"), "witness: expected text"),
    "a law that is a list": (ENTRY.replace('"lookup_copies_rows"', '["a", "b"]'), "law: expected text"),
    "a specifier that is none": (ENTRY + 'torch = "two"', "[Ii]nvalid specifier"),
    "a specifier that is a number": (ENTRY + "torch = 2.13", "[Ii]nvalid specifier"),
    "a date that is a text": (ENTRY + 'expires = "2027-06-01"', "expires: expected a date"),
    "a date with a time": (ENTRY + "expires = 2027-06-01T00:00:00", "expires: expected a date"),
    "a flag that is a text": (ENTRY + 'excluded = "no"', "excluded: expected true or false"),
    "a machine that is no table": (ENTRY + 'machine = "amx"', "machine: expected an object"),
    "a flag of the CPU": (ENTRY + 'machine = { isa = "amx_bf16" }', "a machine proves no isa; it proves cpu_capability"),
    "a machine's number": (ENTRY + "machine = { cuda = 12 }", "machine: cuda: expected text, got 12"),
    "no law in the second": (ENTRY + "[[known]]\nwhere = {}\n", "entry 2: law is missing"),
    "two of one name": (2 * (ENTRY + 'name = "twice"\n'), "two entries are called twice; each needs a name of its own"),
    "an unknown cause": (CAUSED.replace('"lookup-odd"', '"lookup-od"'), ": odd: no cause 'lookup-od'; did you mean lookup-odd"),
    "a cause without an entry": (ENTRY + CAUSE, ": no entry has the cause lookup-odd"),
    "a cause that is a number": (ENTRY + "cause = 3", ", entry 1: cause: expected text, got 3"),
    "causes that are a list": (ENTRY + "[[cause]]", r": cause is no table of tables; causes are \[cause.NAME\] tables"),
    "a cause's unknown field": (CAUSED + 'titel = "A"', ", cause lookup-odd: there is no field titel; did you mean title"),
    "a model's field": (CAUSED + 'where = ["BertForMaskedLM"]', "there is no field where"),
    "a cause by design": (CAUSED + 'by_design = "As documented."', "there is no field by_design"),
    "a cause without a title": (CAUSED.replace("A lookup is odd.", ""), ", cause lookup-odd: title is missing"),
    "an interface's number": (CAUSED.replace('"F.embedding"', "3"), ", cause lookup-odd: api: expected text, got 3"),
    "an unknown severity": (CAUSED.replace("silent-wrong", "silently-wrong"), "no severity .*; did you mean silent-wrong"),
    "no severity": (CAUSED.replace('severity = "silent-wrong"', ""), "no severity ''; there are silent-wrong"),
    "a day that is none": (CAUSED + 'searched = "today"', "searched: expected a date, got 'today'"),
    "a release that is none": (CAUSED + 'fixed = "soon"', "fixed must be a release, such as 2.15.0, not 'soon'"),
    "a report without a title": (CAUSED + 'upstream = ["pytorch#1"]', "upstream: expected texts .* not 'pytorch#1'"),
    "reports that are no list": (CAUSED + 'upstream = "pytorch#1: It fails"', "upstream: expected a list"),
    "a snippet without an assertion": (CAUSED + 'snippet = "print(1)"', "at most 6 lines, the last an assertion"),
    "a long snippet": (CAUSED + f'snippet = """{6 * ("x = 1" + chr(10))}assert x"""', "snippet must have at most 6 lines"),
    "an expired entry": (ENTRY + "expires = 2025-12-31", "expired on 2025-12-31"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_that_names_the_place(tmp_path: Path, name: str) -> None:
    text, words = WRONG[name]
    with pytest.raises(LedgerError, match=words) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"ledger {tmp_path / 'ledger.toml'}")
    assert "\n" not in message
    if text.count("[[known]]") == 1 and "cause" not in text:
        assert "entry 1" in message


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
        ("==2.13.0", "2.13.0+cu126", True),
        ("<2.13", "2.13.0+cpu", False),
        (">=2.15", "2.15.0.dev20260801+cpu", True),
        ("<2.15", "2.15.0.dev20260801+cpu", False),
        (">=2.15", "2.15.0a0+git1234567", True),
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


def test_entries_of_some_machines_wait_for_the_machine(tmp_path: Path) -> None:
    """The machines are recorded ones, so that this is seen on any."""
    held = loaded(tmp_path, ENTRY + 'name = "anywhere"\n' + ENTRY + 'name = "amx"\n' + AMX)
    assert [e.name for e in held.entries] == ["anywhere"], "no machine has been looked at"
    on = {name: [e.name for e in held.on(machine).entries] for name, machine in MACHINES.items()}
    assert on == {name: ["anywhere", *(["amx"] if name == "xeon-amx" else [])] for name in MACHINES}
    assert not loaded(tmp_path, ENTRY + AMX + 'torch = "<2.13"').on(MACHINES["xeon-amx"]).entries


@pytest.mark.parametrize(
    ("measured", "strict", "status", "words"),
    [
        (None, False, Status.VIOLATED, "stale"),
        ({RELEASE: ["AVX512"]}, False, Status.VIOLATED, "stale"),
        ({RELEASE: ["AVX2"]}, False, Status.HOLDS, f"never measured on torch {RELEASE} with AVX512"),
        ({"1.0.0": ["AVX512"]}, False, Status.HOLDS, f"never measured on torch {RELEASE}"),
        ({"1.0.0": ["AVX512"]}, True, Status.VIOLATED, "stale"),
    ],
)
def test_a_witness_that_passes_where_it_was_never_measured_seems_fixed(
    measured: dict[str, Any] | None, strict: bool, status: Status, words: str
) -> None:
    held = entry(law="lookup_copies_rows", where={"sparse": True}, witness=PASSES, measured=measured)
    verdict = look(held, machine=Machine(cpu_capability="AVX512"), strict=strict)
    assert verdict.status == status
    assert words in verdict.reasons[0]
    assert ("seems fixed here" in verdict.reasons[0]) is (status == Status.HOLDS)


@pytest.mark.parametrize("case", ["LookupCase(sparse=True)", "BagCase()"])
def test_what_a_violation_may_hide_is_not_said_to_be_removed(case: str) -> None:
    """Whether it is of the family of an entry that is stale."""
    gone = verdict(Status.VIOLATED, family=LEDGER, reasons=("stale: LookupCase() no longer fails; remove the entry",))
    settled = settle([gone, verdict(Status.VIOLATED, replace(EXAMPLE, case=case), law="other")], ())
    advice = "laws of its family are violated: look at these first" if case.startswith("Lookup") else "remove the entry"
    assert settled[0].reasons == (f"stale: LookupCase() no longer fails; {advice}",)


@pytest.mark.parametrize(
    ("law", "result", "status", "words"),
    [
        (
            "lookup_copies_rows",
            NotApplicable(Absent("Muon came with 2.9")),
            Status.NOT_APPLICABLE,
            "Muon came with 2.9",
        ),
        ("lookup_copies_rows", Raised("ValueError: no"), Status.UNKNOWN, "the program raised ValueError: no"),
        ("lookup_out_of_range_indices_raise", None, Status.UNKNOWN, "the law speaks of refusals"),
        ("one_hot_is_one_at_the_index", None, Status.UNKNOWN, "no law that the entry concerns"),
    ],
)
def test_a_witness_that_was_not_judged_does_not_pass(
    law: str, result: Result | None, status: Status, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if result is not None:
        monkeypatch.setattr("embcheck.engine.witness.evaluate", lambda *given: [result] * len(given[3]))
    for strict in (False, True):
        verdict = look(entry(law=law, where={"sparse": True}, witness=PASSES), strict=strict)
        assert verdict.status == status
        assert words in verdict.reasons[0]


def test_where_entries_were_measured_is_said_once_for_all_or_by_one(tmp_path: Path) -> None:
    table = '[measured]\n"2.13.0" = ["AVX2"]\n'
    (held,) = loaded(tmp_path, table + ENTRY).entries
    assert held.measured == {"2.13.0": ["AVX2"]}
    assert held.unmeasured("2.13.0+cpu", "AVX2") == ""
    (held,) = loaded(tmp_path, table + ENTRY + 'measured = { "2.9.1" = ["AVX512"] }\n').entries
    assert held.unmeasured("2.9.1", "AVX512") == ""
    assert held.unmeasured("2.13.0", "AVX2") == "the entry was never measured on torch 2.13.0"


def test_shipped_witnesses_are_cases_that_a_family_has() -> None:
    """What no family would run shows nothing of torch: it may fail for a reason of its own."""
    for held in read_ledger(SHIPPED):
        fitted = []
        for family in load_families().values():
            with suppress(KeyError):  # of another family's spellings
                fitted += [family.space.repair(held.case)] if isinstance(held.case, family.space.case_type) else []
        assert held.case in fitted, held.name


def test_the_witness_of_another_machine_is_not_applicable_in_words(tmp_path: Path) -> None:
    (held,) = loaded(tmp_path, ENTRY + 'name = "n"\n' + AMX).some_machines
    verdict = look(held, machine=MACHINES["epyc"])
    assert verdict.status == Status.NOT_APPLICABLE
    words = "it speaks of machines with onednn_kernel *amx* (here brg_matmul:avx512_core_bf16)"
    assert verdict.reasons == (f"not applicable here: {words}",)
    assert "none was proved" in look(held, machine=MACHINES["epyc-avx2"]).reasons[0]
    there = look(held, machine=MACHINES["xeon-amx"])
    assert there.status == Status.VIOLATED, "there it is run, and here it does not fail"
    assert statement(held).source == "violates lookup_copies_rows; machines with onednn_kernel *amx*"


def entry(**fields: Any) -> Entry:
    witness = "LookupCase(num_embeddings=2, embedding_dim=1)"
    return Entry(**{"law": "law", "where": {}, "witness": witness, "reason": "r", "name": "n", **fields})


#: The entries of modes that only a run with --mode meets, so that no run of the gate looks at their witnesses.
IN_FORCE = load(SHIPPED, torch.__version__, date.today()).on(here()).entries
ELSEWHERE = [entry for entry in IN_FORCE if not entry.runs_in(running(""))]


@pytest.mark.parametrize("entry", ELSEWHERE, ids=lambda entry: entry.name)
def test_witnesses_of_other_modes_fail_as_their_entries_say(entry: Entry, full: bool) -> None:
    if entry.mode.startswith("dtensor") and not full:
        pytest.skip("it starts a group of processes, as .ci/run does for it in all modes")
    assert look(entry).status in (Status.KNOWN, Status.NOT_APPLICABLE)  # the latter without a compiler


def test_what_two_entries_say_of_different_releases_is_no_news_in_either() -> None:
    shown = next(held for held in IN_FORCE if held.law == "one_hot_invalid_inputs_raise" and not held.machine)
    other = replace(shown, name="other", torch=SpecifierSet("<1"))
    assert look(other, ledger=Ledger(elsewhere=(other,))).status == Status.VIOLATED
    assert look(other, ledger=Ledger((shown,), (other,))).status == Status.HOLDS
    assert look(shown, ledger=Ledger((shown,), (other,))).status == Status.KNOWN


def test_a_witness_that_takes_the_process_down_in_this_release_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {entry.name: entry for entry in read_ledger(SHIPPED)}
    other = entries["unflattened-module-cannot-be-copied"]
    fatal = replace(entries["unflattened-module-copied-takes-the-process-down"], torch=SpecifierSet())
    monkeypatch.setattr("embcheck.engine.witness.evaluate", lambda *given: pytest.fail("it was executed"))
    assert look(other, ledger=Ledger((fatal,), (other,))).status == Status.HOLDS
