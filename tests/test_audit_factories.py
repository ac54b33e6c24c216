"""Factories of models: what they give is audited in processes of their own, and what can't be is told in one line."""

import importlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from audits import GRADIENT, LEFT, PADDED, TIE, TRAINED, said, source_of, told
from command import Command

from embcheck.audit.discovery import explored
from embcheck.audit.finding import AS_BUILT, Unbuilt
from embcheck.audit.processes import workers
from embcheck.audit.report import closing
from embcheck.audit.session import audited, description
from embcheck.core.declaration import folder_of
from embcheck.core.verdict import Status
from embcheck.record.audited import models
from embcheck.record.record import PAGE
from embcheck.runner.run import exit_code

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One with a module of these factories, to be imported in this process."""
    (tmp_path / "odd_models.py").write_text(FACTORIES + APART + LARGER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield str(tmp_path)
    sys.modules.pop("odd_models", None)


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
def test_what_can_not_be_audited_is_told_in_one_line(target: str, words: str, folder: str) -> None:
    with pytest.raises(Unbuilt, match=re.escape(words)) as raised:
        explored(source_of(target, folder), "auto", AS_BUILT)
    assert "\n" not in str(raised.value)


def test_each_model_is_audited_whatever_becomes_of_another(folder: str) -> None:
    """Of a factory that raises something is known: it is no model; of one that dies, or has no end, nothing is."""
    names = ("dies", "raises", "spins", "compiled", "fatal")
    with workers(1) as pool:
        sources = [source_of(f"odd_models:{name}", folder) for name in names]
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


RAISES = "its forward pass raises RuntimeError: no luck"
COPY = "head.weight only starts as a copy of table.weight: the two are trained apart"
HEADLESS = "no head with a row for each token was found (get_output_embeddings() would say which it is)"
MEANT = "and nothing declares whether that is meant; say --expect tied or --expect untied"
#: What each law says of a model; behind its name may stand what is expected of the tie.
SAID = {
    "the_model_runs": {
        "odd": "note: in eval mode its answer is another one with another seed…",
        "broken": f"unknown: the model could not be run: {RAISES}; a factory may return the model…",
        "two_sided": "note: which of its tables holds the tokens is not clear: one.weight, two.weight; …",
    },
    PADDED: {"odd": "note: pad_token_id is 1, but the padding_idx of weight is 0…"},
    # A law that calls no model which raises would not be asked anyway.
    TRAINED: {
        "broken": f"unknown: {RAISES}",
        "two_sided": "note: design choice: no step trains two.weight: …",
    },
    "inputs_embeds_equal_input_ids": {"broken": "not applicable: its forward pass takes no …"},
    TIE: {
        "Shared": f"unknown: {COPY}, {MEANT}",
        "two_sided": "unknown: head.weight only starts as a copy of two.weight: …",
    },
    f"{TIE} any": {"Shared": f"note: design choice: {COPY}"},
    f"{TIE} tied": {
        "Shared": "tie is missing: …",
        **dict.fromkeys(("ByIds", "RowsByRows"), f"unknown: --expect tied, but {HEADLESS}"),
    },
    f"{TIE} untied": {"Shared": ""},
    # A table of positions has more rows.
    GRADIENT: {"HeadDetached": "gradient is not the sum: …"},
    # Ids of rows that it takes away are not looked up after it.
    "shrinking_keeps_the_rows_left": {
        "odd": "not applicable: it has no resize_token_embeddings, …",
        "last_ids": "",
    },
}


@pytest.mark.parametrize(("law", "target"), [(law, target) for law in SAID for target in SAID[law]])
def test_a_law_says_of_a_model(law: str, target: str, folder: str) -> None:
    assert told(source_of(f"odd_models:{target}", folder), law, SAID[law][target]) == SAID[law][target]


@pytest.mark.parametrize("target", ["trains_padding", "by_name", "in_a_list", "in_a_dataclass"])
def test_a_finding_about_padding_says_what_is_due_in_few_digits(target: str, folder: str) -> None:
    """Wherever the inputs hold the ids, the last of which is made the padding token."""
    (one,) = said(source_of(f"odd_models:{target}", folder), LEFT)
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
def test_the_table_of_the_tokens_is_told_by_what_is_done_with_it(target: str, likely: list[str], folder: str) -> None:
    """A table of positions has more rows in all of these but the last two."""
    facts = explored(source_of(f"odd_models:{target}", folder), "auto", AS_BUILT)
    assert list(facts.likely) == likely
    if target == "Shared":
        words = "head head.weight · the model does not say whether it should be tied"
        assert description(facts).endswith(words)


def test_a_head_that_is_computed_from_its_weight_is_found(folder: str) -> None:
    assert explored(source_of("odd_models:HeadNormalised", folder), "tied", AS_BUILT).head == "emb.weight"
