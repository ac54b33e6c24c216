"""The claims: every one can turn, the table says what is observed, and each has a program that runs alone."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Command, Patch
from records import printed_by
from test_script import status
from torch.nn import functional

from embcheck.claims.appraisal import appraise, every_claim, story
from embcheck.claims.case import EXPERIMENTS, plan
from embcheck.claims.claim import TUTORIALS, Page, only_if
from embcheck.claims.report import claims_report
from embcheck.core.ledger import Ledger
from embcheck.core.result import HOLDS, Difference
from embcheck.core.verdict import Status
from embcheck.engine.execute import run
from embcheck.modes.mode import MODES
from embcheck.record.record import read
from embcheck.subject.collect import load_families
from selfcheck.fault import load_faults

CLAIMS = every_claim()
FAULTS = {name: fault for name, fault in load_faults().items() if fault.family == "tutorial_claims"}
#: Experiments that take seconds: only the faults of their optimizer meet them.
SLOW = {"race", "trained_pair"}


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]


def turned(experiments: set[str], sought: set[str]) -> set[str]:
    """Claims that come out otherwise than stated, by one case of each situation: all those that are sought, and some claim if
    any does."""
    found: set[str] = set()
    groups = {name: [made for made in CLAIMS.values() if made.experiment == name] for name in experiments}
    for name in sorted(groups, key=lambda name: (sought.isdisjoint(made.told.id for made in groups[name]), name)):
        group = groups[name]
        if found and sought.isdisjoint(made.told.id for made in group):
            break  # of the claims that are left it is known that they can turn
        for case in EXPERIMENTS[name].firsts():
            if sought and sought <= found:
                break
            out = run(plan(case), MODES["eager"])
            for made in group if out.error is None else ():
                if case.situation in made.where and made.told.id not in found:
                    with contextlib.suppress(Exception):  # an oracle may not cope with what a fault makes
                        found |= {made.told.id} if isinstance(made.judge(case, out), Difference) else set()
    return found


def test_every_fault_turns_a_claim_and_with_full_every_claim_turns(full: bool) -> None:
    """By default of every fourth fault; that each claim turns the self-check says, too, which plants them all."""
    by_fault: dict[str, set[str]] = {}
    sought = set(CLAIMS) if full else set()
    if full:
        assert turned(set(EXPERIMENTS) - SLOW, sought) == set()
    for name in sorted(FAULTS)[:: 1 if full else 4]:
        with FAULTS[name].plant():
            slow = SLOW if "adam" in name else {"trained_pair"} if "assignment" in name else set()
            by_fault[name] = turned(slow or set(EXPERIMENTS) - SLOW, sought)
        sought -= by_fault[name]
    assert [name for name, found in by_fault.items() if not found] == []
    assert sought == set()


def test_each_verdict_is_stated_with_its_source() -> None:
    assert len(CLAIMS) >= 100
    assert {made.told.source.split(":")[0] for made in CLAIMS.values()} == set(TUTORIALS)
    for made in CLAIMS.values():
        assert re.fullmatch(r"[a-z-]+\.md:\d+(-\d+)?(,\d+(-\d+)?)*", made.told.source), made.told.id
        assert made.told.sentence.endswith("."), made.told.id
        assert made.told.quote
    laws = [law for law in load_families()["tutorial_claims"].laws if law.name != "tutorial_claims_is_accepted"]
    assert [law.name for law in laws] == [made.law for made in CLAIMS.values()]


def test_a_fault_flips_the_verdict_and_both_are_told() -> None:
    made = CLAIMS["token.default_uniform"]
    with FAULTS["a_new_table_is_drawn_from_u_1_d_1_d"].plant():
        ((one,),) = [group for group, _ in appraise([made], 0, Ledger())]
    title, _, _, line, *_ = printed_by(lambda out: claims_report(out, [one])).splitlines()
    assert one.verdict.status == Status.VIOLATED
    assert one.shown.verdict == "holds"
    assert not one.as_stated
    assert title.startswith(TUTORIALS["token-embedding.md"].title)
    assert line.startswith("VIOLATED (stated: refuted, seen: holds)  token.default_uniform")


def test_a_program_that_raises_leaves_its_claims_undecided() -> None:
    with FAULTS["a_lookup_s_output_is_detached"].plant():
        ((one,),) = [group for group, _ in appraise([CLAIMS["full.sparse"]], 0, Ledger())]
    assert one.verdict.status == Status.UNKNOWN
    assert "raised RuntimeError" in one.reason


@pytest.mark.parametrize("name", [name for name, made in CLAIMS.items() if made.experiment not in SLOW])
def test_each_program_runs_alone(name: str) -> None:
    made = CLAIMS[name]
    checks, found = story(made)
    assert len(found) == len(made.where)
    for case, words, program in found:
        imported = {line for line in program.splitlines() if line.startswith(("import ", "from "))}
        assert all("torch" in line or line.split()[1] in ("sys", "io", "copy", "__future__") for line in imported)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = status(program)
        false = case.situation in made.fails
        assert code == int(false), (case, words)
        assert printed.getvalue()
        assert words.startswith("false" if false else "true")
    assert checks


def twice(value: torch.Tensor) -> torch.Tensor:
    """The same value, with twice the gradient."""
    return 2 * value - value.detach()


def skipping(embedding: Any) -> Any:
    """A lookup of the tokens that are no padding; their rows and copies of the padding row are put together."""

    def looked_up(
        indices: torch.Tensor, weight: torch.Tensor, padding_idx: int | None = None, *flags: Any
    ) -> torch.Tensor:
        if padding_idx is None:
            return embedding(indices, weight, padding_idx, *flags)  # type: ignore[no-any-return]
        real = indices != padding_idx
        rows = weight[padding_idx].detach().repeat(*indices.shape, 1)
        rows[real] = embedding(indices[real], weight)
        return rows

    return looked_up


def passes(embedding: Any) -> Any:
    """The whole table is read and written, in place, before each lookup."""

    def looked_up(indices: torch.Tensor, weight: torch.Tensor, *flags: Any) -> Any:
        weight.detach().mul_(1)
        return embedding(indices, weight, *flags)

    return looked_up


def second_table(construct: Any) -> Any:
    def constructed(layer: Any, *sizes: int, **flags: Any) -> None:
        construct(layer, *sizes, **flags)
        vars(layer)["copy"] = layer.weight.detach().clone()

    return constructed


def instead(change: Any) -> Any:
    """Lookups in what is made of the table."""
    return lambda embedding: (
        lambda indices, weight, *flags: embedding(indices, change(weight), *flags) + 0 * weight.sum()
    )


def untied(assign: Any) -> Any:
    """A Parameter that is assigned is copied."""

    def assigned(module: torch.nn.Module, name: str, value: Any) -> None:
        copied = isinstance(value, torch.nn.Parameter) and name in module._parameters
        assign(module, name, torch.nn.Parameter(value.detach().clone()) if copied else value)

    return assigned


def ten_times(step: Any) -> Any:
    def steps(optimizer: torch.optim.Optimizer) -> None:
        for _ in range(10):
            step(optimizer)

    return steps


LINEAR = "conversion.release_is_new_enough", functional, "linear"
#: What a torch may do otherwise, and the claim that sees it: a function, and what is put in its place.
OTHERWISE: dict[str, tuple[str, Any, str, Any]] = {
    "a result of zeros": (*LINEAR, lambda linear: lambda *given: linear(*given) * 0),
    "a value twice as large": (*LINEAR, lambda linear: lambda x, *w: linear(2 * x, *w)),
    "a gradient twice as large": (*LINEAR, lambda linear: lambda *given: twice(linear(*given))),
    "padding that is not looked up": ("token.training_skips_padding", functional, "embedding", skipping),
    "passes over the table": ("token.time", functional, "embedding", passes),
    "scratch of the table's size": (
        "token.space",
        functional,
        "embedding",
        instead(lambda w: w + torch.zeros_like(w).sum()),
    ),
    "a second table": ("token.space", torch.nn.Embedding, "__init__", second_table),
    "a tie that is a copy": ("tying.converges_faster", torch.nn.Module, "__setattr__", untied),
    "lookups without a gradient": ("tying.converges_faster", functional, "embedding", instead(torch.Tensor.detach)),
    "ten steps, not one": ("full.trained_to_the_best", torch.optim.SGD, "step", ten_times),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_claim_sees_what_it_is_about(what: str, monkeypatch: Patch) -> None:
    name, owner, attribute, replacement = OTHERWISE[what]
    monkeypatch.setattr(owner, attribute, replacement(getattr(owner, attribute)))
    assert name in turned({CLAIMS[name].experiment}, {name})


@pytest.mark.parametrize(
    "name", ["full.padding_not_updated", "token.padding_row_fixed_zero", "token.padding_gradient_always_zero"]
)
@pytest.mark.parametrize("use", ["tied head", "penalty on the weight"])
def test_where_more_than_the_lookup_uses_the_table_its_padding_row_is_not_said_to_stay(name: str, use: str) -> None:
    made = CLAIMS[name]
    assert use in made.fails
    assert use.split()[0] in made.told.otherwise


@pytest.mark.parametrize(
    ("words", "name", "quote", "gloss", "more"),
    [
        ("do not fit", "none", "x", "", {"fails": only_if("it is so", lambda case, out: HOLDS, "elsewhere")}),
        ("do not fit", "place", "x", "", {"where": "elsewhere"}),
        ("two claims", "sparse", "x", "", {}),
        ("needs a gloss", "gloss", "张量副本", "", {}),
        ("needs a gloss", "gloss", "x = 1", "x is 1", {}),
    ],
)
def test_a_claim_must_fit_its_experiment_and_be_glossed(
    words: str, name: str, quote: str, gloss: str, more: dict[str, Any]
) -> None:
    says = Page("full", "nn-embedding-in-full.md", "", "")
    with pytest.raises(ValueError, match=words):
        says(name, "1", "A claim.", quote, gloss, EXPERIMENTS["looked_up"].program, lambda case, out: HOLDS, **more)


def test_command(tmp_path: Path, command: Command) -> None:
    done = command("claims", "-k", "detach", "--report", tmp_path)
    assert "refuted  conversion.detach_copies  detach() makes a copy." in done.out
    assert "\x1b" not in done.out
    record = read(tmp_path / "record.ndjson")
    assert record.complete
    law = next(verdict for verdict in record.verdicts if verdict.law == "conversion_detach_copies_is_refuted")
    assert law.status == Status.HOLDS
    assert any("shares True" in reason for reason in law.reasons)


def test_the_documentation_shows_what_is_printed(command: Command) -> None:
    page = (Path(__file__).parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")
    ((words, shown),) = re.findall(r"Part of `embcheck (.*?)`:\n\n```text\n(.*?)```", page, re.DOTALL)
    printed = re.sub(r"torch [\d.]+\S*", re.search(r"torch [\d.]+\S*", shown)[0], command(*words.split()).out)  # type: ignore[index]
    assert [line for line in shown.splitlines() if line not in printed.splitlines()] == []


def test_violation_exits_with_one_and_is_kept(tmp_path: Path, command: Command, monkeypatch: Patch) -> None:
    def uniform(layer: torch.nn.Embedding) -> None:
        torch.nn.init.uniform_(layer.weight, -0.01, 0.01)

    monkeypatch.setattr(torch.nn.Embedding, "reset_parameters", uniform)
    monkeypatch.setattr("embcheck.cli.claims.confirmed", list)
    done = command("claims", "-k", "full.normally_distributed", "--report", tmp_path / "out", ends=1)
    assert "VIOLATED (stated: holds, seen: refuted)  full.normally_distributed" in done.out
    assert list((tmp_path / "out" / ".embcheck").glob("*.py"))
    assert (read(tmp_path / "out").footer or {})["exit_code"] == 1
