"""Subjects: worked examples obey the laws, wrong layers are refuted by the law that they break, bad ones get one line."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from test_cli import HERE

import embcheck
from embcheck.core.declaration import SubjectError, configured, declare, resolve
from embcheck.core.verdict import Status
from embcheck.runner.check import LawViolated
from embcheck.runner.preflight import rehearse_apart
from embcheck.subject.examples import EXAMPLES, Bag, ScaledEmbedding, TiedModel, gemma, to_linear


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_the_examples_obey_the_laws_and_what_they_lack_is_told(example: Any, profile: str, full: bool) -> None:
    verdicts = embcheck.check(example, profile=profile)
    assert sum(verdict.cases for verdict in verdicts) > (1000 if full else 400)
    said = {reason for verdict in verdicts for reason in verdict.reasons}
    if example is TiedModel:
        assert not any("max_norm" in reason for reason in said)
    if example is ScaledEmbedding:
        assert any("ScaledEmbedding has no max_norm" in reason for reason in said)


def test_the_scaled_embedding_of_gemma_obeys_the_laws(profile: str, full: bool) -> None:
    pytest.importorskip("transformers.models.gemma3.modeling_gemma3")
    verdicts = embcheck.check(gemma, profile=profile)
    assert sum(verdict.cases for verdict in verdicts) > (1000 if full else 400)


# -- wrong layers ------------------------------------------------------------------------------------------------


@declare(scale=lambda width: width)
class ScaledByTheWidth(ScaledEmbedding):
    """Declares another scale than it has."""


@declare(scale=math.sqrt)
class ForgetsTheScaleInTheGradient(ScaledEmbedding):
    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(indices)
        scaled: torch.Tensor = rows + (rows * (self.table.embedding_dim**0.5 - 1)).detach()
        return scaled


@declare("bag")
class DividesByTheBatch(Bag):
    def forward(self, indices: Any, offsets: Any = None, per_sample_weights: Any = None) -> torch.Tensor:
        bags = super().forward(indices, offsets, per_sample_weights)
        return bags / 2 if self.words.mode == "mean" and len(bags) > 2 else bags


@declare("tied", table="embedding", head="fc")
class CopiesTheWeight(TiedModel):
    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__(vocab_size, d_model)
        self.fc.weight = torch.nn.Parameter(self.embedding.weight.detach().clone())


@declare("conversion")
def to_a_frozen_linear(embedding: torch.nn.Embedding) -> torch.nn.Linear:
    linear = torch.nn.Linear(embedding.num_embeddings, embedding.embedding_dim, bias=False)
    linear.weight = torch.nn.Parameter(embedding.weight.T, requires_grad=False)
    return linear


class IgnoresMaxNorm(torch.nn.Module):
    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(num_embeddings, embedding_dim)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(indices)
        return rows


@pytest.mark.parametrize(
    ("layer", "law"),
    [
        (ScaledByTheWidth, "lookup_copies_rows"),
        (ForgetsTheScaleInTheGradient, "weight_gradient_sums_upstream_per_row"),
        (DividesByTheBatch, "bag_sum_and_mean_reduce_weighted_rows"),
        (CopiesTheWeight, "tied_pair_is_one_parameter"),
        (to_a_frozen_linear, "converted_weight_is_a_leaf_parameter"),
        (IgnoresMaxNorm, "rows_over_max_norm_are_rescaled"),
    ],
)
def test_a_wrong_layer_is_refuted_by_its_law(layer: Any, law: str, profile: str) -> None:
    with pytest.raises(LawViolated) as caught:
        embcheck.check(layer, profile=profile)
    violated = {verdict.law for verdict in caught.value.verdicts if verdict.status == Status.VIOLATED}
    assert law in violated
    assert "case  " in str(caught.value)


# -- subjects that are none ----------------------------------------------------------------------------------------

BROKEN = """
import functools
import time
import torch

def raises(count, width):
    raise RuntimeError("no table today")

def hangs(count, width):
    time.sleep(1000)

def wrong_type(count, width):
    return 3

def ends(count, width):
    import os
    os._exit(7)

class Prints(torch.nn.Embedding):
    def forward(self, indices):
        print("looking up")
        return super().forward(indices)

class Mutates(torch.nn.Embedding):
    def forward(self, indices):
        return super().forward(indices.add_(1))

class Noisy(torch.nn.Embedding):
    def forward(self, indices):
        return super().forward(indices) + torch.rand(1)

partial = functools.partial(torch.nn.Embedding, padding_idx=1)

