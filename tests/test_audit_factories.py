"""Factories of models: what they give is audited from a template or in a fork, and what can't be is told in one line."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import warm

from embcheck.audit import laws
from embcheck.audit.causes import Judged
from embcheck.audit.client import Template, Unbuilt
from embcheck.audit.discovery import explored
from embcheck.audit.factory import FactoryError
from embcheck.audit.finding import AS_BUILT
from embcheck.audit.many import audited
from embcheck.audit.report import closing
from embcheck.audit.session import Audit
from embcheck.audit.subject import folder_of
from embcheck.audit.template import answered, forked
from embcheck.cli.audit import exit_code
from embcheck.core.machine import seen
from embcheck.core.replay_state import ERROR, FIXED, fixed
from embcheck.core.verdict import Status
from embcheck.record.audited import models
from embcheck.record.record import PAGE

laws.load()

FACTORIES = """
import os, time, torch
def dies(): os.kill(os.getpid(), 9)
def raises(): raise ValueError("no\\nluck")
def wrong(): return [1]
def prints():
    print("hello")
    return torch.nn.Embedding(10, 4)
def hangs(): time.sleep(3600)
def spins(): [None for _ in iter(int, 1)]
def slow():
    for _ in range(2):
        end = time.process_time() + 0.05
        while time.process_time() < end: pass
        time.sleep(0.3)
    return torch.nn.Embedding(10, 4)
class Kind(torch.nn.Module): pass
def cls(): return Kind
ONE, ROWS = torch.nn.Embedding(10, 4), torch.randn(10, 4)
def same(): return ONE
def shared(): return torch.nn.Embedding.from_pretrained(ROWS)
class Broken(torch.nn.Embedding):
    def forward(self, ids): raise RuntimeError("no\\nluck")
def broken(): return Broken(10, 4)
class Odd(torch.nn.Embedding):
    pad_token_id = 1
    def forward(self, ids): return torch.nn.functional.dropout(super().forward(ids))
def odd(): return Odd(10, 4, padding_idx=0)
def compiled(): return torch.nn.Sequential(torch.compile(torch.nn.Embedding(10, 4), backend="eager"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "odd_models.py").write_text(FACTORIES)
    return str(tmp_path)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Template, dict[str, Any]]]:
    """One that has imported the factories, and a source of them without its target."""
    folder = tmp_path_factory.mktemp("factories")
    (folder / "odd_models.py").write_text(FACTORIES)
    source = {"kind": "factory", "folder": str(folder)}
    made = Template(limit=60.0)
    try:
        made.prepare(source | {"target": "odd_models:prints"})
        yield made, source
    finally:
        made.close()


