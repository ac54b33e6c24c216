"""Factories of models: what they give is audited in processes of their own, and what can't be is told in one line."""

import importlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command import Command

from embcheck.audit import laws
from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT, Judged, Unbuilt
from embcheck.audit.processes import workers
from embcheck.audit.report import closing
from embcheck.audit.session import audited, description
from embcheck.audit.subject import judged, looked_at
from embcheck.core.declaration import folder_of
from embcheck.core.verdict import Status
from embcheck.record.audited import models
from embcheck.record.record import PAGE
from embcheck.runner.run import exit_code

laws.load()

FACTORIES = """
import dataclasses, os, time, torch
NUMBER = 3
def dies(): os.kill(os.getpid(), 9)
def raises(): raise ValueError("no\\nluck")
def wrong(): return [1]
def spins(): [None for _ in iter(int, 1)]
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
class TrainsPadding(torch.nn.Embedding):
    def forward(self, ids): return torch.nn.functional.embedding(ids, self.weight)
def trains_padding(): return TrainsPadding(10, 4, padding_idx=0)
@dataclasses.dataclass
class Batch: tokens: torch.Tensor
class OfBatches(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = trains_padding()
    def forward(self, tokens): return self.table(getattr(tokens, "tokens", tokens))
def by_name(): return OfBatches(), {"tokens": torch.tensor([[4, 5, 6]])}
def in_a_list(): return OfDicts(), ([{"tokens": torch.tensor([[4, 5, 6]])}],)
class OfDicts(OfBatches):
    def forward(self, batches): return super().forward(batches[0]["tokens"])
def in_a_dataclass(): return OfBatches(), (Batch(torch.tensor([[4, 5, 6]])),)
class Resized(torch.nn.Embedding):
    def get_input_embeddings(self): return self
    def forward(self, tokens): return super().forward(tokens)
    def resize_token_embeddings(self, rows):
        self.weight = torch.nn.Parameter(torch.cat([self.weight.data, torch.ones(8, 4)])[:rows])
        self.num_embeddings = rows
def last_ids(): return Resized(50, 4), {"tokens": torch.tensor([[3, 49, 4]])}
class Fatal(torch.nn.Embedding):
    def __deepcopy__(self, memo): os.kill(os.getpid(), 9)
def fatal(): return Fatal(10, 4)
def compiled(): return torch.nn.Sequential(torch.compile(torch.nn.Embedding(10, 4), backend="eager"))
"""
SHARED = """
import torch
class Shared(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(20, 4), torch.nn.Linear(4, 20, bias=False)
        self.head.weight = {weight}
    def forward(self, ids): return self.head(self.table(ids))
"""
APART = SHARED.format(weight="torch.nn.Parameter(self.table.weight.detach().clone())")
LARGER = """
class Larger(torch.nn.Module):
    name, cut = "emb", None
    def __init__(self):
        super().__init__()
        self.pos = torch.nn.Embedding(64, 4)
        setattr(self, self.name, torch.nn.Embedding(50, 4))
    def forward(self, ids):
        ids = ids[:, : self.cut]
        return self.out(self.emb(ids) + self.pos(torch.arange(ids.shape[1])))
    def out(self, rows): return rows
class ByIds(Larger):
    def out(self, rows): return rows @ self.pos.weight.T
class ByProduct(Larger):
    cut = -1
    def out(self, rows): return (rows @ self.emb.weight.T)[..., :2]
class ByWidth(Larger):
    cut = -1
    def out(self, rows): return rows @ torch.linspace(0, 1, 200).reshape(4, 50)
class ByHead(Larger):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Module()
        self.head.weight = self.emb.weight
    def forward(self): pass
class ByShape(Larger):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 50)
    def forward(self): pass
class ByName(Larger):
    name = "word"
    def forward(self): pass
class ByNothing(Larger):
    def forward(self): pass
class HeadDetached(Larger):
    def out(self, rows): return torch.nn.functional.linear(rows, self.emb.weight.detach())
class HeadNormalised(Larger):
    def out(self, rows): return rows @ torch.nn.functional.normalize(self.emb.weight, dim=-1).T
class RowsByRows(Larger):
    def out(self, rows): return rows.mean(1) @ rows.mean(1).T
class TwoSided(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = torch.nn.Embedding(20, 4), torch.nn.Embedding(20, 4)
        self.head = torch.nn.Linear(4, 20, bias=False)
        self.head.weight.data.copy_(self.two.weight.data)
    def forward(self, a, b):
        return self.head(self.one(a) + torch.nn.functional.embedding(b, self.two.weight.detach()))
def two_sided(): return TwoSided(), (torch.tensor([[1, 2, 3]]), torch.tensor([[3, 1, 4]]))
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A source of these factories, to be imported in this process, without its target."""
    (tmp_path / "odd_models.py").write_text(FACTORIES + APART + LARGER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield {"kind": "factory", "folder": str(tmp_path)}
    sys.modules.pop("odd_models", None)


def said(source: dict[str, Any], law: str, expect: str = "auto") -> Judged:
    """What a law says of a source, in this process."""
    (answer,) = looked_at(source, expect)
    assert not isinstance(answer, Unbuilt)
    return judged(law, source, answer[1])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("odd_models:raises", "odd_models:raises raised ValueError: no luck"),
        ("odd_models:wrong", "odd_models:wrong returned [1]; expected a torch.nn.Module"),
        ("odd_models:cls", "returned the class Kind, not an instance"),
        ("odd_models:same", "odd_models:same returns the same model each time; an audit changes models: build each"),
        ("odd_models:shared", "odd_models:shared returns models that share the memory of weight each time"),
        ("odd_models:nothing", "odd_models has no 'nothing'; it has"),
        ("odd_models", "expected module:factory"),
        ("odd_models:NUMBER", "odd_models:NUMBER is no function: it is of type int"),
        ("no_such_module:f", "no_such_module can't be imported: ModuleNotFoundError"),
    ],
)
def test_what_can_not_be_audited_is_told_in_one_line(target: str, words: str, odd: dict[str, Any]) -> None:
    with pytest.raises(Unbuilt, match=re.escape(words)) as raised:
        explored(odd | {"target": target}, "auto", AS_BUILT)
    assert "\n" not in str(raised.value)


