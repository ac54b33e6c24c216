"""``embcheck explain`` and ``embcheck env``: what they say of a law and of the machine is so."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import Command, Patch

import embcheck
from embcheck.cli.usage import audit_laws
from embcheck.core.axes import parse
from embcheck.core.machine import here
from embcheck.subject.collect import load_families

FAMILIES = load_families()


@pytest.mark.parametrize(
    ("family", "law"),
    [
        ("padding", "padding_row_gets_no_gradient"),
        ("lookup", "lookup_out_of_range_indices_raise"),
        ("conversion", "converted_input_gradient_follows_chain_rule"),
    ],
)
def test_a_law_is_explained_with_a_case_that_it_judges(family: str, law: str, command: Command) -> None:
    lines = command("explain", law).out.splitlines()
    (found,) = [each for each in FAMILIES[family].laws if each.name == law]
    assert lines[:2] == [law, found.sentence]
    told = {line[2:10].strip(): line[11:] for line in lines if line.startswith("  ") and line[2:3].isalpha()}
    case = parse(told["example"])
    assert isinstance(case, FAMILIES[family].space.case_type)
    assert FAMILIES[family].refused(case) == found.refusal
    assert set(told["covers"].split(", ")) == found.must_cover
    assert told["source"] == found.source
    assert "unmet" not in told
    assert f"def {law}(" in "\n".join(lines)


def test_an_obligation_that_no_case_meets_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    law, family = "lookup_returns_padding_row_unmasked", FAMILIES["padding"]
    wanted = frozenset({"padding_hit", "embedding_dim=1009"})
    laws = [replace(each, must_cover=wanted) if each.name == law else each for each in family.laws]
    monkeypatch.setattr(family, "laws", laws)
    told = command("explain", law).out
    assert (
        "  unmet    embedding_dim=1009: no enumerated case of padding; add a value of an axis, or a fixed case\n"
        in told
    )


@pytest.mark.parametrize(
    ("law", "code", "said"),
    [
        ("linear_rows_are_independent", 0, "amx-reads-on-behind-rows: oneDNN"),
        ("padding_row_gets_no_gradient", 0, "vmap-tables-padding (in vmap"),
        ("tied_weight_is_listed_once", 0, "nothing in the ledger"),
        ("padding_row_gets_no_gradien", 4, "did you mean padding_row_gets_no_gradient"),
        ("the_padding_row_starts_at_zer", 4, "did you mean the_padding_row_starts_at_zero"),
    ],
)
def test_what_is_known_of_a_law_is_named(law: str, code: int, said: str, command: Command) -> None:
    assert said in command("explain", law, ends=code).told


def test_the_laws_of_an_audit_are_listed_and_explained(command: Command) -> None:
    listed = command("laws", "-k", "the_padding_row_starts_at_zero").out.splitlines()
    law = audit_laws()["the_padding_row_starts_at_zero"]
    assert [line.split("  ")[0] for line in listed[:1]] == ["audit"]
    assert " ".join(" ".join(listed[1:]).split()) == f"{law.name} {law.sentence}"
    explained = command("explain", law.name).out
    assert explained.startswith(f"{law.name}\n")
    for words in (law.sentence, "run      embcheck audit MODULE:FACTORY", f"def {law.name}("):
        assert words in explained
    told = command("run", "--law", law.name, ends=4).err
    assert told == f"embcheck: {law.name} is a law of `embcheck audit`, which judges models; no run has it\n"


def test_env_has_what_a_bug_report_needs_and_says_how_bytecode_is_written(
    command: Command, monkeypatch: Patch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", "TRUE")
    told, machine = command("env").out, here()
    versions = torch.__version__, torch.version.git_version
    assert [
        each for each in ("OMP_DYNAMIC=TRUE", *versions, machine, f"{machine.cores} cores") if str(each) not in told
    ] == []
    # As in many images: whatever is imported is compiled in each run, which takes half a minute.
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    assert "compileall" not in command("env").out
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    folders = [str(Path(torch.__file__).parent), str(Path(embcheck.__file__).parent)]
    assert f"write it with python -m compileall -q {' '.join(folders)}\n" in command("env").out
