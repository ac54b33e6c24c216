"""The audit finds planted faults, says nothing of a model without one, and one root cause is one finding."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from audits import GRADIENT, LEFT, said, source_of

from embcheck.audit import hf
from embcheck.audit.faults import PLANTED
from embcheck.audit.finding import ADVICE, AS_BUILT, FLIPPED, LAWS, Finding, Judged, Unbuilt, causes
from embcheck.audit.program import first_tensor
from embcheck.audit.report import closing
from embcheck.audit.session import BUILT, verdicts
from embcheck.audit.specimen import RIGHT, Specimen, Untied, target
from embcheck.audit.tiny import VOCABULARY, shrunk
from embcheck.cli.audit import _earlier, _writer
from embcheck.core.verdict import Statement, Status, Verdict
from embcheck.record.audited import models

BY_NAME = {cls.__name__: cls for cls in PLANTED}
#: A fault for each law, and those of which only one way of looking tells.
SHOWN = {
    "the_tie_is_as_declared": ("HeadIsACopy", "HeadIsACopyBesidePositions"),
    "one_memory_is_one_parameter": ("HeadSharesData",),
    "what_is_read_is_listed": ("TableInAList",),
    "the_gradient_is_the_sum_of_all_paths": (
        *("GradientCountedTwice", "HeadDetached", "LookupDetached", "RowsDetached", "HeadCopiesEachTime"),
        "PartOfTheHeadDoubled",
        *("HeadDetachedBesidePositions", "LookupCopiesEachTime", "PaddingIsAnotherRow"),
    ),
    "a_step_shows_everywhere": ("HeadIsASnapshot", "HeadKeepsTheFirst", "ProductStaysBehind"),
    "the_padding_row_starts_at_zero": ("PaddingRowNormalised",),
    "lookups_leave_the_padding_row": ("SecondTableForgetsItsPadding", "RowsByIndex", "PaddingForgotten"),
    "a_forward_pass_writes_nothing": ("NormalisesMoreThanItReads",),
    "a_state_dict_restores_the_model": ("TableIsABufferNotSaved", "LoaderDropsTheAlias", "LoaderTakesTheFirstCopy"),
    "inputs_embeds_equal_input_ids": ("ScaleOnIdsOnly",),
    "a_deep_copy_is_a_model_of_its_own": ("HeadHoldsTheTable",),
    "a_cast_keeps_the_tie": ("PositionsNotCast",),
    "a_checkpoint_restores_the_model": ("RenamedWithoutAWord",),
    "growing_keeps_the_old_rows": (
        *("ResizeForgetsTheBias", "ResizeMovesThePadding", "OneRowTooMany", "RefusedTooLate"),
        "ResizeFreezes",
    ),
    "shrinking_keeps_the_rows_left": ("ShrinkingIsIgnored", "ShrinkingRaisesTypeError"),
}


def right(source: dict[str, Any], *names: str, expect: str = "auto") -> list[Judged]:
    """What laws (all, if none is named) say of a source; each could be asked, and each finding is confirmed by its script."""
    found = said(source, *(names or LAWS), expect=expect)
    assert [one.failure for one in found if one.failure] == []
    assert [each.script for one in found for each in one.findings if not each.confirmed] == []
    return found


def kinds(source: dict[str, Any], *names: str) -> set[str]:
    return {finding.kind for one in right(source, *names) for finding in one.findings}


@pytest.mark.parametrize("cls", [Specimen, Untied, *RIGHT.values()])
def test_a_model_without_a_fault_is_clean(cls: type[Specimen]) -> None:
    assert kinds(source_of(target(cls))) == set()


@pytest.mark.parametrize(("law", "name"), [(law, name) for law, names in SHOWN.items() for name in names])
def test_a_planted_fault_is_found(law: str, name: str) -> None:
    cls = BY_NAME[name]
    assert kinds(source_of(target(cls)), law) & set(PLANTED[cls])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("HeadDetached", "; 61 rows are wrong, and each lacks just what products send"),
        ("LookupCopiesEachTime", "; 10 rows are wrong, and each lacks just what lookups send"),
        ("LookupDetached", "no gradient of 1 lookups comes to table.weight, though the output depends on them"),
        ("PaddingIsAnotherRow", "lookups give table.weight[7] no gradient, as if it were the padding row"),
    ],
)
def test_a_wrong_gradient_is_told_with_the_uses_that_are_left_out(name: str, words: str) -> None:
    """What is wrong of every row is no word about lookups of padding."""
    gradient, lookups = right(source_of(target(BY_NAME[name])), GRADIENT, LEFT)
    (found,) = gradient.findings
    assert found.words.endswith(words)
    wrong = "the gradient of table.weight is wrong without padding ids, too"
    again = [f"{words}; they give one to table.weight[2], which is"] if name == "PaddingIsAnotherRow" else []
    assert ([each.words for each in lookups.findings], lookups.reason) == (again, "" if again else wrong)


def test_the_page_lists_every_law() -> None:
    page = (Path(__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    listed = [line for line in page.splitlines() if line.startswith("| `")]
    assert listed == [f"| `{law.name}` | {law.sentence} |" for law in LAWS.values()]


def test_each_fault_is_of_a_kind_that_has_advice() -> None:
    assert len(PLANTED) >= 50
    assert {kind for found in PLANTED.values() for kind in found} <= set(ADVICE)


def test_a_copy_that_stays_behind_is_a_note_where_it_is_meant() -> None:
    source = source_of("embcheck.audit.faults:HeadIsASnapshot.factory")
    (one,) = right(source, "a_step_shows_everywhere", expect="untied")
    assert one.findings == []
    assert one.notes[0].startswith("design choice: after a step of table.weight, matmul computes")


def with_row_of_ones() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Embedding(10, 4, 0, _weight=torch.ones(10, 4)))


@pytest.mark.parametrize("kind", ["hf", "factory"])
def test_a_padding_row_that_is_not_zero_is_a_note_where_its_value_may_be_meant(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of transformers a model is built from a configuration, and its row is zeroed there; here stands another in its place."""
    source = {"kind": kind, "target": f"{__name__}:with_row_of_ones", "folder": "", "cls": "", "config": {}}
    prelude = ["import torch", *inspect.getsource(with_row_of_ones).splitlines(), "factory = with_row_of_ones"]
    monkeypatch.setattr(hf, "build", lambda *_: (with_row_of_ones(), None))
    monkeypatch.setattr(hf, "prelude", lambda *_: prelude)
    (one,) = right(source, "the_padding_row_starts_at_zero")
    words = (
        "row 0 of 0 starts nonzero: padded positions look that up; if it is not meant, zero the row after initialising"
    )
    found = [finding.kind for finding in one.findings]
    assert (found, one.notes) == ((["padding row is not zero"], []) if kind == "hf" else ([], [words]))


