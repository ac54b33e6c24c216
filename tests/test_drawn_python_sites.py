"""Drawn faults at sites in Python: each site is found, each damage breaks a law of *quick*, and a wrapped torch is torch."""

import inspect

import pytest
import torch
from test_drawn_faults import in_vain
from torch.nn import functional as F
from warm import python

from embcheck.subject.examples import TiedModel
from selfcheck.conditions import TABLES
from selfcheck.drawn import Fault, damages, faults
from selfcheck.judging import Judging, deck
from selfcheck.planting import Planted, Sites
from selfcheck.python_damages import PYTHON_DAMAGES
from selfcheck.python_sites import PYTHON_SITES

#: Families of whose cases every so many are judged with damages, until each has broken a law; those that most of
#: them break come first.
JUDGED = {
    "construction": 12,
    "initializers": 6,
    "clip_average_scale": 2,
    "optimizer_state_dict": 1,
    "tied_training": 4,
    "param_groups": 4,
    "tied_head_loss": 2,
    "embedding_bag": 60,
    "tie_preservation": 4,
    "lookup": 8,
    "conversion": 20,
    "gradient": 30,
}


def test_every_damage_breaks_a_law_and_a_wrapped_function_none() -> None:
    every = [Fault(site, "earlier>=0", each.name) for site in PYTHON_SITES for each in damages(site)]
    left, changing = set(PYTHON_DAMAGES), set[str]()
    for family, stride in JUDGED.items():
        watched = [fault for fault in every if fault.damage in left]
        if len(left) <= 4 and changing == set(PYTHON_DAMAGES):
            break
        # Of the initializers quick has too few: none that fills with a number other than zero and one.
        candidates, ledger = deck("gate" if family == "initializers" else "quick", 0, [family])
        with Sites(fault.site for fault in watched).installed() as sites:
            judging = Judging(candidates[::stride], ledger, sites)
            record = judging.record(watched, range(len(judging.candidates)))
            assert record.wrong == []
            changing |= {watched[position].damage for position in record.changed}
            for position, changed in record.changed.items():
                fault, few = watched[position], changed[:3]
                if fault.damage in left and judging.run(fault, few, few).status == "killed":
                    left.discard(fault.damage)
    assert changing == set(PYTHON_DAMAGES)
    assert len(left) <= 4, f"which take other cases: {left}"


@pytest.mark.parametrize("site", PYTHON_SITES)
def test_a_site_is_found_and_is_put_back(site: str) -> None:
    found = PYTHON_SITES[site]
    before = inspect.getattr_static(found.owner, found.attribute)
    names = found.writes.partition(".")[0]
    assert not names or names in found.signature.parameters
    with Sites([site]).installed():
        assert inspect.getattr_static(found.owner, found.attribute) is not before
    assert inspect.getattr_static(found.owner, found.attribute) is before


def test_a_call_within_a_call_is_none_of_its_own() -> None:
    lines = ("Module.state_dict  tied & parts=3  ->  drop(last)", "Module.state_dict  earlier>=1  ->  reverse")
    with Sites(["Module.state_dict"]).installed() as sites:
        sites.watch([Fault.of(line) for line in lines])
        made = TiedModel(3, 2)
        made.state_dict()
        assert (sites.met, sites.changed) == ({0}, {0})
        made.state_dict()
        assert sites.met == {0, 1}


def test_a_planted_fault_can_raise_where_its_condition_is_met() -> None:
    with Sites(["F.linear"]).installed() as sites:
        sites.plant(Fault.of("F.linear  bias=None & weight_layout=transposed  ->  zero(last)"), raises=True)
        F.linear(torch.ones(1, 2), torch.ones(3, 2))
        with pytest.raises(Planted, match="weight_layout=transposed"):
            F.linear(torch.ones(1, 2), torch.ones(2, 3).T)


@pytest.mark.parametrize("of", sorted(TABLES))
def test_a_line_says_the_whole_fault(of: str) -> None:
    drawn = faults(60, 3, of=of)
    assert [Fault.of(str(fault)) for fault in drawn] == drawn == faults(60, 3, of=of) != faults(60, 4, of=of)
    assert {fault.site for fault in drawn} <= set(TABLES[of])
    assert [sum(fault.order == order for fault in drawn) for order in (1, 2, 3)] == [20, 20, 20]
    assert not any(in_vain(str(fault)) for fault in drawn)


#: Which families judge two faults, of three; in a process that has computed nothing, since it forks.
_OF_THREE = """
import torch
from selfcheck import runner
torch.set_num_threads(1)
every = runner.load_families()
runner.load_families = lambda: {name: every[name] for name in ("lr_scheduler", "initializers", "quantized_embedding")}
print(*runner.families_of(("StepLR.get_lr", "nn.init.xavier_uniform_"), 2))
"""


def test_the_families_that_call_a_site_judge_its_faults() -> None:
    done = python("-c", _OF_THREE)
    assert done.stdout.split() == ["lr_scheduler", "initializers"], done.stderr
