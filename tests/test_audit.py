"""The audit finds planted faults, says nothing of a model without one, and tells what it can't audit in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from embcheck.audit import faults, laws
from embcheck.audit.causes import Judged, causes
from embcheck.audit.client import Listed
from embcheck.audit.finding import ADVICE, AS_BUILT, FLIPPED, LAWS, Finding
from embcheck.audit.many import Keeper, statements
from embcheck.audit.program import first_tensor
from embcheck.audit.report import closing
from embcheck.audit.right import RIGHT
from embcheck.audit.session import BUILT, Audit
from embcheck.audit.specimen import PLANTED, Specimen, Untied
from embcheck.audit.template import answered
from embcheck.audit.tiny import VOCABULARY, shrunk
from embcheck.core.verdict import Status
from embcheck.record.record import read

faults.load()
laws.load()


def source_of(cls: type[Specimen]) -> dict[str, Any]:
    return {"kind": "factory", "target": f"{cls.__module__}:{cls.__name__}.factory", "folder": ""}


def kinds(source: dict[str, Any], *names: str) -> set[str]:
    """The kinds of finding that laws (all, if none is named) report of a source, judged in this process."""
    facts = answered({"do": "explore", "source": source, "expect": "auto"})
    found = set()
    for name in names or LAWS:
        answer = answered({"do": "law", "law": name, "source": source, "facts": facts["facts"]})
        assert "error" not in answer, answer
        for finding in answer.get("findings", ()):
            assert finding["confirmed"], finding["script"]
            found.add(finding["kind"])
    return found


@pytest.mark.parametrize("cls", [Specimen, Untied, *RIGHT])
def test_a_model_without_a_fault_is_clean(cls: type[Specimen]) -> None:
    assert kinds(source_of(cls)) == set()


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("HeadIsACopy", "the_tie_is_as_declared"),
        ("HeadSharesData", "one_memory_is_one_parameter"),
        ("TableInAList", "what_is_read_is_listed"),
        ("GradientCountedTwice", "the_gradient_is_the_sum_of_all_paths"),
        ("HeadDetached", "the_gradient_is_the_sum_of_all_paths"),
        ("LookupDetached", "the_gradient_is_the_sum_of_all_paths"),
        ("RowsDetached", "the_gradient_is_the_sum_of_all_paths"),
        ("HeadCopiesEachTime", "the_gradient_is_the_sum_of_all_paths"),
        ("PartOfTheHeadDoubled", "the_gradient_is_the_sum_of_all_paths"),
        ("HeadIsASnapshot", "a_step_shows_everywhere"),
        ("HeadKeepsTheFirst", "a_step_shows_everywhere"),
        ("SecondTableForgetsItsPadding", "lookups_leave_the_padding_row"),
        ("RowsByIndex", "lookups_leave_the_padding_row"),
        ("NormalisesMoreThanItReads", "a_forward_pass_writes_nothing"),
        ("TableIsABufferNotSaved", "a_state_dict_restores_the_model"),
        ("PaddingForgotten", "lookups_leave_the_padding_row"),
        ("PaddingInitialised", "the_padding_row_starts_at_zero"),
        ("ScaleOnIdsOnly", "inputs_embeds_equal_input_ids"),
        ("HeadHoldsTheTable", "a_deep_copy_is_a_model_of_its_own"),
        ("LoaderDropsTheAlias", "a_state_dict_restores_the_model"),
        ("BufferNotSaved", "a_checkpoint_restores_the_model"),
        ("ResizeForgetsTheBias", "growing_keeps_the_old_rows"),
        ("ResizeMovesThePadding", "growing_keeps_the_old_rows"),
    ],
)
def test_a_planted_fault_is_found(name: str, law: str) -> None:
    assert kinds(source_of(PLANTED[name].cls), law) & set(PLANTED[name].kinds)


def test_a_copy_that_stays_behind_is_one_finding_or_a_note_where_it_is_meant() -> None:
    source = source_of(PLANTED["HeadIsASnapshot"].cls)
    said = {}
    for expect in ("auto", "untied"):
        facts = answered({"do": "explore", "source": source, "expect": expect})["facts"]
        said[expect] = answered({"do": "law", "law": "a_step_shows_everywhere", "source": source, "facts": facts})
    assert [finding["kind"] for finding in said["auto"]["findings"]] == ["copy stays behind"]
    assert not said["untied"]["findings"]
    assert said["untied"]["notes"][0].startswith("design choice: after a step of table.weight, matmul computes")
    judged = [
        Judged("a_step_shows_everywhere", AS_BUILT, [finding("copy stays behind", "table")]),
        Judged("a_deep_copy_is_a_model_of_its_own", AS_BUILT, [finding("copy does not follow", "table")]),
    ]
    assert [cause.also for cause in causes(judged)] == [["a_deep_copy_is_a_model_of_its_own"]]


def test_enough_faults_are_planted_and_each_kind_has_advice() -> None:
    assert len(PLANTED) >= 20
    assert {kind for fault in PLANTED.values() for kind in fault.kinds} <= set(ADVICE)


def finding(kind: str, where: str) -> Finding:
    return Finding(kind, where, f"{kind} at {where}", "effect", "fix")


def test_one_root_cause_is_one_finding() -> None:
    judged = [
        Judged("the_tie_is_as_declared", AS_BUILT, [finding("tie is missing", "head.weight")]),
        Judged("growing_keeps_the_old_rows", AS_BUILT, [finding("padding_idx changes", "table")]),
        Judged("shrinking_keeps_the_rows_left", AS_BUILT, [finding("padding_idx changes", "table")]),
        Judged("growing_keeps_the_old_rows", FLIPPED, [finding("alias is made", "b"), finding("old rows change", "a")]),
        Judged("a_resized_checkpoint_restores_the_model", FLIPPED, [finding("load is refused", "")]),
    ]
    found = causes(judged)
    assert [cause.finding.kind for cause in found] == ["tie is missing", "padding_idx changes", "alias is made"]
    assert found[1].also == ["shrinking_keeps_the_rows_left"]
    assert found[2].also == ["a_resized_checkpoint_restores_the_model"]
    assert "old rows change at a" in found[2].finding.words


def test_verdicts_tell_of_findings_notes_and_reasons() -> None:
    judged = [
        Judged("the_tie_is_as_declared", AS_BUILT, [finding("tie is missing", "head.weight")]),
        Judged("steps_keep_the_tie", AS_BUILT, notes=["design choice"]),
        Judged("growing_keeps_the_old_rows", AS_BUILT, reason="it has no resize_token_embeddings"),
        Judged("a_pickle_keeps_the_tie", AS_BUILT, failure="no end after 60 s"),
    ]
    verdicts = Audit("m:f", {}, judged, causes(judged)).verdicts()
    assert [verdict.status for verdict in verdicts] == [
        Status.VIOLATED, Status.HOLDS, Status.NOT_APPLICABLE, Status.UNKNOWN, Status.HOLDS,
    ]  # fmt: skip
    assert verdicts[0].counterexamples[0].path == "head.weight"
    assert verdicts[1].reasons == ("note: design choice",)


def test_a_record_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    listed = [Listed("a_law", "A sentence.", (AS_BUILT,))]
    path, settings = tmp_path / "record.ndjson", {"expect": "auto"}
    keeper = Keeper(path, listed, settings)
    keeper.add(Audit("m:one", {}, [Judged("a_law", AS_BUILT)]).verdicts())
    keeper.add(Audit("m:two", {}, [Judged("a_law", AS_BUILT)]).verdicts()[:1])  # cut off within a model
    keeper.writer.close()
    again = Keeper(path, listed, settings)
    assert again.done == {"m:one"}
    again.add(Audit("m:three", unbuilt="no such thing").verdicts())
    assert [model.subject for model in again.models] == ["m:one", "m:three"]
    assert closing(again.models) == (
        "1 models, 1 judgements · 0 findings in 0 models · 0 unknown · 0 notes · 0.0 s of CPU a model in the median "
        "· 1 not built"
    )
    again.writer.footer("finished", 0)
    again.writer.close()
    assert [verdict.law for verdict in read(path).verdicts] == ["a_law", BUILT.law, BUILT.law]
    assert not Keeper(path, listed, settings).done
    assert statements(listed)[-1] is BUILT


# -- transformers ------------------------------------------------------------------------------------------------


class _Config:
    model_type = "made-up"

    def __init__(self) -> None:
        self.vocab_size = 50_000
        self.hidden_size = 4096
        self.num_hidden_layers = 32
        self.layer_types = ["full", "sliding"] * 16
        self.eos_token_id = 49_999
        self.pad_token_id = None
        self.hidden_dropout = 0.1


def test_a_configuration_shrinks_by_the_names_of_its_fields() -> None:
    small = shrunk(_Config())
    assert small["vocab_size"] == VOCABULARY
    assert small["num_hidden_layers"] == 2
    assert small["layer_types"] == ["full", "sliding"]
    assert 0 <= small["eos_token_id"] < VOCABULARY
    assert "hidden_dropout" not in small


class _Part:
    """A part of a configuration whose own default is another than the whole's."""

    model_type = "made-up-part"

    def __init__(self, num_key_value_heads: int = 8) -> None:
        self.num_key_value_heads = num_key_value_heads
        self.depths = (3, 3, 8)
        self.num_filters = 32
        self.hash_vocab = 500_000

    def to_dict(self) -> dict[str, Any]:
        return vars(self)


