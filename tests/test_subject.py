"""Subjects by name: what is none gets one line, and a run on one reports, replays and asks what ``check`` does."""

import re
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import warm
from command import Command
from test_cli import HERE
from test_subject_layers import LearnsPadding, OffWhenServed

import embcheck
from embcheck.core.configuration import ConfigurationError, defaults
from embcheck.core.declaration import Declaration, SubjectError, configured, declaration_of, resolve
from embcheck.engine import run_item as engine
from embcheck.engine.crashes.patience import attended
from embcheck.record.record import read
from embcheck.runner import check, preflight
from embcheck.runner.check import LawViolated
from embcheck.runner.preflight import rehearse_apart
from embcheck.subject.examples import EXAMPLES, to_linear

SUBJECTS = """
import embcheck, functools, os, time, torch
from embcheck.core.weight_map import Mathematics

def raises(count, width): raise RuntimeError("no table today")
def hangs(count, width): time.sleep(1000)
def ends(count, width): os._exit(7)

class Prints(torch.nn.Embedding):
    def forward(self, indices):
        print("looking up")
        return super().forward(indices)

class OtherNames(torch.nn.Embedding):
    def __init__(self, vocab, width, pad_id=None, sparse=False):
        if sparse: raise NotImplementedError("dense only")
        super().__init__(vocab, width)

class Mutates(torch.nn.Embedding):
    def forward(self, indices):
        return super().forward(indices.add_(1))

class Wrong(torch.nn.Embedding):
    def __init__(self, count, width):
        super().__init__(count, width)
    def forward(self, indices):
        table = self.weight if self.training else self.weight.detach()
        return torch.nn.functional.embedding(indices % self.num_embeddings, table)

class Divided(torch.nn.Embedding):
    pass

embcheck.declare(scale=lambda width: 1 / 0)(Divided)

class Misshapen(torch.nn.Embedding):
    pass

embcheck.declare(mathematics=Mathematics(lambda w: w[0], lambda w, g: g, 1, abs))(Misshapen)

partial = functools.partial(torch.nn.Embedding, padding_idx=1)
not_callable = 3
"""
CALLABLE = "expected a class or a function"
TOKENS = "embcheck.subject.examples:TokenEmbedding"


