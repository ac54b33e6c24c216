"""Aimed cases of the decks: which conditions a case's calls meet, and which cases are chosen for that."""

from collections.abc import Iterator

import numpy as np
import pytest

from embcheck.core.case import LookupCase
from embcheck.core.facts import conditions as parsed
from embcheck.core.facts import holds
from embcheck.core.ledger import Ledger
from selfcheck import calls, reach
from selfcheck.calls import TEXTS, Calls, Wanted, calls_of, drawn, met
from selfcheck.candidates import Candidates
from selfcheck.conditions import TABLE
from selfcheck.drawn import damages
from selfcheck.greedy import add, counted
from selfcheck.reach import Built


@pytest.fixture
def candidates() -> Iterator[Candidates]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "_recorders", [])
        made = Candidates(Ledger())
        patch.setattr(reach, "_candidates", [made])
        yield made
        calls._recorders[0]._library._destroy()
        calls._recorders[0]._stack.close()


def recorded(candidates: Candidates, case: LookupCase, *sites: str) -> Calls:
    candidate = candidates.candidate("gradient", "eager", case)
    assert candidate is not None
    return calls_of(candidate, sites)


def wanted(site: str, *texts: str) -> Wanted:
    return Wanted(site, tuple(TEXTS[site].index(text) for text in texts))


def test_a_case_meets_what_one_of_its_judged_calls_meets(candidates: Candidates) -> None:
    several = recorded(candidates, LookupCase(17, 8, "uniform", (2, 8), route="several"))
    once = recorded(candidates, LookupCase(17, 8, "uniform", (2, 8), history="once_alike"))
    conditions = [
        wanted("embedding", "earlier=0", "numel=16"),
        wanted("embedding", "earlier=1"),
        wanted("embedding_dense_backward", "earlier=3"),
        wanted("embedding_sparse_backward", "earlier=0", "embedding_dim=8"),
        wanted("embedding", "earlier=0", "numel=17"),
    ]
    hits = met([several, once], conditions)
    assert [found.tolist() for found in hits] == [[0, 1, 2], [1]]  # the earlier call of a history is not judged
    assert counted(hits, len(conditions)).tolist() == [1, 2, 1, 0, 0]


def test_a_fact_has_the_bits_of_the_texts_that_it_meets() -> None:
    for fact, value in (("numel", 65), ("embedding_dim", 33), ("layout", "strided"), ("offset", True), ("rank", 0)):
        found = calls._bits("embedding", fact, value)
        for place, text in enumerate(TEXTS["embedding"]):
            concerned = parsed(text)[0].fact == fact
            assert bool(found >> place & 1) == (concerned and holds(text, {fact: value}))


def test_a_case_meets_a_fault_whose_damage_changes_one_of_its_calls(candidates: Candidates) -> None:
    alike, differing = (recorded(candidates, LookupCase(5, 2, indices, (9,))) for indices in ("same", "uniform"))
    having = [each.name for each in damages("embedding")]
    names = ("zero(first)", "give(indices=first)", "stale", "nan(last)", "shift")
    fault, count = wanted("embedding", "earlier=0"), len(TEXTS["embedding"])
    faults = [fault._replace(bits=(*fault.bits, count + having.index(name))) for name in names]
    assert [found.tolist() for found in met([alike, differing], faults)] == [[0, 3], [0, 1, 3, 4]]


def test_of_damages_in_python_values_and_memory_tell_whether_they_change_a_call(candidates: Candidates) -> None:
    cases = [LookupCase(5, 2, shape=(3,)), LookupCase(5, 2, shape=(3,), values="real", layout="strided")]
    found = [recorded(candidates, case, "F.embedding") for case in cases]
    for name in ("cast(bfloat16)", "give(weight=memory)"):
        damage = next(each for each in damages("F.embedding") if each.name == name)
        asked = calls._wanted("F.embedding", ["earlier=0"], damage)
        assert [len(each) for each in met(found, [asked])] == [0, 1]
        assert [len(each) for each in met(found, [wanted("F.embedding", "earlier=0")])] == [1, 1]


def test_faults_that_take_part_are_of_the_table_with_what_damages_need() -> None:
    found = drawn(3, 4)
    assert {each.site for each in found} == set(TABLE)
    assert all(0 <= max(each.bits) - len(TEXTS[each.site]) < len(damages(each.site)) for each in found)
    assert found == drawn(3, 4)
    assert found != drawn(4, 4)
    assert max(len(each.needs) for each in found) > 3  # three facts, and what a damage needs


def test_what_is_built_meets_the_first_condition_and_others_that_fit(candidates: Candidates) -> None:
    some = [["numel=17", "embedding_dim=33"], ["dtype=bfloat16"], ["numel=65"], ["padding=last", "last_row"]]
    made = reach._case("embedding_dense_backward", some, 5)
    assert made is not None
    conditions = [wanted("embedding_dense_backward", *texts) for texts in some]
    assert {0, 1, 3} <= {*met([calls_of(made)], conditions)[0].tolist()}
    assert made.case.numel == 17  # what contradicts the first is left out


def test_what_adds_most_for_its_cost_is_chosen() -> None:
    cheap, dear = (LookupCase(3, 2, shape=(count,)) for count in (2, 900_000))
    costs = [Built("gradient", case, ()).cost for case in (cheap, dear, cheap, cheap)]
    hits = [np.array(found, np.int32) for found in ([0], [0, 1, 2], [0, 1], [])]
    taken: list[int] = []
    had = np.zeros(3, np.int64)
    add(taken, costs, hits, had, 0.005, reach.WORTH["gate"])
    assert taken[0] == 2
    assert 3 not in taken
    assert had.tolist() == counted([hits[each] for each in taken], 3).tolist()
