"""``embcheck explain`` and ``embcheck env``: what they say of a law and of the machine is so."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from embcheck.cli.main import app
from embcheck.core.axes import parse
from embcheck.core.machine import here
from embcheck.subject.collect import load_families

FAMILIES = load_families()


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("family", "law"),
    [("padding", "padding_row_gets_no_gradient"), ("lookup", "lookup_out_of_range_indices_raise"),
     ("linear", "linear_rows_are_independent")],
)
def test_a_law_is_explained_with_a_case_that_it_judges(family: str, law: str) -> None:
    lines = said("explain", law).splitlines()
    (found,) = [each for each in FAMILIES[family].laws if each.name == law]
    assert lines[:2] == [law, found.sentence]
    told = {line[2:10].strip(): line[11:] for line in lines if line.startswith("  ") and line[2:3].isalpha()}
    case = parse(told["example"])
    assert isinstance(case, FAMILIES[family].space.case_type)
    assert FAMILIES[family].refused(case) == found.refusal
    assert set(told["covers"].split(", ")) == found.must_cover
    assert told["source"] == found.source
    assert f"def {law}(" in "\n".join(lines)


def test_what_is_known_of_a_law_is_named() -> None:
    assert "amx-reads-on-behind-rows: oneDNN" in said("explain", "linear_rows_are_independent")
    assert "vmap-tables-padding (in vmap" in said("explain", "padding_row_gets_no_gradient")
    assert "nothing in the ledger" in said("explain", "tied_weight_is_listed_once")


def test_a_law_that_nobody_knows_is_refused_with_close_ones() -> None:
    result = CliRunner().invoke(app, ["explain", "padding_row_gets_no_gradien"])
    assert result.exit_code == 4
    assert "did you mean padding_row_gets_no_gradient" in result.output


def test_env_has_what_a_bug_report_needs() -> None:
    told = said("env")
    machine = here()
    for part in (torch.__version__, torch.version.git_version, str(machine), f"{machine.cores} cores"):
        assert str(part) in told
