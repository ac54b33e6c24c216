"""The decks of *quick* and *gate*: of today's families, what adds most for its cost; and cases that are aimed at thresholds."""

import itertools
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embcheck.core import deck
from embcheck.core.axes import parse
from embcheck.core.case import LookupCase
from embcheck.core.counts import ORDERS, Counts, tokens_of, told
from embcheck.core.deck import Choice
from embcheck.core.facts import conditions
from embcheck.core.item import PROFILES, all_items, items_of
from embcheck.core.stream import Stream
from embcheck.core.targets import Unmet, Wish
from embcheck.core.tiers import CORE
from embcheck.engine import selection
from embcheck.engine.obligations import obliging_cases
from embcheck.families.lookup.aimed import WIDTHS
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families, load_modes
from selfcheck import deck as command
from selfcheck.deck import Matrix, choose, takes_part
from selfcheck.pool import Measured, Place

FAMILIES = load_families()
#: Families that aim.
AIMED = ("gradient", "embedding_bag", "max_norm", "one_hot", "lookup")


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_a_choice_of_its_axes_as_they_are(name: str) -> None:
    """If not, `python -m selfcheck.deck NAME` makes one."""
    family = FAMILIES[name]
    for mode in family.modes:
        quick, gate = (deck.chosen(family, mode, tier) for tier in ("quick", "gate"))
        assert quick is not None, f"run `python -m selfcheck.deck {name}`"
        assert gate is not None
        for part in ("small", "product", "rows", "aimed"):
            assert set(getattr(quick, part)) <= set(getattr(gate, part))
        assert len(list(gate.small_cases(family.space))) == len(gate.small)
        assert all(len(deck.positions(row)) == len(family.space.axes) for row in gate.rows)
        assert [deck.written(deck.positions(row)) for row in gate.rows] == [*gate.rows]


def judged(name: str, profile: str, engine: str, seed: int) -> list[Any]:
    family = FAMILIES[name]
    return [
        case
        for item in items_of(family, engine, PROFILES[profile])
        for case in selection.cases(family, item, PROFILES[profile], seed)
    ]


def test_a_seed_decides_values_alone() -> None:
    small = [judged("lookup", "gate", "scope", seed) for seed in (0, 1)]
    assert small[0] == small[1]
    rows = [judged("lookup", "gate", "product", seed) for seed in (0, 1)]
    assert rows[0] != rows[1]
    assert [case.but(seed=0) for case in rows[0]] == [case.but(seed=0) for case in rows[1]]


@pytest.mark.parametrize("profile", ["quick", "gate"])
def test_what_is_obliged_is_run_once(profile: str) -> None:
    for name in ("padding", "embedding_bag", "tied_training"):
        cases = judged(name, profile, "scope", 0)
        assert all(case in cases for case in obliging_cases(FAMILIES[name]).values())
    small = judged("padding", profile, "scope", 0)
    assert len(small) == len(set(small))


def test_a_family_with_other_axes_is_sampled_by_strides() -> None:
    family = FAMILIES["padding"]
    space = replace(family.space, axes={**family.space.axes, "seed": (0, 1)})
    other = replace(family, space=space, laws=list(family.laws))
    FAMILIES["padding"] = family  # which replace() registered anew
    assert deck.chosen(other, "eager", "gate") is None
    item = items_of(other, "product", PROFILES["gate"])[0]
    assert len(list(selection.cases(other, item, PROFILES["gate"], 0))) > 100


