"""Drawn faults at sites in Python: each site is found, each damage shows in a small example, and a wrapped torch is torch."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import pytest
import torch
from drawn_examples import EXAMPLES, Pair
from torch.nn import functional as F
from warm import python

from selfcheck.contradictions import contradictory
from selfcheck.drawn import TABLES, Fault, damages, faults
from selfcheck.judging import Judging, deck
from selfcheck.planting import Planted
from selfcheck.python_damages import PYTHON_DAMAGES
from selfcheck.python_sites import PYTHON_SITES
from selfcheck.wrapping import Sites

_RIGHT: dict[str, str] = {}


def shown(site: str, damage: str) -> bool:
    """Whether the example of a site gives something else with a damage at every call."""
    right = _RIGHT.setdefault(site, str(EXAMPLES[site]()))
    with Sites([site]).installed() as sites:
        sites.plant(Fault(site, "earlier>=0", damage))
        try:
            return str(EXAMPLES[site]()) != right
        except Exception:  # an example that ends otherwise tells the damage, too
            return True


@pytest.mark.parametrize("damage", PYTHON_DAMAGES)
def test_every_damage_shows_at_some_site(damage: str) -> None:
    """Of other arguments those of some sites are shown; each of the rest some site has, and that it shows the self-check tells."""
    of = PYTHON_DAMAGES[damage].of
    having = [site for site in EXAMPLES if of(PYTHON_SITES[site])]
    assert any(shown(site, damage) for site in having) or (
        damage.startswith("give(") and any(map(of, PYTHON_SITES.values()))
    )


@pytest.mark.parametrize("site", EXAMPLES)
def test_a_wrapped_function_changes_nothing(site: str) -> None:
    right = str(EXAMPLES[site]())
    with Sites([site]).installed() as sites:
        sites.watch([Fault(site, "earlier>=0", each.name) for each in damages(site)])
        assert str(EXAMPLES[site]()) == right
        assert sites.changed


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
    with Sites(["Module.state_dict"]).installed() as sites:
        sites.watch(
            [
                Fault.of("Module.state_dict  tied & parts=4  ->  drop(last)"),
                Fault.of("Module.state_dict  earlier>=1  ->  reverse"),
            ]
        )
        made = Pair()
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
    drawn = faults(150, 3, of=of)
    assert [Fault.of(str(fault)) for fault in drawn] == drawn == faults(150, 3, of=of) != faults(150, 4, of=of)
    assert {fault.site for fault in drawn} <= set(TABLES[of])


@pytest.mark.parametrize(
    ("line", "families"),
    [
        ("Module.load_state_dict  tied  ->  untie", ["tie_preservation"]),
        ("sgd.plain  params_rank=2  ->  skip(last)", ["tied_training"]),
        ("Embedding.from_pretrained  freeze=False  ->  give(freeze=not)", ["construction"]),
    ],
)
def test_a_law_kills_a_fault(line: str, families: list[str]) -> None:
    fault = Fault.of(line)
    candidates, ledger = deck("quick", 0, families)
    with Sites([fault.site]).installed() as sites:
        judging = Judging(candidates[::3], ledger, sites)
        record = judging.record([fault], range(len(judging.candidates)))
        assert record.wrong == []
        result = judging.run(fault, record.met[0], record.changed[0])
    assert result.status == "killed"


#: Which families judge two faults, of three; in a process that has computed nothing, since it forks.
_OF_THREE = """
import torch
from selfcheck import runner
from selfcheck.drawn import Fault
torch.set_num_threads(1)
every = runner.load_families()
runner.load_families = lambda: {name: every[name] for name in ("lr_scheduler", "initializers", "quantized_embedding")}
faults = [Fault.of(f"{site}  earlier>=0  ->  double(first)") for site in ("StepLR.get_lr", "nn.init.xavier_uniform_")]
runner._sites[:] = [fault.site for fault in faults]
print(*runner.families_of(faults, 2))
"""


def test_the_families_that_call_a_site_judge_its_faults() -> None:
    done = python("-c", _OF_THREE)
    assert done.stdout.split() == ["lr_scheduler", "initializers"], done.stderr


_OPTIMIZERS = (
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "ASGD",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
    "Adafactor",
    "Muon",
)
_STEPS = [
    (name, form)
    for name in _OPTIMIZERS
    for form in ("plain", "foreach", "fused")
    if f"{name.lower()}.{form}" in PYTHON_SITES
]


def _steps(name: str, form: str, *, sparse: bool = False, shape: tuple[int, ...] = (3, 2), **flags: bool) -> bool:
    """Whether an optimizer takes a step."""
    leaf = torch.nn.Parameter(torch.ones(shape))
    leaf.grad = torch.ones(shape).to_sparse(1) if sparse else torch.ones(shape)
    flags |= {} if name == "Muon" else {"fused": True} if form == "fused" else {"foreach": form == "foreach"}
    try:
        getattr(torch.optim, name)([leaf], lr=0.1, **flags).step()
    except (RuntimeError, AssertionError, ValueError, TypeError):
        return False
    return True


@pytest.mark.parametrize(("name", "form"), _STEPS)
def test_what_a_step_refuses_is_not_drawn(name: str, form: str) -> None:
    site = f"{name.lower()}.{form}"
    assert _steps(name, form, sparse=True) is not contradictory(["grads_layout=sparse"], site)
    if "capturable" in PYTHON_SITES[site].signature.parameters and form != "fused":
        assert _steps(name, form, capturable=True) is not contradictory(["capturable"], site)
    assert not (_steps(name, form, differentiable=True) and contradictory(["differentiable"], site))
    assert _steps(name, form, shape=(3,)) is not contradictory(["params_rank=1"], site)


@pytest.mark.parametrize(
    ("site", "condition", "call"),
    [
        ("F.embedding", "weight_rank=3", lambda: F.embedding(torch.tensor([0]), torch.ones(2, 2, 2))),
        ("F.embedding_bag", "weight_rank=1", lambda: F.embedding_bag(torch.tensor([[0]]), torch.ones(2))),
        ("F.embedding_bag", "input_rank=0", lambda: F.embedding_bag(torch.tensor(0), torch.ones(2, 2))),
        ("F.linear", "weight_rank=3", lambda: F.linear(torch.ones(2), torch.ones(2, 2, 2))),
        ("Embedding.from_pretrained", "embeddings_rank=1", lambda: torch.nn.Embedding.from_pretrained(torch.ones(2))),
        ("EmbeddingBag.from_pretrained", "embeddings_rank=3",
         lambda: torch.nn.EmbeddingBag.from_pretrained(torch.ones(2, 2, 2))),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_not_drawn(site: str, condition: str, call: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, AssertionError, ValueError)):
        call()
    assert contradictory([condition], site)
    assert not contradictory([condition.partition("=")[0] + "=2"], site)


def test_a_pickled_parameter_has_no_gradient() -> None:
    layer = torch.nn.Embedding(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    assert pickle.loads(pickle.dumps(layer)).weight.grad is None
    assert contradictory(["grads>=1"], "pickle.loads")
