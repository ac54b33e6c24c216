"""Obligations: one list of cases for each family meets them all, whatever the seed, clear of what the ledger knows."""

import itertools
import json
import marshal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from records import verdict

from embcheck.core.facts import holds
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import Family
from embcheck.core.ledger import SHIPPED, Entry, read
from embcheck.core.result import Absent
from embcheck.core.verdict import APPLIES, Status, Verdict
from embcheck.engine import obligations, selection
from embcheck.engine.obligations import obliging_cases
from embcheck.engine.run_item import run_item
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.runner.run import Batch, Results, Settings, settle
from embcheck.subject.collect import load_families, statements
from selfcheck.candidates import shipped

FAMILIES = load_families()
ENTRIES = read(SHIPPED)
LEDGER = shipped()
#: Quick, with nothing of what it samples.
LIST_ONLY = replace(PROFILES["quick"], deck="", stride=1 << 40)
#: The families that speak of layers: where layers are checked in a sample, these still execute all that programs do.
OF_LAYERS = ("lookup", "gradient", "embedding_bag", "tied_training", "tie_preservation", "conversion")
#: Of these, which are executed only with --full, the test below says without executing them that their lists meet all.
ELSEWHERE = ("tutorial_claims",)
#: What only the regions of entries have: torch is known to do this wrong, whatever the other axes say.
ONLY_IN_REGIONS = {
    "averaged_integer_buffers_are_near_the_mean": [APPLIES, "counter"],
    "invalid_bag_calls_raise": ["mistake=limited_offsets_from_one", "mistake=limited_padding_behind_the_table",
                             "mistake=limited_weighted_mean", "mistake=padding_zero_of_no_rows"],
    "bag_sum_and_mean_reduce_weighted_rows": ["entry=nested"],
    "gradient_routes_give_same_weight_gradient": ["route=checkpointed_with_one_twice"],
    "vector_to_parameters_copies": [APPLIES],
    "lr_scheduler_does_not_modify_loaded_state_dict": [
        *("plan=cyclic", "plan=cyclic_fine", "plan=cyclic_halved", "plan=cyclic_of_groups", "plan=cyclic_by_exponent"),
        "plan=cyclic_by_function",
    ],
    "lr_scheduler_resumes_from_last_epoch": ["plan=step_each", "plan=exponential", "plan=linear", "plan=polynomial",
                                          "plan=multiplied"],
    "quantized_output_is_within_half_a_step": ["include_last_offset"],
    "parametrize_cached_does_not_mix_modules": ["copied"],
    "removal_from_a_copy_leaves_the_original": [APPLIES, "links=2", "inverse", "frozen"],
    "autocast_is_left_as_it_was": [APPLIES],
    "quantized_invalid_calls_raise": ["mistake=too_few_weights"],
    "lr_scheduler_follows_closed_form": ["plan=chained_within", "plan=constant_of_none", "plan=linear_of_none",
                                     "plan=sequential_within", "plan=sequential & tensor"],
    "fx_trace_adds_nothing_to_state_dict": ["passing", "tree=buffers"],
    "sharded_gradient_is_the_global_sum": ["made=tied_model"],
    "invalid_embedding_calls_raise": ["wrong=padding_zero_of_an_empty_table", "wrong=padding_zero_of_no_rows",
                                   "wrong=tokens_on_meta", "wrong=tokens_on_meta_index", "wrong=bag_of_tokens_on_meta",
                                   "wrong=samples_on_meta", "wrong=head_on_meta", "wrong=batch_on_meta"],
}  # fmt: skip


def of_the_list(name: str, *engines: str) -> list[Verdict]:
    """The verdicts of a family on what obliges alone."""
    family = FAMILIES[name]
    items = [Item(name, "torch", family.modes[0], engine) for engine in engines or ("scope",)]
    return [each for item in items for each in run_item(family, item, LIST_ONLY, 0, LEDGER, reduce=False)]


def conditions_met(name: str, case: Any) -> set[tuple[str, str]]:
    """Each law of a family with each condition that a case meets."""
    family, facts = FAMILIES[name], case.facts()
    laws = [law for law in family.laws if law.refusal == family.refused(case) and law.when(case)]
    return {
        (law.name, each) for law in laws for each in (APPLIES, *law.must_cover) if each == APPLIES or holds(each, facts)
    }


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.absent])
def test_list_alone_meets_every_obligation(name: str, full: bool) -> None:
    if not full and (name in ELSEWHERE or list(FAMILIES).index(name) % 2):
        pytest.skip("the gate executes the list, too")
    verdicts = of_the_list(name)
    assert {verdict.law for verdict in verdicts} == {law.name for law in FAMILIES[name].laws}
    for found in verdicts:
        assert set(found.met) == set(found.must_cover), found.law
        assert found.cases, found.law
        assert found.status in (Status.HOLDS, Status.KNOWN), (found.law, found.reasons)