def test_each_model_is_audited_whatever_becomes_of_another(odd: dict[str, Any]) -> None:
    """Of a factory that raises something is known: it is no model; of one that dies, or has no end, nothing is."""
    names = ("dies", "raises", "spins", "compiled", "fatal")
    with workers(1) as pool:
        sources = [odd | {"target": f"odd_models:{name}"} for name in names]
        done = {one.subject: one for one in audited(pool, sources, "auto", 1.0)}
    dies, raises, spins, compiled, fatal = (done[f"odd_models:{name}"] for name in names)
    assert (dies.unbuilt, dies.status) == ("it can't be built: the process died: SIGKILL", Status.UNKNOWN)
    assert (raises.unbuilt, raises.status) == ("odd_models:raises raised ValueError: no luck", Status.NOT_APPLICABLE)
    assert spins.unbuilt == "it can't be built: no end within 1 s of CPU time, or it waits for ever"
    assert compiled.notes[0] == "it is compiled; the audit judges the module that torch.compile was given"
    gradient = next(one for one in compiled.judged if one.law == "the_gradient_is_the_sum_of_all_paths")
    assert gradient.status == Status.HOLDS
    assert fatal.description.startswith("Fatal · 40 parameters · table weight (10×4)")
    told = [(one.law, one.reasons) for one in fatal.judged if one.status == Status.UNKNOWN]
    assert told == [("a_deep_copy_is_a_model_of_its_own", ("the process died: SIGKILL",))]
    assert [one.law for one in fatal.judged][-1] != told[0][0], "the laws after it are judged"
    bad = [verdict for model in (dies, raises) for verdict in model.verdicts]
    assert closing(models(bad)).endswith(" · 1 unknown · 0 notes · 2 not built")
    assert [exit_code([verdict]) for verdict in bad] == [1, 0]


