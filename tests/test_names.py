"""Names are PyTorch's words, former ones are still read, and a sentence says one thing in few words."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from embcheck.core import aliases
from embcheck.core.axes import CASE_TYPES, parse
from embcheck.core.ledger import read as read_ledger
from embcheck.core.verdict import Statement, Status, Verdict
from embcheck.record import store
from embcheck.subject.collect import files_of_laws, load_families

ROOT = Path(__file__).parents[1]
FAMILIES = load_families()
LAWS = {law.name: law for family in FAMILIES.values() for law in family.laws}
#: Words that were names once, and that no documentation of PyTorch has.
BANNED = frozenset(
    {
        *("aftercare", "apart", "born", "canon", "canonical", "carriage", "company", "driven", "elsewhere", "fastened"),
        *("haystack", "hunt", "journey", "landmarks", "lap", "life", "looker", "misfit", "misfits", "mistakes"),
        *("occasion", "passage", "pieces", "quarry", "rehearsal", "residual", "residue", "shadow", "shadows", "spread"),
        *("stray", "strays", "untaken"),
    }
)
#: Words in a law's sentence; what a tutorial claims is told beside it.
MOST = 20


def banned(name: str) -> frozenset[str]:
    """The words of a name that it should not have."""
    return BANNED.intersection(name.split("_"))


def test_no_family_law_or_module_has_a_banned_name() -> None:
    modules = [path.stem for top in ("embcheck", "properties", "selfcheck") for path in (ROOT / top).rglob("*.py")]
    assert len(modules) > 300
    assert [name for name in (*FAMILIES, *LAWS, *modules) if banned(name)] == []
    assert [banned("company_is_kept"), banned("step_preserves_parameters")] == [frozenset({"company"}), frozenset()]


def test_every_law_says_one_thing_and_where_it_is_from() -> None:
    laws = [law for law in LAWS.values() if law.claim is None]
    assert len(laws) > 250
    assert [law.name for law in laws if len(law.sentence.split()) > MOST] == []
    assert [law.name for law in laws if not law.source] == []


def test_every_family_is_on_the_map_and_every_folder_is_one() -> None:
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    assert [name for name in FAMILIES if f"`{name}`" not in text] == []
    assert {path.parent.name for path in files_of_laws()[1:-1]} == {"core", "extended"}


def test_the_glossary_defines_a_dozen_words_at_most() -> None:
    rows = re.findall(r"^\| (?!word|---)", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert 0 < len(rows) <= 12


def test_every_former_name_has_a_present_one() -> None:
    assert set(aliases.former("families").values()) <= set(FAMILIES)
    assert set(aliases.former("laws").values()) <= set(LAWS)
    assert set(aliases.former("cases").values()) <= set(CASE_TYPES)
    axes = {axis for case_type in CASE_TYPES.values() for axis in case_type._fields}
    assert set(aliases.former("axes").values()) <= axes
    assert not set(aliases.former("laws")).intersection(LAWS), "a name means one law"
    assert not set(aliases.former("cases")).intersection(CASE_TYPES)


def test_a_former_record_is_read() -> None:
    before = Verdict("pieces_learn", "sharded", "torch", "eager", "scope", Status.HOLDS, cases=3)
    verdict = Verdict.from_dict(before.to_dict())
    assert (verdict.law, verdict.family) == ("sharded_gradient_is_the_global_sum", "dtensor")
    assert Verdict.from_dict(verdict.to_dict()) == verdict == replace(before, law=verdict.law, family="dtensor")
    told = Statement.from_dict(
        {"law": "apply_goes_upwards", "family": "membership", "sentence": "s", "implied_by": "x"}
    )
    assert (told.law, told.family, told.implied_by) == ("apply_is_post_order", "module_traversal", "x")


def test_a_former_case_is_read() -> None:
    case = parse("Case(num_embeddings=2, embedding_dim=1, shape=(1,), stray='V')")
    assert repr(case) == "LookupCase(num_embeddings=2, embedding_dim=1, shape=(1,), out_of_range='V')"
    with pytest.raises(ValueError, match="no axis strayed"):
        parse("Case(num_embeddings=2, embedding_dim=1, strayed='V')")


def test_a_failure_that_was_kept_before_is_read(tmp_path: Path) -> None:
    kept = {"id": "c7f3a1", "law": "each_steps_as_alone", "family": "company", "subject": "torch", "mode": "eager"}
    kept |= {"device": "cpu", "case": "Company()", "kind": "value"}
    (tmp_path / "c7f3a1.json").write_text(json.dumps(kept))
    found = store.recorded("c7f3a1", tmp_path)
    assert (found["law"], found["family"]) == ("step_is_independent_of_other_parameters", "param_groups")
    assert type(parse(found["case"])).__name__ == "ParamGroupsCase"


def test_a_users_former_ledger_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    path.write_text(
        '[[known]]\nname = "a"\nlaw = "company_is_*"\nwhere = { stray = "V" }\nwitness = "Case(stray=\'V\')"\nreason = "r"\n'
    )
    (entry,) = read_ledger(path)
    assert entry.where == {"out_of_range": "V"}
    assert entry.speaks_of("step_preserves_parameters"), "whose name was company_is_kept"
    assert entry.speaks_of("param_groups_is_accepted")
    assert not entry.speaks_of("padding_row_gets_no_gradient")