def each_value(family: Family) -> Iterator[Any]:
    """Of the enumerated cases and the covers of single axes those that have a name, flag or None on some axis first."""
    space = family.space
    met: set[tuple[str, Any]] = set()
    for case in itertools.chain(obligations.enumerated(family), *(space.cover(1, turn, 0) for turn in range(6))):
        own = {each for each in case.axes.items() if each[1] is None or isinstance(each[1], str | bool)}
        if not met.issuperset(own):
            met |= own
            yield case


@pytest.mark.parametrize("name", OF_LAYERS)
def test_each_value_of_each_axis_is_right(name: str) -> None:
    """Every history, route, optimizer and event that is enumerated is executed."""
    tallies, cases = Tallies(FAMILIES[name], MODES[FAMILIES[name].modes[0]], LEDGER), list(each_value(FAMILIES[name]))
    for case in cases:
        tallies(case)
    assert [tally.kinds for tally in tallies.each if tally.violations or tally.unknown] == []
    assert tallies.cases >= len(cases) - tallies.accept.known > 20, "all but those that must not be executed"


@pytest.mark.parametrize("name", ["padding", "one_hot"])
def test_every_seed_and_profile_has_the_list(name: str) -> None:
    family, chosen = FAMILIES[name], list(obliging_cases(FAMILIES[name]).values())
    for seed in (0, 7):
        item = Item(name, "torch", "eager", "scope")
        assert list(selection.cases(family, item, LIST_ONLY, seed)) == chosen
        profiles = [PROFILES[profile] for profile in ("quick", "gate", "full")]
        sampled = [list(selection.cases(family, item, profile, seed)) for profile in profiles]
        assert all(cases[: len(chosen)] == chosen for cases in sampled)
        quick, gate, full = map(len, sampled)
        assert len(chosen) <= quick < gate < full


def test_list_keeps_clear_of_what_any_shipped_entry_covers() -> None:
    """Of another release, too; what only such regions have is met there, by a case that is judged."""
    only_there: set[tuple[str, str]] = set()
    for name, family in FAMILIES.items():
        if family.absent:
            continue
        known = [
            (entry, {law.name for law in family.laws if entry.speaks_of(law.name)})
            for entry in ENTRIES
            if entry.runs_in(family.modes[:1]) and entry.runs_on("cpu")
        ]
        clear: set[tuple[str, str]] = set()
        for case in obliging_cases(family).values():
            facts = case.facts()
            within = {law for entry, laws in known if laws and entry.covers(facts) for law in laws}
            clear |= {pair for pair in conditions_met(name, case) if pair[0] not in within}
        only_there |= {(law.name, each) for law in family.laws for each in (APPLIES, *law.must_cover)} - clear
    assert only_there == {(law, each) for law, those in ONLY_IN_REGIONS.items() for each in those}


def test_list_gives_way_to_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of another torch that excuses what the list had chosen; and one that leaves no other choice."""
    family, law = FAMILIES["padding"], "padding_row_gets_no_gradient"
    chosen = next(
        case for case in obliging_cases(family).values() if (law, "last_row") in conditions_met("padding", case)
    )
    entry = replace(ENTRIES[0], law=law, kind="*", mode="*", where={"shape": chosen.shape})

    def chosen_instead(planted: Entry) -> list[Any]:
        monkeypatch.setattr(obligations, "shipped", lambda: ((planted,), {}))
        cases = obliging_cases(family).values()
        return [case for case in cases if (law, "last_row") in conditions_met("padding", case)]

    assert any(case.shape != chosen.shape for case in chosen_instead(entry))
    assert all(chosen_instead(replace(entry, where={})))
    barring = replace(entry, law="padding_is_accepted", kind="raised *", where={})
    assert not chosen_instead(barring)
    others = replace(barring, torch=SpecifierSet("<2.5"))
    assert all(chosen_instead(others)), "in the releases on which it was measured such a case is judged"


def settled(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.law: verdict for verdict in settle(verdicts, {"padding"})}


def test_a_law_of_which_no_case_is_judged_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never does it hold; it is not applicable only where something says why."""
    family = FAMILIES["padding"]
    unmasked = "lookup_returns_padding_row_unmasked"
    never = [replace(law, when=lambda case: False) if law.name == unmasked else law for law in family.laws]
    cases = list(obliging_cases(family).values())
    monkeypatch.setattr(selection, "obliging_cases", lambda family: dict(enumerate(cases)))
    monkeypatch.setattr(family, "laws", never)
    verdicts = of_the_list("padding")
    silent = next(verdict for verdict in verdicts if verdict.law == unmasked)
    assert (silent.status, silent.cases, silent.reasons) == (Status.NOT_APPLICABLE, 0, ())
    found = settled(verdicts)
    assert found[silent.law].status == Status.UNKNOWN
    assert found[silent.law].reasons == ("no case was judged",)
    assert found["padding_row_gets_no_gradient"].status == Status.HOLDS
    without_obligations = [replace(v, must_cover=tuple({*v.must_cover} & {APPLIES})) for v in verdicts]
    assert settled(without_obligations)[silent.law].status == Status.UNKNOWN
    absent = ("not applicable: it is not here (3 cases)",)
    told = [replace(v, reasons=absent) if v.law == "padding_is_accepted" else v for v in without_obligations]
    assert settled(told)[silent.law].status == Status.NOT_APPLICABLE