not_callable = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "broken_subjects.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "no table today"),
        ("wrong_type", "returned int; expected a torch.nn.Module"),
        ("ends", "status 7"),
        ("Prints", "prints 'looking up'"),
        ("Mutates", "changes its indices"),
        ("Noisy", "two equal calls differ; declare random=True"),
        ("partial", "is partial; expected a class or a function"),
        ("not_callable", "is int; expected a class or a function"),
        ("missing", "has no 'missing'"),
    ],
)
def test_what_is_no_subject_gets_one_line(folder: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "ends":  # that one in a process as it is started
        monkeypatch.setattr("embcheck.runner.preflight.attended", lambda command, limit: warm.python(*command[1:]))
    with pytest.raises(SubjectError) as caught:
        rehearse_apart(f"broken_subjects:{name}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_factory_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embcheck.runner.preflight.LIMIT", 0.5)
    with pytest.raises(SubjectError, match=r"there is no end within 0\.5 s of CPU time"):
        rehearse_apart("broken_subjects:hangs")


def test_an_unknown_subject_is_exit_code_4(folder: Path) -> None:
    done = warm.embcheck("run", "--subject", "nowhere:Layer")
    assert done.returncode == 4
    assert done.stderr.strip() == "embcheck: subject 'nowhere:Layer': no module 'nowhere'"


@pytest.mark.parametrize(
    ("kind", "flags", "said"),
    [
        ("table", {"lacks": {"spares": "a slip"}}, "a table has no flag 'spares'; there are padding_idx, max_norm"),
        ("bag", {"fixed": {"max_norm": 1.0}}, "a bag has no flag 'max_norm'; there are mode"),
        ("conversion", {"lacks": {"padding_idx": "why"}}, "there are none"),
    ],
)
def test_a_flag_that_is_none_is_told(kind: str, flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SubjectError, match=re.escape(said)):
        declare(kind, **flags)


class _NoSparseBag(torch.nn.EmbeddingBag):
    """Takes the flag, and raises if it is set."""

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "sum", sparse: bool = False) -> None:
        if sparse:
            raise NotImplementedError("no sparse gradients here")
        super().__init__(num_embeddings, embedding_dim, mode=mode)


class _PadsByDefault(torch.nn.Embedding):
    """Another default than torch's: without a word of padding it has one."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = 0) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)


def test_another_default_is_no_violation(profile: str) -> None:
    verdicts = embcheck.check(_PadsByDefault, profile=profile)
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN


def test_a_bag_gets_no_flag_that_it_lacks(profile: str) -> None:
    declared = declare("bag", lacks={"sparse": "dense only"})(_NoSparseBag)
    verdicts = embcheck.check(declared, profile=profile)
    assert max(verdict.status for verdict in verdicts) < Status.UNKNOWN


# -- names and the command line ------------------------------------------------------------------------------------


def test_subjects_are_configured_in_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.embcheck.subjects]\nours = "embcheck.subject.examples:TokenEmbedding"\n')
    assert configured(tmp_path / "deeper")["ours"] == "embcheck.subject.examples:TokenEmbedding"
    assert resolve("ours", tmp_path) is EXAMPLES[0]
    (tmp_path / "pyproject.toml").write_text("[tool.embcheck]\nsubjects = 3\n")
    with pytest.raises(SubjectError, match=r"expected \[tool\.embcheck\.subjects\]"):
        configured(tmp_path)


def test_a_run_on_a_subject_reports_it_in_all_modes(tmp_path: Path, full: bool) -> None:
    subject = ("--subject", "embcheck.subject.examples:TokenEmbedding", "--profile", "quick")
    chosen = () if full else ("-k", "lookup")
    done = warm.embcheck(
        "run", *subject, *chosen, "--mode", "eager,vmap,deepcopy,no_grad,export", "--report", tmp_path, *HERE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "record.ndjson").read_text().splitlines()]
    verdicts = [line["verdict"] for line in lines if line["kind"] == "verdict"]
    assert {verdict["subject"] for verdict in verdicts} == {"embcheck.subject.examples:TokenEmbedding"}
    assert {"eager", "vmap", "deepcopy", "no_grad", "export"} <= {verdict["mode"] for verdict in verdicts}


def test_a_mode_that_a_subject_has_not_is_told() -> None:
    done = warm.embcheck("run", "--subject", "embcheck.subject.examples:to_linear", "--mode", "vmap", *HERE)
    assert done.returncode == 5
    assert "conversion has no mode vmap" in done.stdout + done.stderr


def test_a_wrong_subject_is_refuted_and_replayed(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "import torch\n\nclass Wraps(torch.nn.Embedding):\n"
        "    def __init__(self, count, width):\n        super().__init__(count, width)\n\n"
        "    def forward(self, indices):\n        return super().forward(indices % self.num_embeddings)\n"
    )
    done = warm.embcheck("run", "--subject", "wrong:Wraps", "--profile", "quick", "-k", "lookup and random", "-n", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "lookup_out_of_range_indices_raise" in done.stdout
    assert "(imports torch and wrong:Wraps; run: it exits 1)" in done.stdout, "the script finds the layer"
    found = next(line.split()[-1] for line in done.stdout.splitlines() if "embcheck replay" in line)
    again = warm.embcheck("replay", found)
    assert (again.returncode, again.stdout.split()[0]) == (1, "FAILED"), again.stdout + again.stderr


def test_a_run_asks_of_a_layer_s_life_what_check_asks(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "import torch\n\nclass Cached(torch.nn.Embedding):\n"
        "    def __init__(self, count, width):\n        super().__init__(count, width)\n\n"
        "    def forward(self, indices):\n"
        "        table = self.weight if self.training else self.weight.detach()\n"
        "        return torch.nn.functional.embedding(indices, table)\n"
    )
    run = ("run", "--subject", "wrong:Cached", "--profile", "quick", "-k", "gradient and product", *HERE)
    done = warm.embcheck(*run)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "gradient_is_accepted   wrong:Cached · eval · cpu" in done.stdout
    assert "your layer's table got no gradient" in done.stdout


@embcheck.parametrize(to_linear)  # type: ignore[untyped-decorator]
def test_one_test_for_each_law(law: Any, profile: str) -> None:
    law()