def test_what_adds_most_for_its_cost_is_chosen_until_the_budget_is_spent() -> None:
    found = Matrix()
    for position, faults in enumerate((["a"], ["a", "b", "c"], ["a", "b"], ["d"])):
        for fault in faults:
            found.add(("family", position), fault, (1.0,))
    measured = {"family": Measured(dict(enumerate([0.0015, 0.010, 0.002, 0.005, 0.001])))}
    taken: set[tuple[str, int]] = set()
    spent = choose(found, measured, ["family"], 0.007, taken)
    # Of 2 first, which has a and b at half a millisecond each; then 0 adds nothing, and 3 adds d.
    assert taken == {("family", 2), ("family", 3)}
    assert spent == pytest.approx(0.007)
    assert choose(found, measured, ["family"], 1.0, taken) == pytest.approx(0.017)
    assert taken == {("family", 2), ("family", 3), ("family", 1)}
    share = sum(takes_part(f"fault {k}") for k in range(1000)) / 1000
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("name", ["lr_scheduler", "one_hot"])
def test_a_family_that_is_chosen_anew_has_as_many_cases_as_the_whole_command_gave_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever what is obliged costs, and whatever its cases cost now; another has its share of the seconds."""
    places: dict[Any, Any] = {
        (name, k): (Place("eager", "obliging" if k < 9 else "small", (k,), None), None) for k in range(3000)
    }
    monkeypatch.setattr(command, "candidates", lambda names, measured: places)
    found = Matrix()
    for key in places:
        found.add(key, key, (1.0,))
    for seconds in (1e-3, 50.0):
        made = command.chosen([name], found, {name: Measured(dict.fromkeys(range(len(places)), seconds))})[name][
            "eager"
        ]
        for tier in ("quick", "gate"):
            assert len(made[tier].small) == deck.enumerated(name, tier)
    monkeypatch.setattr(command, "enumerated", lambda name, tier: None)
    made = command.chosen([name], found, {name: Measured(dict.fromkeys(range(len(places)), 1e-3))})[name]["eager"]
    share = sum((each in CORE) == (name in CORE) for each in FAMILIES)
    assert len(made["quick"].small) == math.ceil(1000 * command.BUDGETS["quick"][name not in CORE] / share - 1e-6) - 9


def test_aimed_cases_are_what_was_written() -> None:
    for name in (*AIMED, "conversion"):
        family = FAMILIES[name]
        choice = deck.chosen(family, family.modes[0], "gate")
        assert choice is not None
        cases = list(Choice(aimed=choice.aimed).product_cases(family.space, name, 0))
        assert len(cases) == len(choice.aimed) == len({*cases}) > 0
        assert [
            deck.case_of(family.space.case_type, written) for written in choice.aimed
        ] == cases  # which fit as they are
        assert all(deck.case_of(type(case), deck.written_case(case)) == case for case in cases)


def test_gate_has_a_slice_of_the_cases_in_modes_that_compile() -> None:
    load_modes()
    gate = PROFILES["gate"]
    calling = [family for family in FAMILIES.values() if family.call]
    assert len(calling) >= 5
    for family in calling:
        items = [item for item in items_of(family, "product", gate) if item.mode in gate.sliced]
        assert [item.mode for item in items] == list(gate.sliced)
        chosen = {case for engine in ("scope", "product") for case in judged(family.name, "gate", engine, 0)}
        for item in items:
            assert family.call in MODES[item.mode].calls
            cases = list(selection.cases(family, item, gate, 0))
            assert 0 < len(cases) < 3 * len(chosen) / item.parts
            assert chosen.issuperset(cases)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of what is chosen, in its place."""
    monkeypatch.setattr(deck, "KEPT", Path(shutil.copy(deck.KEPT, tmp_path)))
    deck._kept.cache_clear()
    yield deck.KEPT
    deck._kept.cache_clear()


def test_what_is_kept_is_read() -> None:
    kept = json.loads(deck.KEPT.read_text())
    parts = {
        part for each in kept.values() for tiers in each["modes"].values() for parts in tiers.values() for part in parts
    }
    assert parts <= {"small", "product", "rows", *deck.AIMED}


def test_what_quick_has_of_gates_aimed_cases_is_run_once() -> None:
    kept = json.loads(deck.KEPT.read_text())
    early = {
        name: tiers["quick"]["early"]
        for name, each in kept.items()
        if "early" in (tiers := each["modes"]["eager"])["quick"]
    }
    assert {"module_traversal", "param_groups", "gradient"} <= early.keys()
    for name, cases in early.items():
        gate = kept[name]["modes"]["eager"]["gate"]
        aimed = [case for kind in deck.AIMED for case in gate.get(kind, ())]
        assert all(case in aimed for case in cases)
        chosen = deck.chosen(FAMILIES[name], "eager", "gate")
        assert chosen is not None
        assert len(chosen.aimed) == len(set(chosen.aimed))