#: A run rehearses its subject in a process that imports torch.  Where its test is not about that, it does not.
UNREHEARSED = "import embcheck.runner.preflight\nembcheck.runner.preflight.rehearse_apart = lambda name: None\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with these subjects, which are rehearsed in forks of a process that has imported torch."""
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    (tmp_path / "sitecustomize.py").write_text(UNREHEARSED)
    monkeypatch.setattr(preflight, "attended", lambda command, limit: warm.python(*command[1:]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "no table today"),
        ("ends", "status 7"),
        ("hangs", "there is no end within 0.5 s of CPU time"),
        ("Mutates", "changes its indices"),
        ("Divided", "the declared scale, offset or mathematics raises ZeroDivisionError"),
        ("Misshapen", "the declared mathematics gives shape (3,)"),
        ("partial", f"subject 'subjects:partial': {CALLABLE}, got a partial (wrap it in a function)"),
        ("not_callable", f"subject 'subjects:not_callable': {CALLABLE}, got an instance of int"),
        ("missing", "has no 'missing'"),
    ],
)
def test_what_is_no_subject_gets_one_line(folder: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "hangs":  # in a process as it is started
        monkeypatch.setattr(preflight, "attended", attended)
        monkeypatch.setattr(preflight, "LIMIT", 0.5)
    with pytest.raises(SubjectError) as caught:
        rehearse_apart(f"subjects:{name}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_subject_prints_is_of_no_account(folder: Path) -> None:
    assert rehearse_apart("subjects:Prints") == ""
    words = ("run", "--subject", "subjects:Prints", "--profile", "quick", "-k", "padding", *HERE)
    done = warm.embcheck(*words, plant=folder)
    assert "looking up" not in done.told


def test_what_is_not_asked_of_a_subject_is_told(folder: Path) -> None:
    told = rehearse_apart("subjects:OtherNames").split("; ")
    assert told == [
        "subjects:OtherNames: it has no padding_idx, max_norm, norm_type, scale_grad_by_freq",
        "its constructor refuses sparse=True: NotImplementedError: dense only: laws about that are not applicable",
        "embcheck does not know its parameter pad_id",
    ]


def test_an_unknown_subject_is_exit_code_4(folder: Path, command: Command) -> None:
    done = command("run", "--subject", "nowhere:Layer", ends=4)
    assert done.err == "embcheck: subject 'nowhere:Layer': no module 'nowhere'\n"


def test_subjects_are_configured_in_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.embcheck.subjects]\nours = "{TOKENS}"\n')
    assert configured(tmp_path / "deeper")["ours"] == TOKENS
    assert resolve("ours", tmp_path) is EXAMPLES[0]
    (tmp_path / "pyproject.toml").write_text("[tool.embcheck]\nsubjects = 3\n")
    for error, reading in ((SubjectError, configured), (ConfigurationError, defaults)):
        with pytest.raises(error, match=r"expected \[tool\.embcheck\.subjects\]"):
            reading(tmp_path)


def test_where_a_subject_has_none_of_what_is_selected_nothing_was_judged(folder: Path) -> None:
    """The record that was there would be taken for this run's."""
    words = ("run", "--subject", TOKENS, "--profile", "quick", "-k", "gradient_routes", "--report", folder, *HERE)
    assert warm.embcheck(*words, plant=folder, ends=5).told.endswith("exit code 5: nothing was selected\n")
    assert (read(folder).footer or {})["cases"] == 0


def test_a_run_on_a_subject_reports_it_in_all_modes(folder: Path, full: bool) -> None:
    modes = "eager,vmap,deepcopy,no_grad,export"
    chosen = () if full else ("-k", "lookup")
    words = ("run", "--subject", TOKENS, "--profile", "quick", *chosen, "--mode", modes, "--report", folder, *HERE)
    warm.embcheck(*words, plant=folder)
    verdicts = read(folder).verdicts
    assert {verdict.subject for verdict in verdicts} == {TOKENS}
    assert {*modes.split(",")} <= {verdict.mode for verdict in verdicts}


def test_a_mode_that_a_subject_has_not_is_told(folder: Path) -> None:
    subject = "embcheck.subject.examples:to_linear"
    done = warm.embcheck("run", "--subject", subject, "--mode", "vmap", *HERE, ends=5, plant=folder)
    assert "conversion has no mode vmap" in done.told


def test_a_wrong_subject_is_refuted_in_its_life_too_and_replayed(folder: Path) -> None:
    words = ("--profile", "quick", "-k", "lookup and random or gradient and product", *HERE)
    told = warm.embcheck("run", "--subject", "subjects:Wrong", *words, ends=1, plant=folder).out
    assert "lookup_out_of_range_indices_raise" in told
    assert "gradient_is_accepted   subjects:Wrong · eval · cpu" in told
    assert "your layer's table got no gradient" in told
    assert "(imports torch and subjects:Wrong; run: it exits 1)" in told, "the script finds the layer"
    found = next(line.split()[-1] for line in told.splitlines() if "embcheck replay" in line)
    replayed = warm.embcheck("replay", found, ends=1)
    assert replayed.out.startswith("FAILED")
    assert f"imports subjects:Wrong from {Path.cwd()}, as the record says" in replayed.told, "wherever it is typed"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("table", {"ranks": {7}}, r"ranks=\{7\}: expected numbers of axes from 0 to 4"),
        ("table", {"ranks": 2}, r"ranks=2: expected a set, such as \{2\}"),
        ("table", {"rank": {2}}, r"no rank= to declare; did you mean ranks=\?"),
        ("table", {"dtypes": {"float8"}}, r"no dtype 'float8' of a table or of indices; there are float32"),
        ("table", {"modes": {"serving"}}, r"modes=\{'serving'\}: expected \{'eval'\} or \{'train'\}"),
        ("table", {"min_dim": -1}, r"min_dim=-1: expected a number of at least 0"),
        ("table", {"max_length": 0}, r"max_length=0: expected a number of at least 1"),
        ("tied", {"ranks": {2}}, r"ranks= is declared of a table or a bag, not of a tied"),
        ("tied", {"scale": 2.0}, r"scale= is declared of a table, not of a tied"),
        ("conversion", {"table": "weight"}, r"table= is declared of a table or a bag or a tied, not of a conversion"),
        ("table", {"lacks": {"spares": ""}}, "a table has no flag 'spares'; there are padding_idx, max_norm"),
        ("bag", {"fixed": {"max_norm": 1.0}}, "a bag has no flag 'max_norm'; there are mode"),
        ("conversion", {"lacks": {"padding_idx": "why"}}, "there are none"),
        ("table", {"scale": "2"}, "scale='2': expected a number or a function of embedding_dim"),
        ("table", {"offset": None}, "offset=None: expected a number or a function of embedding_dim"),
    ],
)
def test_a_declaration_that_is_none_is_told(kind: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SubjectError, match=said):
        embcheck.declare(kind, **given)


KNOWN = """
[[known]]
name = "learns-its-padding"
law = "padding_row_gets_no_gradient"
instead = "anything"
where = { entry = "test_subject_layers:LearnsPadding" }
witness = "LookupCase(num_embeddings=1, embedding_dim=1, padding_idx=0, entry='test_subject_layers:LearnsPadding')"
reason = "It is so on purpose."
"""


def test_a_ledger_excuses_what_is_known_of_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_ROUNDS", check._ROUNDS[:1])
    laws, path = ["padding_row_gets_no_gradient"], tmp_path / "known.toml"
    path.write_text(KNOWN.replace("entry =", "entri ="))
    with pytest.raises(ValueError, match="learns-its-padding: no fact 'entri'"):
        embcheck.check(LearnsPadding, laws=laws, ledger=path)
    path.write_text(KNOWN)
    known = {name for verdict in embcheck.check(LearnsPadding, laws=laws, ledger=str(path)) for name in verdict.entries}
    assert known == {"learns-its-padding"}
    with pytest.raises(LawViolated, match=rf"--profile quick --seed 0 --ledger {path}"):
        embcheck.check(LearnsPadding, laws=["weight_gradient_sums_upstream_per_row"], ledger=path, first=True)


