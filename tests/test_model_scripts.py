"""The causes that were found in transformers: their data, their pages, and their scripts, run where transformers is installed."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from warm import scripts_alone

from embcheck.core.cause import LedgerError, ModelCause
from embcheck.known.models import SCRIPTS, model_causes
from embcheck.known.recorded import public, scripts

#: Lines of code of the longest script.
MOST = 25
MAY_IMPORT = {"sys", "tempfile", "torch", "transformers"}
#: What most models need, imported once for all scripts.
COMMON = ("transformers.modeling_utils", "transformers.models.bert.modeling_bert")
CAUSES = model_causes()
NAMES = sorted(CAUSES)
DATA = """
[cause.bert-odd]
title = "The head's bias is <odd>."
api = "BertForMaskedLM"
severity = "raises"
where = ["BertForMaskedLM", "ErnieForMaskedLM", "MraForMaskedLM"]
reason = "`decoder_bias` is odd."
fix = "Make it even."
seen = "5.23.0"
"""


# -- the scripts -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_alone() -> Iterator[Callable[[Path], int | None]]:
    """Runs a script in a fork of a process that has imported transformers and can't reach its hub."""
    pytest.importorskip("transformers")
    with scripts_alone(*COMMON, environment={**os.environ, "HF_HUB_OFFLINE": "1"}) as status:
        yield status


@pytest.mark.parametrize("name", NAMES)
def test_a_script_ends_as_the_data_say(name: str, run_alone: Callable[[Path], int | None]) -> None:
    """With 1 on the release that was seen; on another it may be gone, or need another configuration, but comes to an end."""
    due = {1} if public(version("transformers")) == CAUSES[name].seen else {0, 1, 2}
    assert run_alone(SCRIPTS / f"{name}.py") in due


def test_the_classes_are_there_on_the_release_that_was_seen() -> None:
    transformers = pytest.importorskip("transformers")
    there = set(dir(transformers))  # which imports no model
    release = public(version("transformers"))
    assert [name for c in CAUSES.values() if c.seen == release for name in c.where if name not in there] == []


def test_each_cause_has_a_script_and_no_other_is_there() -> None:
    assert sorted(path.name for path in SCRIPTS.iterdir() if path.is_file()) == [f"{name}.py" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_short_and_tells_its_difference_from_any_other(name: str) -> None:
    text = scripts(SCRIPTS)[name]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= MOST
    assert text.startswith("# "), "what is wrong stands first"
    found = ast.parse(text)
    assert imported(found) <= MAY_IMPORT
    assert "transformers" in imported(found)
    assert "sys.excepthook = " in text, "what nobody expects ends it with 2"
    assert "from transformers" not in text, "a class that a release lacks must be missed after that hook is set"
    assert lines[-2:] == [
        'print("got", got, "expected", expected)',
        "sys.exit(0 if got == expected else 1 if got == wrong else 2)",
    ]
    assert text.count("print(") == 1
    assert literal(found, "expected") != literal(found, "wrong")


def imported(found: ast.Module) -> set[str]:
    """The packages that a program imports."""
    names = [node.module or "" for node in ast.walk(found) if isinstance(node, ast.ImportFrom)]
    names += [each.name for node in ast.walk(found) if isinstance(node, ast.Import) for each in node.names]
    return {name.partition(".")[0] for name in names}


def literal(found: ast.Module, name: str) -> object:
    """The one value that a program gives a name, which must be written out."""
    (value,) = (
        node.value for node in found.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
    )
    return ast.literal_eval(value)


# -- the data ----------------------------------------------------------------------------------------------------


def told(folder: Path, text: str) -> dict[str, ModelCause]:
    (folder / "models.toml").write_text(text, encoding="utf-8")
    return model_causes(folder / "models.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('seen = "5.23.0"', 'seen = "the last"', "seen must be a release, such as 2.15.0, not 'the last'"),
        ('"BertForMaskedLM", ', '"BERT and others", ', "where must be a list of texts such as 'BertForMaskedLM'"),
        ("[cause.bert-odd]", "[bug.bert-odd]", ": unknown table bug; causes are [cause.NAME] tables"),
        ("[cause.bert-odd]", "[cause.bert-odd", ": not TOML: "),
    ],
)
def test_data_that_say_nothing_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(LedgerError) as caught:
        told(tmp_path, DATA.replace(old, new))
    assert words in str(caught.value)


def test_a_cause_of_torch_has_no_classes(tmp_path: Path) -> None:
    """The fields of models are refused in the ledger, which has entries for that."""
    from embcheck.core.ledger import read_all

    (tmp_path / "ledger.toml").write_text(DATA, encoding="utf-8")
    with pytest.raises(LedgerError, match="no field where"):
        read_all(tmp_path / "ledger.toml")