@pytest.mark.parametrize(
    ("target", "law", "words"),
    [
        ("odd", "the_model_runs", "in eval mode its answer is another one with another seed"),
        ("odd", "the_padding_row_starts_at_zero", "pad_token_id is 1, but the padding_idx of weight is 0"),
        (
            *("broken", "the_model_runs"),
            "the model could not be run: its forward pass raises RuntimeError: no luck; a factory may return the model",
        ),
    ],
)
def test_what_is_worth_knowing_is_a_note_and_what_can_not_be_run_is_unknown(
    target: str, law: str, words: str, odd: dict[str, Any]
) -> None:
    one = said(odd | {"target": f"odd_models:{target}"}, law)
    assert [line[: len(words)] for line in (*one.notes, one.failure) if line] == [words]
    assert bool(one.failure) == (target == "broken")


def test_each_law_that_calls_a_model_which_raises_is_unknown(odd: dict[str, Any]) -> None:
    words = "its forward pass raises RuntimeError: no luck"
    one = said(odd | {"target": "odd_models:broken"}, "steps_keep_the_tie")
    assert (one.failure, one.reason) == (words, "")
    none = said(odd | {"target": "odd_models:broken"}, "inputs_embeds_equal_input_ids")
    assert (none.failure, none.reason[:26]) == ("", "its forward pass takes no "), "it would not be asked anyway"


@pytest.mark.parametrize("target", ["trains_padding", "by_name", "in_a_list", "in_a_dataclass"])
def test_a_finding_about_padding_says_what_is_due_in_few_digits(target: str, odd: dict[str, Any]) -> None:
    """Wherever the inputs hold the ids, the last of which is made the padding token."""
    one = said(odd | {"target": f"odd_models:{target}"}, "lookups_leave_the_padding_row")
    (found,) = one.findings
    assert found.confirmed
    number, words = found.words.partition("weight[0, 0] is ")[2].split(", ", 1)
    assert words == "and should be 0: only lookups of padding use the row"
    assert number == f"{float(number):.6g}" != "0"


def test_a_script_names_the_folder_of_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_package" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("a_package.inner", "a_package.inner.model"):
        importlib.import_module(name)
        assert folder_of(name) == str(tmp_path)
    monkeypatch.chdir(tmp_path)  # for the script may be run elsewhere
    assert folder_of("a_package.inner.model") == str(tmp_path)