@pytest.mark.parametrize(
    ("cls", "movers"),
    [
        (Untied, []),  # weight decay leaves a row of zeros
        (RIGHT["PaddingRowLoaded"], ["weight decay"]),
        (Specimen, ["its gradient and weight decay (design choice: the row is tied to the head)"]),
    ],
)
def test_what_moves_the_padding_row_is_a_note(cls: type[Specimen], movers: list[str]) -> None:
    (one,) = right(source_of(target(cls)), "lookups_leave_the_padding_row")
    assert one.notes == [f"row 2 of table.weight is moved by {words}" for words in movers]


def met(law: str, *found: tuple[str, str], variant: str = AS_BUILT, **more: Any) -> Judged:
    return Judged(law, variant, [Finding(kind, where, f"{kind} at {where}") for kind, where in found], **more)


@pytest.mark.parametrize(
    ("judged", "also"),
    [
        ([met("the_tie_is_as_declared", ("tie is missing", "head.weight"))], {"tie is missing": []}),
        ([met("growing", ("padding_idx changes", "table")), met("shrinking", ("padding_idx changes", "table"))],
         {"padding_idx changes": ["shrinking"]}),
        ([met("growing_keeps_the_old_rows", ("alias is made", "b"), ("old rows change", "a"), variant=FLIPPED),
          met("a_resized_checkpoint_restores_the_model", ("load is refused", ""), variant=FLIPPED)],
         {"alias is made": ["a_resized_checkpoint_restores_the_model"]}),
        ([met("a_step", ("copy stays behind", "table")), met("a_copy", ("copy does not follow", "table"))],
         {"copy stays behind": ["a_copy"]}),
    ],
)  # fmt: skip
def test_one_root_cause_is_one_finding(judged: list[Judged], also: dict[str, list[str]]) -> None:
    found = causes(judged)
    assert {cause.finding.kind: cause.also for cause in found} == also
    assert all(finding.words in found[0].finding.words for finding in judged[0].findings)


def test_verdicts_tell_of_findings_notes_and_reasons() -> None:
    found = verdicts("m:f", [
        met("the_tie_is_as_declared", ("tie is missing", "head.weight")),
        met("one_memory_is_one_parameter", ("tie is missing", "head.weight")),
        met("steps_keep_the_tie", notes=["design choice"]),
        met("growing_keeps_the_old_rows", reason="it has no resize_token_embeddings"),
        met("a_pickle_keeps_the_tie", failure="no end after 60 s"),
    ])  # fmt: skip
    assert [verdict.status for verdict in found] == [
        Status.VIOLATED, Status.VIOLATED, Status.HOLDS, Status.NOT_APPLICABLE, Status.UNKNOWN,
    ]  # fmt: skip
    assert found[0].counterexamples[0].path == "head.weight"
    assert found[1].reasons == ("what the_tie_is_as_declared found shows here too",)
    assert found[2].reasons == ("note: design choice",)


