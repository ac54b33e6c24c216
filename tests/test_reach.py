"""Aimed cases of the decks: which conditions a case's calls meet, and which cases are chosen for that."""

from collections.abc import Sequence

import numpy as np

from embcheck.core.case import LookupCase
from embcheck.core.facts import conditions as parsed
from embcheck.core.facts import holds
from embcheck.core.ledger import Ledger
from selfcheck import calls, reach
from selfcheck.calls import TEXTS, add, drawn
from selfcheck.candidates import Candidates
from selfcheck.conditions import TABLES
from selfcheck.drawn import Fault, damages
from selfcheck.planting import Watched
from selfcheck.python_sites import Told

CANDIDATES = Candidates(Ledger())


def changing(wanted: Sequence[Fault], *cases: LookupCase) -> list[list[int]]:
    """The faults that change each of some cases of gradient."""
    recorder = calls.Recorder(wanted)
    found = [CANDIDATES.candidate("gradient", "eager", case) for case in cases]
    try:
        return [recorder.hits(each).tolist() for each in found if each is not None]
    finally:
        recorder._library._destroy()
        recorder._stack.close()


def wanted(site: str, *texts: str, damage: str = "shift") -> Fault:
    return Fault(site, " & ".join(texts), damage)


def test_a_case_meets_what_one_of_its_judged_calls_meets() -> None:
    several = LookupCase(17, 8, "uniform", (2, 8), route="several")
    once = LookupCase(17, 8, "uniform", (2, 8), history="once_alike")
    conditions = [
        wanted("embedding", "earlier=0", "numel=16"),
        wanted("embedding", "earlier=1"),
        wanted("embedding_dense_backward", "earlier=3"),
        wanted("embedding_sparse_backward", "earlier=0", "embedding_dim=8"),
        wanted("embedding", "earlier=0", "numel=17"),
    ]
    hits = changing(conditions, several, once)
    assert [sorted(found) for found in hits] == [[0, 1, 2], [1]]  # the earlier call of a history is not judged
    found = [calls.Seen("gradient", "eager", None, np.array(each, np.int32)) for each in hits]
    assert calls.counted(found, len(conditions)).tolist() == [1, 2, 1, 0, 0]


def test_of_what_is_watched_a_call_hits_what_its_facts_meet() -> None:
    texts = sorted(TEXTS["embedding"])
    watched = Watched([(place, [text], "swap") for place, text in enumerate(texts)])
    for fact, value in (("numel", 65), ("embedding_dim", 33), ("layout", "strided"), ("offset", True), ("rank", 0)):
        expected = [
            place for place, text in enumerate(texts) if parsed(text)[0].fact == fact and holds(text, {fact: value})
        ]
        assert watched.met(Told({fact: value})) == {"swap": expected}
    both = Watched([(3, ["numel>3", "rank=1"], "shift"), (5, ["rank=1"], "shift"), (9, ["rank=1"], "swap")])
    assert both.met({"numel": 3, "rank": 1}) == {"shift": [5], "swap": [9]}


def test_a_case_meets_a_fault_whose_damage_changes_one_of_its_calls() -> None:
    alike, differing = (LookupCase(5, 2, indices, (9,)) for indices in ("same", "uniform"))
    names = ("zero(first)", "give(indices=first)", "stale", "nan(last)", "shift")
    faults = [wanted("embedding", "earlier=0", damage=name) for name in names]
    assert changing(faults, alike, differing) == [[0, 3], [0, 1, 3, 4]]
    cases = [LookupCase(5, 2, shape=(3,)), LookupCase(5, 2, shape=(3,), values="real", layout="strided")]
    for name in ("cast(bfloat16)", "give(weight=memory)"):
        asked = wanted("F.embedding", "earlier=0", damage=name)
        assert changing([asked, wanted("F.embedding", "earlier=0")], *cases) == [[1], [0, 1]]


def test_faults_that_take_part_are_of_the_table_with_what_damages_need() -> None:
    found = drawn(3, 4)
    assert {each.site for each in found} == set(TABLES["kernels"])
    assert all(TEXTS[each.site].issuperset(each.condition.split(" & ")) for each in found)
    assert all(each.damage in {damage.name for damage in damages(each.site)} for each in found)
    assert found == drawn(3, 4)
    assert found != drawn(4, 4)
    assert max(len(" & ".join(each.needs).split(" & ")) for each in found) > 3  # three facts, and what a damage needs


def test_what_is_built_meets_the_first_condition_and_others_that_fit() -> None:
    some = [["numel=17", "embedding_dim=33"], ["dtype=bfloat16"], ["numel=65"], ["padding=last", "last_row"]]
    made = reach.built(CANDIDATES, ("embedding_dense_backward", some, 5))
    assert made is not None
    assert made.family.name == "gradient"
    conditions = [wanted("embedding_dense_backward", *texts) for texts in some]
    assert {0, 1, 3} <= {*changing(conditions, made.case)[0]}
    assert made.case.numel == 17  # what contradicts the first is left out


def test_what_adds_most_for_its_cost_is_chosen() -> None:
    cheap, dear = (LookupCase(3, 2, shape=(count,)) for count in (2, 900_000))
    costs = [reach.seconds("gradient", case) for case in (cheap, dear, cheap, cheap)]
    hits = [np.array(found, np.int32) for found in ([0], [0, 1, 2], [0, 1], [])]
    had = np.zeros(3, np.int64)
    taken = add(costs, hits, had, 0.005, reach.WORTH["gate"])
    assert taken[0] == 2
    assert 3 not in taken
    assert had.tolist() == [sum(fault in hits[each] for each in taken) for fault in range(3)]