@pytest.fixture
def embcheck(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A command in a folder, whose modules are imported anew, and whose workers are threads: how it ended, and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("embcheck.cli.audit.workers", ThreadPoolExecutor)
    monkeypatch.setattr("embcheck.audit.session.streamed", lambda work, *given, limit: work(*given))

    def said(*words: object) -> tuple[int, str]:
        sys.modules.pop("shared_model", None)
        importlib.invalidate_caches()
        shutil.rmtree("__pycache__", ignore_errors=True)
        done = command(*words, ends=None)
        return done.code, done.told

    return said


def test_a_finding_is_replayed_until_it_is_fixed(tmp_path: Path, embcheck: Callable[..., tuple[int, str]]) -> None:
    module = tmp_path / "shared_model.py"
    module.write_text(SHARED.format(weight="torch.nn.Parameter(self.table.weight.data)"))
    assert embcheck("audit", "shared_model:Nothing") == (
        4, "embcheck: audits shared_model:Nothing\nembcheck: shared_model has no 'Nothing'; it has Shared\n",
    )  # fmt: skip
    code, told = embcheck("audit", "shared_model:Shared", "--report", "out")
    assert code == 1
    (printed,) = re.findall(r"embcheck (replay \w+ --store out)", told)
    assert f"embcheck {printed}" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    words = printed.split()
    assert embcheck(*words, "--script")[1].startswith("# Shared, as built: ")
    code, told = embcheck(*words)
    assert (code, "FAILED" in told) == (1, True)
    assert f"imports shared_model:Shared from {tmp_path}, as the record says" in told
    assert "head.weight and table.weight are two Parameters" in told
    (tmp_path / "pyproject.toml").write_text("[tool.embcheck]\nreport = 'kept'\n")
    assert (embcheck("audit", "shared_model:Shared")[0], embcheck("replay", words[1], "--script")[0]) == (1, 0)
    assert (tmp_path / "kept" / ".embcheck" / f"{words[1]}.py").is_file()
    module.write_text(SHARED.format(weight="self.table.weight"))
    code, told = embcheck(*words)
    assert (code, "FIXED" in told) == (0, True)
    module.unlink()
    code, told = embcheck(*words)
    assert (code, "ERROR" in told, "shared_model can't be imported" in told) == (3, True, True)


def test_a_head_that_only_starts_as_a_copy_is_unknown_until_it_is_said_what_is_meant(odd: dict[str, Any]) -> None:
    source = odd | {"target": "odd_models:Shared"}
    every = {e: said(source, "the_tie_is_as_declared", e) for e in ("auto", "any", "tied", "untied")}
    assert description(explored(source, "auto", AS_BUILT)).endswith(
        "head head.weight · the model does not say whether it should be tied"
    )
    words = "head.weight only starts as a copy of table.weight: the two are trained apart"
    declared = "and nothing declares whether that is meant; say --expect tied or --expect untied"
    assert every["auto"].failure == f"{words}, {declared}"
    assert [finding.kind for finding in every["tied"].findings] == ["tie is missing"]
    assert (every["untied"].findings, every["untied"].notes) == ([], [])
    assert every["any"].notes == [f"design choice: {words}"]


@pytest.mark.parametrize(
    ("target", "likely"),
    [
        *((name, ["emb.weight"]) for name in ("ByIds", "ByProduct", "ByWidth", "ByHead", "ByShape")),
        ("ByName", ["word.weight"]),
        ("ByNothing", ["pos.weight", "emb.weight"]),
        ("two_sided", ["one.weight", "two.weight"]),
        ("Shared", ["table.weight"]),
    ],
)
def test_the_table_of_the_tokens_is_told_by_what_is_done_with_it(
    target: str, likely: list[str], odd: dict[str, Any]
) -> None:
    """A table of positions has more rows in all of these but the last two."""
    assert list(explored(odd | {"target": f"odd_models:{target}"}, "auto", AS_BUILT).likely) == likely


def test_ties_and_gradients_of_a_table_with_fewer_rows_than_another_are_judged(odd: dict[str, Any]) -> None:
    gradient, tie = "the_gradient_is_the_sum_of_all_paths", "the_tie_is_as_declared"
    detached = said(odd | {"target": "odd_models:HeadDetached"}, gradient)
    assert [found.kind for found in detached.findings] == ["gradient is not the sum"]
    both = odd | {"target": "odd_models:two_sided"}
    words = "which of its tables holds the tokens is not clear: one.weight, two.weight; "
    assert said(both, "the_model_runs").notes[0].startswith(words)
    assert said(both, "steps_keep_the_tie").notes[0].startswith("design choice: no step trains two.weight: ")
    assert said(both, tie).failure.startswith("head.weight only starts as a copy of two.weight: ")


@pytest.mark.parametrize("target", ["ByIds", "RowsByRows"])
def test_a_tie_that_is_expected_of_a_model_without_a_head_is_unknown(target: str, odd: dict[str, Any]) -> None:
    one = said(odd | {"target": f"odd_models:{target}"}, "the_tie_is_as_declared", "tied")
    words = "no head with a row for each token was found (get_output_embeddings() would say which it is)"
    assert one.failure == f"--expect tied, but {words}"


def test_a_head_that_is_computed_from_its_weight_is_found(odd: dict[str, Any]) -> None:
    assert explored(odd | {"target": "odd_models:HeadNormalised"}, "tied", AS_BUILT).head == "emb.weight"


@pytest.mark.parametrize(("target", "reason"), [("odd", "it has no resize_token_embeddings"), ("last_ids", "")])
def test_a_resize_to_fewer_tokens_is_judged_where_there_is_one(target: str, reason: str, odd: dict[str, Any]) -> None:
    """Ids of rows that it takes away are not looked up after it."""
    one = said(odd | {"target": f"odd_models:{target}"}, "shrinking_keeps_the_rows_left")
    assert (one.findings, one.reason.partition(",")[0]) == ([], reason)
