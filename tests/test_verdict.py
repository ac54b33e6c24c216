"""Verdicts merge by maximum, in any order and grouping, and survive the way through JSON."""

import itertools
import json
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck.core.verdict import Counterexample, Status, Verdict, merge_all
from embcheck.runner.run import examples_of

words = st.sampled_from(["a", "b", "a longer reason"])
tuples = st.lists(words, max_size=2, unique=True).map(tuple)

examples = st.builds(
    partial(Counterexample, "law", "family", "torch", "eager", "cpu"),
    case=st.sampled_from(["LookupCase(1)", "LookupCase(2)", "LookupCase(1, seed=1)"]),
    kind=st.sampled_from(["value", "bits"]), words=words, also=tuples,
    other_modes=tuples, script_confirmed=st.sampled_from([None, True, False]),
)  # fmt: skip

verdicts = st.builds(
    partial(Verdict, "law", "family", "torch", "eager"),
    engine=st.sampled_from(["scope", "product"]), status=st.sampled_from(list(Status)), cases=st.integers(0, 9),
    known=st.integers(0, 3), entries=st.dictionaries(words, st.integers(1, 3), max_size=2),
    worst=st.sampled_from([None, 0.0, 0.25, 1.0]), seconds=st.sampled_from([0.0, 0.25, 2.0]), reasons=tuples,
    must_cover=st.just(("empty", "padded")), met=tuples.map(sorted).map(tuple),
    digest=st.sampled_from(["", "00000000000000ff", "ffffffffffffffff"]),
    counterexamples=st.lists(examples, max_size=2, unique_by=lambda example: example.kind).map(tuple),
)  # fmt: skip

property_test = settings(deadline=None, derandomize=True, max_examples=80)


@property_test
@given(verdicts, verdicts, verdicts)
def test_merge_is_associative(a: Verdict, b: Verdict, c: Verdict) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))


@property_test
@given(verdicts, verdicts)
def test_merge_is_commutative_but_for_the_order_of_words(a: Verdict, b: Verdict) -> None:
    one, other = a.merge(b), b.merge(a)
    for name in ("engine", "status", "cases", "known", "entries", "worst", "seconds", "met", "digest"):
        assert getattr(one, name) == getattr(other, name), name
    assert set(one.reasons) == set(other.reasons)
    assert {(e.kind, e.case) for e in one.counterexamples} == {(e.kind, e.case) for e in other.counterexamples}


@property_test
@given(verdicts, verdicts)
def test_merge_takes_the_greater_status_and_all_evidence(a: Verdict, b: Verdict) -> None:
    both = a.merge(b)
    assert both.status == max(a.status, b.status)
    assert a.merge(a).status == a.status
    assert both.cases == a.cases + b.cases
    assert set(both.met) == {*a.met, *b.met}
    assert {e.kind for e in both.counterexamples} == {e.kind for e in a.counterexamples + b.counterexamples}
    for example in both.counterexamples:
        rivals = [e for e in a.counterexamples + b.counterexamples if e.kind == example.kind]
        assert len(example.case) == min(len(e.case) for e in rivals)


@property_test
@given(verdicts)
def test_a_verdict_survives_json(verdict: Verdict) -> None:
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_statuses_are_ordered_and_print() -> None:
    words = ["not applicable", "holds", "known", "unknown", "violated"]
    assert [status.word for status in sorted(Status)] == words
    assert [Status.of(word) for word in words] == sorted(Status)


def test_merge_all_groups_by_law_subject_mode_and_device() -> None:
    first = Verdict("law", "family", "torch", "eager", "scope", Status.HOLDS, cases=1)
    changes: list[dict[str, Any]] = [{}, {"law": "l"}, {"subject": "s"}, {"mode": "m"}, {"device": "d"}]
    several = [replace(first, **change) for change in changes]
    merged = merge_all([*several, replace(first, engine="random", status=Status.VIOLATED)])
    assert len(merged) == len(several)
    assert merged[first.key].status == Status.VIOLATED
    assert merged[first.key].cases == 2
    assert merged[first.key].engine == "all"
    assert list(merged) == [verdict.key for verdict in several], "in the order in which they came"


def test_the_digest_of_parts_does_not_depend_on_their_order() -> None:
    first = Verdict("law", "family", "torch", "eager", "scope", Status.HOLDS)
    parts = [replace(first, digest=digest) for digest in ("ffffffffffffffff", "0000000000000003", "00000000000000f0")]
    found = {next(iter(merge_all(list(order)).values())).digest for order in itertools.permutations(parts)}
    assert found == {"00000000000000f2"}


def test_the_mode_with_the_shortest_script_stands_for_all() -> None:
    scripts = {"subclass": "a class, and\na lookup", "eager": "a lookup", "deepcopy": "a copy, and a lookup"}
    found = [
        Verdict("law", "family", "torch", mode, engine="scope", status=Status.VIOLATED, counterexamples=(
            Counterexample("law", "family", "torch", mode, "cpu", "LookupCase(1)", "value", "1, expected 0", script=script,
                           in_baseline=mode != "deepcopy"),
        ))
        for mode, script in scripts.items()
    ]  # fmt: skip
    (example,) = examples_of(found)
    assert (example.mode, example.script) == ("eager", "a lookup")
    assert example.other_modes == ("subclass", "deepcopy")
    assert not example.in_baseline