def test_a_record_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    def told(subject: str, law: str, status: Status = Status.HOLDS) -> Verdict:
        return Verdict(law, "audit", subject, AS_BUILT, "audit", status, reasons=("why",))

    facts: dict[str, Any] = {"versions": {"torch": "2.13.0"}, "settings": {"expect": "auto"}, "source": "a"}
    path, statements = tmp_path / "record.ndjson", [Statement("a_law", "audit", "A sentence."), BUILT]
    done = [told("m:one", "a_law"), told("m:one", BUILT.law), told("m:two", "a_law")]  # cut off within a model
    writer = _writer(tmp_path, facts, statements, done)
    writer.close()
    kept = _earlier(path, facts)
    assert [verdict.subject for verdict in kept] == ["m:one", "m:one"]
    assert _earlier(path, facts | {"settings": {"expect": "tied"}}) == []
    writer = _writer(tmp_path, facts, statements, kept)
    writer.footer("finished", 0)
    writer.close()
    assert _earlier(path, facts) == []
    found = models([*kept, told("m:three", BUILT.law, Status.NOT_APPLICABLE)])
    assert closing(found) == (
        "1 model, 1 judgement · 0 findings in 0 models · 0 unknown · 0 notes · 0.0 s of CPU a model in the median "
        "· 1 not built"
    )


# -- transformers ------------------------------------------------------------------------------------------------


class _Config:
    model_type = "made-up"

    def __init__(self, **more: Any) -> None:
        layers = {"num_hidden_layers": 32, "layer_types": ["full", "sliding"] * 16, "hidden_dropout": 0.1}
        tokens = {"vocab_size": 50_000, "eos_token_id": 49_999, "pad_token_id": None}
        vars(self).update(layers | tokens | {"use_cache": True} | more)


class _Part:
    """A part of a configuration whose own default is another than the whole's."""

    model_type = "made-up-part"

    def __init__(self, num_key_value_heads: int = 8) -> None:
        self.num_key_value_heads, self.num_filters = num_key_value_heads, 32
        self.depths, self.hash_vocab = (3, 3, 8), 500_000

    def to_dict(self) -> dict[str, Any]:
        return vars(self)


def test_a_configuration_shrinks_by_the_names_of_its_fields() -> None:
    small = shrunk(_Config())
    assert (small["vocab_size"], small["num_hidden_layers"]) == (VOCABULARY, 2)
    assert small["layer_types"] == ["full", "sliding"]
    assert 0 <= small["eos_token_id"] < VOCABULARY
    assert "hidden_dropout" not in small
    part = shrunk(_Config(part=_Part(2)))["part"]
    assert part["num_key_value_heads"] == 2, "its class has 8, which it would get if nothing were said"
    assert (part["depths"], part["num_filters"], part["hash_vocab"]) == ([1, 1, 1], 2, VOCABULARY)
    assert shrunk(_Config(), kind=1)["layer_types"] == ["sliding", "sliding"]
    assert set(shrunk(_Config(), nested=True)["rope_parameters"]) == {"full", "sliding"}
    assert shrunk(_Config(), cache=False)["use_cache"] is False


@pytest.mark.parametrize("name", ["blt", "cohere_compass_text", "dots3_note", "qwen4_exp", "voxtral_realtime"])
def test_architectures_whose_default_does_not_work_are_settled(name: str) -> None:
    pytest.importorskip("transformers")
    try:
        (source,) = hf.chosen(name)
    except Unbuilt as reason:
        pytest.skip(str(reason))
    model, inputs = hf.build(hf.settle(source))
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert torch.isfinite(first_tensor(model.eval()(**inputs))).all()


def test_gpt2_is_clean_and_bert_has_no_finding_as_built() -> None:
    pytest.importorskip("transformers")
    (gpt2,), (bert,) = hf.chosen("gpt2"), hf.chosen("bert")
    assert kinds(hf.settle(gpt2), "the_tie_is_as_declared", "growing_keeps_the_old_rows") == set()
    assert kinds(hf.settle(bert), "the_gradient_is_the_sum_of_all_paths", "a_checkpoint_restores_the_model") == set()
    with pytest.raises(Unbuilt, match="did you mean"):
        hf.chosen("gpt3")