def test_a_model_of_which_nobody_knows_whether_it_can_be_built_is_unknown(folder: str) -> None:
    """Of a factory that raises something is known: it is no model."""
    hangs, raises = (
        {"kind": "factory", "target": f"odd_models:{name}", "folder": folder} for name in ("dies", "raises")
    )
    done = sorted(audited([hangs, raises], [], 1, 60.0), key=lambda one: one.subject)
    assert [(one.lost, one.unbuilt) for one in done] == [
        (True, "it can't be built: the process died: SIGKILL"),
        (False, "odd_models:raises raised ValueError: no luck"),
    ]
    verdicts = [verdict for one in done for verdict in one.verdicts()]
    assert [verdict.status for verdict in verdicts] == [Status.UNKNOWN, Status.NOT_APPLICABLE]
    assert closing(models(verdicts)).endswith(" · 1 unknown · 0 notes · 2 not built")
    assert [exit_code([one]) for one in done] == [1, 0]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("odd_models:raises", "odd_models:raises raised ValueError: no luck"),
        ("odd_models:wrong", "odd_models:wrong returned list '[1]'; expected a torch.nn.Module"),
        ("odd_models:cls", "returned the class Kind, not an instance"),
        ("odd_models:same", "odd_models:same returns the same model each time; an audit changes models: build each"),
        ("odd_models:shared", "odd_models:shared returns models that share the memory of weight each time"),
        ("odd_models:nothing", "odd_models has no 'nothing'; it has"),
        ("odd_models", "expected module:factory"),
        ("no_such_module:f", "no_such_module can't be imported: ModuleNotFoundError"),
    ],
)
def test_what_can_not_be_audited_is_told_in_one_line(
    target: str, words: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(FactoryError, match=re.escape(words)) as raised:
        explored({"kind": "factory", "target": target, "folder": ""}, "auto", AS_BUILT)
    assert "\n" not in str(raised.value)


def test_a_factory_that_hangs_or_prints(
    template: tuple[Template, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, source = template
    prints = source | {"target": "odd_models:prints"}
    assert asked.ask(do="explore", source=prints, expect="auto")["facts"]["rows"] == 10
    monkeypatch.setattr(asked, "limit", 1.0)
    told = {"ended": "no end within 1 s of CPU time, or it waits for ever"}
    assert asked.ask(do="explore", source=source | {"target": "odd_models:spins"}, expect="auto") == told


@pytest.mark.parametrize(("name", "comes_back"), [("hangs", False), ("slow", True)])
def test_a_factory_is_waited_for_while_it_uses_the_processor(
    name: str, comes_back: bool, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    source = {"kind": "factory", "target": f"odd_models:{name}", "folder": ""}
    answer = forked({"do": "explore", "source": source, "expect": "auto"}, 60.0, idle=1.5)
    if comes_back:
        assert answer["facts"]["rows"] == 10
    else:
        assert answer == {"ended": "no end within 60 s of CPU time, or it waits for ever"}


def test_an_import_that_hangs_is_told(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time; time.sleep(3600)")
    template = Template(limit=60.0, idle=3.0)
    try:
        with pytest.raises(
            Unbuilt, match="it can't be imported: no end within 150 s of CPU time, or it waits for ever"
        ):
            template.prepare({"kind": "factory", "target": "waits:model", "folder": str(tmp_path)})
    finally:
        template.close()


def judged_here(target: str, law: str) -> dict[str, Any]:
    """What a law says of a factory, judged in this process."""
    source = {"kind": "factory", "target": target, "folder": ""}
    facts = answered({"do": "explore", "source": source, "expect": "auto"})["facts"]
    return answered({"do": "law", "law": law, "source": source, "facts": facts})


@pytest.mark.parametrize(
    ("law", "words"),
    [
        ("the_model_runs", "in eval mode its answer is another one with another seed"),
        ("the_padding_row_starts_at_zero", "pad_token_id is 1, but the padding_idx of weight is 0"),
    ],
)
def test_what_is_worth_knowing_is_a_note(law: str, words: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    assert [note[: len(words)] for note in judged_here("odd_models:odd", law)["notes"]] == [words]


def test_a_model_that_can_not_be_run_is_unknown(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    failure = judged_here("odd_models:broken", "the_model_runs")["error"]
    assert failure == (
        "the model could not be run: its forward pass raises RuntimeError: no luck; "
        "a factory may return the model and its inputs"
    )
    assert exit_code([Audit("m:f", {}, [Judged("the_model_runs", AS_BUILT, failure=failure)])]) == 1


def test_a_compiled_model_is_judged_eagerly(template: tuple[Template, dict[str, Any]]) -> None:
    asked, source = template
    source = source | {"target": "odd_models:compiled"}
    facts = asked.ask(do="explore", source=source, expect="auto")["facts"]
    names = ("the_model_runs", "the_gradient_is_the_sum_of_all_paths")
    runs, gradient = (asked.ask(do="law", law=name, source=source, facts=facts) for name in names)
    assert runs["notes"] == ["it is compiled; the audit judges the module that torch.compile was given"]
    assert (gradient.get("findings"), gradient.get("reason")) == ([], None)


def test_a_script_names_the_folder_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_package" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("a_package.inner", "a_package.inner.model"):
        importlib.import_module(name)
        assert folder_of(name) == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert folder_of("a_package.inner.model") == "."


def test_an_import_that_fails_is_told_by_the_template(folder: str) -> None:
    template = Template(limit=20.0)
    try:
        with pytest.raises(Unbuilt, match="odd_models has no 'nothing'"):
            template.prepare({"kind": "factory", "target": "odd_models:nothing", "folder": folder})
    finally:
        template.close()


def test_the_command_refuses_with_exit_code_4(folder: str) -> None:
    done = warm.embcheck("audit", "odd_models:raises", cwd=Path(folder))
    assert (done.returncode, done.stderr) == (4, "embcheck: odd_models:raises raised ValueError: no luck\n")


SHARED = """
import torch
class Shared(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(20, 4), torch.nn.Linear(4, 20, bias=False)
        self.head.weight = {weight}
    def forward(self, ids): return self.head(self.table(ids))
"""


def audit(folder: Path, *words: str) -> tuple[int, str]:
    """A command in a folder: how it ended, and what it said."""
    done = warm.embcheck(*words, cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_a_finding_is_replayed_until_it_is_fixed(tmp_path: Path) -> None:
    module = tmp_path / "shared_model.py"
    module.write_text(SHARED.format(weight="torch.nn.Parameter(self.table.weight.data)"))
    code, told = audit(tmp_path, "audit", "shared_model:Shared", "--report", "out")
    assert code == 1
    (printed,) = re.findall(r"embcheck (replay \w+ --store out)", told)
    assert f"embcheck {printed}" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    words = printed.split()
    assert audit(tmp_path, *words, "--script")[1].startswith("# Shared, as built: ")
    code, told = audit(tmp_path, *words)
    assert code == 1
    assert "FAILED" in told
    assert f"imports shared_model:Shared from {tmp_path}, as the record says" in told, "before it does"
    assert "head.weight and table.weight are two Parameters" in told
    module.write_text(SHARED.format(weight="self.table.weight"))
    code, told = audit(tmp_path, *words)
    assert (code, "FIXED" in told) == (0, True)
    kept = json.loads((tmp_path / "out" / ".embcheck" / f"{words[1]}.json").read_text())
    for fields, state, said in (
        ({"torch": "1.0"}, FIXED, f"by torch {torch.__version__}; it failed with 1.0"),
        ({"machine": {"arch": "another"}}, ERROR, "the law holds here, but it failed on another machine: arch another"),
    ):
        found = fixed(kept | fields, seen())
        assert (found.state, said in found.words) == (state, True)
    module.unlink()
    code, told = audit(tmp_path, *words)
    assert (code, "ERROR" in told, "shared_model can't be imported" in told) == (3, True, True)


def test_a_head_that_only_starts_as_a_copy_is_unknown_until_it_is_said_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / "copied_model.py").write_text(
        SHARED.format(weight="torch.nn.Parameter(self.table.weight.detach().clone())")
    )
    source = {"kind": "factory", "target": "copied_model:Shared", "folder": str(tmp_path)}
    said = {}
    for expect in ("any", "tied", "untied"):
        facts = answered({"do": "explore", "source": source, "expect": expect})["facts"]
        said[expect] = answered({"do": "law", "law": "the_tie_is_as_declared", "source": source, "facts": facts})
    assert [finding["kind"] for finding in said["tied"]["findings"]] == ["tie is missing"]
    assert said["untied"]["findings"] == said["untied"]["notes"] == []
    assert said["any"]["notes"] == [
        "design choice: head.weight only starts as a copy of table.weight: the two are trained apart"
    ]
    code, told = audit(tmp_path, "audit", "copied_model:Shared")
    assert code == 1
    assert "VIOLATED" not in told
    line = " ".join(told.split())
    assert "UNKNOWN the_tie_is_as_declared: head.weight only starts as a copy of table.weight" in line
    assert "say --expect tied or --expect untied" in line