def test_a_part_of_the_command_chooses_what_the_whole_does_and_keeps_the_rest(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(names: list[str], *measured: Any) -> Any:
        return {name: {"eager": {"quick": Choice(), "gate": Choice(rows=("01",))}} for name in names}

    def at(mode: str, tier: str) -> Any:
        # What is chosen depends on what was chosen before.
        known = [len(list(deck.aimed_cases(FAMILIES["lookup"], each))) for each in ("eager", "decompositions")]
        return {("lookup", mode, tier): [LookupCase(3 + sum(known), 2, shape=(n,)) for n in range(len(mode))]}

    def at_once(work: Any, *told: Any) -> Any:
        done = work(*told)
        deck._kept.cache_clear()  # as in a process of its own
        return done

    assert tuple(command.AIMED) == deck.AIMED
    monkeypatch.setattr(command, "matrix", lambda names, jobs: ())
    monkeypatch.setattr(command, "chosen", rows)
    monkeypatch.setattr(command, "_apart", at_once)
    places = [
        ("eager", "quick"),
        ("eager", "gate"),
        *((mode, "full") for mode in ("decompositions", "vmap", "no_grad")),
    ]
    aimed = {kind: lambda *told, place=place: at(*place) for kind, place in zip(deck.AIMED, places, strict=True)}
    monkeypatch.setattr(command, "AIMED", aimed)
    command.main()
    whole = file.read_text()
    tiers = json.loads(whole)["lookup"]["modes"]["eager"].items()
    assert {tier: [*parts] for tier, parts in tiers if parts} == {"quick": ["kernels"], "gate": ["rows", "entries"]}
    parts: list[dict[str, Any]] = [{"names": ["lookup"]}, *({"only": [kind]} for kind in deck.AIMED), {}]
    for given in parts:
        command.main(**given)
        assert file.read_text() == whole, given


# -- aimed cases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("numel", "rows", "most", "padding"), [(64, 40, 20, 3), (769, 300, 21, 17), (5, 3, 3, 1)])
def test_tokens_have_the_counts_that_are_asked(order: str, numel: int, rows: int, most: int, padding: int) -> None:
    for seed in range(12):
        found = told(Counts(most, padding, order).tokens(numel, rows, 1, seed), rows, 1)
        assert (found["numel"], found["max_count"], found["padding_count"]) == (numel, most, padding)
        assert found["interleaved"] is (order == "mixed")


def test_counts_ends_order_and_copies_are_as_asked() -> None:
    unequal = [told(Counts(equal=1).tokens(12, 7, None, seed), 7, None)["unequal_counts"] for seed in range(9)]
    assert not any(unequal)
    assert told(Counts(most=5).tokens(12, 7, None, 0), 7, None)["unequal_counts"]
    for first, last in itertools.product((0, 1), repeat=2):
        found = told(Counts(first=first, last=last).tokens(9, 5, None, 2), 5, None)
        assert (found["first_row"], found["last_row"]) == (bool(first), bool(last))
    falling = Counts(1, order="descending").tokens(9, 20, None, 5)
    assert falling.tolist() == sorted({*falling.tolist()}, reverse=True)
    copies = Counts(2, copies=3).tokens(18, 9, None, 4).reshape(3, 6)
    assert (copies == copies[0]).all()
    assert np.bincount(copies[0]).max() == 2
    in_turn = Counts(2, repeats=3).tokens(18, 9, None, 4).reshape(6, 3)
    assert (in_turn == copies[0][:, None]).all()


@pytest.mark.parametrize("numel", range(8))
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tokens_lie_in_the_table_whatever_is_asked(numel: int, rows: int) -> None:
    """A counterexample is made smaller without a look at what its pattern asks."""
    for seed, order in enumerate(ORDERS):
        for counts in (Counts(20, 3, order), Counts(1, 0, order, 1, 1, 1), Counts(2, -1, order, 0, 0, 0, 2)):
            tokens = counts.tokens(numel, rows, rows - 1, seed)
            assert tokens.shape == (numel,)
            assert ((tokens >= 0) & (tokens < rows)).all()


def test_a_name_says_its_counts() -> None:
    for counts in (Counts(), Counts(20, 16, "runs"), Counts(equal=1, first=0, last=1, copies=2), Counts(repeats=3)):
        assert Counts.of(counts.name) == counts
        assert (tokens_of(counts.name, 8, 5, 0, 3) == counts.tokens(8, 5, 0, 3)).all()
    assert Counts.of("cycle") is None
    for wrong in ("counts most=2 mode=sum", "counts order=up"):
        with pytest.raises(ValueError, match="no pattern"):
            Counts.of(wrong)


def wished(text: str, seed: int = 0) -> Wish:
    return Wish(Stream(seed), conditions(text))


def test_numbers_come_from_both_sides_of_a_threshold() -> None:
    found = {wished("numel>64", seed).number("numel", (3, 65, 1000)) for seed in range(40)}
    assert min(found) == 65
    assert max(found) > 999
    found = {wished("numel<=64", seed).number("numel", (1, 200)) for seed in range(40)}
    assert {63, 64} <= found
    assert max(found) == 64
    assert {wished("numel=7", seed).number("numel", (3,)) for seed in range(9)} == {7}


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(Unmet):
        wished("numel=7").number("numel", (3,), least=9)
    with pytest.raises(Unmet):
        wished("dtype=int8").choice("dtype", ("float32", "float64"))
    with pytest.raises(Unmet):
        Wish(Stream(0)).number("numel", (3,), least=9, most=8)


@pytest.mark.parametrize("name", AIMED)
def test_a_seed_gives_the_same_aimed_cases_in_any_parts(name: str) -> None:
    family, profile = FAMILIES[name], replace(PROFILES["quick"], aimed=24)

    def cases(part: int, parts: int, seed: int = 0) -> list[Any]:
        first = all_items(family, profile)[0]._replace(engine="random", part=part, parts=parts)
        return list(selection.aimed(family, first, profile, seed))

    whole = cases(0, 1)
    assert len(whole) > 9
    assert sorted(map(repr, cases(0, 2) + cases(1, 2))) == sorted(map(repr, whole))
    assert whole != cases(0, 1, seed=1)
    assert [parse(repr(case)) for case in whole] == whole
    assert [family.space.repair(case) for case in whole] == whole


def test_aimed_cases_cross_thresholds_together() -> None:
    """What no axis says: exact counts of tokens and of padding beside sizes."""
    family, profile = FAMILIES["gradient"], PROFILES["gate"]
    first = next(item for item in all_items(family, profile) if item.engine == "random")
    facts = [case.facts() for case in selection.aimed(family, first, profile, 0)]
    pairs = {(each["max_count"], each["embedding_dim"]) for each in facts}
    wanted = {(count, width) for count in (2, 3, 10, 11, 20, 21) for width in WIDTHS}
    assert len(pairs & wanted) > len(wanted) / 2
    assert {each["history"] for each in facts} > {"once_alike", "twice_longer", "thrice_alike"}
