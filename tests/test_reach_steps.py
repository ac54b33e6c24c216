"""Cases that are built for faults at the formulas of optimizers meet the conditions, and are what they are written as."""

import pytest

from embcheck.core import deck
from embcheck.families.param_groups.cases import ParamGroupsCase
from embcheck.families.param_groups.mixes import Member, groups_of, written
from embcheck.families.param_groups.space import SPACE
from selfcheck.candidates import Candidates, shipped
from selfcheck.contradictions import contradictory
from selfcheck.drawn import Fault, faults
from selfcheck.judging import Judging
from selfcheck.planting import Sites
from selfcheck.python_sites import STEPS
from selfcheck.reach_entries import built

LINES = (
    "adam.plain  differentiable & params_layout=transposed & step>=3  ->  zero(last)",
    "adam.foreach  step=2 & earlier=0 & params_dtype=bfloat16  ->  zero(last)",
    "sgd.plain  grads_layout=expanded & params_rank=3 & momentum>0  ->  negate(last)",
    "sgd.plain  nesterov & dampening>0  ->  zero(last)",
    "adagrad.fused  params_mixed & params_layout=transposed & earlier=1  ->  negate(last)",
    "rmsprop.foreach  centered & params_numel>1024 & params_columns=8  ->  zero(last)",
    "radam.plain  step=0 & earlier=2  ->  negate(last)",
    "sparse_adam.plain  params>3 & params_offset & step>10  ->  zero(last)",
    "rprop.plain  grads_layout=rows_strided & maximize  ->  zero(last)",
    "muon.plain  params_layout=strided & momentum=0  ->  zero(last)",
)


def test_what_is_built_meets_the_condition_and_a_law_sees_the_fault() -> None:
    every = [Fault.of(line) for line in LINES]
    made = Candidates(shipped())
    with Sites(fault.site for fault in every).installed() as sites:
        for fault in every:
            (case,) = built([fault])
            candidate = made.fitted("param_groups", case)
            assert candidate is not None
            assert SPACE.repair(candidate.case) == candidate.case  # as it is written
            judging = Judging([candidate], made.ledger, sites)
            record = judging.record([fault], [0])
            assert record.wrong == []
            assert record.changed == {0: [0]}, fault
            assert judging.run(fault, [0], [0]).status == "killed", fault


def test_most_conditions_can_be_built() -> None:
    names = {site.name for site in STEPS}
    drawn = [fault for fault in faults(600, 7, of="extended") if fault.site in names]
    # Fused kernels are wrong where there are gaps, which the ledger tells.
    having_gaps = [
        fault
        for fault in drawn
        if fault.site.endswith("fused") and any(word in fault.condition for word in ("strided", "expanded"))
    ]
    unbuilt = [fault for fault in drawn if not built([fault]) and fault not in having_gaps]
    assert len(unbuilt) <= 0.03 * len(drawn), unbuilt


def test_a_mix_is_what_it_is_written_as() -> None:
    groups = ((Member((2, 3), "float64", "strided"), Member((), "float32")), (Member((5,), "bfloat16", "offset"),))
    text = written(groups)
    assert text == "2x3:float64:strided :float32:contiguous|5:bfloat16:offset"
    assert groups_of(text) == groups
    case = ParamGroupsCase(mix=text, own=(("lr", 0.125),))
    assert case.groups == (((0, 1), {}), ((2,), {"lr": 0.125}))
    assert SPACE.repair(case) == case
    assert deck.case_of(ParamGroupsCase, deck.written_case(case)) == case


@pytest.mark.parametrize(
    ("condition", "others"), [("params_mixed", "params=1"), ("params_layout=strided", "params_numel=1")]
)
def test_what_a_list_can_not_be_is_not_drawn(condition: str, others: str) -> None:
    assert contradictory([condition, others], "adam.plain")
    assert not contradictory([condition], "adam.plain")