def verdict_in(mode: str) -> Verdict:
    return verdict(family="padding", mode=mode, cases=3, must_cover=(APPLIES, "sparse"), met=(APPLIES,))


def test_what_is_not_owed_in_one_mode_is_owed_in_none() -> None:
    """A further mode may have no case at all of what a release lacks."""
    owing = {mode: verdict_in(mode) for mode in ("eager", "no_grad")}
    owing["eager"] = replace(owing["eager"], must_cover=(APPLIES,))
    assert {found.status for found in settle([*owing.values()], {"padding"})} == {Status.HOLDS}
    apart = replace(verdict_in("vmap"), must_cover=())  # in which no case is made to meet them
    found = settle([verdict_in("eager"), apart], {"padding"})
    assert {each.mode: each.status for each in found} == {"eager": Status.UNKNOWN, "vmap": Status.HOLDS}


def test_nothing_is_owed_of_what_a_release_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    law = "padding_row_gets_no_gradient"
    for why, status in ((Absent("torch has no float16"), Status.HOLDS), ("it has no float16", Status.UNKNOWN)):
        absent = lambda case, out, why=why: why if case.dtype == "float16" else None  # noqa: E731
        monkeypatch.setattr(FAMILIES["padding"], "not_applicable", absent)
        verdicts = of_the_list("padding", "scope", "product")
        assert ("dtype=float16" in settled(verdicts)[law].must_cover) is (status == Status.UNKNOWN)
        assert settled(verdicts)[law].status == status


def test_a_law_that_follows_from_another_says_so() -> None:
    verdicts = {verdict.law: verdict for verdict in of_the_list("one_hot")}
    follows, other = verdicts["one_hot_vectors_sum_to_one"], verdicts["one_hot_is_one_at_the_index"]
    assert 0 < follows.implied <= follows.cases
    assert other.implied == 0
    assert follows.merge(follows).implied == 2 * follows.implied
    assert {s.law: s.implied_by for s in statements(FAMILIES["one_hot"])}[follows.law] == other.law


def test_a_shard_is_not_asked_for_what_the_others_meet() -> None:
    owing = verdict(cases=1, must_cover=("empty",))
    statuses = {}
    for shard in ("", "1/2"):
        results = Results(Settings(shard=shard))
        results.add(Batch("f/torch/eager/scope/0", 1, [owing]))
        statuses[shard] = results.settle()[0].status
    assert statuses == {"": Status.UNKNOWN, "1/2": Status.HOLDS}


def test_the_lists_that_are_kept_are_those_that_would_be_chosen(full: bool) -> None:
    """A family whose laws have changed since chooses its list in each run, which takes a moment; few should.

    By default every eighth list is chosen anew.
    """
    kept = json.loads(obligations.KEPT.read_text(encoding="utf-8"))
    fitting = [
        name for name, family in FAMILIES.items() if kept.get(name, {}).get("of") == obligations.digest_of(family)
    ]
    assert len(fitting) > 0.8 * len(FAMILIES), "run: python -m embcheck.engine.obligations"
    for name in fitting if full else fitting[2::8]:
        family = FAMILIES[name]
        found, chosen = obliging_cases(family), obligations.choose(family, family.typical)
        assert found == chosen, f"{name}: run python -m embcheck.engine.obligations"
        # Equal may be what is of other types, which a process does not hand to another.
        assert [marshal.dumps(tuple(each), 2) for each in found.values()] == [
            marshal.dumps(tuple(each), 2) for each in chosen.values()
        ]


def test_a_list_that_was_chosen_for_other_laws_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    family = FAMILIES["padding"]
    whole = obliging_cases(family)
    monkeypatch.setattr(family, "laws", family.laws[:1])
    assert len(obliging_cases(family)) < len(whole)
    assert obliging_cases(family) == obligations.choose(family)