@pytest.mark.parametrize("kind", ["table", "bag", "tied"])
def test_a_subclass_has_its_parents_declaration_unless_it_has_its_own(kind: str) -> None:
    parent = embcheck.declare(kind, fixed={"padding_idx": 1}, min_rows=2)(type("Parent", (), {}))
    child = type("Grandchild", (type("Child", (parent,), {}),), {})
    assert declaration_of(child) == declaration_of(parent) != Declaration()
    assert declaration_of(embcheck.declare()(type("Own", (child,), {}))) == Declaration()
    assert declaration_of(child).kind == kind


def test_a_layer_that_is_off_only_when_it_is_served_is_refuted() -> None:
    """One in forty of *quick*'s cases are of served layers, and of few cases none would do."""
    with pytest.raises(LawViolated) as caught:
        embcheck.check(OffWhenServed, laws=["lookup_copies_rows"])
    assert {verdict.law for verdict in caught.value.verdicts} == {"lookup_copies_rows"}
    assert "lookup_copies_rows   test_subject_layers:OffWhenServed · serving" in str(caught.value)


def test_some_laws_are_asked_and_the_first_that_is_refuted_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run_item = Mock(wraps=engine.run_item)
    monkeypatch.setattr(check, "run_item", run_item)
    law = "padding_row_gets_no_gradient"
    with pytest.raises(LawViolated, match=rf"^{law}: test_subject_layers:LearnsPadding · laws: 1 violated") as raised:
        embcheck.check(LearnsPadding, laws=[law], first=True)
    assert {verdict.law for verdict in raised.value.verdicts} == {law}
    assert run_item.call_count == 1
    assert [entry.frame.f_locals.get("__tracebackhide__", False) for entry in raised.traceback[1:]] == [True, True]
    with pytest.raises(ValueError, match=rf"no law 'padding_row_gets_no_grad' .*did you mean {law}"):
        embcheck.check(LearnsPadding, laws=["padding_row_gets_no_grad"])


@pytest.mark.parametrize(
    ("place", "others", "printed"),
    [
        ("tests", "", ""),
        (".", "", "PYTHONPATH=tests "),
        (".", "lib", "PYTHONPATH=tests:$PYTHONPATH "),
        (".", "tests", ""),
    ],
)
def test_the_command_for_scripts_can_be_typed_as_it_is_printed(
    place: str, others: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1] / place)
    monkeypatch.setenv("PYTHONPATH", others)
    with pytest.raises(LawViolated) as raised:
        embcheck.check(LearnsPadding, laws=["padding_row_gets_no_gradient"], first=True)
    command = f"{printed}embcheck run --subject test_subject_layers:LearnsPadding --profile quick --seed 0"
    assert f"scripts and replays: {command}" in str(raised.value).splitlines()


def test_a_layer_that_nothing_can_import_has_no_script_and_no_command() -> None:
    class Local(LearnsPadding):
        pass

    for layer, why in (
        (Local, "`Local` is defined in a function and can't be imported"),
        (lambda rows, width, padding_idx=None: Local(rows, width, padding_idx), "a lambda can't be imported"),
    ):
        with pytest.raises(LawViolated) as raised:
            embcheck.check(layer, laws=["padding_row_gets_no_gradient"], first=True)
        told = str(raised.value).splitlines()
        assert f"  script  none: {why}" in told
        assert not [line for line in told if "SyntaxError" in line or line.startswith("scripts and replays")]


@pytest.mark.parametrize(
    ("layer", "given", "error", "said"),
    [
        (LearnsPadding, {"laws": "lookup_copies_rows"}, TypeError, "laws: expected a list of names, such as ['lookup_"),
        (LearnsPadding, {"profile": "gate2"}, ValueError, "no profile 'gate2'; there are quick, gate, full, deep"),
        (partial(LearnsPadding, padding_idx=0), {}, TypeError, f"{CALLABLE}, got a partial (wrap it"),
        (LearnsPadding(3, 2), {}, TypeError, f"{CALLABLE}, got an instance of LearnsPadding"),
        ("layers:Mine", {}, TypeError, f"{CALLABLE}, got the text 'layers:Mine'"),
    ],
)
def test_arguments_that_check_does_not_take_are_named(
    layer: Any, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(said)}"):
        embcheck.check(layer, **given)


@embcheck.parametrize(to_linear)  # type: ignore[untyped-decorator]
def test_one_test_for_each_law(law: Any, profile: str) -> None:
    law()


def test_what_is_offered_is_shown() -> None:
    assert dir(embcheck) == sorted(embcheck.__all__)
