"""The scripts of the known bugs, of torch and of transformers, and snippets, each run alone: they end as the data of their
cause say."""

import ast
import functools
import os
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pytest
import torch
from packaging.version import Version

from embcheck.core.cause import LedgerError
from embcheck.core.ledger import SHIPPED, load
from embcheck.core.machine import here
from embcheck.core.shipped_ledger import shipped
from embcheck.engine.crashes.crash import exit_statuses
from embcheck.known.models import SCRIPTS as MODEL_SCRIPTS
from embcheck.known.models import index, model_causes
from embcheck.known.recorded import kept, public, scripts

#: Lines of code in the median, of the longest, which needs several processes, and of the longest about a model.
MEDIAN, MOST, MOST_OF_MODELS = 15, 60, 25
#: The releases on which the scripts were written: another one may tell the same in other words.
RELEASES = ("2.13.0", "2.15.0")
#: Written where there is no such machine: whoever sees it end with 1 on one takes it out.
UNSEEN = {
    "onednn-amx-reads-on",
    *("embedding_renorm-cuda-repeated-rows", "index_select-cuda-half", "sparse-to_dense-cuda-subnormal"),
    "tensor-add-sparse-cuda-strides",
}
#: What a script may import beside torch.
STANDARD = {"copy", "importlib", "io", "multiprocessing", "os", "pickle", "sys", "tempfile"}
MAY_IMPORT = {"sys", "tempfile", "torch", "transformers"}
#: What scripts of exports and of compilers import, once for all of them.
COMPILERS = ("functorch.compile", "torch.export", "torch._decomp.decompositions_for_jvp")
#: What most models need, imported once for all scripts.
COMMON = ("transformers.modeling_utils", "transformers.models.bert.modeling_bert")
CAUSES = model_causes()
NAMES, MODELS = sorted(shipped()[1]), sorted(CAUSES)
SNIPPETS = [cause.name for cause in shipped()[1].values() if cause.snippet]
TEXTS, MODEL_TEXTS, RECORDED = scripts(), scripts(MODEL_SCRIPTS), kept()


