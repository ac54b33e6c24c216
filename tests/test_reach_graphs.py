"""Cases that are built for faults of graphs meet the conditions, and modes run what is chosen of them in longer runs alone."""

import pytest

from embcheck.core.case import LookupCase
from embcheck.core.deck import aimed_cases
from embcheck.core.item import PROFILES, items_of
from embcheck.engine.selection import cases
from embcheck.families.embedding_bag.cases import BagCase
from selfcheck import reach_graphs
from selfcheck.candidates import Candidates, shipped
from selfcheck.drawn import Fault

LINES = (
    "decomposition.embedding  weight_columns=17 & indices_rank=2 & indices_layout=transposed  ->  double(all)",
    "decomposition.embedding  weight_layout=expanded & weight_columns>32 & earlier>=1  ->  give(indices=shifted)",
    "decomposition.masked_fill  self_layout=expanded & self_rank=2  ->  double(all)",
    "decomposition.embedding_dense_backward  padding_idx>1 & num_weights>8 & scale_grad_by_freq  ->  zero(last)",
    "decomposition.index_select  index_numel>64 & self_layout=rows_strided  ->  swap",
    "decomposition.masked_fill  self_rank=3 & earlier>=1  ->  double(all)",
    "decomposition._unsafe_index_put  self_rows=3 & values_rank=1  ->  double(all)",
    "lowering.embedding  indices_numel>512 & weight_dtype=float64  ->  shift",
    "lowering.index  self_columns=8 & indices_rank=3  ->  double(all)",
    "lowering.div  self_rank=3  ->  double(all)",
    "lowering._unsafe_masked_index_put_accumulate  self_columns=17 & mask_rank=2  ->  double(all)",
    "lowering._unsafe_masked_index_put_accumulate  values_rank=1 & values_rows>2 & earlier>=1  ->  double(all)",
    "lowering._embedding_bag_per_sample_weights_backward  earlier>=1 & weight_rows>64  ->  double(all)",
    "lowering._embedding_bag_forward_only  earlier>=1 & include_last_offset  ->  double(all)",
    "lowering._embedding_bag  mode=2 & padding_idx=0 & offsets_rows>8  ->  double(all)",
    "lowering._embedding_bag_forward_only  mode=1 & weight_rows=3  ->  double(all)",
)


def test_what_is_built_meets_conditions() -> None:
    made, recorder = Candidates(shipped()), reach_graphs.Recorder()
    left = []
    with recorder.installed():
        for line in LINES:
            fault = Fault.of(line)
            part = next(each for each in reach_graphs.PARTS if fault.site.startswith(each.sites))
            found = (reach_graphs.built(fault, turn, part.mode) for turn in range(4))
            fitted = (each and made.fitted(*each, part.mode) for each in found)
            if not any(any(map(fault.met, recorder.of(each).get(fault.site, ()))) for each in fitted if each):
                left.append(line)
    assert left == []


@pytest.mark.parametrize("part", reach_graphs.PARTS, ids=lambda part: part.mode)
def test_longer_runs_alone_run_what_is_aimed(part: reach_graphs.Part) -> None:
    family = Candidates(shipped()).families["gradient"]
    aimed = set(aimed_cases(family, part.mode))
    assert len(aimed) > 100
    for name, whole in (("quick", False), ("full", True)):
        (item,) = items_of(family, "product", PROFILES[name], (part.mode,))
        assert aimed.issubset(cases(family, item, PROFILES[name], 0)) == whole


def test_a_fault_that_shows_nothing_in_a_case_is_not_met_by_it() -> None:
    case = LookupCase(num_embeddings=3, embedding_dim=2, indices="same", shape=(4,))
    padding = case.but(padding_idx=next(row for row, count in enumerate(case.counts) if count))
    for line, shown in {
        "decomposition.embedding_dense_backward  earlier=0  ->  give(indices=shifted)": (False, False),
        "decomposition.masked_fill  earlier=0  ->  double(all)": (True, False),
        "decomposition.masked_fill  earlier=0  ->  give(mask=not)": (True, True),
        "decomposition.embedding  earlier=0  ->  swap": (False, False),
    }.items():
        assert tuple(reach_graphs._shows(Fault.of(line), each) for each in (case, padding)) == shown, line


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        ("negate(last)", (True, False, True)),
        ("double(first)", (True, True, False)),
        ("swap", (True, True, True)),
        ("give(indices=first)", (False, True, True)),
        ("give(indices=shifted)", (False, True, True)),
        ("give(padding_idx=none)", (False, False, True)),
        ("give(mode=other)", (True, True, False)),
    ],
)
def test_of_bags_that_reduce_nothing_nothing_is_shown(damage: str, shown: tuple[bool, ...]) -> None:
    alike = BagCase(5, 2, numel=4, bags=(2, 2), indices=(3, 3, 3, 3))
    empty = BagCase(5, 2, numel=4, bags=(4, 0), indices=(3, 1, 1, 2))
    padded = BagCase(5, 2, numel=4, bags=(3, 1), indices=(3, 3, 3, 2), padding_idx=3)
    fault = Fault.of(f"lowering._embedding_bag  earlier=0  ->  {damage}")
    assert tuple(reach_graphs._shows(fault, case) for case in (alike, empty, padded)) == shown