def test_a_part_shrinks_from_what_its_class_would_take() -> None:
    whole = _Config()
    whole.part = _Part(2)  # type: ignore[attr-defined]
    part = shrunk(whole)["part"]
    assert part["num_key_value_heads"] == 2, "its class has 8, which it would get if nothing were said"
    assert part["depths"] == [1, 1, 1]
    assert (part["num_filters"], part["hash_vocab"]) == (2, VOCABULARY)


def test_what_a_default_lacks_can_be_given() -> None:
    config = _Config()
    config.use_cache = True  # type: ignore[attr-defined]
    assert shrunk(config, kind=1)["layer_types"] == ["sliding", "sliding"]
    assert set(shrunk(config, nested=True)["rope_parameters"]) == {"full", "sliding"}
    assert shrunk(config, cache=False)["use_cache"] is False


@pytest.mark.parametrize("name", ["blt", "cohere_compass_text", "dots3_note", "qwen4_exp", "voxtral_realtime"])
def test_architectures_whose_default_does_not_work_are_settled(name: str) -> None:
    pytest.importorskip("transformers")
    from embcheck.audit import hf

    try:
        (source,) = hf.chosen(name)
    except hf.Unknown as reason:
        pytest.skip(str(reason))
    settled = hf.settle(source)
    model, inputs = hf.build(settled)
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert torch.isfinite(first_tensor(model.eval()(**inputs))).all()


def test_gpt2_is_clean_and_bert_resized_untied_is_not() -> None:
    pytest.importorskip("transformers")
    from embcheck.audit import hf

    (gpt2,), (bert,) = hf.chosen("gpt2"), hf.chosen("bert")
    assert kinds(hf.settle(gpt2), "the_tie_is_as_declared", "growing_keeps_the_old_rows") == set()
    assert kinds(hf.settle(bert), "the_gradient_is_the_sum_of_all_paths", "a_checkpoint_restores_the_model") == set()
    with pytest.raises(hf.Unknown, match="did you mean"):
        hf.chosen("gpt3")