def lines_of(text: str) -> list[str]:
    """The lines of code of a script."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


@functools.cache
def in_force() -> set[str]:
    """The entries that speak of the installed torch and of this machine."""
    return {entry.name for entry in load(SHIPPED, torch.__version__, date.today()).on(here()).entries}


def due(cause: str) -> set[int]:
    """How the script of a cause may end here: as its entries say, where they say the same."""
    release = public(torch.__version__)
    entries = [e.name for e in shipped()[0] if e.cause == cause and e.runs_on("cpu")]
    if not entries:  # it speaks of another device, which alone can tell
        return {0, 1} if torch.cuda.is_available() else {2}
    measured = {RECORDED[name].releases.get(release, "") for name in entries}
    if "" in measured:
        return {0, 1, 2}
    if cause in UNSEEN and in_force() >= set(entries):
        return {0, 1}
    said = {int(name in in_force() and RECORDED[name].releases[release] == "wrong") for name in entries}
    return said if release in RELEASES else {*said, 2}


@functools.cache
def endings() -> dict[str, int | None]:
    """How scripts end, and snippets: with 1 by their last assertion, with 2 by another error; in forks of one process."""
    guard = "import sys\nsys.excepthook = lambda *error: (sys.__excepthook__(*error), sys.exit(2))\n"
    texts = dict(TEXTS)
    for name in SNIPPETS:
        *lines, last = shipped()[1][name].snippet.split("\n")
        condition = last.removeprefix("assert ").partition("  #")[0]
        texts[f"snippet of {name}"] = guard + "\n".join(lines) + f"\nsys.exit(0 if {condition} else 1)\n"
    return dict(zip(texts, exit_statuses([*texts.values()], 300.0, modules=COMPILERS), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_script_ends_as_the_ledger_says(name: str) -> None:
    assert endings()[name] in due(name)


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_fails_where_its_cause_shows(name: str) -> None:
    release = Version(Version(torch.__version__).base_version)
    speaking = any(entry.torch.contains(release) for entry in shipped()[0] if entry.cause == name)
    assert endings()[f"snippet of {name}"] == (1 if speaking else 0)


@functools.cache
def endings_of_models() -> dict[str, int | None]:
    """How the scripts of models end, in forks of a process that has imported transformers and can't reach its hub."""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    texts = MODEL_TEXTS.values()
    return dict(zip(MODEL_TEXTS, exit_statuses([*texts], 300.0, environment=offline, modules=COMMON), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_a_script_of_a_model_ends_as_its_data_say(name: str) -> None:
    """With 1 on the release that was seen; on another it may be gone, or need another configuration, but comes to an end."""
    pytest.importorskip("transformers")
    due = {1} if public(version("transformers")) == CAUSES[name].seen else {0, 1, 2}
    assert endings_of_models()[name] in due


def test_the_classes_are_there_on_the_release_that_was_seen() -> None:
    there = set(dir(pytest.importorskip("transformers")))  # which imports no model
    release = public(version("transformers"))
    assert [name for c in CAUSES.values() if c.seen == release for name in c.where if name not in there] == []


def test_each_cause_has_a_script_and_no_other_is_there() -> None:
    assert sorted(TEXTS) == NAMES
    assert sorted(path.name for path in MODEL_SCRIPTS.iterdir() if path.is_file()) == [f"{name}.py" for name in MODELS]


def test_scripts_are_short() -> None:
    lengths = {name: len(lines_of(text)) for name, text in TEXTS.items()}
    assert median(lengths.values()) <= MEDIAN
    assert {name: length for name, length in lengths.items() if length > MOST} == {}
    assert [name for name, text in MODEL_TEXTS.items() if len(lines_of(text)) > MOST_OF_MODELS] == []


@pytest.mark.parametrize("name", [*NAMES, *MODELS])
def test_a_script_needs_little_and_tells_its_difference_from_any_other(name: str) -> None:
    text = (TEXTS | MODEL_TEXTS)[name]
    found, lines = ast.parse(text), lines_of(text)
    assert text.startswith("# "), "what is wrong stands first"
    assert "sys.excepthook = " in text, "what nobody expects ends it with 2"
    if name in TEXTS:
        assert {"torch"} <= imported(found) <= {"torch", *STANDARD}
        assert "sys.exit(0 if" in lines[-1]
        early = [node.module for node in ast.walk(found) if isinstance(node, ast.ImportFrom)]
        assert not {"torch.distributed.fsdp", "torch.distributed.tensor"} & {*early}, "torch 2.4 lacks names of these"
        return
    assert {"transformers"} <= imported(found) <= MAY_IMPORT
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


# -- the data of models ------------------------------------------------------------------------------------------

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


def test_a_class_with_two_causes_is_one_class_and_two_pairs(tmp_path: Path) -> None:
    second = DATA.replace("bert-odd", "bert-even").replace('"ErnieForMaskedLM", "MraForMaskedLM"', '"EsmForMaskedLM"')
    (tmp_path / "models.toml").write_text(DATA + second, encoding="utf-8")
    page = index(model_causes(tmp_path / "models.toml"))
    assert "name 4 classes, and 5 pairs of a cause and a class" in page
    assert "| raises | 2 | 4 | 0 |" in page


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('seen = "5.23.0"', 'seen = "the last"', "seen must be a release, such as 2.15.0, not 'the last'"),
        ('"BertForMaskedLM", ', '"BERT and others", ', "where must be a list of texts such as 'BertForMaskedLM'"),
        ("reason = ", "reasn = ", "there is no field reasn; did you mean reason"),
        ("[cause.bert-odd]", "[bug.bert-odd]", ": unknown table bug; causes are [cause.NAME] tables"),
        ("[cause.bert-odd]", "[cause.bert-odd", ": not TOML: "),
    ],
)
def test_data_that_say_nothing_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "models.toml").write_text(DATA.replace(old, new), encoding="utf-8")
    with pytest.raises(LedgerError) as caught:
        model_causes(tmp_path / "models.toml")
    assert words in str(caught.value)
